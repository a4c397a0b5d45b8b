package document_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/sandyq/sandyq/crypto/document"
	"github.com/sandyq/sandyq/crypto/secret"
)

const benchSize = 4 << 20

func BenchmarkWrite(b *testing.B) {
	plaintext := text(benchSize)
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		w, err := document.NewWriter(io.Discard, secret.New(testKey), passport)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := w.Write(plaintext); err != nil {
			b.Fatal(err)
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	file := encrypt(b, text(benchSize))
	part := make([]byte, 64<<10)
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		r, err := document.Open(bytes.NewReader(file), int64(len(file)), secret.New(testKey), passport, benchSize)
		if err != nil {
			b.Fatal(err)
		}
		for off := int64(0); off < benchSize; off += int64(len(part)) {
			if _, err := r.ReadAt(part, off); err != nil && err != io.EOF { //nolint:errorlint // bare
				b.Fatal(err)
			}
		}
	}
}
