package s3_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/blob/blobtest"
	"github.com/sandyq/sandyq/vault/blob/s3"
	"github.com/sandyq/sandyq/vault/blob/s3server"
	"github.com/sandyq/sandyq/vault/bucket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, c bucket.Config) *s3.Store {
	t.Helper()
	s, err := s3.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	server := s3server.Start(t)
	for name, kind := range map[string]s3server.Kind{"Plain": s3server.Plain, "Versioned": s3server.Versioned, "Locking": s3server.Locking} {
		t.Run(name, func(t *testing.T) {
			blobtest.Run(t, func(t *testing.T) blob.Store { return open(t, server.Bucket(t, kind)) })
		})
	}
}
