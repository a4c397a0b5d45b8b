package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/vault/move"
)

func newMigrateStoreCmd(e *env) *cobra.Command {
	var from, to configFlags
	var serving, retires, abandons bool
	cmd := &cobra.Command{
		Use:   "migrate-store --from CONFIG --to CONFIG [--serve]",
		Short: "Move a vault's rows and documents to another store, and its keys to another provider",
		Long: `Migrate-store copies all rows, and the documents if they lie elsewhere in the other configuration, to another store: from
Badger to PostgreSQL, or back. It reads everything again on both sides and holds it against each other. Then the target becomes the live
vault, and the source is superseded: it gives nothing out any more. The erasure ledger stays where it is.

Keys stay, too, when both configurations name the same. Otherwise a new key is made at the provider of --to for each old one, and everything
is sealed anew under it on its way. Erasures are unreadable at once and wait to be carried out until the old keys are destroyed,
which --retire does once the target is the live vault. Nothing that was written before opens any more then: no copy of the source, no
backup of it. Take a backup of the target first, and run the same command again with --retire.

No server may be running on the source. With --serve this command serves it while it copies, lets the target take its place once next
to nothing is left to copy, and goes on to serve that until SIGINT or SIGTERM. Without it nothing is served until the move is done, and the
command ends then.

However it ends, one of the two is the live one: until everything is copied, the source. The same command goes on where it ended.`,
		Example: `  sandyq migrate-store --from /etc/sandyq/badger.yaml --to /etc/sandyq/postgres.yaml --serve`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			to.listen, to.ops = from.listen, from.ops
			source, err := from.load()
			if err != nil {
				return fmt.Errorf("--from: %w", err)
			}
			target, err := to.load()
			if err != nil {
				return fmt.Errorf("--to: %w", err)
			}
			m, err := newMoving(e, source, target)
			if err != nil {
				return err
			}
			m.retires = retires
			switch {
			case retires && !m.rekeys:
				return usagef("--retire is for a move of keys: --from and --to name the same keys")
			case abandons:
				return m.abandon(cmd.Context())
			case serving:
				return m.serve(cmd.Context())
			}
			return m.offline(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&from.file, "from", "", "configuration of the vault as it is")
	cmd.Flags().StringVar(&to.file, "to", "", "configuration with the store, or the folder of documents, that it is to have")
	cmd.Flags().BoolVar(&serving, "serve", false, "serve the source while it is copied, and the target from then on")
	cmd.Flags().BoolVar(&retires, "retire", false, "destroy the old keys once the target is the live vault, and so what every copy and backup of the source holds")
	cmd.Flags().BoolVar(&abandons, "abandon", false, "give up a move of keys that was begun: destroy the new keys and let the source's erasures go on")
	cmd.MarkFlagsMutuallyExclusive("abandon", "serve")
	cmd.MarkFlagsMutuallyExclusive("abandon", "retire")
	from.bindListeners(cmd.Flags())
	return requiring(cmd, "from", "to")
}

// moved is what migrate-store answers.
type moved struct {
	From  string `json:"from"`
	To    string `json:"to"`
	Moved bool   `json:"moved"` // false when the target was the live one already

	Source    tallied     `json:"source"` // rows, as they were read there
	Target    tallied     `json:"target"`
	Kinds     []kindMoved `json:"kinds"`               // of rows; the letters are those of vault/layout.go
	Documents *tallied    `json:"documents,omitempty"` // nil when they stayed where they were
	Still     int64       `json:"stood_still_ms"`      // for how long nothing was served, at the switch or in all
	Rekeyed   bool        `json:"rekeyed"`             // everything is sealed under the keys of another provider
	Retired   bool        `json:"retired"`             // and none of the old ones is left; with --serve that comes after the answer
}

// tallied is a tally, in the words of the answer.
type tallied struct {
	Count int64    `json:"count"`
	Bytes int64    `json:"bytes"`
	Sum   move.Sum `json:"sum"`
}

type kindMoved struct {
	Kind string `json:"kind"`
	tallied
}

// counted takes in what was verified.
func (out *moved) counted(rows *move.Rows, blobs *move.Blobs) {
	from, to := rows.Tallies()
	out.Source, out.Target = tallied(from.All()), tallied(to.All())
	for kind, t := range to {
		out.Kinds = append(out.Kinds, kindMoved{string(rune(kind)), tallied(t)})
	}
	slices.SortFunc(out.Kinds, func(a, b kindMoved) int { return int(a.Kind[0]) - int(b.Kind[0]) })
	if blobs != nil {
		documents := tallied(blobs.Tally())
		out.Documents = &documents
	}
}

// tell says what was moved, and what each side has.
func (out *moved) tell(w io.Writer) error {
	if !out.Moved {
		_, err := fmt.Fprintf(w, "%s is the live vault already: nothing was moved\n", out.To)
		return errors.Join(err, out.tellKeys(w))
	}
	_, err := fmt.Fprintf(w, "moved %d rows from %s to %s\n", out.Target.Count, out.From, out.To)
	say := func(format string, args ...any) {
		_, failed := fmt.Fprintf(w, format, args...)
		err = errors.Join(err, failed)
	}
	for _, k := range out.Kinds {
		say("  %s %10d rows %14d bytes  %s\n", k.Kind, k.Count, k.Bytes, k.Sum)
	}
	say("source %10d rows %14d bytes  %s\n", out.Source.Count, out.Source.Bytes, out.Source.Sum)
	say("target %10d rows %14d bytes  %s\n", out.Target.Count, out.Target.Bytes, out.Target.Sum)
	if d := out.Documents; d != nil {
		say("documents on both sides: %d, %d bytes  %s\n", d.Count, d.Bytes, d.Sum)
	}
	say("nothing was served for %s; the target is the live vault now, and the source is superseded\n", time.Duration(out.Still)*time.Millisecond)
	return errors.Join(err, out.tellKeys(w))
}

// tellKeys says what has become of the old keys, if they were left.
func (out *moved) tellKeys(w io.Writer) (err error) {
	switch {
	case !out.Rekeyed:
	case out.Retired:
		_, err = fmt.Fprintln(w, "the old keys are destroyed")
	default:
		_, err = fmt.Fprintln(w, "the old keys are still there, and erasures wait until --retire has destroyed them")
	}
	return err
}

// offline moves what nobody is using.
func (m *moving) offline(ctx context.Context) (err error) {
	began := time.Now()
	defer func() { err = errors.Join(err, m.Close()) }()
	if err := m.open(ctx); err != nil {
		return err
	}
	if err := m.still(ctx); err != nil {
		return err
	}
	if err := m.copyAll(ctx); err != nil {
		return err
	}
	if err := m.handOver(ctx); err != nil {
		return err
	}
	out := m.answer()
	if out.Retired, err = m.retire(ctx); err != nil {
		return err
	}
	out.Still = time.Since(began).Milliseconds()
	return m.env.answer(out, out.tell)
}
