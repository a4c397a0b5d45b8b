package storetest

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/sandyq/sandyq/vault/store"
)

var background = context.Background()

// put writes pairs given as key, value, key, value.
func put(s store.Store, kv ...string) error {
	return s.Update(background, func(w store.Writer) error { return putIn(w, kv...) })
}

func putIn(w store.Writer, kv ...string) error {
	for i := 0; i < len(kv); i += 2 {
		if err := w.Set([]byte(kv[i]), []byte(kv[i+1])); err != nil {
			return err
		}
	}
	return nil
}

// one reads one key; absent as nil.
func one(r store.Reader, key string) ([]byte, error) {
	values, err := r.Get([]byte(key))
	if err != nil {
		return nil, err
	}
	if len(values) != 1 {
		return nil, fmt.Errorf("one key gave %d values", len(values))
	}
	return values[0], nil
}

// wantValue holds one key against what it should be; nil for absent.
func wantValue(r store.Reader, key string, want []byte) error {
	got, err := one(r, key)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) || (got == nil) != (want == nil) {
		return fmt.Errorf("Get(%q) = %s, want %s", key, show(got), show(want))
	}
	return nil
}

// wantStored does that in a View.
func wantStored(s store.Store, key string, want []byte) error {
	return s.View(background, func(r store.Reader) error { return wantValue(r, key, want) })
}

// wantScan holds a scan against the pairs it should find, given as key, value, key, value.
func wantScan(r store.Reader, prefix string, after []byte, limit int, want ...string) error {
	pairs, err := r.Scan([]byte(prefix), after, limit)
	if err != nil {
		return err
	}
	var got []string
	for _, p := range pairs {
		got = append(got, string(p.Key), string(p.Value))
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("Scan(%q, %s, %d) = %q, want %q", prefix, show(after), limit, got, want)
	}
	return nil
}

func show(b []byte) string {
	if b == nil {
		return "nil"
	}
	return fmt.Sprintf("%.40q", b)
}
