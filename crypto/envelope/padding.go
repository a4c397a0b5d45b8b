package envelope

import (
	"encoding/binary"
	"math/bits"
)

const (
	lengthSize  = 4       // big-endian uint32 before the plaintext
	minPadded   = 16      // smallest padded length, in bytes
	powersUntil = 4096    // padded lengths up to here are powers of two, above it Padmé lengths
	maxPadded   = 1 << 20 // largest padded length, in bytes
)

// MaxPlaintext is the largest plaintext Seal takes, in bytes. Longer things are documents.
const MaxPlaintext = maxPadded - lengthSize

// Padme returns the length to which n bytes are padded so that it tells at most O(log log n) bits about n, for at most
// 12 % more bytes: the Padmé scheme of "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs"
// (Nikitin et al., PoPETs 2019). Lengths of 0 and 1 stay; a Padmé length is its own. The result must fit in a uint64.
func Padme(n uint64) uint64 {
	if n < 2 {
		return n
	}
	e := bits.Len64(n) - 1       // floor(log2 n)
	low := e - bits.Len(uint(e)) // bits of the length that must be zero
	mask := uint64(1)<<low - 1
	return (n + mask) &^ mask
}

// paddedSize returns the padded length of a plaintext of n bytes, its own length field included.
func paddedSize(n int) int {
	total := uint64(lengthSize + n)
	switch {
	case total <= minPadded:
		return minPadded
	case total <= powersUntil:
		return 1 << bits.Len64(total-1)
	default:
		return int(Padme(total))
	}
}

// pad writes plaintext, padded, over the whole of b, which is zero and of its padded size.
func pad(b, plaintext []byte) {
	binary.BigEndian.PutUint32(b, uint32(len(plaintext)))
	copy(b[lengthSize:], plaintext)
}

// unpad returns the plaintext within b, which has minPadded bytes or more, or false when pad would not have written b.
func unpad(b []byte) ([]byte, bool) {
	n := uint64(binary.BigEndian.Uint32(b))
	if n > uint64(len(b)-lengthSize) || paddedSize(int(n)) != len(b) {
		return nil, false
	}
	end := lengthSize + int(n)
	for _, zero := range b[end:] {
		if zero != 0 {
			return nil, false
		}
	}
	return b[lengthSize:end], true
}
