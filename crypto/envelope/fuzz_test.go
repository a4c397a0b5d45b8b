package envelope_test

import (
	"bytes"
	"testing"

	"github.com/sandyq/sandyq/crypto/envelope"
	"github.com/sandyq/sandyq/crypto/secret"
)

// FuzzOpen gives Open arbitrary bytes: the two decoders agree on all of them.
func FuzzOpen(f *testing.F) {
	for _, v := range readVectors(f) {
		f.Add(unhex(f, v.Key), v.Context.Kind, v.Context.Tenant, v.Context.Subject, v.Context.Name, v.Context.Version, unhex(f, v.Sealed))
	}
	f.Fuzz(func(t *testing.T, key []byte, kind, tenant, subject, name string, version uint64, sealed []byte) {
		c := envelope.Context{Kind: kind, Tenant: tenant, Subject: subject, Name: name, Version: version}
		first, err := envelope.Open(secret.New(key), c, sealed)
		if err != nil && err != envelope.ErrOpen { //nolint:errorlint // the error itself
			t.Fatalf("another error: %v", err)
		}
		if len(key) != envelope.KeySize || kind == "" || max(len(kind), len(tenant), len(subject), len(name)) > 65_535 {
			if err == nil {
				t.Fatal("opened without a proper key and context")
			}
			return
		}
		second, secondErr := plainOpen(key, c, sealed)
		if (err == nil) != (secondErr == nil) || !bytes.Equal(first, second) {
			t.Fatalf("one decoder says %v, the other %v", err, secondErr)
		}
	})
}

// FuzzOpenPadding gives Open arbitrary padded plaintexts, sealed properly, which no fuzzer finds by changing ciphertext: it takes
// those that pad writes and no others.
func FuzzOpenPadding(f *testing.F) {
	for _, n := range []int{0, 12, 13, 28, 4093} {
		f.Add(plainPad(make([]byte, n)))
	}
	f.Add([]byte("\x00\x00\x00\x0b850312113641"))
	f.Fuzz(func(t *testing.T, padded []byte) {
		sealed := plainSeal(testKey, field, make([]byte, 32), make([]byte, 12), padded)
		plaintext, err := envelope.Open(secret.New(testKey), field, sealed)
		if err == nil && !bytes.Equal(plainPad(plaintext), padded) {
			t.Fatalf("opened what Seal would not have written: %x", padded)
		}
		if second, secondErr := plainOpen(testKey, field, sealed); (err == nil) != (secondErr == nil) || !bytes.Equal(plaintext, second) {
			t.Fatalf("one decoder says %v, the other %v", err, secondErr)
		}
	})
}
