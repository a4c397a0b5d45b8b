package envelope_test

import (
	"testing"

	"github.com/sandyq/sandyq/crypto/envelope"
	"github.com/sandyq/sandyq/crypto/secret"
)

var benchContext = envelope.Context{
	Kind: "field", Tenant: "default", Subject: "sub_01hzxw5gq8k2v7c3n4p6r9t0ab", Name: "iin/0", Version: 7,
}

func BenchmarkSeal(b *testing.B) {
	key := secret.New(make([]byte, envelope.KeySize))
	plaintext := []byte("850312113646")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := envelope.Seal(key, benchContext, plaintext); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	key := secret.New(make([]byte, envelope.KeySize))
	sealed, err := envelope.Seal(key, benchContext, []byte("850312113646"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := envelope.Open(key, benchContext, sealed); err != nil {
			b.Fatal(err)
		}
	}
}
