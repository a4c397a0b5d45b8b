package anchor

import (
	"errors"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/sandyq/sandyq/vault/audit/translog"
	"github.com/sandyq/sandyq/vault/blob/s3server"
	"github.com/sandyq/sandyq/vault/bucket"
)

// TestTheLastIsKeptInABucket: for its tenant alone, whatever the bucket keeps of those before; a server that is away is an error, and
// not an anchor that was lost.
func TestTheLastIsKeptInABucket(t *testing.T) {
	server := s3server.Start(t)
	for _, kind := range []s3server.Kind{s3server.Plain, s3server.Versioned, s3server.Locking} {
		c := server.Bucket(t, kind)
		c.Timeout = time.Second
		b, err := bucket.New(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		o := InBucket(b, "acme")
		if note, err := o.Last(t.Context()); note != nil || err != nil {
			t.Fatalf("%q %v", note, err)
		}
		var was []byte
		for _, note := range []string{"one", "two, which is longer", "3"} {
			keep(t, o, was, note)
			was = []byte(note)
			if last, err := InBucket(b, "acme").Last(t.Context()); string(last) != note || err != nil {
				t.Errorf("%q %v", last, err)
			}
		}
		if note, err := InBucket(b, "other").Last(t.Context()); note != nil || err != nil {
			t.Errorf("another's: %q %v", note, err)
		}
		versions := 0
		for v := range server.Client(t).ListObjectsIter(t.Context(), c.Bucket, minio.ListObjectsOptions{Recursive: true, WithVersions: true}) {
			if v.Err != nil || v.Key != c.Prefix+"acme.checkpoint" {
				t.Errorf("%+v", v)
			}
			versions++
		}
		if versions != 1 {
			t.Errorf("%d versions, want the last", versions)
		}
		neverBack(t, func() translog.Anchor { return InBucket(b, "shared") })
		server.Kill()
		if note, err := o.Last(t.Context()); !errors.Is(err, bucket.ErrUnavailable) {
			t.Errorf("of a server that is away: %q %v", note, err)
		}
		if _, err := o.Keep(t.Context(), was, []byte("4")); !errors.Is(err, bucket.ErrUnavailable) {
			t.Errorf("to a server that is away: %v", err)
		}
		server.Restart(t)
	}
}
