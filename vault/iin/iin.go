// Package iin checks Individual Identification Numbers of Kazakhstan.
//
// A number is twelve ASCII digits, YYMMDD C NNNN K:
//
//	YYMMDD  a date
//	C       century and sex: 1, 2 for 18xx, 3, 4 for 19xx, 5, 6 for 20xx (odd male, even female), 0 for foreigners
//	NNNN    a serial number
//	K       the check digit
//
// K is the sum of the first eleven digits times the weights 1…11, modulo 11. When that is 10 the sum is taken again with the weights
// 3…11, 1, 2, and when it is 10 once more no number with those eleven digits was ever issued. A BIN, the number of a
// firm, has the same length and the same check, and 4, 5 or 6 as its fifth digit, where a date in an IIN has 0…3.
//
// What a passing check is worth: very little. The eleventh digit has the weight 11, so the first sum does not see it at
// all; the package's tests hold the measured figures.
//
// Two things this package never does. It never derives a birth date or a sex: since 2013 the digits are not bound to the data of the
// person, and a number once given is not changed with them. And it never puts a number, or a part of one, into
// an error: an [Error] is the name of a rule and nothing else.
package iin

import "time"

// length is the number of digits, the check digit included.
const length = 12

// Mode says what to do with numbers the authority is known to have issued although they do not look right.
type Mode uint8

const (
	// Strict refuses a number whose date cannot be or whose century digit is not in use. It is the zero value.
	Strict Mode = iota
	// Lenient lets such a number pass; [Doubts] says what it let pass, so that the caller can warn.
	Lenient
)

// Check says whether s can be an IIN. The error, if any, is an [*Error] with the first rule broken, in the order in which the rules are
// declared.
func Check(s string, mode Mode) error {
	if err := checkForm(s); err != nil {
		return err
	}
	if mode == Lenient {
		return nil
	}
	if doubts := Doubts(s); len(doubts) > 0 {
		return &Error{Rule: doubts[0]}
	}
	return nil
}

// checkForm applies the rules that hold in both modes.
func checkForm(s string) error {
	if !digits(s) {
		return &Error{Rule: RuleASCIIDigits}
	}
	if len(s) != length {
		return &Error{Rule: RuleLength}
	}
	want, issued := CheckDigit(s[:length-1])
	if !issued {
		return &Error{Rule: RuleNeverIssued}
	}
	if s[length-1] != want {
		return &Error{Rule: RuleCheckDigit}
	}
	if '4' <= s[4] && s[4] <= '6' {
		return &Error{Rule: RuleBIN}
	}
	return nil
}

// Doubts lists the rules that s breaks and [Lenient] forgives: [RuleCentury], [RuleDate], both or none. It is meant for numbers that
// Check accepts in Lenient mode and answers nil for anything that is not twelve digits.
func Doubts(s string) []Rule {
	if len(s) != length || !digits(s) {
		return nil
	}
	var doubts []Rule
	if s[6] >= '7' {
		doubts = append(doubts, RuleCentury)
	}
	if !dateExists(s) {
		doubts = append(doubts, RuleDate)
	}
	return doubts
}

// dateExists reports whether YYMMDD is a day of the century that C names. Where C names none (foreigners, and the digits not in use) a day
// counts when any century from the 19th on the law knows has it. Days still to come are days: this package has no clock.
func dateExists(s string) bool {
	century, known := centuries[s[6]]
	if known {
		return dayExists(century+pair(s[0:2]), pair(s[2:4]), pair(s[4:6]))
	}
	for _, century := range centuries {
		if dayExists(century+pair(s[0:2]), pair(s[2:4]), pair(s[4:6])) {
			return true
		}
	}
	return false
}

// centuries gives the first year of the century for each value of C that names one.
var centuries = map[byte]int{'1': 1800, '2': 1800, '3': 1900, '4': 1900, '5': 2000, '6': 2000}

// dayExists asks the calendar: time.Date moves a day that does not exist to one that does.
func dayExists(year, month, day int) bool {
	t := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	return t.Year() == year && int(t.Month()) == month && t.Day() == day
}

// pair reads two ASCII digits.
func pair(s string) int { return int(s[0]-'0')*10 + int(s[1]-'0') }

// digits reports whether s consists of ASCII digits only; full-width and other digits of Unicode are not among them.
func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
