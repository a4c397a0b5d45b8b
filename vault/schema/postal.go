package schema

// The forms of a postal index of Kazakhstan: six digits, or in the new form a letter, two digits, a letter, a digit, a letter, a digit.
const (
	oldIndexLength = 6
	newIndexForm   = "A99A9A9"
)

// normalisePostalIndex takes either form, with spaces between; letters are upper-cased and Cyrillic ones that look Latin are made so.
func normalisePostalIndex(_ *Field, s string) (string, string) {
	s, rule := codeText(s)
	if rule != "" {
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
