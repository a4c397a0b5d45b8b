package vault

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/backup"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
)

// Backups lets a service take backups. They are of the whole store, so of every tenant in it: of several services over one
// store, one has this.
type Backups struct {
	Engine     string        // of the store, for the manifest
	Tenants    []string      // whose rows are in the store, for the manifest
	Recipients []string      // whom backups may be encrypted to (age1…); nil: whomever the caller names
	Most       time.Duration // how long one may take; default 6 h
}

const defaultMostBackup = 6 * time.Hour

// leftOut are the kinds of rows that no backup has: what they stand for is over when the backup is restored. Keys made
// ahead of their people are people's by then, and whoever finds the rows would destroy them; uploads have ended; alerts
// were told; handoffs were redeemed, or have run out, like handles of opened documents; nodes are others.
var leftOut = []byte{kindPool, kindUpload, kindAlert, kindHandoff, kindHandle, kindFleet}

// kindOfKey is the kind of a row, and whose it is; 0 for what is no key of ours.
func kindOfKey(key []byte) (kind byte, tenant string) {
	if len(key) == 0 || len(key) < 2+int(key[0]) {
		return 0, ""
	}
	n := 1 + int(key[0])
	return key[n], string(key[1:n])
}

// BackupAsked is a request for a backup.
type BackupAsked struct {
	Request *backup.Request
	// Begin is called once, when nothing forbids the backup, and gives what it is written to. A failure after that is told
	// in the stream.
	Begin func() io.Writer
}

// TakeBackup streams a snapshot of the whole store and the blobs that it names: what the caller lacks of it, encrypted. One
// runs at a time. The snapshot's id is in the log before the caller has all of it.
func (s *Service) TakeBackup(ctx context.Context, call Call, asked BackupAsked) error {
	t := &snapshotting{Service: s, call: call, asked: asked}
	t.taken = t.recorded
	_, err := underRules(ctx, s, call, func(call Call) (*struct{}, error) { return nil, t.enter(ctx, call) })
	if t.leave != nil {
		defer t.leave()
	}
	if err != nil {
		return err
	}
	most := s.Backups.Most
	if most == 0 {
		most = defaultMostBackup
	}
	bounded, cancel := context.WithTimeoutCause(ctx, most, fault.New(fault.Unavailable, "the backup took too long: go on with another"))
	defer cancel()
	return edge(t.stream(bounded))
}

// snapshotting is a backup under way.
type snapshotting struct {
	*Service
	call  Call
	asked BackupAsked

	leave      func() // lets the next one in
	vault      string
	recipients backup.Recipients
	covers     func(store.Reader) ([][]byte, error)       // the prefixes of the rows to send, ascending; nil: every row
	taken      func(ctx context.Context, id string) error // writes the snapshot's id into the log
	blobs      []blobOf                                   // of the snapshot's documents
	manifest   backup.Manifest
}

// blobOf is a blob that a row names.
type blobOf struct {
	row string // its key
	id  blob.ID
}

// enter has the gate decide, and sees that nothing forbids a backup.
func (t *snapshotting) enter(ctx context.Context, call Call) error {
	s := t.Service
	r := access.Request{Action: access.TakeBackup}
	if err := s.admit(ctx, call, r); err != nil {
		return err
	}
	if err := s.writable(); err != nil {
		return err
	}
	ask := t.asked.Request.Ask
	var err error
	if t.recipients, err = backup.ParseRecipients(ask.Recipients); err != nil {
		return fault.Bad("recipients", err.Error())
	}
	if t.vault, err = s.vaultID(ctx); err != nil {
		return err
	}
	if r.Refusal = s.mayBackUp(ask, t.vault); r.Refusal != nil {
		return s.refuse(ctx, call, r, r.Refusal)
	}
	t.manifest.Engine, t.manifest.Tenants = s.Backups.Engine, s.Backups.Tenants
	if t.leave == nil {
		select {
		case s.backingUp <- struct{}{}:
			t.leave = func() { <-s.backingUp }
		default:
			return &fault.Error{Code: fault.Conflict, Detail: "a backup is being taken", RetryAfter: time.Minute}
		}
	}
	d := deed{request: r}
	d.entry.Kind = "begun"
	for _, to := range ask.Recipients {
		d.entry.Objects = append(d.entry.Objects, to[:min(len(to), 64)]) // the long ones differ at once
	}
	_, err = s.act(ctx, call, func() (deed, error) { return d, nil })
	return err
}

// mayBackUp says what forbids a backup, or nil.
func (s *Service) mayBackUp(ask backup.Ask, vault string) *fault.Error {
	switch {
	case s.Backups == nil:
		return fault.New(fault.Denied, "backups hold every tenant's rows: the first tenant's administrator takes them")
	case ask.Vault != "" && ask.Vault != vault:
		return conflict("vault", "the repository holds the backups of another vault")
	}
	for _, to := range ask.Recipients {
		if s.Backups.Recipients != nil && !slices.Contains(s.Backups.Recipients, to) {
			return fault.New(fault.Denied, "backups are encrypted to the recipients of the configuration alone")
		}
	}
	return nil
}

// vaultID names the vault in its backups: a digest of what its store was set up with, which a restored one has, too.
func (s *Service) vaultID(ctx context.Context) (string, error) {
	row, err := readTitle(ctx, s.Store, s.rows)
	if err != nil {
		return "", err
	}
	if row == nil {
		return "", fault.New(fault.Unavailable, "the store was never set up: its keys were never reached")
	}
	sum := sha256.Sum256(append(lengthPrefixed("sandyq backup", s.Tenant), row.Sentinel[:]...))
	return hex.EncodeToString(sum[:16]), nil
}

// stream writes all of the backup.
func (t *snapshotting) stream(ctx context.Context) error {
	have, err := t.asked.Request.ReadHave()
	if err != nil {
		return fault.Wrap(fault.Invalid, fault.Sender(err), "the request did not come whole")
	}
	out, err := backup.NewSender(t.asked.Begin(), t.vault, t.recipients, have)
	if err != nil {
		return err
	}
	if err := t.sendRows(ctx, out); err != nil {
		return t.because(ctx, err)
	}
	if err := t.sendBlobs(ctx, out); err != nil {
		return t.because(ctx, err)
	}
	t.manifest.Recipients, t.manifest.LeftOut = t.asked.Request.Recipients, string(leftOut)
	header, err := out.Close(t.manifest)
	if err != nil {
		return err
	}
	if err := t.taken(ctx, header.ID); err != nil {
		return err
	}
	return out.Commit(header)
}

// recorded writes into the log that the caller has a snapshot.
func (t *snapshotting) recorded(ctx context.Context, id string) error {
	d := deed{request: access.Request{Action: access.TakeBackup}}
	d.entry.Kind, d.entry.Objects = "taken", []string{id}
	_, err := underRules(ctx, t.Service, t.call, func(call Call) (outcome, error) {
		return t.act(ctx, call, func() (deed, error) { return d, nil })
	})
	return err
}

// because is why a context ended, if that is what ended the backup.
func (t *snapshotting) because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// sendRows sends every row of one state that the backup covers. The snapshot is held for as long as that takes: writers go on
// meanwhile.
func (t *snapshotting) sendRows(ctx context.Context, out *backup.Sender) error {
	err := t.Store.View(ctx, func(r store.Reader) error {
		t.manifest.TakenAt = t.Clock().UTC().Truncate(time.Millisecond)
		prefixes := [][]byte{nil}
		if t.covers != nil {
			var err error
			if prefixes, err = t.covers(r); err != nil {
				return err
			}
		}
		for _, prefix := range prefixes {
			err := scanAll(r, prefix, func(p store.Pair) error { return errors.Join(ctx.Err(), t.sendRow(out, p)) })
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("back up the rows: %w", err)
	}
	return out.EndRows()
}

func (t *snapshotting) sendRow(out *backup.Sender, p store.Pair) error {
	kind, _ := kindOfKey(p.Key)
	if bytes.IndexByte(leftOut, kind) >= 0 {
		return nil
	}
	if kind == kindDocument {
		row, err := decodeRow[documentRow](p.Value)
		if err != nil {
			return err
		}
		for _, part := range row.Parts {
			t.blobs = append(t.blobs, blobOf{string(p.Key), part.Blob})
		}
	}
	return out.Row(p.Key, p.Value)
}

// sendBlobs sends the blobs that the snapshot's rows name. One that is not there any more was removed by an erasure since, or
// is lost.
func (t *snapshotting) sendBlobs(ctx context.Context, out *backup.Sender) error {
	slices.SortFunc(t.blobs, func(a, b blobOf) int { return bytes.Compare(a.id[:], b.id[:]) })
	var missing []blobOf
	for _, b := range t.blobs {
		r, err := t.Blobs.Open(ctx, b.id)
		if errors.Is(err, blob.ErrNotFound) {
			missing = append(missing, b)
			continue
		}
		if err != nil {
			return err
		}
		if err := errors.Join(out.Blob(ctx, b.id, r), r.Close()); err != nil {
			return err
		}
	}
	for _, b := range missing {
		lost, err := t.lost(ctx, b)
		if err != nil {
			return err
		}
		if lost {
			t.manifest.Lost++
			t.Log.ErrorContext(ctx, "a document's blob is not where blobs are kept", "blob", b.id.String())
		} else {
			t.manifest.Gone++
		}
	}
	return nil
}

// lost reports whether a blob is still named by a row of somebody who is not being erased.
func (t *snapshotting) lost(ctx context.Context, b blobOf) (lost bool, err error) {
	_, tenant := kindOfKey([]byte(b.row))
	rows := layout{tenant}
	prefix := rows.key(kindDocument)
	who := SubjectID([]byte(strings.TrimPrefix(b.row, string(prefix)))[:len(SubjectID{})])
	err = t.Store.View(ctx, func(r store.Reader) error {
		row, err := getRow[documentRow](r, []byte(b.row))
		if err != nil || row == nil {
			return err
		}
		named := slices.ContainsFunc(row.Parts, func(p partRow) bool { return p.Blob == b.id })
		subjects, err := r.Get(rows.subject(who))
		if err != nil || subjects[0] == nil {
			return err
		}
		st, err := decodeStatus(subjects[0])
		lost = named && err == nil && st.state == stateActive
		return err
	})
	return lost, err
}
