// Package paper sets a certificate of an erasure on one page of A4, in Kazakh, Russian or English: for people.
//
// The page proves nothing: the document in JSON does, which is attached to it as certificate.json. The page says how to check
// it, and has a code of squares (QR) with what finds it again and tells it from any other: the words [Code] gives, none of
// which is about the person. Times are those of Kazakhstan, with the offset from UTC written out.
package paper

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/boombuler/barcode"
	"github.com/boombuler/barcode/qr"
	"github.com/go-fonts/dejavu/dejavusans"
	"github.com/go-fonts/dejavu/dejavusansbold"
	"github.com/go-fonts/dejavu/dejavusansmono"
	"github.com/go-pdf/fpdf"

	"github.com/sandyq/sandyq/vault/audit/certificate"
)

// Language is a language that a page can be in.
type Language string

// The languages.
const (
	Kazakh  Language = "kk"
	Russian Language = "ru"
	English Language = "en"
)

// Languages are all of them; the first is what nobody who names none is given.
var Languages = []Language{Kazakh, Russian, English}

// kazakhstan is the time of the whole country since 1 March 2024, whatever a machine's table of zones says.
var kazakhstan = time.FixedZone("UTC+05:00", 5*60*60)

// Code is what the code of squares holds: a word, the hash of the certificate's text, the erasure and the log.
func Code(v *certificate.Verified) string {
	return "sandyq-erasure-certificate:1 " + v.Hash + " " + v.Content.Erasure + " " + v.Content.Origin
}

// Measures of the page, in millimetres.
const (
	pageWidth, pageHeight = 210.0, 297.0
	margin                = 18.0
	labelWidth            = 50.0
	codeSize              = 34.0
)

// Set sets a document that verified on a page of PDF.
func Set(v *certificate.Verified, document []byte, in Language) ([]byte, error) {
	words, ok := languages[in]
	if !ok {
		return nil, errors.New("paper: there is a page in kk, ru and en only")
	}
	code, err := qr.Encode(Code(v), qr.M, qr.Unicode)
	if err != nil {
		return nil, fmt.Errorf("paper: the code of squares: %w", err)
	}
	for _, size := range []float64{9, 8, 7, 6} { // the largest that one page has room for
		p := newPage(v, document, in, words, size)
		p.set(v, code)
		if p.pdf.GetY() > pageHeight-margin {
			continue
		}
		var b bytes.Buffer
		if err := p.pdf.Output(&b); err != nil {
			return nil, fmt.Errorf("paper: %w", err)
		}
		return b.Bytes(), nil
	}
	return nil, errors.New("paper: the certificate says more than a page has room for")
}

// page is a page that is being set.
type page struct {
	pdf   *fpdf.Fpdf
	words *words
	size  float64 // of the type, in points
}

func newPage(v *certificate.Verified, document []byte, in Language, words *words, size float64) *page {
	pdf := fpdf.New("P", "mm", "A4", "")
	pdf.AddUTF8FontFromBytes("sans", "", dejavusans.TTF)
	pdf.AddUTF8FontFromBytes("sans", "B", dejavusansbold.TTF)
	pdf.AddUTF8FontFromBytes("mono", "", dejavusansmono.TTF)
	pdf.SetMargins(margin, margin, margin)
	pdf.SetAutoPageBreak(false, margin)
	pdf.SetCatalogSort(true)
	pdf.SetCreationDate(v.Content.ErasedAt)
	pdf.SetModificationDate(v.Content.ErasedAt)
	pdf.SetProducer("Sandyq", true)
	pdf.SetTitle(words.title, true)
	pdf.SetLang(string(in))
	pdf.SetAttachments([]fpdf.Attachment{{Content: document, Filename: "certificate.json"}})
	pdf.AddPage()
	return &page{pdf, words, size}
}

func (p *page) line() float64 { return p.size * 0.46 } // of a line, in millimetres

func (p *page) set(v *certificate.Verified, code barcode.Barcode) {
	p.pdf.SetFont("sans", "B", p.size*1.7)
	p.pdf.MultiCell(0, p.line()*1.7, p.words.title, "", "L", false)
	p.pdf.Ln(p.line() / 2)
	for _, s := range p.words.sections(v) {
		p.heading(s.title)
		for _, r := range s.rows {
			p.row(r)
		}
	}
	p.heading(p.words.check)
	top := p.pdf.GetY() + 1
	p.squares(code, pageWidth-margin-codeSize, top)
	p.pdf.SetRightMargin(margin + codeSize + 4)
	p.pdf.SetFont("sans", "", p.size)
	p.pdf.MultiCell(0, p.line(), p.words.howToCheck, "", "L", false)
	p.pdf.SetFont("mono", "", p.size*0.85)
	p.pdf.MultiCell(0, p.line(), shown("sandyq verify certificate certificate.json --key "+v.Signer.String()), "", "L", false)
	p.pdf.SetRightMargin(margin)
	p.pdf.SetY(max(p.pdf.GetY(), top+codeSize))
}

func (p *page) heading(text string) {
	p.pdf.Ln(p.line() / 2)
	p.pdf.SetFont("sans", "B", p.size*1.1)
	p.pdf.MultiCell(0, p.line()*1.2, text, "B", "L", false)
	p.pdf.Ln(p.line() / 4)
}

// row sets a label and beside it what it labels.
func (p *page) row(r row) {
	top := p.pdf.GetY()
	p.pdf.SetFont("sans", "", p.size)
	p.pdf.MultiCell(labelWidth, p.line(), r.label, "", "L", false)
	end := p.pdf.GetY()
	p.pdf.SetXY(margin+labelWidth, top)
	if r.mono {
		p.pdf.SetFont("mono", "", p.size*0.9)
	}
	p.pdf.MultiCell(0, p.line(), shown(r.text), "", "L", false)
	p.pdf.SetY(max(end, p.pdf.GetY()))
}

// squares draws a code, with the empty border that readers need left to the page.
func (p *page) squares(code barcode.Barcode, left, top float64) {
	b := code.Bounds()
	side := codeSize / float64(b.Dx())
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			if r, _, _, _ := code.At(x, y).RGBA(); r == 0 {
				p.pdf.Rect(left+float64(x)*side, top+float64(y)*side, side, side, "F")
			}
		}
	}
}

// shown replaces characters that the fonts' tables do not reach.
func shown(s string) string {
	return strings.Map(func(r rune) rune {
		if r > 0xffff {
			return '\ufffd'
		}
		return r
	}, s)
}

func clock(t time.Time) string { return t.In(kazakhstan).Format("02.01.2006 15:04:05 UTC-07:00") }

func date(t time.Time) string { return t.In(kazakhstan).Format("02.01.2006") }
