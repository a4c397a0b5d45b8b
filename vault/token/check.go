package token

import "github.com/sandyq/sandyq/vault/id"

// The check characters make the 31 characters of a body a codeword of the Reed–Solomon code over GF(32) of length 31 and
// dimension 27, whose minimum distance is 5. GF(32) is GF(2)[x]/(x⁵+x²+1), α = x, and the generator polynomial
// is (z−α)(z−α²)(z−α³)(z−α⁴).
const (
	checkLength = 4
	bodyLength  = 1 + id.Length + checkLength // environment letter, random characters, check characters
)

// feedback holds, for each symbol, its products with the coefficients of z³, z², z and 1 in the generator polynomial, whose z⁴ is 1.
var feedback = func() (table [32][checkLength]byte) {
	g := [checkLength + 1]byte{checkLength: 1} // highest power first; begins as the polynomial 1
	root := byte(1)
	for range checkLength {
		root = multiply(root, 2)
		for i := range checkLength { // g = g·(z + root)
			g[i] = g[i+1] ^ multiply(g[i], root)
		}
		g[checkLength] = multiply(g[checkLength], root)
	}
	for symbol := range table {
		for i, coefficient := range g[1:] {
			table[symbol][i] = multiply(byte(symbol), coefficient)
		}
	}
	return table
}()

// multiply returns the product of a and b in GF(32).
func multiply(a, b byte) byte {
	var p byte
	for ; b > 0; b >>= 1 {
		if b&1 == 1 {
			p ^= a
		}
		if a <<= 1; a&32 != 0 {
			a ^= 0b100101
		}
	}
	return p
}

// check returns the four check characters of an environment letter and the random characters after it: the remainder of
// data·z⁴ by the generator polynomial, the letter's place in the alphabet (a is 0) being the highest coefficient.
func check(data string) [checkLength]byte {
	var rest [checkLength]byte
	for i := range len(data) {
		symbol := data[i] - 'a'
		if i > 0 {
			symbol, _ = id.Digit(data[i])
		}
		f := &feedback[symbol^rest[0]]
		rest = [checkLength]byte{rest[1] ^ f[0], rest[2] ^ f[1], rest[3] ^ f[2], f[3]}
	}
	for i, symbol := range rest {
		rest[i] = id.Alphabet[symbol]
	}
	return rest
}
