package schema_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/vault/schema"
)

// The built-in fields are part of the API: their names, and what a caller may rely on of each.
func TestDefault(t *testing.T) {
	want := []string{
		"iin unique searchable identity last2 identity",
		"family_name identity initial identity",
		"given_name identity initial identity",
		"patronymic identity initial identity",
		"residency_country identity full identity",
		"postal_index identity full address",
		"residence_address identity full address",
		"registration_address identity full address",
		"registration_date identity full address",
		"stay_address identity full address",
		"stay_registration_date identity full address",
		"phone many=50 searchable identity last2 contact",
		"email many=50 searchable identity email contact",
		"postal_address identity full address",
		"document_number searchable identity full document",
	}
	s := schema.Default()
	var got []string
	for _, f := range s.Fields() {
		got = append(got, describe(f))
		if f.Token != "opaque" {
			t.Errorf("%s: tokens %s", f.Name, f.Token)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := s.Slices(); !slices.Equal(got, []string{"identity", "documents"}) {
		t.Errorf("slices %v", got)
	}
	if _, ok := s.Field("documents"); ok {
		t.Error("there is a field documents")
	}
}

func describe(f *schema.Field) string {
	words := []string{f.Name}
	if f.Many {
		words = append(words, fmt.Sprintf("many=%d", f.MaxValues))
	}
	if f.Unique {
		words = append(words, "unique")
	}
	if f.Searchable {
		words = append(words, "searchable")
	}
	return strings.Join(append(words, f.Slice, string(f.MaskRule), string(f.Category)), " ")
}

func TestParse(t *testing.T) {
	s, err := schema.Parse(strings.NewReader(`
fields:
  - {name: card, type: document_number, many: true, max_values: 3, searchable: true, slice: marketing, mask: last2}
  - {name: iin, type: iin, unique: true, searchable: true, lenient: true, token: iin, mask: full}
  - {name: email, type: email, token: email, category: other}
  - {name: hobby, type: text, slice: marketing}
`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.Slices(), []string{"marketing", "identity", "documents"}; !slices.Equal(got, want) {
		t.Errorf("slices %v, want %v", got, want)
	}
	card, _ := s.Field("card")
	if got, want := describe(card), "card many=3 searchable marketing last2 document"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if iin, _ := s.Field("iin"); !iin.Lenient || iin.Token != "iin" || iin.MaskRule != schema.MaskFull || iin.MaxValues != 1 {
		t.Errorf("iin: %+v", iin)
	}
	if email, _ := s.Field("email"); email.Token != "email" || email.Category != schema.CategoryOther {
		t.Errorf("email: %+v", email)
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct{ name, fields, err string }{
		{"nothing", ``, "read"},
		{"no fields", `fields: []`, "no fields"},
		{"not YAML", `fields: [`, "read"},
		{"unknown key of the file", `feilds: []`, "feilds"},
		{"two documents", "fields: [{name: a, type: text}]\n---\nfields: []", "read"},
		{"unknown key of a field", `fields: [{name: a, type: text, serchable: true}]`, "serchable"},
		{"key twice", `fields: [{name: a, type: text, type: iin}]`, `"type"`},
		{"field twice", `fields: [{name: a, type: text}, {name: a, type: text}]`, `field "a": named twice`},
		{"no name", `fields: [{type: text}]`, `field ""`},
		{"capital", `fields: [{name: Iin, type: iin}]`, `field "Iin": a name is`},
		{"long name", `fields: [{name: a` + strings.Repeat("b", 40) + `, type: text}]`, "a name is"},
		{"line end in the name", `fields: [{name: "a\n", type: text}]`, "a name is"},
		{"no type", `fields: [{name: a}]`, `field "a": no type ""`},
		{"unknown type", `fields: [{name: a, type: name}]`, `field "a": no type "name"`},
		{"documents", `fields: [{name: documents, type: text}]`, "the name is that of documents"},
		{"slice of documents", `fields: [{name: a, type: text, slice: documents}]`, `field "a": the slice is kept for documents`},
		{"shape of a slice", `fields: [{name: a, type: text, slice: A-1}]`, `field "a": a slice is named like a field`},
		{"searchable text", `fields: [{name: a, type: text, searchable: true}]`, `field "a": type text cannot be searchable`},
		{"searchable name", `fields: [{name: a, type: person_name, searchable: true}]`, "type person_name cannot be searchable"},
		{"searchable date", `fields: [{name: a, type: date, searchable: true}]`, "type date cannot be searchable"},
		{"unique, not searchable", `fields: [{name: a, type: iin, unique: true}]`, `field "a": unique needs searchable`},
		{"unique and many", `fields: [{name: a, type: phone, unique: true, searchable: true, many: true}]`, "exclude each other"},
		{"lenient phone", `fields: [{name: a, type: phone, lenient: true}]`, "lenient is for the type iin"},
		{"max_values of one", `fields: [{name: a, type: phone, max_values: 2}]`, "max_values needs many"},
		{"negative max_values", `fields: [{name: a, type: phone, many: true, max_values: -1}]`, "max_values is 1 to 1000"},
		{"huge max_values", `fields: [{name: a, type: phone, many: true, max_values: 1001}]`, "max_values is 1 to 1000"},
		{"iin tokens of a phone", `fields: [{name: a, type: phone, token: iin}]`, `field "a": type phone cannot have tokens of this format`},
		{"email tokens of an iin", `fields: [{name: a, type: iin, token: email}]`, "cannot have tokens of this format"},
		{"unknown tokens", `fields: [{name: a, type: iin, token: short}]`, "cannot have tokens of this format"},
		{"email mask of an iin", `fields: [{name: a, type: iin, mask: email}]`, `field "a": type iin has the masks [last2 full]`},
		{"last2 of a date", `fields: [{name: a, type: date, mask: last2}]`, "type date has the masks [full]"},
		{"unknown mask", `fields: [{name: a, type: iin, mask: none}]`, "has the masks"},
		{"unknown category", `fields: [{name: a, type: iin, category: secret}]`, "a category is one of"},
		{"more than a megabyte", "#" + strings.Repeat(" ", 1<<20) + "\nfields: []", "more than"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, err := schema.Parse(strings.NewReader(test.fields))
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("error %v, want %q", err, test.err)
			}
			if s != nil {
				t.Error("a refused schema came back")
			}
		})
	}
}
