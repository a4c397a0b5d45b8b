package schema_test

import (
	"strings"
	"testing"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/schema"
)

func TestMask(t *testing.T) {
	tests := []struct {
		field string
		value api.Value
		want  string
	}{
		{"iin", api.Text("850312113646"), "•••46"},
		{"phone", api.Text("+77011234567"), "•••67"},
		{"phone", api.Text("+290 8123"), "•••23"},
		{"email", api.Text("aigul@example.kz"), "a•••@example.kz"},
		{"email", api.Text("ab@example.kz"), "a•••@example.kz"},
		{"email", api.Text("a@example.kz"), "•••@example.kz"},
		{"family_name", api.Text("Сәрсенова"), "С•••"},
		{"family_name", api.Text("Иванов-Петров"), "И•••"},
		{"family_name", api.Text("Ли"), "Л•••"},
		{"family_name", api.Text("О"), "•••"},
		{"residency_country", api.Text("KZ"), "•••"},
		{"postal_index", api.Text("050000"), "•••"},
		{"registration_date", api.Text("2024-02-29"), "•••"},
		{"residence_address", api.Text("Алматы, Абай 10"), "•••"},
		{"residence_address", api.Parts(map[string]string{"country": "KZ", "city": "Алматы"}), "•••"},
		{"document_number", api.Text("N12345678"), "•••"},
		{"text", api.Text("что угодно"), "•••"},
	}
	for _, test := range tests {
		t.Run(test.field+" "+test.want, func(t *testing.T) {
			f := field(t, test.field)
			v, rule := f.Normalise(test.value)
			if rule != "" {
				t.Fatal(rule)
			}
			if got, ok := f.Mask(v).Text(); !ok || got != test.want {
				t.Errorf("masked %q, want %q", got, test.want)
			}
		})
	}
}

// Two characters of a short number would be much of it.
func TestMaskOfShortNumbers(t *testing.T) {
	s, err := schema.Parse(strings.NewReader("fields: [{name: card, type: document_number, mask: last2}]"))
	if err != nil {
		t.Fatal(err)
	}
	f, _ := s.Field("card")
	for input, want := range map[string]string{"1234": "•••", "1234567": "•••", "12345678": "•••78"} {
		v, _ := f.Normalise(api.Text(input))
		if got, _ := f.Mask(v).Text(); got != want {
			t.Errorf("%s masked %q, want %q", input, got, want)
		}
	}
}

// A value sealed before its field's type was changed is none of the new type's rule.
func TestMaskOfAnotherType(t *testing.T) {
	v, _ := field(t, "document_number").Normalise(api.Text("012345678901"))
	if got, _ := field(t, "iin").Mask(v).Text(); got != "•••" {
		t.Errorf("masked %q", got)
	}
	if got, _ := field(t, "iin").Mask(schema.Value{}).Text(); got != "•••" {
		t.Errorf("no value masked %q", got)
	}
}
