package main

import (
	"fmt"
	"image/color"

	"github.com/go-fonts/dejavu/dejavusans"
	"github.com/go-fonts/dejavu/dejavusansbold"
	"github.com/go-fonts/dejavu/dejavusanscondensed"
	"github.com/go-fonts/dejavu/dejavusansmono"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
)

// typeface draws text as outlines, so that it turns with the canvas. DejaVu has the letters ә ғ қ ң ө ұ ү һ і.
type typeface struct{ font *sfnt.Font }

// typefaces are the ones in use.
type typefaces struct{ regular, bold, condensed, mono typeface }

func loadTypefaces() (typefaces, error) {
	var faces typefaces
	for _, load := range []struct {
		to   *typeface
		data []byte
	}{
		{&faces.regular, dejavusans.TTF}, {&faces.bold, dejavusansbold.TTF}, {&faces.condensed, dejavusanscondensed.TTF}, {&faces.mono, dejavusansmono.TTF},
	} {
		font, err := opentype.Parse(load.data)
		if err != nil {
			return typefaces{}, fmt.Errorf("parse a font: %w", err)
		}
		load.to.font = font
	}
	return faces, nil
}

// outlineSize is the size at which outlines are asked for, in pixels an em: large enough for the rounding to vanish.
const outlineSize = 1024

// outline is the shape of a text whose baseline begins at 0, 0, for an em of 1 mm, and its width. The widths of the letters
// come from the font, or all are pitch when that is not 0. A letter the font lacks is a mistake of the program.
func (f typeface) outline(text string, pitch float64) (shape, float64) {
	var (
		buffer  sfnt.Buffer
		s       shape
		advance float64
	)
	for _, letter := range text {
		index, err := f.font.GlyphIndex(&buffer, letter)
		if err != nil || index == 0 {
			panic(fmt.Sprintf("the font has no letter %U", letter))
		}
		width, err := f.font.GlyphAdvance(&buffer, index, fixed.I(outlineSize), 0)
		if err != nil {
			panic(fmt.Sprintf("the font has no width for %U: %v", letter, err))
		}
		segments, err := f.font.LoadGlyph(&buffer, index, fixed.I(outlineSize), nil)
		if err != nil {
			panic(fmt.Sprintf("the font has no outline for %U: %v", letter, err))
		}
		own := float64(width) / 64 / outlineSize
		left, step := advance, own
		if pitch != 0 {
			left, step = advance+(pitch-own)/2, pitch
		}
		s = append(s, contours(segments, left)...)
		advance += step
	}
	return s, advance
}

// contours flattens the curves of a letter.
func contours(segments sfnt.Segments, left float64) shape {
	const steps = 6
	var s shape
	at := func(p fixed.Point26_6) point {
		return point{left + float64(p.X)/64/outlineSize, float64(p.Y) / 64 / outlineSize}
	}
	for _, segment := range segments {
		if segment.Op == sfnt.SegmentOpMoveTo {
			s = append(s, []point{at(segment.Args[0])})
			continue
		}
		contour := &s[len(s)-1]
		from := (*contour)[len(*contour)-1]
		switch segment.Op {
		case sfnt.SegmentOpLineTo:
			*contour = append(*contour, at(segment.Args[0]))
		case sfnt.SegmentOpQuadTo:
			over, to := at(segment.Args[0]), at(segment.Args[1])
			for step := 1; step <= steps; step++ {
				t := float64(step) / steps
				*contour = append(*contour, point{quadratic(from.x, over.x, to.x, t), quadratic(from.y, over.y, to.y, t)})
			}
		default:
			panic("a TrueType font has no cubic curves")
		}
	}
	return s
}

func quadratic(a, b, c, t float64) float64 { return (1-t)*(1-t)*a + 2*t*(1-t)*b + t*t*c }

// write sets text of a size, an em in millimetres, with its baseline beginning at p.
func (c *canvas) write(f typeface, size float64, p point, ink color.Color, text string) {
	s, _ := f.outline(text, 0)
	c.setting(size, p).fill(s, ink)
}

// writeCentred sets text around p.
func (c *canvas) writeCentred(f typeface, size float64, p point, ink color.Color, text string) {
	s, width := f.outline(text, 0)
	c.setting(size, point{p.x - width*size/2, p.y}).fill(s, ink)
}

// writePitched sets text with so many millimetres for each letter.
func (c *canvas) writePitched(f typeface, size, pitch float64, p point, ink color.Color, text string) {
	s, _ := f.outline(text, pitch/size)
	c.setting(size, p).fill(s, ink)
}

func (c *canvas) setting(size float64, p point) *canvas {
	return &canvas{c.pixels, turned(0, size, p).then(c.place)}
}
