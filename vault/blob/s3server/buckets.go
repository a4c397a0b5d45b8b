package s3server

import (
	"fmt"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/vault/bucket"
)

// Kind says what a bucket keeps.
type Kind int

// The kinds of buckets.
const (
	Plain     Kind = iota
	Versioned      // every version
	Locking        // with object lock, and so every version, too
)

// Client is a client of the server that may do everything, for what no part of Sandyq does.
func (s *Server) Client(t testing.TB) *minio.Client {
	t.Helper()
	transport, err := minio.DefaultTransport(false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(transport.CloseIdleConnections)
	client, err := minio.New(s.Address, &minio.Options{
		Creds: credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""), Region: s.Region, Transport: transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// Bucket makes a bucket, and returns what names it.
func (s *Server) Bucket(t testing.TB, kind Kind) bucket.Config {
	t.Helper()
	client := s.Client(t)
	name := fmt.Sprintf("bucket-%d", s.buckets.Add(1))
	if err := client.MakeBucket(t.Context(), name, minio.MakeBucketOptions{ObjectLocking: kind == Locking}); err != nil {
		t.Fatal(err)
	}
	if kind == Versioned {
		if err := client.EnableVersioning(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	return bucket.Config{
		Endpoint: "http://" + s.Address, Region: s.Region, Bucket: name, Prefix: "sandyq/",
		AccessKey: secret.NewString(s.AccessKey), SecretKey: secret.NewString(s.SecretKey),
	}
}
