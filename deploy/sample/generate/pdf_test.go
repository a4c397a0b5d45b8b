package main

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"testing"
)

// The table at the end of a PDF must give the very byte at which each object begins: readers look nowhere else.
func TestPDFCrossReferences(t *testing.T) {
	scan := []byte("\xFF\xD8 endobj stream 3 0 obj \xFF\xD9") // what looks like PDF inside a picture must not confuse
	file := writePDF([]page{{scan, 100, 50, 210, 297}, {scan, 100, 50, 85.6, 53.98}})

	start := regexp.MustCompile(`startxref\n(\d+)\n%%EOF\n$`).FindSubmatch(file)
	if start == nil {
		t.Fatal("no startxref at the end")
	}
	at, err := strconv.Atoi(string(start[1]))
	if err != nil {
		t.Fatal(err)
	}
	table, found := bytes.CutPrefix(file[at:], []byte("xref\n0 9\n0000000000 65535 f \n"))
	if !found {
		t.Fatalf("startxref leads to %.40q", file[at:])
	}
	const entry = 20
	for number := 1; number <= 8; number++ {
		offset, err := strconv.Atoi(string(table[:10]))
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Appendf(nil, "%d 0 obj\n", number); !bytes.HasPrefix(file[offset:], want) {
			t.Errorf("object %d: the table leads to %.20q", number, file[offset:])
		}
		table = table[entry:]
	}
	if !bytes.HasPrefix(table, []byte("trailer\n<< /Size 9 /Root 1 0 R >>\n")) {
		t.Errorf("after the table: %.40q", table)
	}
	if got := bytes.Count(file, fmt.Appendf(nil, "/Length %d >>\nstream\n%s\nendstream\n", len(scan), scan)); got != 2 {
		t.Errorf("%d pictures, want 2", got)
	}
}
