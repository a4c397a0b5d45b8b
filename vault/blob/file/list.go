package file

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/sandyq/sandyq/vault/blob"
)

// List goes through the folders one by one; of blobs that come or go meanwhile some are told.
func (s *Store) List(ctx context.Context, f func(blob.Info) error) error {
	for i := range 256 {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("blob/file: list: %w", err)
		}
		if err := s.listFolder(ctx, hex.EncodeToString([]byte{byte(i)}), f); err != nil {
			return err
		}
	}
	return nil
}

// listFolder lists one of the 256 folders.
func (s *Store) listFolder(ctx context.Context, name string, f func(blob.Info) error) error {
	entries, err := fs.ReadDir(s.root.FS(), name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("blob/file: list a folder: %w", err)
	}
	for _, entry := range entries {
		info, ok := parseName(name, entry.Name())
		if !ok {
			continue
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("blob/file: list: %w", err)
		}
		stat, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) { // gone meanwhile
			continue
		}
		if err != nil {
			return fmt.Errorf("blob/file: list %s: %w", info.ID, err)
		}
		info.Modified, info.Size = stat.ModTime(), stat.Size()
		if err := f(info); err != nil {
			return err
		}
	}
	return nil
}

// parseName reads the name of a file in a folder; what Create would not have made there is no blob.
func parseName(folder, name string) (blob.Info, bool) {
	var info blob.Info
	name, info.Partial = strings.CutSuffix(name, partial)
	if len(name) != hex.EncodedLen(len(info.ID)) {
		return info, false
	}
	_, err := hex.Decode(info.ID[:], []byte(name))
	return info, err == nil && info.ID.String() == name && folderOf(info.ID) == folder
}
