package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/sandyq/sandyq/vault/consent"
	"github.com/sandyq/sandyq/vault/purpose"
	"github.com/sandyq/sandyq/vault/schema"
)

const maxRulesFile = 1 << 20 // bytes

// rules reads the schema, the purposes and the consent texts, or takes the built-in ones.
func (c config) rules() (*schema.Schema, *purpose.Registry, *consent.Registry, error) {
	fields, err := c.fields()
	if err != nil {
		return nil, nil, nil, fmt.Errorf("schema: %w", err)
	}
	purposes, err := c.purposes(fields)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("purposes: %w", err)
	}
	texts, err := c.consentTexts()
	if err != nil {
		return nil, nil, nil, fmt.Errorf("consent_texts: %w", err)
	}
	return fields, purposes, texts, nil
}

func (c config) fields() (*schema.Schema, error) {
	if c.Schema == "" {
		return schema.Default(), nil
	}
	b, err := readSmall(c.Schema, maxRulesFile)
	if err != nil {
		return nil, err
	}
	return schema.Parse(bytes.NewReader(b))
}

// consentTexts reads what people consent to, or takes the built-in texts alone.
func (c config) consentTexts() (*consent.Registry, error) {
	if c.ConsentTexts == "" {
		return consent.Default(), nil
	}
	return consent.Load(os.DirFS(c.ConsentTexts))
}

func (c config) purposes(fields *schema.Schema) (*purpose.Registry, error) {
	if c.Purposes == "" {
		builtIn := purpose.Default()
		if err := builtIn.Check(fields); err != nil {
			return nil, hinted(fmt.Errorf("the built-in ones do not fit the schema: %w", err), "name a file of your own with the key purposes")
		}
		return builtIn, nil
	}
	if info, err := os.Stat(c.Purposes); err == nil && info.IsDir() {
		return purpose.ParseDir(os.DirFS(c.Purposes), fields)
	}
	b, err := readSmall(c.Purposes, maxRulesFile)
	if err != nil {
		return nil, err
	}
	return purpose.Parse(bytes.NewReader(b), fields)
}
