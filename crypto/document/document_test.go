package document_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/sandyq/sandyq/crypto/document"
	"github.com/sandyq/sandyq/crypto/envelope"
	"github.com/sandyq/sandyq/crypto/secret"
)

const chunk = 65_536

var (
	testKey  = bytes.Repeat([]byte{0x51}, envelope.KeySize)
	passport = envelope.Context{Kind: "document-key", Tenant: "default", Subject: "sub_7", Name: "doc_9", Version: 3}
)

// text is n bytes of which no two places look alike.
func text(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

func encrypt(t testing.TB, plaintext []byte) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := document.NewWriter(&file, secret.New(testKey), passport)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, iotest.HalfReader(bytes.NewReader(plaintext))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w.Size() != int64(len(plaintext)) {
		t.Fatalf("Size is %d of %d", w.Size(), len(plaintext))
	}
	return file.Bytes()
}

func open(key []byte, c envelope.Context, file []byte, size int) (*document.Reader, error) {
	return document.Open(bytes.NewReader(file), int64(len(file)), secret.New(key), c, int64(size))
}

func read(t testing.TB, r *document.Reader) []byte {
	t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func refused(t testing.TB, key []byte, c envelope.Context, file []byte, size int, what string) {
	t.Helper()
	if r, err := open(key, c, file, size); !errors.Is(err, document.ErrOpen) || r != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func TestRoundTripAtEveryEdge(t *testing.T) {
	for _, n := range []int{
		0, 1, 4095, 4096, 4097, 4352, 4353, chunk - 1, chunk, chunk + 1, 2*chunk - 1, 2 * chunk, 2*chunk + 1, 300_000, 1 << 20,
		8<<20 + 1, // with four writes of padding
	} {
		plaintext := text(n)
		file := encrypt(t, plaintext)
		r, err := open(testKey, passport, file, n)
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if got := read(t, r); r.Size() != int64(n) || !bytes.Equal(got, plaintext) {
			t.Fatalf("%d bytes come back as %d", n, len(got))
		}
		if second, err := plainOpen(testKey, passport, file, n); err != nil || !bytes.Equal(second, plaintext) {
			t.Fatalf("the second decoder reads %d bytes as %d, %v", n, len(second), err)
		}
	}
}

func TestLengthsHideInSteps(t *testing.T) {
	for _, pair := range [][2]int{{0, 4096}, {4097, 4352}, {1<<20 + 1, 1<<20 + 1<<15}} {
		if a, b := len(encrypt(t, text(pair[0]))), len(encrypt(t, text(pair[1]))); a != b {
			t.Errorf("%d and %d bytes give files of %d and %d", pair[0], pair[1], a, b)
		}
	}
}

func TestReadsAnywhere(t *testing.T) {
	plaintext := text(3*chunk + 1000)
	r, err := open(testKey, passport, encrypt(t, plaintext), len(plaintext))
	if err != nil {
		t.Fatal(err)
	}
	size := int64(len(plaintext))
	for _, c := range []struct {
		off     int64
		len     int
		want    int
		wantErr error
	}{
		{size, 1, 0, io.EOF}, {size + 1, 1, 0, io.EOF}, {1 << 62, 1, 0, io.EOF}, {size, 0, 0, io.EOF},
		{size - 1, 1, 1, nil}, {size - 1, 2, 1, io.EOF}, {0, 0, 0, nil}, {chunk - 1, 2, 2, nil}, {0, len(plaintext) + 1, len(plaintext), io.EOF},
	} {
		p := make([]byte, c.len)
		n, err := r.ReadAt(p, c.off)
		if n != c.want || err != c.wantErr && !(err == io.EOF && c.off+int64(n) == size) { //nolint:errorlint // io.EOF is bare
			t.Errorf("reading %d at %d: %d, %v", c.len, c.off, n, err)
		}
		if n > 0 && !bytes.Equal(p[:n], plaintext[c.off:c.off+int64(n)]) {
			t.Errorf("reading %d at %d gives other bytes", c.len, c.off)
		}
	}
	if _, err := r.ReadAt(make([]byte, 1), -1); err == nil || err == io.EOF || errors.Is(err, document.ErrOpen) { //nolint:errorlint // bare
		t.Errorf("a negative offset gives %v", err)
	}
}

func TestReadsAsReadersDo(t *testing.T) {
	plaintext := text(5000)
	r, err := open(testKey, passport, encrypt(t, plaintext), len(plaintext))
	if err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(io.NewSectionReader(r, 0, r.Size()), plaintext); err != nil {
		t.Error(err)
	}
}

func TestReadsConcurrently(t *testing.T) {
	plaintext := text(5*chunk + 77)
	r, err := open(testKey, passport, encrypt(t, plaintext), len(plaintext))
	if err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	for seed := range uint64(8) {
		readers.Go(func() {
			random := rand.New(rand.NewPCG(seed, 1))
			p := make([]byte, 2*chunk)
			for range 100 {
				off := random.IntN(len(plaintext))
				part := p[:random.IntN(len(p))]
				n, err := r.ReadAt(part, int64(off))
				if err != nil && err != io.EOF || !bytes.Equal(part[:n], plaintext[off:off+n]) { //nolint:errorlint // bare
					t.Errorf("reading %d at %d: %d, %v", len(part), off, n, err)
				}
			}
		})
	}
	readers.Wait()
}

func TestEveryPartOfTheContextBinds(t *testing.T) {
	file := encrypt(t, text(10))
	for name, change := range map[string]func(*envelope.Context){
		"kind":    func(c *envelope.Context) { c.Kind = "field" },
		"tenant":  func(c *envelope.Context) { c.Tenant = "other" },
		"subject": func(c *envelope.Context) { c.Subject = "sub_8" },
		"name":    func(c *envelope.Context) { c.Name = "doc_8" },
		"version": func(c *envelope.Context) { c.Version++ },
		"nothing": func(c *envelope.Context) { *c = envelope.Context{} },
	} {
		c := passport
		change(&c)
		refused(t, testKey, c, file, 10, name)
	}
}

func TestAnotherKeyIsRefused(t *testing.T) {
	file := encrypt(t, text(10))
	for bit := range len(testKey) * 8 {
		key := slices.Clone(testKey)
		key[bit/8] ^= 1 << (bit % 8)
		refused(t, key, passport, file, 10, "another key")
	}
	refused(t, testKey[:31], passport, file, 10, "a short key")
}

func TestEveryOtherLengthIsRefusedWhenOpened(t *testing.T) {
	file := encrypt(t, text(10))
	for n := range file {
		refused(t, testKey, passport, file[:n], 10, fmt.Sprintf("cut to %d", n))
	}
	for _, extra := range []int{1, 16, 17, 272, chunk, chunk + 16} {
		refused(t, testKey, passport, append(slices.Clone(file), make([]byte, extra)...), 10, "extended")
	}
	const n = 2*chunk + 10
	long := encrypt(t, text(n))
	refused(t, testKey, passport, long[:len(long)-4096], n, "a step less")
	refused(t, testKey, passport, slices.Concat(long[:300+chunk], long[300+chunk+chunk+16:]), n, "a chunk less")
	// The file is cut, but the size that is stated is the one it had: the source ends early.
	r, err := document.Open(bytes.NewReader(long[:len(long)-1]), int64(len(long)), secret.New(testKey), passport, n)
	if !errors.Is(err, document.ErrOpen) || r != nil {
		t.Errorf("a source that ends early: %v", err)
	}
}

func TestAnotherPlaintextSizeIsRefused(t *testing.T) {
	file := encrypt(t, text(10_000)) // padded to 10,240
	small := encrypt(t, text(10))
	for _, size := range []int{-1, -4096, -1 << 63, 4097} {
		refused(t, testKey, passport, small, size, fmt.Sprintf("size %d", size))
	}
	for _, size := range []int{-1, 0, 4096, 9728, 10_241, 20_000, 1<<40 + 1, -1 << 63, 1<<63 - 1} {
		refused(t, testKey, passport, file, size, fmt.Sprintf("size %d", size))
	}
}

// TestEveryBitCounts flips each bit. All of the header and of the last chunk is looked at when the document is opened.
func TestEveryBitCounts(t *testing.T) {
	file := encrypt(t, text(10))
	for bit := range len(file) * 8 {
		if payload := bit/8 >= 295; payload && testing.Short() && bit%8 != bit/8%8 {
			continue
		}
		file[bit/8] ^= 1 << (bit % 8)
		refused(t, testKey, passport, file, 10, fmt.Sprintf("bit %d", bit))
		file[bit/8] ^= 1 << (bit % 8)
	}
}

func TestDamageInTheMiddleIsFoundWhenRead(t *testing.T) {
	plaintext := text(3 * chunk)
	file := encrypt(t, plaintext)
	file[len(file)/2] ^= 1 // within the second chunk
	r, err := open(testKey, passport, file, len(plaintext))
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, len(plaintext))
	n, err := r.ReadAt(p, 0)
	if n != chunk || !errors.Is(err, document.ErrOpen) || !bytes.Equal(p[:n], plaintext[:n]) || bytes.Contains(p[n:], plaintext[chunk:chunk+64]) {
		t.Errorf("read %d bytes, %v", n, err)
	}
	if n, err := r.ReadAt(p[:100], 2*chunk); n != 100 || err != nil {
		t.Errorf("the whole chunk after it reads %d bytes, %v", n, err)
	}
}

func TestChunksCannotTradePlaces(t *testing.T) {
	plaintext := text(3 * chunk)
	file := encrypt(t, plaintext)
	const size = chunk + 16
	start := len(file) - 3*size
	swapped := slices.Concat(file[:start], file[start+size:start+2*size], file[start:start+size], file[start+2*size:])
	r, err := open(testKey, passport, swapped, len(plaintext))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := r.ReadAt(make([]byte, 1), 0); n != 0 || !errors.Is(err, document.ErrOpen) {
		t.Errorf("read %d bytes, %v", n, err)
	}
}
