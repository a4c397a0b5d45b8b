package schema

// The lengths of a document's number. The identity card's nine digits, the passport's N with eight digits and other countries' and kinds'
// numbers are all within.
const (
	minDocumentNumber = 4
	maxDocumentNumber = 20
)

// normaliseDocumentNumber upper-cases, takes spaces out and makes Cyrillic letters that look Latin so.
func normaliseDocumentNumber(_ *Field, s string) (string, string) {
	s, rule := codeText(s)
	if rule != "" {
		return "", rule
	}
	if len(s) < minDocumentNumber || len(s) > maxDocumentNumber {
		return "", RuleLength
	}
	return s, ""
}
