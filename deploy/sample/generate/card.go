package main

import (
	"image/color"
	"strings"

	"github.com/sandyq/sandyq/vault/mrz"
)

// The size of an identity card: ID-1 of ISO/IEC 7810, in millimetres.
const (
	cardWidth, cardHeight = 85.6, 53.98
	cardRadius            = 3.18
)

// palette is the colours of a document.
type palette struct {
	deep, bright, pale color.NRGBA
	waves              [2]color.NRGBA
}

var (
	blue = palette{
		color.NRGBA{16, 72, 120, 255}, color.NRGBA{28, 128, 168, 255}, color.NRGBA{226, 241, 246, 255},
		[2]color.NRGBA{{30, 130, 170, 105}, {214, 168, 60, 105}},
	}
	green = palette{
		color.NRGBA{22, 88, 66, 255}, color.NRGBA{62, 140, 98, 255}, color.NRGBA{232, 244, 232, 255},
		[2]color.NRGBA{{48, 140, 100, 105}, {190, 150, 90, 105}},
	}
	violet = palette{
		color.NRGBA{72, 44, 104, 255}, color.NRGBA{124, 84, 150, 255}, color.NRGBA{242, 236, 246, 255},
		[2]color.NRGBA{{120, 84, 160, 95}, {80, 150, 170, 95}},
	}
	ink   = color.NRGBA{24, 28, 36, 255}
	faint = color.NRGBA{84, 96, 110, 255}
	pen   = color.NRGBA{28, 46, 110, 255} // of what is written by hand
	white = color.NRGBA{255, 255, 255, 255}
)

// cardKind is a sort of card: what sets an identity card and a residence permit apart.
type cardKind struct {
	title [2]string // in Kazakh and in Russian
	code  string    // in the machine-readable zone
	palette
}

var (
	identityCard    = cardKind{[2]string{"ЖЕКЕ КУӘЛІК", "УДОСТОВЕРЕНИЕ ЛИЧНОСТИ"}, "ID", blue}
	residencePermit = cardKind{[2]string{"ТҰРУҒА ЫҚТИЯРХАТ", "ВИД НА ЖИТЕЛЬСТВО"}, "IR", green}
)

// studio draws documents.
type studio struct{ faces typefaces }

// cardFront draws the front of a card at the origin of the canvas.
func (s studio) cardFront(c *canvas, kind cardKind, h *holder) {
	s.cardBlank(c, kind)
	c.fillGradient(rectangle(0, 4, cardWidth, 7), kind.deep, kind.bright)
	c.rosette(point{8.2, 7.5}, 3.1, 8, color.NRGBA{255, 236, 170, 235})
	c.write(s.faces.bold, 2.55, point{14, 7.1}, white, kind.title[0]+"  ·  "+kind.title[1])
	c.write(s.faces.condensed, 1.75, point{14, 9.9}, color.NRGBA{225, 240, 248, 255}, "ҚАЗАҚСТАН РЕСПУБЛИКАСЫ  ·  РЕСПУБЛИКА КАЗАХСТАН")
	c.ram(0, 2.1, cardWidth, 2.1, kind.bright)

	c.portrait(4.5, 14, 22, h.woman, kind.deep)
	c.signature(6, 49, 19, h.signatureTurn)
	s.field(c, point{30.5, 16}, "ТЕГІ / ФАМИЛИЯ", strings.ToUpper(h.FamilyName))
	s.field(c, point{30.5, 23}, "АТЫ / ИМЯ", strings.ToUpper(h.GivenName))
	s.field(c, point{30.5, 30}, "ӘКЕСІНІҢ АТЫ / ОТЧЕСТВО", orDash(strings.ToUpper(h.Patronymic)))
	s.field(c, point{30.5, 37}, "ТУҒАН КҮНІ / ДАТА РОЖДЕНИЯ", dotted(h.birth))
	s.field(c, point{60, 37}, "ЖЫНЫСЫ / ПОЛ", h.sexLabel())
	c.write(s.faces.condensed, 1.6, point{30.5, 44}, faint, "ЖСН / ИИН")
	c.writePitched(s.faces.mono, 4.2, 3.1, point{30.5, 48.4}, ink, h.IIN)
	c.rosette(point{77, 22}, 6.2, 12, color.NRGBA{kind.bright.R, kind.bright.G, kind.bright.B, 150})
	s.imprint(c, 1.35, point{30.5, 51.8})
	c.overprint(s.faces, cardWidth, cardHeight)
}

// cardBack draws the back of a card, with its machine-readable zone.
func (s studio) cardBack(c *canvas, kind cardKind, h *holder) error {
	zone, err := h.zone(mrz.TD1, kind.code, "KAZ", h.DocumentNumber)
	if err != nil {
		return err
	}
	s.cardBlank(c, kind)
	c.ram(0, 2.1, cardWidth, 2.1, kind.bright)
	c.rosette(point{70, 18}, 9.5, 16, color.NRGBA{kind.bright.R, kind.bright.G, kind.bright.B, 130})
	s.field(c, point{5, 7}, "НӨМІРІ / НОМЕР", h.DocumentNumber)
	s.field(c, point{34, 7}, "АЗАМАТТЫҒЫ / ГРАЖДАНСТВО", h.nationality[0])
	s.field(c, point{5, 14}, "ТУҒАН ЖЕРІ / МЕСТО РОЖДЕНИЯ", bilingual(h.place))
	s.field(c, point{5, 21}, "БЕРГЕН ОРГАН / ОРГАН ВЫДАЧИ", "ҮЛГІ ОРТАЛЫҒЫ / ЦЕНТР ОБРАЗЦОВ")
	s.field(c, point{5, 28}, "БЕРІЛГЕН КҮНІ – ҚОЛДАНУ МЕРЗІМІ / ДАТА ВЫДАЧИ – СРОК ДЕЙСТВИЯ", dotted(h.issued)+" – "+dotted(h.expiry))
	c.fill(rectangle(0, 34.6, cardWidth, 16.3), color.NRGBA{255, 255, 255, 205})
	for i, text := range zone {
		c.writePitched(s.faces.mono, 3.7, 2.54, point{4.7, 39.4 + 4.9*float64(i)}, ink, text)
	}
	s.imprint(c, 1.35, point{4.7, 52.9})
	c.overprint(s.faces, cardWidth, cardHeight)
	return nil
}

// cardBlank draws what both sides have.
func (s studio) cardBlank(c *canvas, kind cardKind) {
	c.shadow(cardWidth, cardHeight, cardRadius)
	c.fillGradient(rounded(0, 0, cardWidth, cardHeight, cardRadius), white, kind.pale)
	c.guilloche(1, 4, cardWidth-2, cardHeight-8, kind.waves)
}

// field sets a label and, under it, what it names.
func (s studio) field(c *canvas, p point, label, text string) {
	c.write(s.faces.condensed, 1.6, p, faint, label)
	c.write(s.faces.bold, 2.75, point{p.x, p.y + 3.4}, ink, text)
}

// imprint says in small what the sheet is.
func (s studio) imprint(c *canvas, size float64, p point) {
	c.write(s.faces.condensed, size, p, faint, "Sandyq: ойдан шығарылған дерек · вымышленные данные · invented data")
}

func bilingual(text [2]string) string {
	if text[0] == text[1] {
		return text[0]
	}
	return text[0] + " / " + text[1]
}

func orDash(text string) string {
	if text == "" {
		return "–"
	}
	return text
}
