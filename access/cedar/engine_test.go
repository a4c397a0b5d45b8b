package cedar_test

import (
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/cedar"
	"github.com/sandyq/sandyq/vault/schema"
)

// noon is a Sunday, noon in Almaty.
var noon = time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)

func options() cedar.Options {
	fields := schema.Default()
	return cedar.Options{
		Category: func(name string) string {
			f, ok := fields.Field(name)
			if !ok {
				return ""
			}
			return string(f.Category)
		},
		Now: func() time.Time { return noon },
	}
}

func BenchmarkDecide(b *testing.B) {
	e := cedar.Default(options())
	for name, r := range map[string]access.Request{
		"application, one field": {
			Principal: access.Principal{System: "crm", Roles: []access.Role{access.Application}}, Action: access.Detokenize,
			Fields: []string{"iin"}, Purpose: "service", Reason: "request", Form: access.Plain, State: "active", Basis: "contract", Count: 1,
		},
		"application, six fields": {
			Principal: access.Principal{System: "crm", Roles: []access.Role{access.Application}}, Action: access.Reveal,
			Fields: []string{"iin", "phone", "email", "family_name", "document_number", "residence_address"}, Form: access.Plain,
		},
		"support, before the fields are known": {
			Principal: access.Principal{System: "i/a", Roles: []access.Role{access.Support}}, Action: access.Detokenize, Form: access.Masked,
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d, err := e.Decide(b.Context(), r); err != nil || !d.Allowed() {
					b.Fatal(d.Err(), err)
				}
			}
		})
	}
}
