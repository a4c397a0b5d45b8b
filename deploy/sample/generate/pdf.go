package main

import (
	"bytes"
	"fmt"
)

// page is a picture that fills a page of a PDF.
type page struct {
	jpeg          []byte // baseline, RGB
	width, height int    // in pixels
	wide, high    float64
}

// pointsPerMillimetre is the unit of PDF: 72 to an inch.
const pointsPerMillimetre = 72 / 25.4

// pdfWriter writes the objects of a PDF 1.4 file (ISO 32000) and remembers where each begins, which the cross-reference table at the end tells.
type pdfWriter struct {
	bytes.Buffer
	offsets []int // of object i+1
}

// object writes the next object with the content given; stream may be nil.
func (w *pdfWriter) object(content string, stream []byte) {
	w.offsets = append(w.offsets, w.Len())
	fmt.Fprintf(w, "%d 0 obj\n%s\n", len(w.offsets), content)
	if stream != nil {
		w.WriteString("stream\n")
		w.Write(stream)
		w.WriteString("\nendstream\n")
	}
	w.WriteString("endobj\n")
}

// writePDF makes a file of a page for each picture, as scanners do. There is no date and no identifier in it: the same pages give the same
// bytes. Object 1 is the catalogue, 2 the page tree; then come three for each page: the page, what it draws, the picture.
func writePDF(pages []page) []byte {
	const first, each = 3, 3
	var w pdfWriter
	w.WriteString("%PDF-1.4\n%\xE2\xE3\xCF\xD3\n")
	w.object("<< /Type /Catalog /Pages 2 0 R >>", nil)
	kids := ""
	for i := range pages {
		kids += fmt.Sprintf("%d 0 R ", first+each*i)
	}
	w.object(fmt.Sprintf("<< /Type /Pages /Count %d /Kids [ %s] >>", len(pages), kids), nil)
	for i, p := range pages {
		number := first + each*i
		width, height := p.wide*pointsPerMillimetre, p.high*pointsPerMillimetre
		w.object(fmt.Sprintf("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %.2f %.2f] /Contents %d 0 R /Resources << /XObject << /Scan %d 0 R >> >> >>",
			width, height, number+1, number+2), nil)
		draw := fmt.Appendf(nil, "q %.2f 0 0 %.2f 0 0 cm /Scan Do Q", width, height)
		w.object(fmt.Sprintf("<< /Length %d >>", len(draw)), draw)
		w.object(fmt.Sprintf("<< /Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceRGB /BitsPerComponent 8 /Filter /DCTDecode /Length %d >>",
			p.width, p.height, len(p.jpeg)), p.jpeg)
	}
	w.finish()
	return w.Bytes()
}

// finish writes the cross-reference table, entries of exactly twenty bytes, and the trailer.
func (w *pdfWriter) finish() {
	start := w.Len()
	fmt.Fprintf(w, "xref\n0 %d\n0000000000 65535 f \n", len(w.offsets)+1)
	for _, offset := range w.offsets {
		fmt.Fprintf(w, "%010d 00000 n \n", offset)
	}
	fmt.Fprintf(w, "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(w.offsets)+1, start)
}
