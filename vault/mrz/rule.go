package mrz

// Rule names what a zone or a part of it breaks.
type Rule string

// The rules.
const (
	RuleFormat     Rule = "format"      // neither TD1 nor TD3
	RuleSize       Rule = "size"        // longer than its place, or a required one is empty
	RuleCharacters Rule = "characters"  // a character that has no place there
	RuleCheckDigit Rule = "check_digit" // the check digit is another
)

// Error says which field broke which rule. It does not hold the text of the field.
type Error struct {
	Field string // number, birth, names …; zone for the whole
	Rule  Rule
}

// Error implements error.
func (e *Error) Error() string { return "mrz: " + e.Field + ": broken rule: " + string(e.Rule) }
