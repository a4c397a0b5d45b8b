package main

import (
	"image"
	"image/color"
	"image/draw"
	"math"

	"golang.org/x/image/vector"
)

// point is a place in millimetres, from the top left corner of what is drawn.
type point struct{ x, y float64 }

// affine maps millimetres to pixels: x' = a·x + b·y + c, y' = d·x + e·y + f.
type affine struct{ a, b, c, d, e, f float64 }

func (t affine) apply(p point) point { return point{t.a*p.x + t.b*p.y + t.c, t.d*p.x + t.e*p.y + t.f} }

// then returns the map that applies t first and u after it.
func (t affine) then(u affine) affine {
	return affine{
		u.a*t.a + u.b*t.d, u.a*t.b + u.b*t.e, u.a*t.c + u.b*t.f + u.c,
		u.d*t.a + u.e*t.d, u.d*t.b + u.e*t.e, u.d*t.c + u.e*t.f + u.f,
	}
}

// turned returns the map that turns by the angle, clockwise in degrees, and scales, then moves the origin to p.
func turned(degrees, scale float64, p point) affine {
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	return affine{scale * cos, -scale * sin, p.x, scale * sin, scale * cos, p.y}
}

// canvas draws in millimetres on pixels. Everything goes through place, so that a whole sheet can lie crooked, as it does under a camera.
type canvas struct {
	pixels *image.RGBA
	place  affine
}

// newCanvas makes a canvas of one colour, in millimetres at so many pixels each.
func newCanvas(width, height, perMillimetre float64, ground color.Color) *canvas {
	pixels := image.NewRGBA(image.Rect(0, 0, int(math.Round(width*perMillimetre)), int(math.Round(height*perMillimetre))))
	draw.Draw(pixels, pixels.Bounds(), image.NewUniform(ground), image.Point{}, draw.Src)
	return &canvas{pixels, turned(0, perMillimetre, point{})}
}

// moved returns a canvas on the same pixels whose origin is at p and which is turned there.
func (c *canvas) moved(p point, degrees float64) *canvas {
	return &canvas{c.pixels, turned(degrees, 1, p).then(c.place)}
}

// fill paints the inside of the shape.
func (c *canvas) fill(s shape, with color.Color) { c.fillFrom(s, image.NewUniform(with)) }

// fillGradient paints the inside of the shape with a colour that goes from the top to the bottom of it.
func (c *canvas) fillGradient(s shape, top, bottom color.NRGBA) {
	c.fillFrom(s, gradient{c.bounds(s), top, bottom})
}

func (c *canvas) fillFrom(s shape, src image.Image) {
	box := c.bounds(s).Intersect(c.pixels.Bounds())
	if box.Empty() {
		return
	}
	raster := vector.NewRasterizer(box.Dx(), box.Dy())
	at := func(p point) (x, y float32) {
		p = c.place.apply(p)
		return float32(p.x - float64(box.Min.X)), float32(p.y - float64(box.Min.Y))
	}
	for _, contour := range s {
		raster.MoveTo(at(contour[0]))
		for _, p := range contour[1:] {
			raster.LineTo(at(p))
		}
		raster.ClosePath()
	}
	raster.Draw(c.pixels, box, src, box.Min)
}

// bounds returns the pixels that the shape touches.
func (c *canvas) bounds(s shape) image.Rectangle {
	low, high := point{math.Inf(1), math.Inf(1)}, point{math.Inf(-1), math.Inf(-1)}
	for _, contour := range s {
		for _, p := range contour {
			p = c.place.apply(p)
			low = point{min(low.x, p.x), min(low.y, p.y)}
			high = point{max(high.x, p.x), max(high.y, p.y)}
		}
	}
	if low.x > high.x {
		return image.Rectangle{}
	}
	return image.Rect(int(math.Floor(low.x)), int(math.Floor(low.y)), int(math.Ceil(high.x)), int(math.Ceil(high.y)))
}

// gradient is an image whose colour changes with the row.
type gradient struct {
	box         image.Rectangle
	top, bottom color.NRGBA
}

func (g gradient) ColorModel() color.Model { return color.NRGBAModel }
func (g gradient) Bounds() image.Rectangle { return g.box }

func (g gradient) At(_, y int) color.Color {
	share := float64(y-g.box.Min.Y) / float64(g.box.Dy())
	mix := func(a, b uint8) uint8 { return uint8(float64(a) + share*(float64(b)-float64(a))) }
	return color.NRGBA{mix(g.top.R, g.bottom.R), mix(g.top.G, g.bottom.G), mix(g.top.B, g.bottom.B), mix(g.top.A, g.bottom.A)}
}
