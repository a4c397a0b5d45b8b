package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/crypto/kms/hashicorp"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp/snapshot"
)

// defaultDays is how long a snapshot can be opened: as long as the certificate of an erasure says by default.
const defaultDays = 30

func newKeysSnapshotCmd(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Keep snapshots of HashiCorp Vault that end on a day",
		Long: `A snapshot of HashiCorp Vault holds every person's key of its day, and restored it brings back who was erased since. These
are sealed under an outer key, which lies in a folder of its own (--outer) and is destroyed on its day: then every copy of the
snapshot is noise. Keep that folder out of every backup, and run expire, or take, each day.`,
		Example: `  sandyq keys snapshot take --to /backup/vault-2026-11-22.snapshot --outer /var/lib/sandyq-outer
  sandyq keys snapshot list --outer /var/lib/sandyq-outer`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return hinted(usagef("keys snapshot needs a command"), "see: sandyq keys snapshot --help")
		},
	}
	cmd.AddCommand(newSnapshotTakeCmd(e), newSnapshotOpenCmd(e), newSnapshotExpireCmd(e), newSnapshotListCmd(e),
		remotely(e, newSnapshotConfirmCmd))
	return cmd
}

// outerKey is one of the answers' outer keys.
type outerKey struct {
	ID      string `json:"id"`
	Expires string `json:"expires"` // a day: at its beginning, UTC, the key is due
	Due     bool   `json:"due"`
}

func tellKey(k snapshot.Key, now time.Time) outerKey {
	return outerKey{k.ID.String(), k.Expires.Format(time.DateOnly), k.Due(now)}
}

// withOuter opens the folder of outer keys for as long as f runs.
func withOuter(path string, f func(*snapshot.Outer) error) (err error) {
	if path == "" {
		return usagef("--outer names the folder of the outer keys")
	}
	outer, err := snapshot.OpenOuter(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, outer.Close()) }()
	return f(outer)
}

// takeSnapshot is what the flags of keys snapshot take say.
type takeSnapshot struct {
	config    configFlags
	to, outer string
	days      int
}

func newSnapshotTakeCmd(e *env) *cobra.Command {
	var s takeSnapshot
	cmd := &cobra.Command{
		Use:   "take",
		Short: "Take a snapshot that can be opened for some days",
		Long: `Take streams a snapshot of the integrated storage of the HashiCorp Vault server that VAULT_ADDR names, with the token in
VAULT_TOKEN, which must be allowed to read sys/storage/raft/snapshot. VAULT_CACERT and VAULT_NAMESPACE are heeded. It checks
the snapshot's own sums, seals it under a fresh outer key in --outer, and destroys the outer keys there that are due.

The folder of outer keys is made if it is not there. It may not lie with the snapshot, nor, with --config, with anything
that the configuration names.`,
		Example: `  VAULT_ADDR=https://vault.example:8200 VAULT_TOKEN=… sandyq keys snapshot take \
    --to /backup/vault-2026-11-22.snapshot --outer /var/lib/sandyq-outer --days 30`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return s.run(ctx, e)
		},
	}
	cmd.Flags().StringVar(&s.config.file, "config", "", "configuration file")
	cmd.Flags().StringVar(&s.to, "to", "", "the file to write, which may not be there")
	cmd.Flags().StringVar(&s.outer, "outer", "", "folder of the outer keys")
	cmd.Flags().IntVar(&s.days, "days", defaultDays, "days until it cannot be opened any more")
	return cmd
}

// snapshotTaken is what keys snapshot take answers.
type snapshotTaken struct {
	File    string     `json:"file"`
	Bytes   int64      `json:"bytes"` // of the snapshot, not of the file
	Key     outerKey   `json:"outer_key"`
	Expired []outerKey `json:"expired"` // outer keys that were due and are destroyed now
}

func (s *takeSnapshot) run(ctx context.Context, e *env) error {
	if s.to == "" || s.outer == "" {
		return usagef("--to names the file of the snapshot, and --outer the folder of the outer keys")
	}
	if s.days < 1 || s.days > 3650 {
		return usagef("--days is not between 1 and 3650")
	}
	c, err := s.config.load()
	if err != nil {
		return err
	}
	operator, err := operatorOf(c, "sandyq keys snapshot take …")
	if err != nil {
		return err
	}
	others := []string{filepath.Dir(s.to)}
	if s.config.file != "" {
		others = append(others, c.Home, c.storeDir(), c.documentsDir(), c.ledgerDir())
	}
	if err := snapshot.Apart(s.outer, others...); err != nil {
		return err
	}
	if err := os.Mkdir(s.outer, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the folder of the outer keys: %w", err)
	}
	return withOuter(s.outer, func(outer *snapshot.Outer) error { return s.take(ctx, e, operator, outer) })
}

// take destroys what is due first: that waits for no server.
func (s *takeSnapshot) take(ctx context.Context, e *env, operator hashicorp.Operator, outer *snapshot.Outer) (err error) {
	now := time.Now()
	gone, err := outer.Expire(now)
	if err != nil {
		return err
	}
	archive, err := operator.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = archive.Close() }() // it was only read
	taken, err := snapshot.Take(ctx, archive, s.to, outer, snapshot.Day(now, s.days))
	if err != nil {
		return err
	}
	answer := snapshotTaken{File: s.to, Bytes: taken.Size, Key: tellKey(taken.Key, now), Expired: tellKeys(gone, now)}
	return e.answer(answer, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "took a snapshot of %d bytes: %s\nit can be opened until %s begins (UTC)\nouter keys that were due and are destroyed: %d\n",
			answer.Bytes, answer.File, answer.Key.Expires, len(answer.Expired))
		return err
	})
}

func tellKeys(keys []snapshot.Key, now time.Time) []outerKey {
	told := make([]outerKey, len(keys))
	for i, k := range keys {
		told[i] = tellKey(k, now)
	}
	return told
}

func newSnapshotOpenCmd(e *env) *cobra.Command {
	var outer, to string
	cmd := &cobra.Command{
		Use:   "open FILE",
		Short: "Open a snapshot, for HashiCorp Vault to restore",
		Long: `Open writes the snapshot as HashiCorp Vault made it, for "vault operator raft snapshot restore". It fails when the outer
key's day has come. Remove what it wrote once it is restored: that file does not end by itself.`,
		Example: `  sandyq keys snapshot open /backup/vault-2026-11-22.snapshot --outer /var/lib/sandyq-outer --to /root/vault.snap`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" {
				return usagef("--to names the file to write")
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return withOuter(outer, func(o *snapshot.Outer) error {
				size, err := snapshot.Open(ctx, args[0], to, o, time.Now())
				if err != nil {
					return err
				}
				return e.answer(snapshotOpened{to, size}, func(w io.Writer) error {
					_, err := fmt.Fprintf(w, "opened %d bytes: %s\nremove it once it is restored\n", size, to)
					return err
				})
			})
		},
	}
	cmd.Flags().StringVar(&outer, "outer", "", "folder of the outer keys")
	cmd.Flags().StringVar(&to, "to", "", "the file to write, which may not be there")
	return cmd
}

// snapshotOpened is what keys snapshot open answers.
type snapshotOpened struct {
	File  string `json:"file"`
	Bytes int64  `json:"bytes"`
}

func newSnapshotExpireCmd(e *env) *cobra.Command {
	var outer string
	cmd := &cobra.Command{
		Use:   "expire",
		Short: "Destroy the outer keys that are due",
		Long: `Expire overwrites and removes the outer keys whose day has come. It needs no server. Run it each day: until it did, a copy of
the folder opens what it should not.`,
		Example: `  sandyq keys snapshot expire --outer /var/lib/sandyq-outer`,
		Args:    cobra.NoArgs,
		RunE: func(_ *cobra.Command, _ []string) error {
			return withOuter(outer, func(o *snapshot.Outer) error {
				now := time.Now()
				gone, err := o.Expire(now)
				return errors.Join(e.tellOuterKeys(tellKeys(gone, now), func(k outerKey) string { return "destroyed; was due " + k.Expires }), err)
			})
		},
	}
	cmd.Flags().StringVar(&outer, "outer", "", "folder of the outer keys")
	return cmd
}

func newSnapshotListCmd(e *env) *cobra.Command {
	var outer string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the outer keys and the days on which they end",
		Example: `  sandyq keys snapshot list --outer /var/lib/sandyq-outer --json`,
		Args:    cobra.NoArgs,
		RunE: func(_ *cobra.Command, _ []string) error {
			return withOuter(outer, func(o *snapshot.Outer) error {
				keys, err := o.Keys()
				if err != nil {
					return err
				}
				return e.tellOuterKeys(tellKeys(keys, time.Now()), func(k outerKey) string {
					if k.Due {
						return "due since " + k.Expires + ": run expire"
					}
					return "until " + k.Expires
				})
			})
		},
	}
	cmd.Flags().StringVar(&outer, "outer", "", "folder of the outer keys")
	return cmd
}

// outerKeys is what keys snapshot list and expire answer.
type outerKeys struct {
	Keys []outerKey `json:"outer_keys"`
}

// tellOuterKeys answers with keys; for people, with what say says of each.
func (e *env) tellOuterKeys(keys []outerKey, say func(outerKey) string) error {
	return e.answer(outerKeys{keys}, func(w io.Writer) error {
		for _, k := range keys {
			if _, err := fmt.Fprintf(w, "%s  %s\n", k.ID, say(k)); err != nil {
				return err
			}
		}
		return nil
	})
}
