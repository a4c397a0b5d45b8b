package mrz

import "strings"

// Format is one of the two layouts the package knows.
type Format uint8

// The formats (ICAO Doc 9303 parts 5 and 4).
const (
	TD1 Format = iota + 1 // card: three lines of 30
	TD3                   // passport: two lines of 44
)

// absent marks a place that a layout does not have.
const absent = -1

// span is a half-open range of the zone, its lines taken as one string.
type span struct{ from, to int }

func (s span) length() int { return s.to - s.from }

// layout says where things stand. Fields with a check digit have it in the place after them.
type layout struct {
	lines, width         int
	code, issuer, names  span
	number, nationality  span
	birth, sex, expiry   span
	optional             span
	optionalCheck        int // absent in TD1, where only the composite digit covers the optional data
	optional2            int // where it begins, absent in TD3; it runs up to the composite digit
	composite            int
	compositeCoversSpans []span
}

var td1 = layout{
	lines: 3, width: 30,
	code: span{0, 2}, issuer: span{2, 5}, number: span{5, 14}, optional: span{15, 30},
	birth: span{30, 36}, sex: span{37, 38}, expiry: span{38, 44}, nationality: span{45, 48},
	names:         span{60, 90},
	optionalCheck: absent, optional2: 48, composite: 59,
	compositeCoversSpans: []span{{5, 37}, {38, 45}, {48, 59}},
}

var td3 = layout{
	lines: 2, width: 44,
	code: span{0, 2}, issuer: span{2, 5}, names: span{5, 44},
	number: span{44, 53}, nationality: span{54, 57}, birth: span{57, 63}, sex: span{64, 65}, expiry: span{65, 71}, optional: span{72, 86},
	optionalCheck: 86, optional2: absent, composite: 87,
	compositeCoversSpans: []span{{44, 54}, {57, 64}, {65, 87}},
}

func (f Format) layout() (*layout, error) {
	switch f {
	case TD1:
		return &td1, nil
	case TD3:
		return &td3, nil
	}
	return nil, &Error{Field: "zone", Rule: RuleFormat}
}

// recognise finds the format whose lines these are.
func recognise(lines []string) (Format, *layout, error) {
	for _, format := range []Format{TD1, TD3} {
		form, err := format.layout()
		if err != nil {
			return 0, nil, err
		}
		if form.fits(lines) {
			return format, form, nil
		}
	}
	return 0, nil, &Error{Field: "zone", Rule: RuleFormat}
}

func (l *layout) fits(lines []string) bool {
	if len(lines) != l.lines {
		return false
	}
	for _, line := range lines {
		if len(line) != l.width {
			return false
		}
	}
	return true
}

// split cuts the zone into its lines.
func (l *layout) split(zone string) []string {
	lines := make([]string, l.lines)
	for i := range lines {
		lines[i] = zone[i*l.width : (i+1)*l.width]
	}
	return lines
}

// covered returns what the composite check digit is taken of.
func (l *layout) covered(zone string) string {
	var b strings.Builder
	for _, s := range l.compositeCoversSpans {
		b.WriteString(zone[s.from:s.to])
	}
	return b.String()
}

// fields lists what the layout has besides the names.
func (l *layout) fields() []field {
	fields := []field{
		{"code", l.code, absent, letters, true, func(d *Document) *string { return &d.Code }},
		{"issuer", l.issuer, absent, letters, true, func(d *Document) *string { return &d.Issuer }},
		{"number", l.number, l.number.to, alphabet, true, func(d *Document) *string { return &d.Number }},
		{"nationality", l.nationality, absent, letters, true, func(d *Document) *string { return &d.Nationality }},
		{"birth", l.birth, l.birth.to, digits + "<", false, func(d *Document) *string { return &d.Birth }},
		{"sex", l.sex, absent, "FM<", false, func(d *Document) *string { return &d.Sex }},
		{"expiry", l.expiry, l.expiry.to, digits + "<", false, func(d *Document) *string { return &d.Expiry }},
		{"optional", l.optional, l.optionalCheck, alphabet, false, func(d *Document) *string { return &d.Optional }},
	}
	if l.optional2 != absent {
		fields = append(fields, field{"optional2", span{l.optional2, l.composite}, absent, alphabet, false,
			func(d *Document) *string { return &d.Optional2 }})
	}
	return fields
}
