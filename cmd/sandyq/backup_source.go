package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/sandyq/sandyq/vault/backup"
)

// source is a snapshot in a repository, and who opens it.
type source struct{ dir, identity, snapshot string }

func (s *source) bind(flags *pflag.FlagSet) {
	flags.StringVar(&s.identity, "identity", "", "age identity file (AGE-SECRET-KEY-1…)")
	flags.StringVar(&s.snapshot, "snapshot", "", "id of the snapshot, as the log has it (default: the newest one)")
}

// open opens the snapshot. done lets go of the repository.
func (s *source) open(ctx context.Context) (_ *backup.Snapshot, done func() error, err error) {
	file, err := os.Open(s.identity)
	if err != nil {
		return nil, nil, fmt.Errorf("read the identity: %w", err)
	}
	identities, err := backup.ParseIdentities(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, nil, fmt.Errorf("read the identity: %w", err)
	}
	objects, err := backup.OpenDirectory(s.dir)
	if err != nil {
		return nil, nil, err
	}
	opened, err := s.in(ctx, objects, identities)
	if err != nil {
		return nil, nil, errors.Join(explained(err), objects.Close())
	}
	return opened, objects.Close, nil
}

func (s *source) in(ctx context.Context, objects backup.Objects, identities backup.Identities) (*backup.Snapshot, error) {
	r, err := backup.Open(ctx, objects)
	if err != nil {
		return nil, err
	}
	id := s.snapshot
	if id == "" {
		if id, err = r.Latest(ctx); err != nil {
			return nil, err
		}
	}
	return r.Snapshot(ctx, id, identities)
}

// explained says what to do about a backup that cannot be used.
func explained(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, backup.ErrDamaged):
		return hinted(err, "nothing was restored; try another snapshot: see `sandyq backup list`")
	case errors.Is(err, backup.ErrIdentity):
		return hinted(err, "name the identity of a recipient that the backup was made for")
	case errors.Is(err, backup.ErrCut):
		return hinted(err, "run the same command again: it goes on from what has come")
	case errors.Is(err, backup.ErrRecipients):
		return hinted(err, "each set of recipients has a repository of its own: name another folder, and keep this one while its backups count")
	case errors.Is(err, backup.ErrForeign):
		return hinted(err, "each vault has a repository of its own: name another folder")
	}
	return err
}
