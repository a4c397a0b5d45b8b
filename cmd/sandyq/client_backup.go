package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/backup"
	"github.com/sandyq/sandyq/vault/client"
)

// backing is what a backup is asked for.
type backing struct {
	to         string
	recipients []string
	file       string // with recipients
	verify     bool
	source     source // to verify with
}

func newBackupCmd(r *remote) *cobra.Command {
	var b backing
	cmd := &cobra.Command{
		Use:   "backup --to DIR --recipient RECIPIENT",
		Short: "Back the vault up while it runs",
		Long: `Back the vault up while it runs: one state of all rows, and all documents, of every tenant. Only what the repository lacks
is sent, encrypted to age recipients. A backup that was cut off goes on where it ended. The keys are in no backup.

With --verify the snapshot is restored into a folder that is removed again, and everything is checked that can be
without the keys.`,
		Example: `  sandyq backup keygen backup.key
  sandyq backup --to /srv/backups --recipient age1…
  sandyq backup --to /srv/backups --recipients-file recipients.txt --verify --identity backup.key`,
		Args: cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) error { return takeBackup(ctx, r, c, b) }),
	}
	flags := cmd.Flags()
	flags.StringVar(&b.to, "to", "", "folder of the repository, which is made if need be")
	flags.StringArrayVar(&b.recipients, "recipient", nil, "age recipient who can restore; may be repeated")
	flags.StringVar(&b.file, "recipients-file", "", "file with recipients, one a line")
	flags.BoolVar(&b.verify, "verify", false, "restore it into a folder aside and check everything; needs --identity")
	flags.StringVar(&b.source.identity, "identity", "", "age identity file, for --verify")
	cmd.AddCommand(newBackupListCmd(r.env), newBackupCheckCmd(r.env), newBackupPruneCmd(r.env), newBackupKeygenCmd(r.env))
	return requiring(cmd, "to")
}

// backedUp is what backup answers.
type backedUp struct {
	*backup.Header
	New      int64         `json:"new"`     // objects that were written
	Written  int64         `json:"written"` // bytes of these
	Verified *vault.Census `json:"verified,omitempty"`
}

func takeBackup(ctx context.Context, r *remote, c *client.Client, b backing) (err error) {
	if b.verify != (b.source.identity != "") {
		return usagef("--verify and --identity go together")
	}
	to, err := b.all()
	if err != nil {
		return err
	}
	objects, err := backup.WriteDirectory(b.to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, objects.Close()) }()
	out, err := receiveBackup(ctx, r, c, objects, to)
	if err != nil {
		return explained(err)
	}
	if b.verify {
		b.source.dir, b.source.snapshot = b.to, out.ID
		if out.Verified, err = verifyBackup(ctx, r.env, b.source); err != nil {
			return err
		}
	}
	err = r.answerTable(out, func(t table) {
		t.row("SNAPSHOT", "ROWS", "DOCUMENT PARTS", "BYTES", "NEW", "WRITTEN")
		t.row(out.ID, number(out.Rows), number(out.Blobs), number(out.Bytes+out.BlobBytes), number(out.New), number(out.Written))
	})
	if out.Lost > 0 {
		err = errors.Join(err, partlyError{int(out.Lost), int(out.Lost + out.Blobs)})
	}
	if out.Verified != nil {
		err = errors.Join(err, sound(out.Verified, out.Header))
	}
	return err
}

// all are the recipients that the flags name.
func (b *backing) all() ([]string, error) {
	all := b.recipients
	if b.file != "" {
		f, err := os.Open(b.file)
		if err != nil {
			return nil, fmt.Errorf("read the recipients: %w", err)
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			if line := strings.TrimSpace(lines.Text()); line != "" && line[0] != '#' {
				all = append(all, line)
			}
		}
		if err := errors.Join(lines.Err(), f.Close()); err != nil {
			return nil, fmt.Errorf("read the recipients: %w", err)
		}
	}
	if _, err := backup.ParseRecipients(all); err != nil {
		return nil, hinted(usagef("%w", err), "name one with --recipient; `sandyq backup keygen FILE` makes one")
	}
	return all, nil
}

// receiveBackup takes a backup into a repository.
func receiveBackup(ctx context.Context, r *remote, c *client.Client, objects backup.Objects, to []string) (_ *backedUp, err error) {
	repository, err := backup.Open(ctx, objects)
	if err != nil {
		return nil, err
	}
	before, _, err := repository.Snapshots(ctx)
	if err != nil {
		return nil, err
	}
	var expected int64
	if len(before) > 0 {
		last := before[len(before)-1]
		expected = last.Bytes + last.BlobBytes
	}
	stream, err := c.TakeBackup(ctx, func(w io.Writer) error { return repository.WriteRequest(ctx, w, to) })
	if err != nil {
		return nil, err
	}
	defer func() { _ = stream.Close() }() // it was only read
	out := &backedUp{}
	shown := r.bar("backing up", expected)
	defer shown.end()
	out.Header, err = repository.Receive(ctx, stream, func(p backup.Progress) {
		out.New, out.Written = p.New, p.Written
		shown.to(p.Bytes)
	}, client.BackupProblem)
	return out, err
}

// verifyBackup restores a snapshot into a folder that is removed again.
func verifyBackup(ctx context.Context, e *env, from source) (_ *vault.Census, err error) {
	s, done, err := from.open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, done()) }()
	scratch, err := os.MkdirTemp("", "sandyq-verify-*") // mode 0700
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	shown := e.bar("verifying", s.Header.Bytes+s.Header.BlobBytes)
	defer shown.end()
	r := &restoring{
		snapshot: s, store: filepath.Join(scratch, "store"), documents: filepath.Join(scratch, "documents"),
		log: slog.New(slog.DiscardHandler), progress: shown.add,
	}
	census, err := r.run(ctx)
	return census, explained(err)
}

func newBackupListCmd(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "list DIR", Short: "List the snapshots of a repository, the oldest first", Args: cobra.ExactArgs(1),
		Example: `  sandyq backup list /srv/backups`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			objects, err := backup.OpenDirectory(args[0])
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, objects.Close()) }()
			r, err := backup.Open(cmd.Context(), objects)
			if err != nil {
				return err
			}
			all, broken, err := r.Snapshots(cmd.Context())
			if err != nil {
				return err
			}
			if all == nil {
				all = []*backup.Header{}
			}
			err = e.answerTable(all, func(t table) {
				t.row("SNAPSHOT", "TAKEN", "ROWS", "DOCUMENT PARTS", "BYTES")
				for _, h := range all {
					t.row(h.ID, moment(h.TakenAt), number(h.Rows), number(h.Blobs), number(h.Bytes+h.BlobBytes))
				}
			})
			if len(broken) > 0 {
				err = errors.Join(err, fmt.Errorf("%w: %s cannot be read", backup.ErrDamaged, strings.Join(broken, ", ")))
			}
			return err
		},
	}
}

func newBackupCheckCmd(e *env) *cobra.Command {
	var from source
	cmd := &cobra.Command{
		Use: "check DIR --identity FILE", Short: "Read all that a snapshot needs, and see that it is what was written", Args: cobra.ExactArgs(1),
		Example: `  sandyq backup check /srv/backups --identity backup.key`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			from.dir = args[0]
			s, done, err := from.open(cmd.Context())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, done()) }()
			shown := e.bar("checking", s.Header.Bytes+s.Header.BlobBytes)
			err = s.Check(cmd.Context(), shown.add)
			shown.end()
			if err != nil {
				return explained(err)
			}
			return e.answerTable(s.Header, func(t table) {
				t.row("SNAPSHOT", "TAKEN", "CHUNKS", "DOCUMENT PARTS", "ALL THERE")
				t.row(s.Header.ID, moment(s.Header.TakenAt), number(s.Header.Chunks), number(s.Header.Blobs), "yes")
			})
		},
	}
	from.bind(cmd.Flags())
	return requiring(cmd, "identity")
}

func newBackupPruneCmd(e *env) *cobra.Command {
	var keep int
	cmd := &cobra.Command{
		Use: "prune DIR --keep N", Short: "Remove all but the newest snapshots, and what none of these needs", Args: cobra.ExactArgs(1),
		Example: `  sandyq backup prune /srv/backups --keep 14`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if keep < 1 {
				return usagef("--keep is at least 1")
			}
			if _, err := os.Stat(args[0]); err != nil {
				return fmt.Errorf("open the repository: %w", err)
			}
			objects, err := backup.WriteDirectory(args[0])
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, objects.Close()) }()
			r, err := backup.Open(cmd.Context(), objects)
			if err != nil {
				return err
			}
			done, err := r.Prune(cmd.Context(), keep)
			if err != nil {
				return err
			}
			return e.answerTable(done, func(t table) {
				t.row("KEPT", "REMOVED", "OBJECTS REMOVED", "BYTES")
				t.row(fmt.Sprint(done.Kept), fmt.Sprint(done.Removed), fmt.Sprint(done.Objects), number(done.Bytes))
			})
		},
	}
	cmd.Flags().IntVar(&keep, "keep", 0, "how many snapshots stay, the newest ones")
	return requiring(cmd, "keep")
}

// keyed is what keygen answers.
type keyed struct {
	Identity  string `json:"identity_file"`
	Recipient string `json:"recipient"`
}

func newBackupKeygenCmd(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "keygen FILE", Short: "Make an age identity for backups, and show its recipient", Args: cobra.ExactArgs(1),
		Example: `  sandyq backup keygen backup.key`,
		RunE: func(_ *cobra.Command, args []string) error {
			identity, recipient, err := backup.Generate()
			if err != nil {
				return fmt.Errorf("make an identity: %w", err)
			}
			f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return fmt.Errorf("write the identity: %w", err)
			}
			_, err = fmt.Fprintf(f, "# recipient: %s\n%s\n", recipient, identity)
			if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
				return fmt.Errorf("write the identity: %w", err)
			}
			return e.answer(keyed{args[0], recipient}, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, recipient)
				return err
			})
		},
	}
}
