package bucket

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
)

// Object is what a listing tells.
type Object struct {
	Key      string // without the bucket's prefix
	Version  string // empty where there are none
	Marker   bool   // a version that says that the object was removed
	Modified time.Time
	Size     int64 // bytes; 0 of a delete marker
}

// Listing says what is listed.
type Listing struct {
	Under    string // keys that begin so
	After    string // keys that follow on this one
	Versions bool   // every version and delete marker, the newest first for each key
	Most     int    // objects of one request; 0 is the server's choice
}

// List goes through objects in the order of their keys. It waits for the server twice as long as for a try, each time.
func (b *Bucket) List(ctx context.Context, what Listing) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		for try := 1; ; try++ {
			begun, err := b.list(ctx, what, yield)
			if ended := ended(ctx); err != nil && ended != nil {
				err = ended
			}
			switch {
			case err == nil:
				return
			case !begun && errors.Is(err, ErrUnavailable) && try < tries && pause(ctx, try):
				continue
			}
			yield(Object{}, fmt.Errorf("list objects: %w", err))
			return
		}
	}
}

// list lists once. After its first object it has begun, and is not begun again.
func (b *Bucket) list(ctx context.Context, what Listing, yield func(Object, error) bool) (begun bool, err error) {
	listing, cancel := context.WithCancel(ctx)
	defer cancel() // ends what the client does ahead
	o := minio.ListObjectsOptions{Prefix: b.prefix + what.Under, Recursive: true, WithVersions: what.Versions, MaxKeys: what.Most}
	if what.After != "" {
		o.StartAfter = b.prefix + what.After
	}
	waiting := time.AfterFunc(2*b.timeout, cancel)
	defer waiting.Stop()
	for info := range b.client.ListObjectsIter(listing, b.name, o) {
		waiting.Stop()
		if info.Err != nil {
			return begun, classify(info.Err)
		}
		begun = true
		if !yield(Object{strings.TrimPrefix(info.Key, b.prefix), info.VersionID, info.IsDeleteMarker, info.LastModified, info.Size}, nil) {
			return begun, nil
		}
		waiting.Reset(2 * b.timeout)
	}
	// The client ends without a word when it is told to: what it has told is then not all there is.
	return begun, classify(listing.Err())
}
