package main

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

func TestAHuntFindsATextWhereverItStands(t *testing.T) {
	needles := []string{"850312113646", "8503121136469", "Сәрсенова", "exactly8"}
	h := newHunt(needles)
	for _, at := range []int{0, 1, 7, huntChunk - 13, huntChunk - 12, huntChunk - 1, huntChunk, huntChunk + 1, 2*huntChunk + 5, 3*huntChunk - 20} {
		haystack := bytes.Repeat([]byte{'.'}, 3*huntChunk)
		copy(haystack[at:], "Сәрсенова")
		for name, found := range map[string]int{"whole": count(t, h, haystack), "to the end": count(t, h, haystack[:at+len("Сәрсенова")])} {
			if found != 1 {
				t.Errorf("%d bytes in, %s: found %d times", at, name, found)
			}
		}
		if found := count(t, h, haystack[:at+len("Сәрсенова")-1]); found != 0 {
			t.Errorf("%d bytes in, cut short: found %d times", at, found)
		}
	}
	for haystack, want := range map[string]int{
		"": 0, "exactly": 0, "exactly8": 1, "exactly8exactly8": 2, "xexactlyexactly8": 1,
		"850312113646": 1, "8503121136469": 2, "85031211364": 0, "\x008503121136468": 1,
	} {
		if found := count(t, h, []byte(haystack)); found != want {
			t.Errorf("in %q: found %d times, want %d", haystack, found, want)
		}
	}
}

func count(t *testing.T, h *hunt, haystack []byte) int {
	t.Helper()
	found, err := h.through(iotest.HalfReader(bytes.NewReader(haystack)))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestAHuntSearchesFilesAndTheirNames(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a/b/plain": "x850312113646x", "a/850312113646.log": "nothing", "c": "nothing"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := newHunt([]string{"850312113646"}).under(dir)
	if err != nil || r.Found != 2 || r.Files != 3 || r.Bytes != int64(len("x850312113646x")+2*len("nothing")) {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := newHunt(nil).under(filepath.Join(dir, "absent")); err == nil || !strings.Contains(err.Error(), "search") {
		t.Errorf("an absent directory: %v", err)
	}
}

func BenchmarkHunt(b *testing.B) {
	noise := make([]byte, 16<<20)
	_, _ = rand.Read(noise)
	var needles []string
	for range 7500 {
		needles = append(needles, rand.Text()[:12])
	}
	h := newHunt(needles)
	b.SetBytes(int64(len(noise)))
	for b.Loop() {
		if _, err := h.through(bytes.NewReader(noise)); err != nil {
			b.Fatal(err)
		}
	}
}
