package schema

import "strings"

// The forms of a postal index of Kazakhstan: six digits, and since 2015 a letter, two digits, a letter, a digit, a letter, a digit.
const (
	oldIndexLength = 6
	newIndexForm   = "A99A9A9"
)

// normalisePostalIndex takes either form, with spaces between; letters are upper-cased and Cyrillic ones that look Latin are made so.
func normalisePostalIndex(_ *Field, s string) (string, string) {
	s = codeText(s)
	if rule := codeRule(s); rule != "" {
		return "", rule
	}
	switch {
	case len(s) == oldIndexLength:
		if !asciiDigits(s) {
			return "", RuleDigits
		}
	case len(s) != len(newIndexForm):
		return "", RuleLength
	default:
		for i := range len(s) {
			if asciiDigits(s[i:i+1]) != asciiDigits(newIndexForm[i:i+1]) {
				return "", RuleForm
			}
		}
	}
	return s, ""
}

// latin maps the Cyrillic capitals that cannot be told from Latin ones on paper. Letters are never made digits, nor digits letters.
var latin = strings.NewReplacer("А", "A", "В", "B", "С", "C", "Е", "E", "Н", "H", "І", "I", "К", "K", "М", "M", "О", "O", "Р", "P", "Т", "T", "У", "Y", "Х", "X")

// codeText gives a number of letters and digits its one spelling: capitals, Latin where they look it, no spaces.
func codeText(s string) string {
	return latin.Replace(strings.ToUpper(strings.Join(strings.Fields(s), "")))
}

// codeRule wants A–Z and 0–9.
func codeRule(s string) string {
	for _, r := range s {
		if !('A' <= r && r <= 'Z') && !('0' <= r && r <= '9') {
			return RuleCharacters
		}
	}
	return ""
}
