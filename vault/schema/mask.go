package schema

import (
	"strings"
	"unicode/utf8"
)

// MaskRule says how much of a value its masked form shows.
type MaskRule string

// The rules. What is hidden becomes three dots whatever its length was.
const (
	MaskFull    MaskRule = "full"    // nothing
	MaskLast2   MaskRule = "last2"   // the last two characters, of eight or more
	MaskEmail   MaskRule = "email"   // the first character of a local part of two or more, and the domain
	MaskInitial MaskRule = "initial" // the first letter of a name of two or more
)

const (
	hidden = "•••"

	shownLast  = 2
	minForLast = 8 // what two characters of a shorter value would show is too large a share of it
)

// apply masks a canonical text. A rule that does not fit the text, and no rule, hide it whole.
func (m MaskRule) apply(text string) string {
	switch m {
	case MaskLast2:
		if asciiOnly(text) && len(text) >= minForLast {
			return hidden + text[len(text)-shownLast:]
		}
	case MaskEmail:
		local, domain, ok := strings.Cut(text, "@")
		switch {
		case !ok || !asciiOnly(local):
			return hidden
		case len(local) > 1:
			return local[:1] + hidden + "@" + domain
		}
		return hidden + "@" + domain
	case MaskInitial:
		_, size := utf8.DecodeRuneInString(text)
		if size < len(text) {
			return text[:size] + hidden
		}
	}
	return hidden
}
