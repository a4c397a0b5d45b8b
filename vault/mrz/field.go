package mrz

import "strings"

// The characters of a zone.
const (
	letters  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits   = "0123456789"
	alphabet = letters + digits + "<"
)

// field is a place of a layout and what may stand in it.
type field struct {
	name string
	span
	check      int    // where its check digit stands, or absent
	characters string // a filler is among them where it may stand inside
	required   bool
	of         func(*Document) *string
}

// accepts says whether text can be written to the field. It may not end in a filler: Read could not tell that one from the rest.
func (f field) accepts(text string) error {
	if len(text) > f.length() || f.required && text == "" {
		return &Error{Field: f.name, Rule: RuleSize}
	}
	if strings.Trim(text, f.characters) != "" || strings.HasSuffix(text, "<") {
		return &Error{Field: f.name, Rule: RuleCharacters}
	}
	return nil
}

// verify checks the field in a zone: what stands in it, and its check digit.
func (f field) verify(zone string) error {
	padded := zone[f.from:f.to]
	text := strings.TrimRight(padded, "<")
	if err := f.accepts(text); err != nil {
		return err
	}
	if f.check == absent || zone[f.check] == CheckDigit(padded) {
		return nil
	}
	if f.name == "optional" && text == "" && zone[f.check] == '<' {
		return nil
	}
	return &Error{Field: f.name, Rule: RuleCheckDigit}
}

// CheckDigit returns the ASCII check digit of a text: the sum of its characters' values (digits as they are, A–Z 10…35, the filler 0) times 7, 3, 1
// in turn, modulo 10. Characters that have no place in a zone count as fillers.
func CheckDigit(text string) byte {
	weights := [...]int{7, 3, 1}
	sum := 0
	for i := range len(text) {
		sum += value(text[i]) * weights[i%len(weights)]
	}
	return byte('0' + sum%10)
}

func value(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'A' <= c && c <= 'Z':
		return int(c-'A') + 10
	}
	return 0
}
