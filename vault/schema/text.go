package schema

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

const maxText = 4000 // characters

// checkInput applies what holds for a text of any type.
func checkInput(s string) string {
	switch {
	case len(s) > maxInput:
		return RuleLength
	case !utf8.ValidString(s):
		return RuleUTF8
	case strings.TrimSpace(s) == "":
		return RuleEmpty
	}
	return ""
}

// normaliseText keeps lines and tabs, makes line ends one kind and trims the ends.
func normaliseText(_ *Field, s string) (string, string) {
	s = norm.NFC.String(strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n")))
	if utf8.RuneCountInString(s) > maxText {
		return "", RuleLength
	}
	for _, r := range s {
		if r != '\n' && r != '\t' && forbidden(r) {
			return "", RuleControls
		}
	}
	return s, ""
}

// forbidden reports whether a character may be in no text: controls, and those that change the order in which others are shown.
func forbidden(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Bidi_Control, unicode.Noncharacter_Code_Point)
}

// unseen reports whether a character shows nothing of itself: format characters, the zero-width ones among them, fillers and variation selectors.
func unseen(r rune) bool {
	return unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector, unicode.Noncharacter_Code_Point)
}

// fold is the key of a text whose case does not matter: canonical caseless matching of the Unicode Standard, section 3.13. It is of no
// language: i and the Turkish dotless ı stay two letters.
func fold(s string) string {
	// Not shared: a Caser is not for use by several goroutines.
	caser := cases.Fold()
	return norm.NFC.String(caser.String(norm.NFD.String(s)))
}

// same is the key of a text that has one spelling.
func same(s string) string { return s }

// joinSpace makes every run of white space one space and trims the ends.
func joinSpace(s string) string { return strings.Join(strings.Fields(s), " ") }

func asciiOnly(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func asciiDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
