package envelope_test

import (
	"bytes"
	"crypto/aes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/sandyq/sandyq/crypto/envelope"
	"github.com/sandyq/sandyq/crypto/secret"
)

// TestNoValueOpensUnderTwoKeys crafts a box that AES-GCM alone opens under two keys, which is what GCM permits, and shows that
// the commitment lets it be sealed for one of them at most.
func TestNoValueOpensUnderTwoKeys(t *testing.T) {
	keys := [2][]byte{bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)}
	salt, nonce, aad := bytes.Repeat([]byte{3}, 32), bytes.Repeat([]byte{4}, 12), plainContext(field)
	var aesKeys, commitments [2][]byte
	for i, key := range keys {
		aesKeys[i], commitments[i] = plainDerive(key, salt, aad)
	}

	// Under the first key the first block reads as the length 28 and 12 zeros, so that the padding is right whatever follows.
	first := make([]byte, 16)
	binary.BigEndian.PutUint32(first, 28)
	stream := gcmBlock(aesKeys[0], nonce, 2)
	box := collide(aesKeys, nonce, aad, element(first).add(stream))

	for i := range keys {
		if _, err := plainGCM(aesKeys[i]).Open(nil, nonce, box, aad); err != nil {
			t.Fatalf("the crafted box does not open under bare GCM and key %d: %v", i, err)
		}
	}
	for i := range keys {
		sealed := slices.Concat([]byte{1}, salt, commitments[i], nonce, box)
		for j, key := range keys {
			_, err := envelope.Open(secret.New(key), field, sealed)
			if opens := err == nil; opens != (i == 0 && j == 0) {
				t.Errorf("committed to key %d, opened with key %d: %v", i, j, err)
			}
		}
	}
}

// collide returns a GCM ciphertext of two blocks, the first given, and a tag, that authenticates under both keys. With H the
// hash key and S the tag's mask, GHASH makes the tag  A + C₁H³ + C₂H² + L·H + S, where A is the part of the additional data;
// equating both keys' tags is one linear equation in C₂.
func collide(aesKeys [2][]byte, nonce, aad []byte, c1 gf) []byte {
	var sum, square gf
	var tagOf [2]func(gf) gf
	for i, key := range aesKeys {
		h := encryptBlock(key, make([]byte, 16))
		h2 := h.mul(h)
		lengths := make([]byte, 16)
		binary.BigEndian.PutUint64(lengths, uint64(len(aad))*8)
		binary.BigEndian.PutUint64(lengths[8:], 32*8)
		var hash gf
		for block := range slices.Chunk(aad, 16) {
			hash = hash.add(element(append(slices.Clone(block), make([]byte, 16-len(block))...))).mul(h)
		}
		fixed := hash.add(c1).mul(h).mul(h2).add(element(lengths).mul(h)).add(gcmBlock(key, nonce, 1))
		tagOf[i] = func(c2 gf) gf { return fixed.add(c2.mul(h2)) }
		sum, square = sum.add(fixed), square.add(h2)
	}
	c2 := sum.mul(square.inverse())
	tag := tagOf[0](c2)
	return slices.Concat(c1.bytes(), c2.bytes(), tag.bytes())
}

// gcmBlock is the key stream block of a counter: 1 masks the tag, 2 is the first of the text.
func gcmBlock(key, nonce []byte, counter uint32) gf {
	return encryptBlock(key, binary.BigEndian.AppendUint32(slices.Clone(nonce), counter))
}

func encryptBlock(key, in []byte) gf {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	out := make([]byte, 16)
	block.Encrypt(out, in)
	return element(out)
}

// gf is an element of GF(2¹²⁸) as NIST SP 800-38D writes it: the first bit is the coefficient of 1.
type gf struct{ hi, lo uint64 }

func element(b []byte) gf {
	return gf{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

func (x gf) bytes() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, x.hi), x.lo)
}

func (x gf) add(y gf) gf { return gf{x.hi ^ y.hi, x.lo ^ y.lo} }

func (x gf) mul(y gf) gf {
	var z gf
	for i := range 128 {
		word, bit := y.hi, 63-i
		if i >= 64 {
			word, bit = y.lo, 127-i
		}
		if word>>bit&1 == 1 {
			z = z.add(x)
		}
		carry := x.lo & 1
		x = gf{x.hi >> 1, x.lo>>1 | x.hi<<63}
		if carry == 1 {
			x.hi ^= 0xe1 << 56
		}
	}
	return z
}

// inverse is x to the power 2¹²⁸−2.
func (x gf) inverse() gf {
	result := gf{hi: 1 << 63} // one
	for range 127 {
		x = x.mul(x)
		result = result.mul(x)
	}
	return result
}
