// Package consent holds the texts that people consent to.
//
// A person consents to a text, and to show later what they consented to, the text must still be there, letter for letter. So
// a [Text] has a version that names it for good, the text itself in Kazakh, Russian and English, of each its SHA-256, the
// moment from which it was shown to people, and the purposes that it speaks of. Once that moment has come a text does not
// change any more: another text is another version.
//
// A [Registry] is read from files or built in ([Default]); what is put over the API lies in the store, in the same form.
//
// Invariants: a text has all three languages, none longer than [MaxText]; its version is no number of a person or a document (see
// [Text.Broken]); the zero Text covers no purpose.
package consent

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of a text.
const (
	MaxText     = 64 << 10 // bytes in one language
	MaxPurposes = 100
)

// Text is one version of a text.
type Text struct {
	Version   string
	Body      Body
	Effective time.Time // from when on people were shown it
	Purposes  []string  // that a consent to it may be for
}

// Body is a text in the languages of the interface.
type Body struct {
	Kazakh  string `yaml:"kk"`
	Russian string `yaml:"ru"`
	English string `yaml:"en"`
}

// Digests is the SHA-256 of a text in each language, of its bytes in UTF-8 as they stand.
type Digests struct {
	Kazakh  [sha256.Size]byte
	Russian [sha256.Size]byte
	English [sha256.Size]byte
}

// Digests tells what proves the text.
func (b Body) Digests() Digests {
	return Digests{sha256.Sum256([]byte(b.Kazakh)), sha256.Sum256([]byte(b.Russian)), sha256.Sum256([]byte(b.English))}
}

// Covers reports whether a consent to the text may be for the purpose.
func (t *Text) Covers(purpose string) bool { return slices.Contains(t.Purposes, purpose) }

// Same reports whether both say the same.
func (t *Text) Same(u *Text) bool {
	return t.Version == u.Version && t.Body == u.Body && t.Effective.Equal(u.Effective) && slices.Equal(t.Purposes, u.Purposes)
}

var (
	versionPattern = regexp.MustCompile(`^[a-z0-9._-]{1,60}$`)
	longNumber     = regexp.MustCompile(`[0-9]{9}`) // versions go into the log and stay there
)

// Broken names the member that breaks a rule and the rule, or nothing.
func (t *Text) Broken() (member, rule string) {
	switch {
	case !versionPattern.MatchString(t.Version), longNumber.MatchString(t.Version):
		return "version", "1 to 60 of a–z, 0–9, dot, hyphen and _, no run of 9 digits"
	case t.Effective.IsZero():
		return "effective_from", "required"
	case len(t.Purposes) == 0, len(t.Purposes) > MaxPurposes:
		return "purposes", fmt.Sprintf("1 to %d", MaxPurposes)
	case len(slices.Compact(slices.Sorted(slices.Values(t.Purposes)))) < len(t.Purposes):
		return "purposes", "each named once"
	}
	for _, language := range []struct{ member, text string }{
		{"text.kk", t.Body.Kazakh}, {"text.ru", t.Body.Russian}, {"text.en", t.Body.English},
	} {
		switch {
		case strings.TrimSpace(language.text) == "":
			return language.member, "required"
		case len(language.text) > MaxText:
			return language.member, fmt.Sprintf("at most %d bytes", MaxText)
		case !utf8.ValidString(language.text):
			return language.member, "valid UTF-8"
		}
	}
	return "", ""
}
