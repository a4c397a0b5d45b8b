package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
)

func newSnapshotConfirmCmd(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:   "confirm TIME",
		Short: "Tell the vault that a snapshot was taken whole and is kept",
		Long: `Tell the vault that a snapshot of HashiCorp Vault, begun at TIME, was taken whole and is kept: with keys.require_snapshot
people get only keys that such a snapshot contains. It is for the job that takes snapshots, whatever takes them: note the time, take
the snapshot, see that it is whole, confirm the time. TIME is as date -u +%FT%TZ writes it, by a clock that is right to the minute.`,
		Example: `  begun=$(date -u +%FT%TZ)
  sandyq keys snapshot take --to /backup/vault-$begun.snapshot --outer /var/lib/sandyq-outer
  sandyq keys snapshot confirm $begun`,
		Args: cobra.ExactArgs(1),
		RunE: r.asking(func(ctx context.Context, c *client.Client, args []string) error {
			begun, err := time.Parse(time.RFC3339, args[0])
			if err != nil {
				return usagef("the time is not like 2026-11-22T09:00:00Z")
			}
			now, err := c.ConfirmSnapshot(ctx, &api.ConfirmSnapshotRequest{BegunAt: begun})
			if err != nil {
				return err
			}
			return r.answer(now, func(w io.Writer) error { return writeSnapshot(w, now) })
		}),
	}
}

func writeSnapshot(w io.Writer, s *api.KeySnapshot) error {
	_, err := fmt.Fprintf(w, "a snapshot contains every key made before %s\nkeys made ahead: %d that people may get, %d that wait for a snapshot\n",
		moment(s.Until), s.Ready, s.Waiting)
	if err == nil && !s.Required {
		_, err = fmt.Fprintln(w, "people get keys without it: see keys.require_snapshot")
	}
	return err
}

func newKeysMissingCmd(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:   "missing",
		Short: "List living people whose keys the key provider does not have",
		Long: `List living people whose keys the key provider does not have: those who were registered after the snapshot that it was
restored from was taken. They are not erased, and what they have cannot be read. Every key is asked for, which takes a while.
The exit code is 0 whether there are such people or not.`,
		Example: `  sandyq keys missing`,
		Args:    cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
			all, err := everyPage(func(cursor string) (*api.Page[api.MissingKey], error) {
				return c.MissingKeys(ctx, api.MaxLimit, cursor)
			})
			if err != nil {
				return err
			}
			return r.answerTable(api.Page[api.MissingKey]{Items: all}, func(t table) {
				t.row("SUBJECT", "SLICES")
				for _, m := range all {
					t.row(m.Subject, strings.Join(m.Slices, ","))
				}
			})
		}),
	}
}
