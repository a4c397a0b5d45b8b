package iin

// Rule names what a number breaks. The names are stable: they go into answers of the API as they are.
type Rule string

// The rules, in the order in which [Check] applies them.
const (
	RuleASCIIDigits Rule = "ascii_digits" // a character that is not one of 0–9, full-width digits included
	RuleLength      Rule = "length"       // not twelve digits
	RuleNeverIssued Rule = "never_issued" // both sums are 10: no check digit exists
	RuleCheckDigit  Rule = "check_digit"  // the last digit is not the check digit of the others
	RuleBIN         Rule = "bin"          // the number of a firm
	RuleCentury     Rule = "century"      // C is 7, 8 or 9; forgiven by Lenient
	RuleDate        Rule = "date"         // YYMMDD is not a day of its century; forgiven by Lenient
)

// Error says which rule a number broke. It does not hold the number.
type Error struct{ Rule Rule }

// Error implements error.
func (e *Error) Error() string { return "iin: broken rule: " + string(e.Rule) }
