package main

import (
	"fmt"
	"strings"

	"github.com/sandyq/sandyq/deploy/sample"
	"github.com/sandyq/sandyq/deploy/sample/person"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
	"github.com/sandyq/sandyq/vault/schema"
)

// registrant is one of the synthetic people, and what the application has of them.
type registrant struct {
	person sample.Person
	item   api.TokenizeItem
	values map[string][]api.Value // what must be read back: the canonical form of what was registered

	subject string // as the application knows them
	tokens  map[string]api.OneOrMany[string]
	scans   []scan
}

// scan is a stored part of a document.
type scan struct {
	sample.Specimen
	token string
	sum   string // SHA-256 of the file, hexadecimal
	part  int
}

// registrantsOf prepares people: how they are registered, and what must come back.
func registrantsOf(people []sample.Person) ([]*registrant, error) {
	fields := schema.Default()
	all := make([]*registrant, len(people))
	for i, p := range people {
		all[i] = &registrant{person: p, item: itemOf(p), values: map[string][]api.Value{}}
		for name, given := range all[i].item.Fields {
			f, ok := fields.Field(name)
			if !ok {
				return nil, fmt.Errorf("the schema has no field %s", name)
			}
			for _, v := range given.Items {
				canonical, rule := f.Normalise(v)
				if rule != "" {
					return nil, fmt.Errorf("sample person %d: %s: %s", i+1, name, rule)
				}
				all[i].values[name] = append(all[i].values[name], canonical.Wire())
			}
		}
	}
	return all, nil
}

// itemOf is a person as the application sends them in.
func itemOf(p sample.Person) api.TokenizeItem {
	fields := map[string]api.OneOrMany[api.Value]{}
	text := func(name, value string) {
		if value != "" {
			fields[name] = api.One(api.Text(value))
		}
	}
	list := func(name string, values []string) {
		if len(values) > 0 {
			var all []api.Value
			for _, v := range values {
				all = append(all, api.Text(v))
			}
			fields[name] = api.Many(all...)
		}
	}
	address := func(name string, a person.Address) {
		parts := map[string]string{}
		for part, value := range map[string]string{"country": a.Country, "region": a.Region, "city": a.City, "line": a.Line, "kato": a.KATO} {
			if value != "" {
				parts[part] = value
			}
		}
		if len(parts) > 0 {
			fields[name] = api.One(api.Parts(parts))
		}
	}
	text("iin", p.IIN)
	text("family_name", p.FamilyName)
	text("given_name", p.GivenName)
	text("patronymic", p.Patronymic)
	text("residency_country", p.ResidencyCountry)
	text("postal_index", p.PostalIndex)
	address("residence_address", p.Residence)
	address("registration_address", p.Registration)
	text("registration_date", p.RegistrationDate)
	address("stay_address", p.Stay)
	text("stay_registration_date", p.StayRegistrationDate)
	list("phone", p.Phones)
	list("email", p.Emails)
	text("postal_address", p.PostalAddress)
	text("document_number", p.DocumentNumber)
	return api.TokenizeItem{ExternalRef: p.ExternalRef, Fields: fields, Source: "sample"}
}

// shownAs is a value of the person on the screen.
func (p *registrant) shownAs(field string) string {
	var texts []string
	for _, v := range p.values[field] {
		texts = append(texts, plain(v))
	}
	return strings.Join(texts, ", ")
}

// first is the person's first token of a field.
func (p *registrant) first(field string) string { return p.tokens[field].Items[0] }

// issued lists the person's tokens, with what each must give back.
func (p *registrant) issued(each func(field, token string, value api.Value)) {
	for field, tokens := range p.tokens {
		for i, token := range tokens.Items {
			each(field, token, p.values[field][i])
		}
	}
}

// uploadOf names a specimen for the vault.
func uploadOf(s sample.Specimen) client.Upload {
	capture := "photographed"
	if s.MediaType == "application/pdf" {
		capture = "digital"
	}
	return client.Upload{
		Kind: s.Kind, Side: s.Side, MediaType: s.MediaType, Purpose: demoPurpose, Capture: capture, Size: int64(len(s.Bytes)),
	}
}

// folders groups the specimens into documents: the sides of one holder's card belong together.
func folders(specimens []sample.Specimen) [][]sample.Specimen {
	var all [][]sample.Specimen
	last := ""
	for _, s := range specimens { // ordered by name: holder, kind, side
		if key := s.Holder + s.Kind; key != last {
			all, last = append(all, nil), key
		}
		all[len(all)-1] = append(all[len(all)-1], s)
	}
	return all
}
