package vaulttest

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/blob/file"
	"github.com/sandyq/sandyq/vault/blob/s3"
	"github.com/sandyq/sandyq/vault/blob/s3server"
	"github.com/sandyq/sandyq/vault/bucket"
)

// BlobsVariable names the environment variable that chooses where every vault without a place of its own keeps documents: file,
// the default, or s3, a bucket on a real server for each home.
const BlobsVariable = "SANDYQ_TEST_BLOBS"

// buckets are those of the homes of this test binary, by home.
var buckets struct {
	sync.Mutex
	of map[string]bucket.Config
}

// openDocuments opens the documents of a home, which may have been opened before.
func openDocuments(t testing.TB, home string) blob.Store {
	t.Helper()
	if os.Getenv(BlobsVariable) != "s3" {
		s, err := file.Open(filepath.Join(home, "documents"), 0)
		check(t, err)
		return s
	}
	buckets.Lock()
	defer buckets.Unlock()
	c, ok := buckets.of[home]
	if !ok {
		c = s3server.Start(t).Bucket(t, s3server.Versioned)
		if buckets.of == nil {
			buckets.of = map[string]bucket.Config{}
		}
		buckets.of[home] = c
	}
	s, err := s3.Open(context.Background(), c)
	check(t, err)
	t.Cleanup(func() { check(t, s.Close()) })
	return s
}
