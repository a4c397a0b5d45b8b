package schema

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

const maxName = 100 // characters

// normalisePersonName keeps a name as its document spells it, in NFC and with single spaces. A mark stands on a letter, a hyphen between two
// parts that begin and end with letters or apostrophes.
func normalisePersonName(_ *Field, s string) (string, string) {
	for _, r := range s {
		if unicode.IsControl(r) || unseen(r) {
			return "", RuleControls
		}
	}
	s = joinSpace(norm.NFC.String(s))
	if utf8.RuneCountInString(s) > maxName {
		return "", RuleLength
	}
	letters := 0
	before := ' '
	for _, r := range s + " " {
		switch {
		case strings.ContainsRune(apostrophes, r):
		case unicode.IsLetter(r):
			letters++
		case unicode.IsMark(r) && (unicode.IsLetter(before) || unicode.IsMark(before)):
		case r == ' ' && !strings.ContainsRune(hyphens, before):
		case strings.ContainsRune(hyphens, r) && before != ' ' && !strings.ContainsRune(hyphens, before):
		default:
			return "", RuleLetters
		}
		before = r
	}
	if letters == 0 {
		return "", RuleLetters
	}
	return s, ""
}

// What joins letters into a name, by the spellings that keyboards and documents give it. U+02BC, a letter to
// Unicode, is a joiner here.
const (
	hyphens     = "-\u2010\u2011"
	apostrophes = "'\u2018\u2019\u02bc"
)

// oneJoiner makes the spellings one for the key.
var oneJoiner = strings.NewReplacer("\u2010", "-", "\u2011", "-", "\u2018", "'", "\u2019", "'", "\u02bc", "'")

// foldName is the key of a name. It is exact but for case and joiners: Kazakh letters are not folded to Russian ones, nor Cyrillic to Latin.
func foldName(s string) string { return fold(oneJoiner.Replace(s)) }
