package schema

import "strings"

// latin maps the Cyrillic letters whose capitals cannot be told from Latin ones on paper. Letters are never made digits, nor digits letters.
var latin = map[rune]rune{
	'А': 'A', 'В': 'B', 'С': 'C', 'Е': 'E', 'Н': 'H', 'І': 'I', 'К': 'K', 'М': 'M', 'О': 'O', 'Р': 'P', 'Т': 'T', 'У': 'Y', 'Х': 'X',
	'а': 'A', 'в': 'B', 'с': 'C', 'е': 'E', 'н': 'H', 'і': 'I', 'к': 'K', 'м': 'M', 'о': 'O', 'р': 'P', 'т': 'T', 'у': 'Y', 'х': 'X',
}

// codeText gives a number of letters and digits its one spelling: capitals, Latin where they look it, no spaces. What then is not of A–Z
// and 0–9 breaks a rule: of other scripts nothing is read as a letter or a digit.
func codeText(s string) (code, rule string) {
	var b strings.Builder
	for _, r := range s {
		if l, ok := latin[r]; ok {
			r = l
		}
		switch {
		case r == ' ' || r == '\u00a0':
		case 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			b.WriteRune(r)
		case 'a' <= r && r <= 'z':
			b.WriteRune(r - 'a' + 'A')
		default:
			return "", RuleCharacters
		}
	}
	return b.String(), ""
}
