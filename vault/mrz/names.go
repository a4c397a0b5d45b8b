package mrz

import "strings"

// joinNames writes SURNAME<<GIVEN<NAMES into at most width characters. Names too long lose letters at the end of their longest word, one at a
// time, until they fit: every word stays recognisable, and the last place holds a letter, which is how the standard marks a name that may be cut
// (ICAO Doc 9303 part 3, 4.6).
func joinNames(surname, given string, width int) (string, error) {
	surnames, givens := strings.Fields(surname), strings.Fields(given)
	if len(surnames) == 0 {
		return "", &Error{Field: "names", Rule: RuleSize}
	}
	if strings.Trim(surname+given, letters+" ") != "" {
		return "", &Error{Field: "names", Rule: RuleCharacters}
	}
	for {
		joined := strings.Join(surnames, "<")
		if len(givens) > 0 {
			joined += "<<" + strings.Join(givens, "<")
		}
		if len(joined) <= width {
			return joined, nil
		}
		if !shortenLongest(surnames, givens) {
			return "", &Error{Field: "names", Rule: RuleSize}
		}
	}
}

// shortenLongest takes a letter from the longest word, the later of equals, and reports whether any had one to spare.
func shortenLongest(surnames, givens []string) bool {
	var longest *string
	for _, words := range [][]string{surnames, givens} {
		for i := range words {
			if longest == nil || len(words[i]) >= len(*longest) {
				longest = &words[i]
			}
		}
	}
	if len(*longest) < 2 {
		return false
	}
	*longest = (*longest)[:len(*longest)-1]
	return true
}

// splitNames reads what joinNames writes.
func splitNames(field string) (surname, given string, err error) {
	joined := strings.TrimRight(field, "<")
	surname, given, _ = strings.Cut(joined, "<<")
	surname, given = strings.ReplaceAll(surname, "<", " "), strings.ReplaceAll(given, "<", " ")
	again, err := joinNames(surname, given, len(field))
	if err != nil {
		return "", "", err
	}
	if again != joined {
		return "", "", &Error{Field: "names", Rule: RuleCharacters}
	}
	return surname, given, nil
}
