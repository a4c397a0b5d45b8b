package main

import (
	"bytes"
	"fmt"

	"github.com/sandyq/sandyq/vault/purpose"
	"github.com/sandyq/sandyq/vault/schema"
)

const maxRulesFile = 1 << 20 // bytes

// rules reads the schema and the purposes, or takes the built-in ones.
func (c config) rules() (*schema.Schema, *purpose.Registry, error) {
	fields, err := c.fields()
	if err != nil {
		return nil, nil, fmt.Errorf("schema: %w", err)
	}
	purposes, err := c.purposes(fields)
	if err != nil {
		return nil, nil, fmt.Errorf("purposes: %w", err)
	}
	return fields, purposes, nil
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

func (c config) purposes(fields *schema.Schema) (*purpose.Registry, error) {
	if c.Purposes == "" {
		builtIn := purpose.Default()
		if err := builtIn.Check(fields); err != nil {
			return nil, hinted(fmt.Errorf("the built-in ones do not fit the schema: %w", err), "name a file of your own with the key purposes")
		}
		return builtIn, nil
	}
	b, err := readSmall(c.Purposes, maxRulesFile)
	if err != nil {
		return nil, err
	}
	return purpose.Parse(bytes.NewReader(b), fields)
}
