package vault

import (
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/sandyq/sandyq/vault/store"
)

// Rows are CBOR (RFC 8949, core deterministic encoding) with small integers for member names, so that a member may be
// renamed in code. A number is never used again for something else.
var (
	rowEncoding = must(cbor.CoreDetEncOptions().EncMode())
	rowDecoding = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// encodeRow writes a row. Rows are our own types and always encode.
func encodeRow(row any) []byte { return must(rowEncoding.Marshal(row)) }

// decodeRow reads a row that is there. The error names the type and never what was read.
func decodeRow[T any](b []byte) (*T, error) {
	row := new(T)
	if err := rowDecoding.Unmarshal(b, row); err != nil {
		return nil, fmt.Errorf("a %T in the store is damaged", *row)
	}
	return row, nil
}

// getRow reads a row; nil when it is absent.
func getRow[T any](r store.Reader, key []byte) (*T, error) {
	values, err := r.Get(key)
	if err != nil || values[0] == nil {
		return nil, err
	}
	return decodeRow[T](values[0])
}

// seekRow is getRow of a row of which the caller may not know: it takes as long whether it is there or not, for in place of an
// absent row it decodes like, which is such as there could be.
func seekRow[T any](r store.Reader, key, like []byte) (*T, error) {
	values, err := r.Get(key)
	switch {
	case err != nil:
		return nil, err
	case values[0] == nil:
		_, err := decodeRow[T](like)
		return nil, err
	}
	return decodeRow[T](values[0])
}

// scanAll calls f for every pair under prefix, in pages.
func scanAll(r store.Reader, prefix []byte, f func(store.Pair) error) error {
	const page = 256
	var after []byte
	for {
		pairs, err := r.Scan(prefix, after, page)
		if err != nil {
			return err
		}
		for _, p := range pairs {
			if err := f(p); err != nil {
				return err
			}
		}
		if len(pairs) < page {
			return nil
		}
		after = pairs[page-1].Key
	}
}

// stamp is a time in a row: milliseconds since 1970, UTC; zero is no time.
type stamp int64

func stampOf(t time.Time) stamp { return stamp(t.UnixMilli()) }

func (s stamp) time() time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(s)).UTC()
}
