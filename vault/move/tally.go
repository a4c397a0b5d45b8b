package move

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/bits"
)

// Tally is what can be said of a set in a few bytes: how many are in it, how many bytes they have, and a sum that does not depend on their
// order. It grows and shrinks by one at a time. Two sets with one tally are the same unless somebody sought them out: it finds faults, not
// forgeries.
type Tally struct {
	Count, Bytes int64
	Sum          Sum
}

// Sum is the sum of SHA-256 hashes, taken as numbers of 256 bits (the first byte the most significant), modulo 2^256.
type Sum [sha256.Size]byte

// String is the sum as 64 lower-case hexadecimal digits.
func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// MarshalText implements encoding.TextMarshaler.
func (s Sum) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s *Sum) add(h Sum) {
	var carry uint64
	for i := len(s) - 8; i >= 0; i -= 8 {
		var n uint64
		n, carry = bits.Add64(binary.BigEndian.Uint64(s[i:]), binary.BigEndian.Uint64(h[i:]), carry)
		binary.BigEndian.PutUint64(s[i:], n)
	}
}

func (s *Sum) subtract(h Sum) {
	var borrow uint64
	for i := len(s) - 8; i >= 0; i -= 8 {
		var n uint64
		n, borrow = bits.Sub64(binary.BigEndian.Uint64(s[i:]), binary.BigEndian.Uint64(h[i:]), borrow)
		binary.BigEndian.PutUint64(s[i:], n)
	}
}

// plus takes one in, minus takes one out.
func (t *Tally) plus(bytes int64, h Sum) { t.Count, t.Bytes = t.Count+1, t.Bytes+bytes; t.Sum.add(h) }
func (t *Tally) minus(bytes int64, h Sum) {
	t.Count, t.Bytes = t.Count-1, t.Bytes-bytes
	t.Sum.subtract(h)
}

// Add takes another set in.
func (t *Tally) Add(of Tally) {
	t.Count, t.Bytes = t.Count+of.Count, t.Bytes+of.Bytes
	t.Sum.add(of.Sum)
}

// hashRow is the SHA-256 of the key's length in two bytes, big-endian, the key and the value.
func hashRow(key, value []byte) (h Sum) {
	d := sha256.New()
	_, _ = d.Write(binary.BigEndian.AppendUint16(nil, uint16(len(key)))) // never fails
	_, _ = d.Write(key)
	_, _ = d.Write(value)
	d.Sum(h[:0])
	return h
}

// Tallies are those of rows by their kind.
type Tallies map[byte]Tally

// change counts a row with another value; nil is no row.
func (t Tallies) change(kind byte, key, was, is []byte) {
	of := t[kind]
	if was != nil {
		of.minus(int64(len(key)+len(was)), hashRow(key, was))
	}
	if is != nil {
		of.plus(int64(len(key)+len(is)), hashRow(key, is))
	}
	if of == (Tally{}) {
		delete(t, kind)
		return
	}
	t[kind] = of
}

// All is the tally of the rows of all kinds.
func (t Tallies) All() (all Tally) {
	for _, of := range t {
		all.Add(of)
	}
	return all
}
