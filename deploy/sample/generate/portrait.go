package main

import "image/color"

// portrait draws a bust without a face: nobody's picture. The box is 3 to 4.
func (c *canvas) portrait(x, y, width float64, woman bool, tone color.NRGBA) {
	height := width * 4 / 3
	frame := rectangle(x, y, width, height)
	c.fillGradient(frame, color.NRGBA{236, 240, 244, 255}, color.NRGBA{205, 214, 222, 255})
	unit := width / 30 // the bust is designed 30 wide
	at := func(px, py float64) point { return point{x + px*unit, y + py*unit} }
	dark := color.NRGBA{tone.R / 2, tone.G / 2, tone.B / 2, 255}
	skin := color.NRGBA{216, 190, 168, 255}
	shade := color.NRGBA{198, 168, 146, 255}

	if woman {
		c.fill(shape{spline(at(8, 13), at(9, 6.5), at(15, 3.6), at(21, 6.5), at(22, 13), at(23, 23), at(22, 29), at(8, 29), at(7, 23), at(8, 13))}, dark)
	} else {
		c.fill(shape{append(spline(at(9, 14), at(8.7, 8), at(11, 4.8), at(15, 3.8), at(19, 4.8), at(21.3, 8), at(21, 14)), at(9, 14))}, dark)
	}
	c.fill(shape{append(spline(at(12.2, 20), at(12.4, 25), at(10.5, 28.5), at(15, 31), at(19.5, 28.5), at(17.6, 25), at(17.8, 20)), at(12.2, 20))}, shade)
	shoulders := spline(at(0.5, 40), at(1.3, 34.5), at(4.8, 30.6), at(10.6, 28.2), at(15, 31.5), at(19.4, 28.2), at(25.2, 30.6), at(28.7, 34.5), at(29.5, 40))
	c.fill(shape{shoulders}, tone)
	c.fill(shape{{at(10.6, 28.2), at(15, 36.5), at(19.4, 28.2), at(15, 31.5)}}, color.NRGBA{246, 246, 244, 255})
	if !woman {
		c.fill(shape{{at(14.1, 32.2), at(15.9, 32.2), at(16.6, 40), at(13.4, 40)}}, dark)
	}
	c.fill(ellipse(x+15*unit, y+14.4*unit, 5.6*unit, 7.3*unit), skin)
	if woman {
		c.fill(shape{spline(at(9.2, 14), at(10, 8), at(15, 5.2), at(20, 8), at(20.8, 14), at(18.6, 10.4), at(13.5, 8.6), at(10.8, 10.8), at(9.2, 14))}, dark)
	} else {
		c.fill(shape{append(spline(at(9.1, 13), at(10, 7), at(15, 5), at(20, 7), at(20.9, 13)), spline(at(20.7, 12), at(19.4, 9.6), at(15, 8.8), at(10.6, 9.6), at(9.3, 12))...)}, dark)
	}

	var hatch []line
	for row := 0.6; row < 40; row += 0.85 {
		hatch = append(hatch, line{at(0, row), at(30, row)})
	}
	c.fill(stroke(unit*0.16, hatch...), color.NRGBA{255, 255, 255, 70})
	c.fill(stroke(unit*0.35, line{at(0, 0), at(30, 0), at(30, 40), at(0, 40), at(0, 0)}), color.NRGBA{90, 100, 112, 255})
}

// signature scribbles something that nobody signs with.
func (c *canvas) signature(x, y, width float64, turn float64) {
	at := func(px, py float64) point { return point{x + px*width, y + (py+turn*px*0.15)*width} }
	hand := spline(at(0, 0), at(0.08, -0.16), at(0.13, 0.05), at(0.2, -0.07), at(0.26, 0.04), at(0.33, -0.13-turn*0.1), at(0.37, 0.07), at(0.45, -0.05),
		at(0.5, 0.03), at(0.58, -0.04), at(0.64, 0.03), at(0.75, -0.06), at(1, -0.1))
	c.fill(stroke(width*0.016, hand), pen)
	c.fill(stroke(width*0.014, spline(at(0.1, 0.1), at(0.4, 0.12+turn*0.05), at(0.85, 0.05))), pen)
}
