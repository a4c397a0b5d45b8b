package schema

import (
	"errors"

	"github.com/sandyq/sandyq/vault/iin"
)

// Doubts names the rules that a value breaks and the field forgives, being lenient.
func (f *Field) Doubts(v Value) []string {
	if !f.Lenient || v.Type() != TypeIIN {
		return nil
	}
	var rules []string
	for _, rule := range iin.Doubts(v.Key()) {
		rules = append(rules, string(rule))
	}
	return rules
}

// normaliseIIN takes twelve digits as they are: no spaces and no other script's digits are read as something they are not.
func normaliseIIN(f *Field, s string) (string, string) {
	mode := iin.Strict
	if f.Lenient {
		mode = iin.Lenient
	}
	if broken, ok := errors.AsType[*iin.Error](iin.Check(s, mode)); ok {
		return "", string(broken.Rule)
	}
	return s, ""
}
