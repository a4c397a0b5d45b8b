package iin_test

import (
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/sandyq/sandyq/vault/iin"
)

var elevenDigits = rapid.StringMatching(`[0-9]{11}`)

// firstWeights reports whether the first row of weights decides the check digit; it is written out anew, so as not to share a mistake.
func firstWeights(first11 string) bool {
	sum := 0
	for i := range first11 {
		sum += (i + 1) * int(first11[i]-'0')
	}
	return sum%11 != 10
}

func withDigit(s string, position int, digit byte) string {
	changed := []byte(s)
	changed[position] = digit
	return string(changed)
}

func TestOneCheckDigitFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first11 := elevenDigits.Draw(t, "first11")
		want, issued := iin.CheckDigit(first11)
		for digit := byte('0'); digit <= '9'; digit++ {
			err := iin.Check(first11+string(digit), iin.Lenient)
			switch {
			case !issued:
				wantRule(t, err, iin.RuleNeverIssued)
			case digit != want:
				wantRule(t, err, iin.RuleCheckDigit)
			case '4' <= first11[4] && first11[4] <= '6':
				wantRule(t, err, iin.RuleBIN)
			case err != nil:
				t.Fatalf("the number with its check digit was refused: %v", err)
			}
		}
	})
}

// Where the first weights decide both the right and the mistyped number, a single wrong digit is always seen, and in the eleventh place
// never: its weight is 11.
func TestSingleErrorsUnderTheFirstWeights(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		right := elevenDigits.Filter(firstWeights).Draw(t, "right")
		position := rapid.IntRange(0, 10).Draw(t, "position")
		wrong := withDigit(right, position, rapid.ByteRange('0', '9').Draw(t, "digit"))
		if wrong == right || !firstWeights(wrong) {
			t.Skip("not a single error under the first weights")
		}
		rightDigit, _ := iin.CheckDigit(right)
		wrongDigit, _ := iin.CheckDigit(wrong)
		if missed := rightDigit == wrongDigit; missed != (position == 10) {
			t.Fatalf("position %d: missed %t", position+1, missed)
		}
	})
}

// What the check is worth, measured: the share of single wrong digits, in per cent, that still pass, by position. The figures are of
// the check digit alone; the date catches some more in the first six places.
func TestShareOfSingleErrorsMissed(t *testing.T) {
	want := [11]float64{1.66, 1.66, 1.66, 1.66, 1.66, 1.66, 1.66, 1.66, 1.66, 1.66, 91.6}
	const numbers, tolerance = 50_000, 0.25
	random := rand.New(rand.NewPCG(1, 2))
	for position := range want {
		missed, all := 0, 0
		for range numbers {
			right, digit := randomNumber(random)
			for wrong := byte('0'); wrong <= '9'; wrong++ {
				if wrong == right[position] {
					continue
				}
				all++
				if got, ok := iin.CheckDigit(withDigit(right, position, wrong)); ok && got == digit {
					missed++
				}
			}
		}
		share := 100 * float64(missed) / float64(all)
		if share < want[position]-tolerance || share > want[position]+tolerance {
			t.Errorf("position %d: %.2f%% missed, want %.2f%%", position+1, share, want[position])
		}
	}
}

// randomNumber returns eleven random digits that have a check digit, and that digit.
func randomNumber(random *rand.Rand) (first11 string, digit byte) {
	for {
		digits := make([]byte, 11)
		for i := range digits {
			digits[i] = byte('0' + random.IntN(10))
		}
		if digit, ok := iin.CheckDigit(string(digits)); ok {
			return string(digits), digit
		}
	}
}
