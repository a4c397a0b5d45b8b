package main

import "math"

// shape is an area within closed contours. Contours that overlap must turn the same way, or they cut each other out.
type shape [][]point

func rectangle(x, y, width, height float64) shape {
	return shape{{{x, y}, {x + width, y}, {x + width, y + height}, {x, y + height}}}
}

// rounded is a rectangle with round corners.
func rounded(x, y, width, height, radius float64) shape {
	var contour []point
	corners := []point{{x + width - radius, y + radius}, {x + width - radius, y + height - radius}, {x + radius, y + height - radius}, {x + radius, y + radius}}
	for i, corner := range corners {
		for step := range 13 {
			angle := (float64(i-1) + float64(step)/12) * math.Pi / 2
			contour = append(contour, point{corner.x + radius*math.Cos(angle), corner.y + radius*math.Sin(angle)})
		}
	}
	return shape{contour}
}

func ellipse(x, y, radiusX, radiusY float64) shape {
	const steps = 72
	contour := make([]point, steps)
	for i := range contour {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / steps)
		contour[i] = point{x + radiusX*cos, y + radiusY*sin}
	}
	return shape{contour}
}

// line is a curve as points along it.
type line []point

// curve samples a function of 0…1.
func curve(steps int, at func(share float64) point) line {
	points := make(line, steps+1)
	for i := range points {
		points[i] = at(float64(i) / float64(steps))
	}
	return points
}

// spline draws a smooth curve through the points (Catmull–Rom).
func spline(through ...point) line {
	const steps = 16
	var points line
	at := func(i int) point { return through[min(max(i, 0), len(through)-1)] }
	for i := range len(through) - 1 {
		p0, p1, p2, p3 := at(i-1), at(i), at(i+1), at(i+2)
		for step := range steps {
			t := float64(step) / steps
			points = append(points, point{catmullRom(p0.x, p1.x, p2.x, p3.x, t), catmullRom(p0.y, p1.y, p2.y, p3.y, t)})
		}
	}
	return append(points, through[len(through)-1])
}

func catmullRom(p0, p1, p2, p3, t float64) float64 {
	return 0.5 * (2*p1 + (p2-p0)*t + (2*p0-5*p1+4*p2-p3)*t*t + (3*p1-p0-3*p2+p3)*t*t*t)
}

// stroke is the area of a pen of a width led along lines. A quadrangle for each piece turns the same way wherever the piece leads, so
// that pieces and lines may cross.
func stroke(width float64, lines ...line) shape {
	var s shape
	for _, l := range lines {
		for i := range len(l) - 1 {
			p, q := l[i], l[i+1]
			length := math.Hypot(q.x-p.x, q.y-p.y)
			if length == 0 {
				continue
			}
			dx, dy := -(q.y-p.y)/length*width/2, (q.x-p.x)/length*width/2
			s = append(s, []point{{p.x + dx, p.y + dy}, {q.x + dx, q.y + dy}, {q.x - dx, q.y - dy}, {p.x - dx, p.y - dy}})
		}
	}
	return s
}
