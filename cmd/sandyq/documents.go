package main

import (
	"context"
	"fmt"
	"io"

	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/blob/file"
	"github.com/sandyq/sandyq/vault/blob/s3"
	"github.com/sandyq/sandyq/vault/store/badgerdb"
)

// The places of documents of this version.
const (
	blobsFile = "file"
	blobsS3   = "s3"
)

// documents is where documents are kept.
type documents interface {
	blob.Store
	io.Closer
}

// openDocuments opens the place that the configuration names.
func openDocuments(ctx context.Context, c config) (documents, error) {
	if c.Blobs.Engine == blobsS3 {
		b, err := c.Blobs.S3.open()
		if err != nil {
			return nil, fmt.Errorf("blobs.s3.%w", err)
		}
		s, err := s3.Open(ctx, b)
		if err != nil {
			return nil, hinted(fmt.Errorf("open the documents: %w", err), "see docs/storage.md")
		}
		return s, nil
	}
	// Documents stop at the same floor as new rows, so that blocks and erasures have room left when both are on one disk.
	s, err := file.Open(c.documentsDir(), uint64(badgerdb.DefaultReserve.NewData))
	if err != nil {
		return nil, fmt.Errorf("open the documents: %w", err)
	}
	return s, nil
}

func (b blobsConfig) check() error {
	switch {
	case b.Engine == blobsFile && b.S3.used():
		return settingError{"blobs.s3", "is configured, but blobs.engine is file"}
	case b.Engine == blobsS3 && b.File != fileConfig{}:
		return settingError{"blobs.file", "is configured, but blobs.engine is s3"}
	case b.Engine == blobsS3:
		return b.S3.check("blobs.s3")
	case b.Engine != blobsFile:
		return settingError{"blobs.engine", "is file or s3"}
	}
	return nil
}
