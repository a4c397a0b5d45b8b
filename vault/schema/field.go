package schema

import (
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/token"
)

// Field is one kind of data about a person.
type Field struct {
	Name       string // [a-z][a-z0-9_]{0,39}; part of the API, of sealed values' context and of the blind index
	Type       Type
	Many       bool // a person may have several values
	Unique     bool // a value belongs to one person and finds them; always searchable, never many
	Searchable bool // values are in the blind index
	Lenient    bool // of an iin: accept a date or a century digit that cannot be
	MaxValues  int  // how many values a person may have; 1 unless Many
	Slice      string
	MaskRule   MaskRule
	Token      token.Format
	Category   Category
}

// Category groups fields for reports and notices.
type Category string

// The categories.
const (
	CategoryIdentity Category = "identity"
	CategoryContact  Category = "contact"
	CategoryAddress  Category = "address"
	CategoryDocument Category = "document"
	CategoryOther    Category = "other"
)

// maxInput bounds, in bytes, what is looked at in a text at all: more than any type accepts.
const maxInput = 64 << 10

// Normalise checks a value as it came in and gives its canonical form. When the value breaks a rule the rule's name comes back and the Value
// is empty; "" is no rule broken. A rule is one of the Rule constants, for a part of an address with the part's name and a dot before it.
// It never contains anything of the value.
func (f *Field) Normalise(v api.Value) (Value, string) {
	if parts, ok := v.Parts(); ok {
		return f.normaliseParts(parts)
	}
	text, _ := v.Text()
	if rule := checkInput(text); rule != "" {
		return Value{}, rule
	}
	if _, _, err := token.Parse(text); err == nil {
		return Value{}, RuleToken
	}
	canonical, rule := f.Type.kind().normalise(f, text)
	if rule != "" {
		return Value{}, rule
	}
	return newText(f.Type, canonical), ""
}

// Mask shows of a value what the field's rule allows. A value of another type than the field's, left from before its type was changed, is
// hidden whole.
func (f *Field) Mask(v Value) api.Value {
	if v.typ != f.Type || v.parts != nil {
		return api.Text(hidden)
	}
	return api.Text(f.MaskRule.apply(v.text.Expose()))
}
