package main

import (
	"cmp"
	"image/color"
	"strings"

	"github.com/sandyq/sandyq/vault/mrz"
)

// The size of a passport's page: ID-3 of ISO/IEC 7810, in millimetres.
const (
	passportWidth, passportHeight = 125.0, 88.0
	passportRadius                = 3.18
)

// passportKind is who issues a passport.
type passportKind struct {
	title  string
	state  string
	issuer string // in the machine-readable zone
	home   string // where its citizens were born and belong; empty when the holder tells
	palette
}

var (
	ownPassport     = passportKind{"ПАСПОРТ  ·  PASSPORT", "ҚАЗАҚСТАН РЕСПУБЛИКАСЫ  ·  REPUBLIC OF KAZAKHSTAN", "KAZ", "", blue}
	foreignPassport = passportKind{"PASSPORT  ·  PASSEPORT", "UTOPIA  ·  UTOPIE", "UTO", "UTOPIA", violet}
)

// passportPage draws the page with the picture.
func (s studio) passportPage(c *canvas, kind passportKind, h *holder) error {
	zone, err := h.zone(mrz.TD3, "P", kind.issuer, h.passport)
	if err != nil {
		return err
	}
	parsed, _, err := mrz.Read(zone)
	if err != nil {
		return err
	}
	c.shadow(passportWidth, passportHeight, passportRadius)
	c.fillGradient(rounded(0, 0, passportWidth, passportHeight, passportRadius), white, kind.pale)
	c.guilloche(2, 12, passportWidth-4, 51, kind.waves)
	c.rosette(point{104, 40}, 17, 18, color.NRGBA{kind.bright.R, kind.bright.G, kind.bright.B, 95})
	c.write(s.faces.bold, 4.2, point{6, 7.8}, kind.deep, kind.title)
	c.write(s.faces.condensed, 2.2, point{6, 11.2}, faint, kind.state)
	c.rosette(point{116, 7.4}, 5, 8, kind.deep)

	c.portrait(6, 14.5, 34, h.woman, kind.deep)
	const left, middle = 45.0, 85.0
	s.field(c, point{left, 16}, kind.label("Түрі", "Type"), parsed.Code)
	s.field(c, point{left + 14, 16}, kind.label("Мемлекет коды", "Code of state"), kind.issuer)
	s.field(c, point{middle, 16}, kind.label("Паспорт №", "Passport No."), h.passport)
	s.field(c, point{left, 23}, kind.label("Тегі", "Surname"), kind.name(h.FamilyName, parsed.Surname))
	s.field(c, point{left, 30}, kind.label("Аты", "Given names"), kind.name(h.GivenName, parsed.Given))
	s.field(c, point{left, 37}, kind.label("Азаматтығы", "Nationality"), cmp.Or(kind.home, h.nationality[0]))
	s.field(c, point{middle, 37}, kind.label("Жынысы", "Sex"), h.sex())
	s.field(c, point{left, 44}, kind.label("Туған күні", "Date of birth"), dotted(h.birth))
	s.field(c, point{middle, 44}, kind.label("Туған жері", "Place of birth"), cmp.Or(kind.home, h.place[0]))
	s.field(c, point{left, 51}, kind.label("Берілген күні", "Date of issue"), dotted(h.issued))
	s.field(c, point{middle, 51}, kind.label("Қолданылу мерзімі", "Date of expiry"), dotted(h.expiry))
	if kind.issuer == "KAZ" {
		s.field(c, point{left, 58}, kind.label("ЖСН", "Personal No."), h.IIN)
	}
	c.signature(middle, 60.4, 24, h.signatureTurn)
	s.imprint(c, 1.8, point{6.6, 86})

	c.fill(rectangle(0, 65.5, passportWidth, 17.5), color.NRGBA{255, 255, 255, 215})
	for i, text := range zone {
		c.writePitched(s.faces.mono, 4, 2.54, point{6.6, 71.8 + 6.4*float64(i)}, ink, text)
	}
	c.overprint(s.faces, passportWidth, passportHeight)
	return nil
}

// label is how a passport names its fields: Kazakhstan's in two languages.
func (k passportKind) label(kazakh, english string) string {
	if k.issuer == "KAZ" {
		return kazakh + " / " + english
	}
	return english
}

// name is how a passport prints a name: Kazakhstan's in both scripts, others in Latin.
func (k passportKind) name(cyrillic, latin string) string {
	if k.issuer == "KAZ" {
		return strings.ToUpper(cyrillic) + " / " + latin
	}
	return latin
}
