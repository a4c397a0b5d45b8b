package main

import (
	"image/color"
	"math"
)

// guilloche covers a box with two families of fine waves, as security printing does.
func (c *canvas) guilloche(x, y, width, height float64, ink [2]color.NRGBA) {
	for family, colour := range ink {
		var lines []line
		sign := float64(1 - 2*family)
		for offset := -height * 0.4; offset < height*1.4; offset += 1.15 {
			lines = append(lines, clipped(curve(240, func(t float64) point {
				wave := 2.6*math.Sin(2*math.Pi*(2.5*t+offset/height)) + 1.3*math.Sin(2*math.Pi*(6*t-offset/17))
				return point{x + width*t, y + offset + sign*(wave+height*0.22*(t-0.5))}
			}), y, y+height)...)
		}
		c.fill(stroke(0.09, lines...), colour)
	}
}

// clipped returns the runs of a line that lie between two heights.
func clipped(l line, top, bottom float64) []line {
	var (
		runs []line
		run  line
	)
	for _, p := range l {
		if p.y >= top && p.y <= bottom {
			run = append(run, p)
			continue
		}
		if len(run) > 1 {
			runs = append(runs, run)
		}
		run = nil
	}
	if len(run) > 1 {
		runs = append(runs, run)
	}
	return runs
}

// rosette draws a flower of epitrochoids around p. It stands where an emblem would be and is none.
func (c *canvas) rosette(p point, radius float64, petals int, ink color.NRGBA) {
	var lines []line
	for ring := range 5 {
		inner := radius * (0.35 + 0.11*float64(ring))
		phase := float64(ring) * math.Pi / 5
		lines = append(lines, curve(540, func(t float64) point {
			angle := 2 * math.Pi * t
			r := inner + radius*0.21*math.Sin(float64(petals)*angle+phase)
			return point{p.x + r*math.Cos(angle), p.y + r*math.Sin(angle)}
		}))
	}
	c.fill(stroke(max(0.1, radius*0.012), lines...), ink)
}

// ram draws a horizontal band of horn curls after the қошқар мүйіз of felt carpets.
func (c *canvas) ram(x, y, width, size float64, ink color.NRGBA) {
	var lines []line
	for left := x + size; left+size <= x+width; left += 2 * size {
		for _, side := range []float64{-1, 1} {
			lines = append(lines, curve(40, func(t float64) point {
				angle := -math.Pi/2 + 1.7*2*math.Pi*t*0.75
				r := size * 0.42 * (1 - 0.75*t)
				return point{left + side*(size*0.42+r*math.Cos(angle+math.Pi)), y + size*0.1 + r*math.Sin(angle)}
			}))
		}
		lines = append(lines, line{{left, y + size*0.55}, {left, y - size*0.1}})
	}
	c.fill(stroke(size*0.12, lines...), ink)
}

// overprint marks a sheet as a specimen, large and across, in the three languages.
func (c *canvas) overprint(faces typefaces, width, height float64) {
	const text = "SPECIMEN · ҮЛГІ · ОБРАЗЕЦ"
	diagonal := math.Hypot(width, height)
	across := c.moved(point{width / 2, height / 2}, -math.Atan2(height, width)*180/math.Pi)
	_, natural := faces.bold.outline(text, 0)
	size := diagonal * 0.80 / natural
	across.writeCentred(faces.bold, size, point{0, size * 0.36}, color.NRGBA{196, 30, 58, 100}, text)
}

// shadow darkens the surroundings of a sheet, softly.
func (c *canvas) shadow(width, height, radius float64) {
	for spread := 2.0; spread > 0; spread -= 0.25 {
		c.fill(rounded(-spread+0.5, -spread+0.8, width+2*spread, height+2*spread, radius+spread), color.NRGBA{20, 24, 32, 11})
	}
}
