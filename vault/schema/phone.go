package schema

import (
	"strings"

	"github.com/nyaruka/phonenumbers"
)

const (
	// homeRegion is where a number without a country code is dialled.
	homeRegion   = "KZ"
	homeDigits   = 10
	homePrefixes = "67" // +7 is Russia's as well; Kazakhstan has the numbers that go on with 6 and 7

	maxPhoneInput = 40
)

// normalisePhone reads digits with the usual punctuation as a number and gives its E.164 form. Letters, extensions and other scripts' digits
// are refused.
//
// Of a number of Kazakhstan the shape is enough: ranges are opened there more often than libraries are updated, and a subscriber turned away costs
// more than a number that nobody has. Any other number must be in its country's plan as the library knows it.
func normalisePhone(_ *Field, s string) (string, string) {
	if len(s) > maxPhoneInput {
		return "", RuleLength
	}
	dialled, ok := dialledDigits(s)
	if !ok {
		return "", RuleCharacters
	}
	if number, ok := homeNumber(dialled); ok {
		return number, ""
	}
	number, err := phonenumbers.Parse(dialled, homeRegion)
	if err != nil || !phonenumbers.IsValidNumber(number) {
		return "", RulePlan // the error may quote the number
	}
	return phonenumbers.Format(number, phonenumbers.E164), ""
}

// dialledDigits takes the punctuation out; a + may only come first.
func dialledDigits(s string) (string, bool) {
	var b strings.Builder
	for _, r := range s {
		switch {
		case '0' <= r && r <= '9', r == '+' && b.Len() == 0:
			b.WriteRune(r)
		case strings.ContainsRune(" \u00a0-\u2010\u2011().", r):
		default:
			return "", false
		}
	}
	return b.String(), true
}

// homeNumber reads a number of Kazakhstan: ten digits that begin with 6 or 7, alone or after +7, 7 or the 8 of a call inside the country.
func homeNumber(dialled string) (string, bool) {
	national := dialled
	for _, prefix := range []string{"+7", "7", "8"} {
		if rest, ok := strings.CutPrefix(dialled, prefix); ok && len(rest) == homeDigits {
			national = rest
		}
	}
	if len(national) != homeDigits || !strings.Contains(homePrefixes, national[:1]) {
		return "", false
	}
	return "+7" + national, true
}
