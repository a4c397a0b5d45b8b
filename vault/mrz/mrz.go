// Package mrz composes and checks the machine-readable zone of identity documents after ICAO Doc 9303: TD1, three lines of 30
// characters, as on an identity card, and TD3, two lines of 44, as on a passport.
//
// A line holds A–Z, 0–9 and the filler <. Number, dates and optional data carry a check digit (weights 7, 3, 1; ICAO Doc 9303 part 3, 4.9), and a
// composite one covers them together. [Document.Lines] writes a zone and [Read] takes back only what Lines would have
// written, with one exception that the standard leaves to the issuer: the check digit of an empty optional field of a TD3 may be < or 0. Lines
// writes 0.
//
// The package does not cover document numbers of more than nine characters, which TD1 carries on in the optional data; no document of
// Kazakhstan has one. A zone of Kazakhstan holds the holder's IIN as optional data, so its text deserves the same care as the IIN. Errors
// name the field and the rule, never what was in it.
package mrz

import "strings"

// Document is the content of a zone. Text is upper-case A–Z and 0–9; [Transliterate] brings a name there.
type Document struct {
	Code        string // type of document, one or two letters: P for a passport, I, A or C and a letter of the issuer's for a card
	Issuer      string // three-letter code of ICAO Doc 9303 part 3, 5: KAZ; UTO for Utopia, the country of specimens
	Surname     string // words separated by one space; longer names are shortened to the room there is
	Given       string // may be empty; the zone has no room of its own for a patronymic
	Number      string // up to 9 characters
	Nationality string // three-letter code, as Issuer
	Birth       string // YYMMDD; fillers for an unknown part
	Sex         string // M, F or empty when not stated
	Expiry      string // YYMMDD
	Optional    string // up to 15 characters in TD1, 14 in TD3; on documents of Kazakhstan the IIN
	Optional2   string // up to 11 characters, TD1 only
}

// Lines writes the zone. Each line has the full width of the format. The error is an [*Error].
func (d Document) Lines(format Format) ([]string, error) {
	form, err := format.layout()
	if err != nil {
		return nil, err
	}
	if form.optional2 == absent && d.Optional2 != "" {
		return nil, &Error{Field: "optional2", Rule: RuleSize}
	}
	zone := []byte(strings.Repeat("<", form.lines*form.width))
	for _, field := range form.fields() {
		text := *field.of(&d)
		if err := field.accepts(text); err != nil {
			return nil, err
		}
		copy(zone[field.from:], text)
		if field.check != absent {
			zone[field.check] = CheckDigit(string(zone[field.from:field.to]))
		}
	}
	names, err := joinNames(d.Surname, d.Given, form.names.length())
	if err != nil {
		return nil, err
	}
	copy(zone[form.names.from:], names)
	zone[form.composite] = CheckDigit(form.covered(string(zone)))
	return form.split(string(zone)), nil
}

// Read checks the lines of a zone and returns its content. The format follows from their number and width. The error is an [*Error].
func Read(lines []string) (Document, Format, error) {
	format, form, err := recognise(lines)
	if err != nil {
		return Document{}, 0, err
	}
	zone := strings.Join(lines, "")
	if strings.Trim(zone, alphabet) != "" {
		return Document{}, 0, &Error{Field: "zone", Rule: RuleCharacters}
	}
	var d Document
	for _, field := range form.fields() {
		if err := field.verify(zone); err != nil {
			return Document{}, 0, err
		}
		*field.of(&d) = strings.TrimRight(zone[field.from:field.to], "<")
	}
	if zone[form.composite] != CheckDigit(form.covered(zone)) {
		return Document{}, 0, &Error{Field: "composite", Rule: RuleCheckDigit}
	}
	d.Surname, d.Given, err = splitNames(zone[form.names.from:form.names.to])
	if err != nil {
		return Document{}, 0, err
	}
	return d, format, nil
}
