package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/vault/audit/archive"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/client"
	"github.com/sandyq/sandyq/vault/fault"
)

func newExportCmd(r *remote) *cobra.Command {
	var to, key string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Keep the transparency log in a folder, verified",
		Long: `Fetches what the folder lacks of the log, verifies all of it, and that what was exported before is its beginning; the
server is not believed. A log that was forked is refused, and the folder stays as it was.

A new folder is kept under the key that --key gives, or, without it, under that which the server says: compare it with what others hold.`,
		Example: `  sandyq audit export --to /backup/log`,
		Args:    cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
			held, err := heldKey(ctx, c, to, key)
			if err != nil {
				return err
			}
			report, err := archive.Export(ctx, to, held, published{c})
			if err != nil {
				return fmt.Errorf("export the log: %w", err)
			}
			return r.answerLog(to, report)
		}),
	}
	cmd.Flags().StringVar(&to, "to", "", "folder, made when it is not there")
	cmd.Flags().StringVar(&key, "key", "", "key of the log that a new folder is kept under (default: the server's)")
	return requiring(cmd, "to")
}

// heldKey is the key that a folder is to be kept under: the zero Key when it has one already and none is given.
func heldKey(ctx context.Context, c *client.Client, dir, given string) (checkpoint.Key, error) {
	if given != "" {
		key, err := checkpoint.ParseKey(given)
		if err != nil {
			return key, usagef("--key: %w", err)
		}
		return key, nil
	}
	if _, err := archive.Held(dir); err == nil {
		return checkpoint.Key{}, nil
	}
	keys, err := c.LogKeys(ctx)
	if err != nil {
		return checkpoint.Key{}, err
	}
	if len(keys.Keys) == 0 {
		return checkpoint.Key{}, errors.New("the log has no key yet")
	}
	return checkpoint.ParseKey(keys.Keys[0])
}

// published is a log as the server publishes it.
type published struct{ client *client.Client }

func (p published) Checkpoint(ctx context.Context) ([]byte, error) {
	return p.client.LogFile(ctx, "checkpoint")
}

func (p published) Tile(ctx context.Context, t checkpoint.Tile) ([]byte, error) {
	b, err := p.client.LogFile(ctx, t.Path())
	if errors.Is(err, fault.NotFound) {
		err = errors.Join(archive.ErrAbsent, err)
	}
	return b, err
}

func (p published) Successions(ctx context.Context) ([][]byte, error) {
	keys, err := p.client.LogKeys(ctx)
	if err != nil {
		return nil, err
	}
	notes := make([][]byte, len(keys.Successions))
	for i, s := range keys.Successions {
		notes[i] = []byte(s)
	}
	return notes, nil
}

// verifiedLog is what is answered about a log that was verified.
type verifiedLog struct {
	Folder  string   `json:"folder"`
	Origin  string   `json:"origin"`
	Entries int64    `json:"entries"`
	Root    string   `json:"root"`
	Pruned  int64    `json:"pruned,omitzero"` // leading entries of which there are only hashes
	Lost    int64    `json:"lost,omitzero"`   // entries, at least, that were signed and that the log went on without, as after a restore
	Keys    []string `json:"keys"`            // from the one that is held to today's

	Cosigned []cosignature `json:"cosigned,omitempty"` // by the witnesses that were named
}

func (e *env) answerLog(dir string, r *archive.Report, cosigned ...cosignature) error {
	said := verifiedLog{Folder: dir, Origin: r.Tree.Origin, Entries: r.Tree.Size, Root: r.Tree.Root.String(), Pruned: r.Pruned, Lost: r.Lost, Cosigned: cosigned}
	for _, k := range r.Keys {
		said.Keys = append(said.Keys, k.String())
	}
	return e.answerTable(said, func(t table) {
		t.row("verified", fmt.Sprintf("%d entries", said.Entries))
		t.row("origin", said.Origin)
		t.row("root", said.Root)
		for _, c := range cosigned {
			t.row("cosigned", c.Witness+", at "+c.At+" as it says")
		}
		if said.Pruned > 0 {
			t.row("pruned", fmt.Sprintf("%d entries: only their hashes are there", said.Pruned))
		}
		if said.Lost > 0 {
			t.row("lost", fmt.Sprintf("at least %d entries that were signed: the log went on without them under another origin", said.Lost))
		}
		t.row("held key", said.Keys[0])
		if len(said.Keys) > 1 {
			t.row("key today", said.Keys[len(said.Keys)-1])
		}
	})
}

func newRotateLogKeyCmd(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:     "rotate-key",
		Short:   "Have a new key sign the transparency log, beside the old one for 30 days",
		Example: `  sandyq audit rotate-key --token-file admin.token`,
		Args:    cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
			keys, err := c.RotateLogKey(ctx)
			if err != nil {
				return err
			}
			return r.answerTable(keys, func(t table) {
				for _, k := range keys.Keys {
					t.row("signs", k)
				}
			})
		}),
	}
}
