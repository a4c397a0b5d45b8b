package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/backup"
)

func newRestoreCmd(e *env) *cobra.Command {
	var flags configFlags
	var from source
	var live bool
	cmd := &cobra.Command{
		Use:   "restore --from DIR --identity FILE --home DIR",
		Short: "Restore a backup into a home that has no store",
		Long: `Restore a backup into a home that has no store. Everything is read and checked first: when anything is not what was backed
up, no store is made. The keys are in no backup; they are where they were, or in a backup of their own.

Documents go where the configuration says: into a folder that has none, or into a bucket, where those that are there already are
read, held against the backup and left as they are. A bucket may have documents of a restore that did not come to its end; the next
uses them.

What was restored is a copy: it can be read and nothing else. sandyq promote, or --promote here, makes it the live one, and
whatever was live before a copy: see that it is stopped for good.`,
		Example: `  sandyq restore --from /srv/backups --identity backup.key --config /etc/sandyq/sandyq.yaml`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.load()
			if err != nil {
				return err
			}
			return restore(cmd.Context(), e, c, from, live)
		},
	}
	flags.bind(cmd.Flags())
	from.bind(cmd.Flags())
	cmd.Flags().StringVar(&from.dir, "from", "", "folder of the repository")
	cmd.Flags().BoolVar(&live, "promote", false, "make it the live one for its keys at once: what was live before is stopped for good")
	return requiring(cmd, "from", "identity")
}

// restored is what restore answers.
type restored struct {
	Home     string         `json:"home"`
	Snapshot *backup.Header `json:"snapshot"`
	Holds    *vault.Census  `json:"holds"`
	Promoted bool           `json:"promoted"`
	Named    bool           `json:"named"`  // the snapshot's id was given, not taken from the repository
	Repeat   []string       `json:"repeat"` // what was done since the backup and is undone by restoring it
}

// undone is what a restore undoes of what was done since its backup, for the operator to do again: the table of
// docs/backups.md in short.
var undone = []string{
	"service tokens revoked since are good again",
	"consents withdrawn since stand again",
	"blocks set since are gone, and blocks lifted since are back",
	"tokens retired since answer again, and values corrected since are as they were",
	"emergencies ended since run until their time",
	"changes of rules, and approvals and refusals, given since are as if they had never been",
}

// tell says what was restored, what it is, and what to do again.
func (r restored) tell(w io.Writer) error {
	is := "It is a copy: it can be read and nothing else, until `sandyq promote`."
	if r.Promoted {
		is = "It is the live one now."
	}
	h := r.Snapshot
	_, err := fmt.Fprintf(w, "restored %s of %s: %d people, %d documents\n%s\n", h.ID, moment(h.TakenAt), r.Holds.People, r.Holds.Documents, is)
	if !r.Named {
		_, more := fmt.Fprintln(w, "It is the newest by the repository's own word: see that your record of backups, or the log, has its id.")
		err = errors.Join(err, more)
	}
	_, more := fmt.Fprintf(w, "\nEverything is as it was at %s. Before anybody reaches the server, do again what was done since:\n", moment(h.TakenAt))
	err = errors.Join(err, more)
	for _, line := range r.Repeat {
		_, more := fmt.Fprintln(w, "- "+line)
		err = errors.Join(err, more)
	}
	return err
}

func restore(ctx context.Context, e *env, c config, from source, live bool) (err error) {
	if c.Store.Engine != engineBadger {
		return hinted(usagef("restore writes a store of the engine %s, and the configuration names %s", engineBadger, c.Store.Engine),
			"restore PostgreSQL from its own backup, or restore under badger and go on with `sandyq migrate-store`: see docs/backups.md")
	}
	r := &restoring{store: c.storeDir(), log: e.log(c)}
	if c.Blobs.Engine == blobsFile {
		r.documents = c.documentsDir()
	} else {
		bucket, err := openDocuments(ctx, c)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, bucket.Close()) }()
		r.bucket = filling{bucket}
	}
	if err := r.vacant(); err != nil {
		return err
	}
	s, done, err := from.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	if err := homeDir(c.Home); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	for _, dir := range r.folders() {
		if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
	}
	b := e.bar("restoring", s.Header.Bytes+s.Header.BlobBytes)
	r.snapshot, r.progress = s, b.add
	census, err := r.run(ctx)
	b.end()
	if err != nil {
		return explained(err)
	}
	if live {
		if err := promoteAll(ctx, e, c); err != nil {
			return err
		}
	}
	out := restored{c.Home, s.Header, census, live, from.snapshot != "", undone}
	err = e.answer(out, out.tell)
	return errors.Join(err, sound(census, s.Header))
}

// sound is nil for what has no fault and lacks nothing.
func sound(c *vault.Census, h *backup.Header) error {
	if c.Faults == 0 && h.Lost == 0 && c.Missing == h.Gone {
		return nil
	}
	return hinted(fmt.Errorf("%d rows do not fit the others, and %d blobs were lost before the backup", c.Faults, c.Missing-h.Gone),
		"all that was backed up was restored; what is missing was missing in the vault: see `sandyq backup --verify --json`")
}

// promoteAll makes what lies in a home the live vault of every tenant.
func promoteAll(ctx context.Context, e *env, c config) (err error) {
	if err := c.ready(); err != nil {
		return err
	}
	n, err := openNode(ctx, c, e.log(c), newMetrics())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	for _, t := range n.Tenants {
		if err := t.Service.Promote(ctx); err != nil {
			return n.of(t, fmt.Errorf("promote: %w", err))
		}
	}
	return nil
}
