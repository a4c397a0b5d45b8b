package iin_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sandyq/sandyq/vault/iin"
)

// The numbers are synthetic: most carry a century digit that no living person's number has.
func TestCheckAccepts(t *testing.T) {
	tests := []struct{ name, numbers string }{
		{"first weights", "850312113646 990228213644 000228113643 960131113645 750615513549 880229613543"},
		{"second weights", "850312100018 990228200904 960131101816 880229600706"},
		{"foreigner", "911231013646"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for number := range strings.FieldsSeq(test.numbers) {
				for _, mode := range []iin.Mode{iin.Strict, iin.Lenient} {
					if err := iin.Check(number, mode); err != nil {
						t.Errorf("Check(%s, %d) = %v", number, mode, err)
					}
				}
				if doubts := iin.Doubts(number); doubts != nil {
					t.Errorf("Doubts(%s) = %v", number, doubts)
				}
			}
		})
	}
}

func TestCheckRefuses(t *testing.T) {
	tests := []struct {
		name, number    string
		strict, lenient iin.Rule // an empty rule: accepted
	}{
		{"wrong check digit", "850312113645", iin.RuleCheckDigit, iin.RuleCheckDigit},
		{"no sum gives a digit", neverIssued + "0", iin.RuleNeverIssued, iin.RuleNeverIssued},
		{"number of a firm", "991340000017", iin.RuleBIN, iin.RuleBIN},
		{"thirteen digits", "8503121136461", iin.RuleLength, iin.RuleLength},
		{"eleven digits", "85031211364", iin.RuleLength, iin.RuleLength},
		{"empty", "", iin.RuleLength, iin.RuleLength},
		{"full-width digits", "８５０３１２１１３６４６", iin.RuleASCIIDigits, iin.RuleASCIIDigits},
		{"Arabic-Indic digits", "٨٥٠٣١٢١١٣٦٤٦", iin.RuleASCIIDigits, iin.RuleASCIIDigits},
		{"spaces around", " 850312113646", iin.RuleASCIIDigits, iin.RuleASCIIDigits},
		{"grouped", "850312-113646", iin.RuleASCIIDigits, iin.RuleASCIIDigits},
		{"letter O for zero", "85O312113646", iin.RuleASCIIDigits, iin.RuleASCIIDigits},
		{"30 February", "850230113640", iin.RuleDate, ""},
		{"29 February, not a leap year", "830229113641", iin.RuleDate, ""},
		{"no month and no day", "000000000000", iin.RuleDate, ""},
		{"century not in use", "850312713644", iin.RuleCentury, ""},
		{"29 February 1900", complete("00022931364"), iin.RuleDate, ""},
		{"29 February 2000", complete("00022951364"), "", ""},
		{"29 February of a foreigner", complete("00022901364"), "", ""},
		{"fifth digit 7", complete("85037211364"), iin.RuleDate, ""},
		{"century and date", complete("85023091364"), iin.RuleCentury, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			wantRule(t, iin.Check(test.number, iin.Strict), test.strict)
			wantRule(t, iin.Check(test.number, iin.Lenient), test.lenient)
		})
	}
}

// neverIssued gives 10 with both rows of weights.
const neverIssued = "85031230038"

// complete appends the check digit; a number without one is a mistake of the test.
func complete(first11 string) string {
	digit, ok := iin.CheckDigit(first11)
	if !ok {
		panic("no check digit")
	}
	return first11 + string(digit)
}

func wantRule(t rapid.TB, err error, want iin.Rule) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
		return
	}
	broken, ok := errors.AsType[*iin.Error](err)
	if !ok || broken.Rule != want {
		t.Errorf("error %v, want rule %s", err, want)
	}
}

func TestDoubts(t *testing.T) {
	tests := []struct {
		name, number string
		want         []iin.Rule
	}{
		{"none", "850312113646", nil},
		{"date", "850230113640", []iin.Rule{iin.RuleDate}},
		{"century", "850312713644", []iin.Rule{iin.RuleCentury}},
		{"29 February in no century that is", "830229713640", []iin.Rule{iin.RuleCentury, iin.RuleDate}},
		{"29 February in some century", "840229713640", []iin.Rule{iin.RuleCentury}},
		{"not twelve digits", "85023011364", nil},
		{"not digits", "85023011364x", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := iin.Doubts(test.number); !slices.Equal(got, test.want) {
				t.Errorf("Doubts = %v, want %v", got, test.want)
			}
		})
	}
}

func TestCheckDigitWantsElevenDigits(t *testing.T) {
	for _, s := range []string{"", "8503121136", "850312113646", "8503121136x", "８５０３１２１１３６４"} {
		if digit, ok := iin.CheckDigit(s); ok {
			t.Errorf("CheckDigit(%q) = %c", s, digit)
		}
	}
}

func TestErrorIsTheRuleOnly(t *testing.T) {
	const number = "850312113645"
	if got, want := iin.Check(number, iin.Strict).Error(), "iin: broken rule: check_digit"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
