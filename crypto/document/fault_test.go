package document_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"testing"

	"github.com/sandyq/sandyq/crypto/document"
	"github.com/sandyq/sandyq/crypto/envelope"
	"github.com/sandyq/sandyq/crypto/secret"
)

var errDisk = errors.New("disk")

// failing is a file whose every read or write fails once a number of them succeeded.
type failing struct {
	io.ReaderAt
	left int
}

func (f *failing) ReadAt(p []byte, off int64) (int, error) {
	if f.left--; f.left < 0 {
		return len(p) / 2, errDisk
	}
	return f.ReaderAt.ReadAt(p, off)
}

func (f *failing) Write(p []byte) (int, error) {
	if f.left--; f.left < 0 {
		return 0, errDisk
	}
	return len(p), nil
}

func TestErrorsOfTheSourceAreItsOwn(t *testing.T) {
	plaintext := text(3 * chunk)
	file := encrypt(t, plaintext)
	opened := false
	for reads := 0; !opened; reads++ {
		src := &failing{bytes.NewReader(file), reads}
		r, err := document.Open(src, int64(len(file)), secret.New(testKey), passport, int64(len(plaintext)))
		if opened = err == nil; !opened {
			if !errors.Is(err, errDisk) || errors.Is(err, document.ErrOpen) {
				t.Fatalf("after %d reads: %v", reads, err)
			}
			continue
		}
		src.left = 0
		if n, err := r.ReadAt(make([]byte, 10), 0); n != 0 || !errors.Is(err, errDisk) || errors.Is(err, document.ErrOpen) {
			t.Errorf("reading: %d, %v", n, err)
		}
		src.left = 1
		if n, err := r.ReadAt(make([]byte, 10), 0); n != 10 || err != nil {
			t.Errorf("reading again: %d, %v", n, err)
		}
	}
}

// TestOtherSizesAreRefusedUnread opens files of which nothing can be read: the size alone decides whether anything is.
func TestOtherSizesAreRefusedUnread(t *testing.T) {
	const tib = 1 << 40
	for _, c := range []struct {
		plaintext, file int64
		want            error
	}{
		{10, 295 + 4096 + 16, errDisk},
		{10, 295 + 4096 + 15, document.ErrOpen},
		{10, 295 + 4352 + 16, document.ErrOpen},
		{tib, 295 + tib + tib/chunk*16, errDisk},
		{tib + 1, 295 + tib + tib/64 + (tib+tib/64)/chunk*16, document.ErrOpen}, // of the size that so long a document would have
	} {
		_, err := document.Open(&failing{left: 0}, c.file, secret.New(testKey), passport, c.plaintext)
		if !errors.Is(err, c.want) {
			t.Errorf("%d bytes in a file of %d: %v", c.plaintext, c.file, err)
		}
	}
}

func TestLongestDocument(t *testing.T) {
	w, err := document.NewWriter(io.Discard, secret.New(testKey), passport)
	if err != nil {
		t.Fatal(err)
	}
	w.Pretend(document.MaxSize - 2)
	if _, err := w.Write([]byte("ab")); err != nil {
		t.Errorf("up to the longest: %v", err)
	}
	if n, err := w.Write([]byte("c")); n != 0 || !errors.Is(err, document.ErrTooLong) {
		t.Errorf("beyond it: %d, %v", n, err)
	}
	if err := w.Close(); !errors.Is(err, document.ErrTooLong) {
		t.Errorf("closing it all the same: %v", err)
	}
}

// TestNoFailedWriteIsForgotten fails each write of a document in turn: somebody is told, and stays told.
func TestNoFailedWriteIsForgotten(t *testing.T) {
	plaintext := text(3*chunk + 5)
	for writes := 0; ; writes++ {
		dst := &failing{left: writes}
		w, err := document.NewWriter(dst, secret.New(testKey), passport)
		if err == nil {
			_, err = io.Copy(w, bytes.NewReader(plaintext))
		}
		if err == nil {
			err = w.Close()
		}
		if dst.left >= 0 {
			if err != nil {
				t.Errorf("nothing failed, yet %v", err)
			}
			return
		}
		if !errors.Is(err, errDisk) {
			t.Errorf("write %d failed: %v", writes, err)
		}
		if w != nil {
			if _, err := w.Write([]byte("x")); err == nil {
				t.Errorf("write %d failed and the next is accepted", writes)
			}
			if err := w.Close(); err == nil {
				t.Errorf("write %d failed and Close is content", writes)
			}
		}
	}
}

func TestWriterEndsAtClose(t *testing.T) {
	var file bytes.Buffer
	w, err := document.NewWriter(&file, secret.New(testKey), passport)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	size := file.Len()
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("written after Close")
	}
	if err := w.Close(); err == nil {
		t.Error("closed twice")
	}
	if w.Size() != 0 || file.Len() != size {
		t.Errorf("Size is %d, the file grew by %d", w.Size(), file.Len()-size)
	}
}

func TestAbandonedWritingDoesNotOpen(t *testing.T) {
	var file bytes.Buffer
	w, err := document.NewWriter(&file, secret.New(testKey), passport)
	if err != nil {
		t.Fatal(err)
	}
	plaintext := text(2*chunk + 1)
	if _, err := w.Write(plaintext); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, chunk, 2 * chunk, len(plaintext)} {
		refused(t, testKey, passport, file.Bytes(), size, "an unfinished file")
	}
}

func TestNewWriterRefuses(t *testing.T) {
	if w, err := document.NewWriter(io.Discard, secret.New(testKey[:31]), passport); !errors.Is(err, envelope.ErrKey) || w != nil {
		t.Errorf("a short key: %v", err)
	}
	if w, err := document.NewWriter(io.Discard, secret.New(testKey), envelope.Context{}); !errors.Is(err, envelope.ErrContext) || w != nil {
		t.Errorf("no context: %v", err)
	}
}

// TestReaderAndWriterDoNotShow prints what holds a file key and pieces of a document in every way that walks into it.
func TestReaderAndWriterDoNotShow(t *testing.T) {
	plaintext := bytes.Repeat([]byte("canary"), 1000)
	r, err := open(testKey, passport, encrypt(t, plaintext), len(plaintext))
	if err != nil {
		t.Fatal(err)
	}
	w, err := document.NewWriter(io.Discard, secret.New(testKey), passport)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plaintext); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%p"} {
		for _, value := range []any{r, *r, w, *w, struct{ r *document.Reader }{r}, struct{ w *document.Writer }{w}} {
			if shown := fmt.Sprintf(verb, value); len(shown) > 400 { // a key schedule or a chunk is longer
				t.Errorf("%q of a %T shows %d characters: %.200s…", verb, value, len(shown), shown)
			}
		}
	}
}

// liveHeap returns the bytes of the heap that are in use or not yet swept.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// meter passes bytes through and keeps the highest heap it saw.
type meter struct{ peak uint64 }

func (m *meter) Write(p []byte) (int, error) {
	m.peak = max(m.peak, liveHeap())
	return len(p), nil
}

// TestMemoryIsConstant writes 64 MiB to a file and reads them back.
func TestMemoryIsConstant(t *testing.T) {
	if testing.Short() {
		t.Skip("64 MiB")
	}
	const size, bound = 64 << 20, 8 << 20
	file, err := os.Create(filepath.Join(t.TempDir(), "document"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	runtime.GC() // of what other tests left
	before := liveHeap()
	var m meter

	w, err := document.NewWriter(io.MultiWriter(file, &m), secret.New(testKey), passport)
	if err != nil {
		t.Fatal(err)
	}
	part := make([]byte, 256<<10)
	for range size / len(part) {
		if _, err := w.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	r, err := document.Open(file, info.Size(), secret.New(testKey), passport, size)
	if err != nil {
		t.Fatal(err)
	}
	// Without its other methods, the section reader is copied from in parts.
	if n, err := io.CopyBuffer(&m, struct{ io.Reader }{io.NewSectionReader(r, 0, r.Size())}, part); n != size || err != nil {
		t.Fatal(n, err)
	}
	if grown := int64(m.peak) - int64(before); grown > bound {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}
