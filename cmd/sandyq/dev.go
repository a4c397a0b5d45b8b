package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sandyq/sandyq/vault"
)

// notSafe is what --dev prints before all else.
const notSafe = `
  **********************************************************************
  *  NOT SAFE: sandyq serve --dev is for trying things out.            *
  *  The keys and an administrator's token lie in the home in files.   *
  *  Put no real person's data into it.                                *
  **********************************************************************

`

// devToken sees that dev.token holds a token of the first tenant that works. It returns the token if it had to make one, to be shown once.
func (n *node) devToken(ctx context.Context, c config) (fresh string, err error) {
	service, path := n.first().Service, c.devToken()
	kept, err := readSmall(path, 1<<10)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the token: %w", err)
	}
	if _, err := service.Authenticate(ctx, vault.Presented{Bearer: strings.TrimSpace(string(kept))}); err == nil {
		return "", checkPrivate(path)
	}
	made, err := service.Bootstrap(ctx, administrator)
	if err != nil {
		return "", fmt.Errorf("make the administrator's token: %w", err)
	}
	if err := writePrivate(path, made.Secret+"\n"); err != nil {
		return "", fmt.Errorf("keep the token: %w", err)
	}
	return made.Secret, nil
}

// writePrivate writes a file for this user alone, whole or not at all.
func writePrivate(path, text string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".token-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
