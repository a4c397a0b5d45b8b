package schema

import (
	"slices"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

const (
	maxAddress = 1000 // characters, of an address that is one text
	maxPlace   = 200  // characters, of a region and of a city
	maxLine    = 500  // characters, of the rest: street, house, flat
	katoLength = 9
)

// partNames are the parts of an address by their numbers in an encoded value. A new one is added at the end.
var partNames = [...]string{"country", "region", "city", "line", "kato"}

// partRules normalise each of partNames.
var partRules = [len(partNames)]func(string) (string, string){
	func(s string) (string, string) { return normaliseCountry(nil, s) },
	func(s string) (string, string) { return addressText(s, maxPlace) },
	func(s string) (string, string) { return addressText(s, maxPlace) },
	func(s string) (string, string) { return addressText(s, maxLine) },
	normaliseKATO,
}

// normaliseAddress takes an address as one text: lines and runs of space become single spaces.
func normaliseAddress(_ *Field, s string) (string, string) { return addressText(s, maxAddress) }

// normaliseParts takes an address by its parts, any of them but at least one.
func (f *Field) normaliseParts(parts map[string]string) (Value, string) {
	if !f.Type.kind().hasParts {
		return Value{}, RuleText
	}
	if len(parts) == 0 {
		return Value{}, RuleEmpty
	}
	for name := range parts {
		if !slices.Contains(partNames[:], name) {
			return Value{}, RuleParts // the name is the sender's and may be anything: it is not repeated
		}
	}
	var canonical []part
	for number, name := range partNames {
		text, ok := parts[name]
		if !ok {
			continue
		}
		rule := checkInput(text)
		if rule == "" {
			text, rule = partRules[number](text)
		}
		if rule != "" {
			return Value{}, name + "." + rule
		}
		canonical = append(canonical, newPart(number, text))
	}
	return Value{typ: f.Type, parts: canonical}, ""
}

func addressText(s string, limit int) (string, string) {
	s = joinSpace(norm.NFC.String(s))
	if utf8.RuneCountInString(s) > limit {
		return "", RuleLength
	}
	for _, r := range s {
		if forbidden(r) || unseen(r) {
			return "", RuleControls
		}
	}
	return s, ""
}

// normaliseKATO takes a code of the classifier of administrative and territorial objects: nine digits. Whether the object exists is not
// asked: the classifier changes several times a year.
func normaliseKATO(s string) (string, string) {
	if !asciiDigits(s) {
		return "", RuleDigits
	}
	if len(s) != katoLength {
		return "", RuleLength
	}
	return s, ""
}
