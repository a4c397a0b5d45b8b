package bucket

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // what Content-MD5 takes; the request is signed over the SHA-256
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/minio/minio-go/v7"
)

// Put says how an object is put.
type Put struct {
	New    bool      // only when there is none
	Over   string    // only in the place of the object with this ETag; empty: of any
	Retain time.Time // nobody can remove this version before; the zero time leaves it to the bucket
}

// Put puts an object whole, durably. With New it is put once or not at all, but whether by this call is not told when the
// answer to a try was lost: ErrExists may be about the object that it has put itself.
func (b *Bucket) Put(ctx context.Context, key string, content []byte, how Put) error {
	o := minio.PutObjectOptions{ContentType: "application/octet-stream", DisableMultipart: true}
	if how.New {
		o.SetMatchETagExcept("*")
	}
	if how.Over != "" {
		o.SetMatchETag(how.Over)
	}
	if !how.Retain.IsZero() {
		o.Mode, o.RetainUntilDate = minio.Compliance, how.Retain.UTC()
	}
	sum, check := sums(content)
	err := b.do(ctx, int64(len(content)), func(ctx context.Context) error {
		_, err := b.client.PutObject(ctx, b.name, b.prefix+key, bytes.NewReader(content), int64(len(content)), check, sum, o)
		return err
	})
	if err != nil {
		return fmt.Errorf("put an object: %w", err)
	}
	return nil
}

// Swap puts an object in the place of one that holds was; nil stands for none. False: there is another by now, maybe this very content,
// when the answer to a try was lost. A server that knows no condition for that is asked right before what it has. Versions from
// before are removed where the bucket lets it; nothing is wrong when it does not: they are kept as well.
func (b *Bucket) Swap(ctx context.Context, key string, was, content []byte) (swapped bool, err error) {
	how := Put{New: was == nil}
	if was != nil {
		now, etag, err := b.get(ctx, key, "", int64(len(was)))
		if errors.Is(err, ErrNotFound) || errors.Is(err, ErrTooLong) || err == nil && !bytes.Equal(now, was) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("swap an object: %w", err)
		}
		how.Over = etag
	}
	err = b.Put(ctx, key, content, how)
	if errors.Is(err, errUnsupported) {
		err = b.Put(ctx, key, content, Put{})
	}
	switch {
	case errors.Is(err, ErrExists), errors.Is(err, ErrNotFound):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("swap an object: %w", err)
	}
	b.thin(ctx, key)
	return true, nil
}

// thin removes the versions of an object that are not the last, as far as the bucket lets it.
func (b *Bucket) thin(ctx context.Context, key string) {
	f, err := b.Features(ctx)
	if err != nil || !f.Versions || f.Compliance {
		return
	}
	all, err := b.versions(ctx, key)
	for i, v := range all {
		if err == nil && i > 0 {
			err = b.remove(ctx, key, v.Version)
		}
	}
}

// sums are what a body is sent with: its SHA-256 in hexadecimal and its MD5 in base64.
func sums(body []byte) (sum, check string) {
	s, c := sha256.Sum256(body), md5.Sum(body) //nolint:gosec // see the import
	return hex.EncodeToString(s[:]), base64.StdEncoding.EncodeToString(c[:])
}

// Get reads an object of at most this many bytes, or one version of it.
func (b *Bucket) Get(ctx context.Context, key, version string, most int64) (content []byte, err error) {
	content, _, err = b.get(ctx, key, version, most)
	return content, err
}

func (b *Bucket) get(ctx context.Context, key, version string, most int64) (content []byte, etag string, err error) {
	err = b.do(ctx, most, func(ctx context.Context) error {
		body, info, _, err := b.client.GetObject(ctx, b.name, b.prefix+key, minio.GetObjectOptions{VersionID: version})
		if err != nil {
			return err
		}
		etag = info.ETag
		content, err = read(body, info.Size, most)
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("get an object: %w", err)
	}
	return content, etag, nil
}

// GetRange reads length bytes of an object from offset on; all of them are there.
func (b *Bucket) GetRange(ctx context.Context, key string, offset, length int64) (content []byte, err error) {
	var o minio.GetObjectOptions
	if err := o.SetRange(offset, offset+length-1); err != nil {
		return nil, fmt.Errorf("get a part of an object: %w", err)
	}
	err = b.do(ctx, length, func(ctx context.Context) error {
		body, info, _, err := b.client.GetObject(ctx, b.name, b.prefix+key, o)
		if err != nil {
			return err
		}
		content, err = read(body, info.Size, length)
		return err
	})
	if err == nil && int64(len(content)) != length {
		err = fmt.Errorf("%d bytes came for %d", len(content), length)
	}
	if err != nil {
		return nil, fmt.Errorf("get a part of an object: %w", err)
	}
	return content, nil
}

// read reads a body whose header tells its size.
func read(body io.ReadCloser, size, most int64) ([]byte, error) {
	defer func() { _ = body.Close() }() // it was only read
	if size > most {
		return nil, ErrTooLong
	}
	content := make([]byte, size)
	_, err := io.ReadFull(body, content)
	return content, err
}

// Size is the length of an object in bytes.
func (b *Bucket) Size(ctx context.Context, key string) (size int64, err error) {
	err = b.do(ctx, 0, func(ctx context.Context) error {
		info, err := b.client.StatObject(ctx, b.name, b.prefix+key, minio.StatObjectOptions{})
		size = info.Size
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("look at an object: %w", err)
	}
	return size, nil
}
