package bucket

import (
	"context"
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
}

// Listing says what is listed.
type Listing struct {
	Under    string // keys that begin so
	After    string // keys that follow on this one
	Versions bool   // every version and delete marker, the newest first for each key
	Most     int    // objects of one request; 0 is the server's choice
}

// List goes through objects in the order of their keys.
func (b *Bucket) List(ctx context.Context, what Listing) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		listing, cancel := context.WithCancel(ctx)
		defer cancel() // ends what the client does ahead
		o := minio.ListObjectsOptions{Prefix: b.prefix + what.Under, Recursive: true, WithVersions: what.Versions, MaxKeys: what.Most}
		if what.After != "" {
			o.StartAfter = b.prefix + what.After
		}
		for info := range b.client.ListObjectsIter(listing, b.name, o) {
			if info.Err != nil {
				err := ended(ctx)
				if err == nil {
					err = classify(info.Err)
				}
				yield(Object{}, fmt.Errorf("list objects: %w", err))
				return
			}
			key := strings.TrimPrefix(info.Key, b.prefix)
			if !yield(Object{Key: key, Version: info.VersionID, Marker: info.IsDeleteMarker, Modified: info.LastModified}, nil) {
				return
			}
		}
		if err := ended(ctx); err != nil {
			yield(Object{}, fmt.Errorf("list objects: %w", err))
		}
	}
}
