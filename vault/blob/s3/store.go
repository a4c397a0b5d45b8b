// Package s3 keeps blobs as objects in a bucket of S3-compatible storage, one each, under <prefix><id>, the id in lower-case
// hexadecimal. Several nodes use one bucket and prefix; nothing else lies there. An object has no metadata and no tags.
//
// # What is durable when
//
// A blob is a multipart upload from Create on, so that it is listed and can be removed while it is written; it becomes an
// object, whole, when Commit completes the upload. What was cut short stays as an upload under way until the owner of the rows
// removes it. Remove drops uploads first and objects then: a Commit that comes between finds nothing to complete, or has
// completed before.
//
// # Versions and locks
//
// Where the bucket keeps versions, Remove removes each. What object lock keeps is told by a *blob.Kept.
//
// # Memory and requests
//
// A blob being written holds at most a part, 5 MiB, and as little more than it has been given as doubling takes. One being read
// holds two windows of 1 MiB, each got by one request. Parts are all of one length, as some servers want; a blob has at most 1,000,
// which is beyond what the vault takes in and below what servers have trouble with.
package s3

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/bucket"
)

// Store is a blob.Store over a bucket.
type Store struct{ bucket *bucket.Bucket }

var _ blob.Store = (*Store)(nil)

// Open sees that the bucket can be used. It makes none, and changes nothing of who may reach it. A bucket that is out of reach for
// the moment is no error, so that a node can start without it: Check tells.
func Open(ctx context.Context, c bucket.Config) (*Store, error) {
	b, err := bucket.New(c)
	if err != nil {
		return nil, fmt.Errorf("blob/s3: open: %w", err)
	}
	s := &Store{b}
	if err := s.Check(ctx); err != nil && !errors.Is(err, blob.ErrUnavailable) {
		b.Close()
		return nil, err
	}
	return s, nil
}

// Check sees that the bucket can be reached and used.
func (s *Store) Check(ctx context.Context) error {
	_, err := s.bucket.Features(ctx)
	return told("open", blob.ID{}, err)
}

// Close ends connections that are not in use.
func (s *Store) Close() error {
	s.bucket.Close()
	return nil
}

// Create begins a blob.
func (s *Store) Create(ctx context.Context, id blob.ID) (blob.Writer, error) {
	up, err := s.bucket.Begin(ctx, id.String())
	if err != nil {
		return nil, told("create", id, err)
	}
	return &writer{ctx: ctx, id: id, upload: up}, nil
}

// Open opens a committed blob.
func (s *Store) Open(ctx context.Context, id blob.ID) (blob.Reader, error) {
	size, err := s.bucket.Size(ctx, id.String())
	if err != nil {
		return nil, told("open", id, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	return &reader{ctx: ctx, cancel: cancel, bucket: s.bucket, id: id, size: size}, nil
}

// Remove removes a blob, committed or being written, and every version of it.
func (s *Store) Remove(ctx context.Context, id blob.ID) error {
	if err := s.bucket.AbortAll(ctx, id.String()); err != nil {
		return told("remove", id, err)
	}
	err := s.bucket.Remove(ctx, id.String())
	if locked, ok := errors.AsType[*bucket.Locked](err); ok {
		err = &blob.Kept{Until: locked.Until}
	}
	return told("remove", id, err)
}

// List lists objects, the removed ones that are kept with them, and then the uploads under way.
func (s *Store) List(ctx context.Context, f func(blob.Info) error) error {
	features, err := s.bucket.Features(ctx)
	if err != nil {
		return told("list", blob.ID{}, err)
	}
	var last blob.ID
	for o, err := range s.bucket.List(ctx, bucket.Listing{Versions: features.Versions}) {
		if err != nil {
			return told("list", blob.ID{}, err)
		}
		id, ok := parseID(o.Key)
		if !ok || id == last { // of several versions the newest counts
			continue
		}
		last = id
		if err := f(blob.Info{ID: id, Modified: o.Modified, Size: o.Size}); err != nil {
			return err
		}
	}
	var stopped error
	err = s.bucket.Uploads(ctx, "", func(p bucket.Pending) error {
		id, ok := parseID(p.Key)
		if !ok {
			return nil
		}
		stopped = f(blob.Info{ID: id, Modified: p.Begun, Partial: true})
		return stopped
	})
	if stopped != nil {
		return stopped
	}
	return told("list", blob.ID{}, err)
}

// parseID reads the key of an object; what Create would not have made is no blob.
func parseID(key string) (id blob.ID, ok bool) {
	if len(key) != hex.EncodedLen(len(id)) {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(key))
	return id, err == nil && id.String() == key
}

// kinds are the failures of a bucket in the words of package blob.
var kinds = []struct{ of, is error }{
	{bucket.ErrNotFound, blob.ErrNotFound},
	{bucket.ErrNoSpace, blob.ErrNoSpace},
	{bucket.ErrUnavailable, blob.ErrUnavailable},
}

// told wraps a failure; nil stays nil.
func told(doing string, id blob.ID, err error) error {
	if err == nil {
		return nil
	}
	for _, k := range kinds {
		if errors.Is(err, k.of) {
			err = fmt.Errorf("%w: %w", k.is, err)
			break
		}
	}
	if id == (blob.ID{}) {
		return fmt.Errorf("blob/s3: %s: %w", doing, err)
	}
	return fmt.Errorf("blob/s3: %s %s: %w", doing, id, err)
}
