package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/minio/minio-go/v7"
)

// Upload is an object that is put in parts. It is there, whole, once Complete has returned. It is used by one goroutine.
type Upload struct {
	bucket *Bucket
	key    string
	id     string
	parts  []minio.CompletePart
	size   int64
}

// Begin begins an upload.
func (b *Bucket) Begin(ctx context.Context, key string) (*Upload, error) {
	u := &Upload{bucket: b, key: b.prefix + key}
	// Once: a repetition after a lost answer would leave an upload that nobody knows of.
	err := b.doOnce(ctx, 0, func(ctx context.Context) (err error) {
		u.id, err = b.client.NewMultipartUpload(ctx, b.name, u.key, minio.PutObjectOptions{ContentType: "application/octet-stream"})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("begin an upload: %w", err)
	}
	return u, nil
}

// Part sends the next part. All but the last have at least 5 MiB, and all of them the same length; S3 has that so.
func (u *Upload) Part(ctx context.Context, content []byte) error {
	b := u.bucket
	sum, check := sums(content)
	number := len(u.parts) + 1
	err := b.do(ctx, int64(len(content)), func(ctx context.Context) error {
		part, err := b.client.PutObjectPart(ctx, b.name, u.key, u.id, number, bytes.NewReader(content), int64(len(content)),
			minio.PutObjectPartOptions{Md5Base64: check, Sha256Hex: sum})
		if err == nil {
			u.parts = append(u.parts, minio.CompletePart{PartNumber: number, ETag: part.ETag})
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("send part %d: %w", number, err)
	}
	u.size += int64(len(content))
	return nil
}

// Complete makes the object of its parts, when there is none yet. After an error it may or may not be there.
func (u *Upload) Complete(ctx context.Context) error {
	b := u.bucket
	var o minio.PutObjectOptions
	o.SetMatchETagExcept("*")
	// Once: a repetition after a lost answer is told that there is no such upload.
	err := b.doOnce(ctx, u.size, func(ctx context.Context) error {
		_, err := b.client.CompleteMultipartUpload(ctx, b.name, u.key, u.id, u.parts, o)
		return err
	})
	if err != nil {
		return fmt.Errorf("complete an upload: %w", err)
	}
	return nil
}

// Abort drops the parts. An upload that is complete or was aborted is left alone.
func (u *Upload) Abort(ctx context.Context) error { return u.bucket.abort(ctx, u.key, u.id) }

func (b *Bucket) abort(ctx context.Context, key, id string) error {
	err := b.do(ctx, 0, func(ctx context.Context) error { return b.client.AbortMultipartUpload(ctx, b.name, key, id) })
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("abort an upload: %w", err)
	}
	return nil
}

// Pending is an upload that was begun and neither completed nor aborted.
type Pending struct {
	Key   string // without the bucket's prefix
	Begun time.Time

	id string
}

// Uploads calls f for the uploads under way of objects whose keys begin so, until f returns an error.
func (b *Bucket) Uploads(ctx context.Context, under string, f func(Pending) error) error {
	var key, id string
	for {
		var page minio.ListMultipartUploadsResult
		err := b.do(ctx, 0, func(ctx context.Context) (err error) {
			page, err = b.client.ListMultipartUploads(ctx, b.name, b.prefix+under, key, id, "", 0)
			return err
		})
		if err != nil {
			return fmt.Errorf("list uploads: %w", err)
		}
		for _, u := range page.Uploads {
			if err := f(Pending{Key: u.Key[len(b.prefix):], Begun: u.Initiated, id: u.UploadID}); err != nil {
				return err
			}
		}
		if !page.IsTruncated {
			return nil
		}
		key, id = page.NextKeyMarker, page.NextUploadIDMarker
	}
}

// AbortAll drops every upload of one object.
func (b *Bucket) AbortAll(ctx context.Context, key string) error {
	return b.Uploads(ctx, key, func(p Pending) error {
		if p.Key != key {
			return nil
		}
		return b.abort(ctx, b.prefix+key, p.id)
	})
}
