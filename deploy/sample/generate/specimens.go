package main

import (
	"bytes"
	"fmt"
	"image/color"
	"image/jpeg"
	"image/png"
)

// scan is a picture of a document: a canvas with the document on a desk, as a phone or a scanner sees it.
type scan struct {
	name    string // holder-N.kind.side.extension, kind and side being those of the API's upload call
	sheets  []sheet
	quality int // of JPEG, 1–100; 0 for PNG
}

// sheet is one side or page: its size and what draws it.
type sheet struct {
	width, height float64
	margin        float64 // of the desk around it, in millimetres
	tilt          float64 // degrees
	perMillimetre float64
	draw          func(*canvas) error
}

var desk = color.NRGBA{198, 192, 182, 255}

// picture draws the sheet on its desk.
func (s sheet) picture() (*canvas, error) {
	c := newCanvas(s.width+2*s.margin, s.height+2*s.margin, s.perMillimetre, desk)
	if err := s.draw(c.moved(point{s.margin, s.margin}, s.tilt)); err != nil {
		return nil, err
	}
	return c, nil
}

// scans lists the specimens of the four holders.
func (s studio) scans(h []holder) []scan {
	front := func(kind cardKind, h *holder, tilt float64) sheet {
		return sheet{cardWidth, cardHeight, 4, tilt, 10, func(c *canvas) error { s.cardFront(c, kind, h); return nil }}
	}
	back := func(kind cardKind, h *holder, tilt float64) sheet {
		return sheet{cardWidth, cardHeight, 4, tilt, 10, func(c *canvas) error { return s.cardBack(c, kind, h) }}
	}
	passport := func(kind passportKind, h *holder, tilt float64) sheet {
		return sheet{passportWidth, passportHeight, 4, tilt, 9, func(c *canvas) error { return s.passportPage(c, kind, h) }}
	}
	form := func(draw func(*canvas, *holder), h *holder, tilt float64) sheet {
		return sheet{sheetWidth, sheetHeight, 0, tilt, 6, func(c *canvas) error { draw(c, h); return nil }}
	}
	return []scan{
		{"holder-1.identity_card.front.jpg", []sheet{front(identityCard, &h[0], 0.6)}, 84},
		{"holder-1.identity_card.back.jpg", []sheet{back(identityCard, &h[0], -0.4)}, 84},
		{"holder-1.passport.page.jpg", []sheet{passport(ownPassport, &h[0], 0.3)}, 84},
		{"holder-1.consent_form.page.pdf", []sheet{form(s.consentTerms, &h[0], 0), form(s.consentList, &h[0], 0.2)}, 72},
		{"holder-2.identity_card.front.png", []sheet{front(identityCard, &h[1], 0)}, 0},
		{"holder-2.identity_card.back.jpg", []sheet{back(identityCard, &h[1], 0.2)}, 84},
		{"holder-2.passport.page.pdf", []sheet{passport(ownPassport, &h[1], -0.5)}, 82},
		{"holder-3.residence_permit.front.jpg", []sheet{front(residencePermit, &h[2], -0.9)}, 84},
		{"holder-3.residence_permit.back.png", []sheet{back(residencePermit, &h[2], 0)}, 0},
		{"holder-3.foreign_passport.page.jpg", []sheet{passport(foreignPassport, &h[2], 0.5)}, 84},
		{"holder-4.identity_card.page.pdf", []sheet{front(identityCard, &h[3], 0.3), back(identityCard, &h[3], 0.3)}, 82},
		{"holder-4.consent_form.page.jpg", []sheet{form(s.consentList, &h[3], -0.3)}, 70},
		{"holder-4.other.page.pdf", []sheet{form(s.rectification, &h[3], 0)}, 72},
	}
}

// encode draws the sheets and makes a file of them, of the type that the name's extension asks for.
func (s scan) encode(extension string) ([]byte, error) {
	var pages []page
	for _, sheet := range s.sheets {
		c, err := sheet.picture()
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		if extension == ".png" {
			err := png.Encode(&b, c.pixels)
			return b.Bytes(), err
		}
		if err := jpeg.Encode(&b, c.pixels, &jpeg.Options{Quality: s.quality}); err != nil {
			return nil, err
		}
		size := c.pixels.Bounds().Size()
		pages = append(pages, page{b.Bytes(), size.X, size.Y, sheet.width + 2*sheet.margin, sheet.height + 2*sheet.margin})
	}
	switch extension {
	case ".jpg":
		return pages[0].jpeg, nil
	case ".pdf":
		return writePDF(pages), nil
	}
	return nil, fmt.Errorf("no encoder for %q", extension)
}
