package document_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math/bits"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/sandyq/sandyq/crypto/envelope"
)

// This file is a second implementation of documents, written from docs/formats.md and c2sp.org/age; it calls neither the package
// nor package envelope nor age. It takes its randomness from the caller, and names what it refuses.

var (
	errSize    = errors.New("size")
	errHeader  = errors.New("header")
	errFileKey = errors.New("file key")
	errMAC     = errors.New("header MAC")
	errPayload = errors.New("payload")
)

var raw64 = base64.RawStdEncoding.Strict()

func mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// ageKey is HKDF-SHA256 for 32 bytes, as age uses it.
func ageKey(fileKey, salt []byte, info string) []byte {
	if salt == nil {
		salt = make([]byte, 32)
	}
	return mac(mac(salt, fileKey), []byte(info), []byte{1})
}

// plainWrap and plainUnwrap are sealed values of a 16-byte file key: 125 bytes. plainWrap takes up to 28.
func plainWrap(key []byte, c envelope.Context, salt, nonce, fileKey []byte) []byte {
	context, gcm, commitment := plainSealing(key, c, salt)
	padded := append(append([]byte{0, 0, 0, byte(len(fileKey))}, fileKey...), make([]byte, 28-len(fileKey))...)
	out := append(append([]byte{1}, salt...), commitment...)
	return gcm.Seal(append(out, nonce...), nonce, padded, context)
}

func plainUnwrap(key []byte, c envelope.Context, sealed []byte) ([]byte, error) {
	if len(sealed) != 125 || sealed[0] != 1 {
		return nil, errFileKey
	}
	context, gcm, commitment := plainSealing(key, c, sealed[1:33])
	padded, err := gcm.Open(nil, sealed[65:77], sealed[77:], context)
	if err != nil || !bytes.Equal(commitment, sealed[33:65]) || !bytes.Equal(padded[:4], []byte{0, 0, 0, 16}) ||
		!bytes.Equal(padded[20:], make([]byte, 12)) {
		return nil, errFileKey
	}
	return padded[4:20], nil
}

func plainSealing(key []byte, c envelope.Context, salt []byte) (context []byte, gcm cipher.AEAD, commitment []byte) {
	for _, part := range []string{"sandyq/sealed/1", c.Kind, c.Tenant, c.Subject, c.Name} {
		context = append(append(context, byte(len(part)>>8), byte(len(part))), part...)
	}
	context = binary.BigEndian.AppendUint64(context, c.Version)
	prk := mac(salt, key)
	aesKey := mac(prk, context, []byte{1})
	block, err := aes.NewCipher(aesKey)
	if err != nil {
		panic(err)
	}
	if gcm, err = cipher.NewGCM(block); err != nil {
		panic(err)
	}
	return context, gcm, mac(prk, aesKey, context, []byte{2})
}

func plainPaddedSize(n int) int {
	if n <= 4096 {
		return 4096
	}
	e := bits.Len(uint(n)) - 1
	step := 1 << (e - bits.Len(uint(e)))
	return (n + step - 1) / step * step
}

// plainHeader is the header up to and including the three hyphens of its last line.
func plainHeader(stanza string, body []byte) string {
	text := raw64.EncodeToString(body)
	return "age-encryption.org/v1\n-> " + stanza + "\n" + text[:64] + "\n" + text[64:128] + "\n" + text[128:] + "\n---"
}

// plainEncrypt makes a file of a header up to its MAC, and of a payload that is padded already, well or badly.
func plainEncrypt(header string, fileKey, nonce, padded []byte) []byte {
	out := []byte(header + " " + raw64.EncodeToString(mac(ageKey(fileKey, nil, "header"), []byte(header))) + "\n")
	out = append(out, nonce...)
	aead := plainStream(fileKey, nonce)
	for i := 0; ; i++ {
		chunk := padded[:min(len(padded), 65_536)]
		padded = padded[len(chunk):]
		out = aead.Seal(out, chunkNonce(i, len(padded) == 0), chunk, nil)
		if len(padded) == 0 {
			return out
		}
	}
}

func plainStream(fileKey, nonce []byte) cipher.AEAD {
	aead, err := chacha20poly1305.New(ageKey(fileKey, nonce, "payload"))
	if err != nil {
		panic(err)
	}
	return aead
}

func chunkNonce(i int, last bool) []byte {
	nonce := binary.BigEndian.AppendUint32(make([]byte, 7, 12), uint32(i))
	if last {
		return append(nonce, 1)
	}
	return append(nonce, 0)
}

// plainOpen decrypts the document of size bytes, reading all of it.
func plainOpen(key []byte, c envelope.Context, file []byte, size int) ([]byte, error) {
	const headerSize = 22 + 39 + 64 + 1 + 64 + 1 + 39 + 1 + 3 + 1 + 43 + 1
	if size < 0 || size > 1<<40 {
		return nil, errSize
	}
	padded := plainPaddedSize(size)
	if len(file) != headerSize+16+padded+(padded+65_535)/65_536*16 {
		return nil, errSize
	}
	header := string(file[:headerSize])
	text := header[61:125] + header[126:190] + header[191:230]
	body, err := raw64.DecodeString(text)
	if err != nil || len(text) != 167 {
		return nil, errHeader
	}
	unsigned := plainHeader("github.com/sandyq/sandyq/document/1", body)
	if header[:len(unsigned)+1] != unsigned+" " || header[headerSize-1] != '\n' {
		return nil, errHeader
	}
	sum, err := raw64.DecodeString(header[len(unsigned)+1 : headerSize-1])
	if err != nil || len(sum) != 32 {
		return nil, errHeader
	}
	fileKey, err := plainUnwrap(key, c, body)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(sum, mac(ageKey(fileKey, nil, "header"), []byte(unsigned))) {
		return nil, errMAC
	}
	aead := plainStream(fileKey, file[headerSize:headerSize+16])
	payload := file[headerSize+16:]
	var plaintext []byte
	for i := 0; len(payload) > 0; i++ {
		chunk := payload[:min(len(payload), 65_536+16)]
		payload = payload[len(chunk):]
		if plaintext, err = aead.Open(plaintext, chunkNonce(i, len(payload) == 0), chunk, nil); err != nil {
			return nil, errPayload
		}
	}
	return plaintext[:size], nil
}
