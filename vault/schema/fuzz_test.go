package schema_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/schema"
)

// Whatever the file: no panic, and a schema that is accepted keeps the promises of its fields.
func FuzzParse(f *testing.F) {
	f.Add("fields: [{name: iin, type: iin, unique: true, searchable: true, token: iin, mask: full}]")
	f.Add("fields:\n  - &a {name: card, type: document_number, many: true, max_values: 3}\n  - {<<: *a, name: other}")
	f.Add("fields: [{name: documents, type: text, slice: documents, category: other, lenient: true}]")
	f.Fuzz(func(t *testing.T, file string) {
		s, err := schema.Parse(strings.NewReader(file))
		if err != nil {
			if s != nil {
				t.Fatal("a refused schema came back")
			}
			return
		}
		held := s.Slices()
		for _, field := range s.Fields() {
			found, ok := s.Field(field.Name)
			switch {
			case !ok || found != field:
				t.Fatalf("field %q is not found by its name", field.Name)
			case field.Unique && (!field.Searchable || field.Many):
				t.Fatalf("field %q: %+v", field.Name, field)
			case field.MaxValues < 1 || !field.Many && field.MaxValues != 1:
				t.Fatalf("field %q: %d values", field.Name, field.MaxValues)
			case field.Slice == schema.DocumentsSlice || !slices.Contains(held, field.Slice):
				t.Fatalf("field %q: slice %q", field.Name, field.Slice)
			}
			if _, rule := field.Normalise(api.Text("")); rule != schema.RuleEmpty {
				t.Fatalf("field %q: rule %q", field.Name, rule)
			}
		}
	})
}

// Whatever the value and the type: no panic, and what is accepted is canonical, survives sealing and is masked by its rule.
func FuzzNormalise(f *testing.F) {
	for i, seed := range []string{"850312113646", "Сәрсенова", "KZ", "A15C7D9", "Алматы, Абай 10", "2024-02-29", "+77011234567", "aigul@почта.қаз", "N12345678", "a\r\nb"} {
		f.Add(uint8(i), seed, "")
	}
	f.Add(uint8(6), "Алматы", "750000000")
	fields := append(schema.Default().Fields(), field(f, "text"))
	f.Fuzz(func(t *testing.T, which uint8, text, kato string) {
		field := fields[int(which)%len(fields)]
		input := api.Text(text)
		if kato != "" {
			input = api.Parts(map[string]string{"line": text, "kato": kato})
		}
		v, rule := field.Normalise(input)
		if rule != "" {
			if v.Type() != "" || len(rule) > 20 {
				t.Fatalf("rule %q", rule)
			}
			return
		}
		wantCanonical(t, field, v)
		wantRoundTrip(t, v)
		wantMasked(t, field, v)
	})
}

// Whatever the bytes: no panic, and what is decoded encodes to the same bytes.
func FuzzDecode(f *testing.F) {
	for _, vector := range vectors {
		v, rule := field(f, vector.field).Normalise(vector.value)
		if rule != "" {
			f.Fatal(rule)
		}
		f.Add(v.Encode())
	}
	fields := schema.Default().Fields()
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := schema.Decode(b)
		if err != nil {
			return
		}
		if !bytes.Equal(v.Encode(), b) {
			t.Fatal("another encoding of one value")
		}
		for _, field := range fields {
			if field.Type == v.Type() {
				field.Mask(v)
			}
		}
		v.Key()
	})
}
