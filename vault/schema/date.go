package schema

import "time"

const (
	dateForm = time.DateOnly
	minYear  = 1800
	maxYear  = 2200
)

// normaliseDate takes a day of the calendar written yyyy-mm-dd.
func normaliseDate(_ *Field, s string) (string, string) {
	if len(s) != len(dateForm) {
		return "", RuleForm
	}
	for i := range len(s) {
		if separator := i == 4 || i == 7; separator && s[i] != '-' || !separator && !asciiDigits(s[i:i+1]) {
			return "", RuleForm
		}
	}
	day, err := time.Parse(dateForm, s)
	if err != nil || day.Year() < minYear || day.Year() > maxYear {
		return "", RuleDate
	}
	return s, ""
}
