package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/audit/certificate"
	"github.com/sandyq/sandyq/vault/audit/translog"
	"github.com/sandyq/sandyq/vault/backup"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/token"
)

// backUp takes a backup into the drills' folder, encrypted to an identity that nobody else ever has. It goes the way of every
// backup: the server's stream of chunks, a repository, digests, age. Only what it covers is less, so that a drill costs the
// same however large the vault is.
func (d *drill) backUp(ctx context.Context) error {
	identity, recipient, err := backup.Generate()
	if err != nil {
		return err
	}
	if d.identities, err = backup.ParseIdentities(strings.NewReader(identity)); err != nil {
		return err
	}
	objects, err := backup.WriteDirectory(d.path("repository"))
	if err != nil {
		return err
	}
	err = d.backUpTo(ctx, objects, recipient)
	return errors.Join(err, objects.Close())
}

func (d *drill) backUpTo(ctx context.Context, objects backup.Objects, recipient string) error {
	repository, err := backup.Open(ctx, objects)
	if err != nil {
		return err
	}
	var ask bytes.Buffer
	if err := repository.WriteRequest(ctx, &ask, []string{recipient}); err != nil {
		return err
	}
	request, err := backup.ReadRequest(&ask)
	if err != nil {
		return err
	}
	stream, in := io.Pipe()
	t := &snapshotting{Service: d.Service, asked: BackupAsked{Request: request, Begin: func() io.Writer { return in }}, covers: d.covers}
	t.taken = func(ctx context.Context, id string) error { return d.note(ctx, "backup", id) }
	t.manifest.Tenants = []string{d.Tenant}
	if t.vault, err = d.vaultID(ctx); err != nil {
		return err
	}
	if t.recipients, err = backup.ParseRecipients([]string{recipient}); err != nil {
		return err
	}
	var sending sync.WaitGroup
	sending.Go(func() { _ = in.CloseWithError(t.stream(ctx)) }) // the receiver is told
	_, err = repository.Receive(ctx, stream, nil, func([]byte) error { return errors.New("the backup failed") })
	_ = stream.Close() // ends a sender that is not read any more
	sending.Wait()
	return err
}

// covers lists the rows that make a vault in which both people are read and found as in this one, and everybody else is not:
// what the store knows of itself, the rules, and whatever is theirs or leads to them.
func (d *drill) covers(r store.Reader) (prefixes [][]byte, err error) {
	prefixes = [][]byte{d.rows.key(kindMeta), d.rows.key(kindRule)}
	for _, id := range d.made {
		for _, kind := range []byte{kindSubject, kindRecord, kindDocument, kindHolding, kindIssued, kindIndexed} {
			prefixes = append(prefixes, d.rows.of(kind, id))
		}
		leads, err := d.leadingTo(r, id)
		if err != nil {
			return nil, err
		}
		prefixes = append(prefixes, leads...)
	}
	slices.SortFunc(prefixes, bytes.Compare)
	return prefixes, nil
}

// leadingTo lists the rows by which somebody is found.
func (d *drill) leadingTo(r store.Reader, who SubjectID) (keys [][]byte, err error) {
	err = scanAll(r, d.rows.of(kindIssued, who), func(p store.Pair) error {
		keys = append(keys, d.rows.token(token.Token(p.Value)))
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = scanAll(r, d.rows.of(kindHolding, who), func(p store.Pair) error {
		row, err := decodeRow[holdingRow](p.Value)
		if err == nil {
			keys = append(keys, d.rows.pairwise(row.Pairwise))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return keys, scanAll(r, d.rows.of(kindIndexed, who), func(p store.Pair) error {
		_, field, slot := d.rows.indexedParts(p.Key)
		e := entryOf(p.Value)
		keys = append(keys, d.rows.unique(field, e), d.rows.lookup(field, e, who, slot))
		return nil
	})
}

// control sees that both can be read and found: what is shown later to be gone was there.
func (d *drill) control(ctx context.Context) error {
	return errors.Join(d.mustBeThere(ctx, d.Service, &d.gone), d.mustBeThere(ctx, d.Service, &d.stays))
}

// checkCertificate verifies the certificate as an outsider does, by the log's first key, and that it certifies this.
func (d *drill) checkCertificate(ctx context.Context) error {
	ctx = store.With(ctx, store.Vital)
	_, err := d.issued(ctx, d.erasure)
	var document []byte
	if err == nil {
		document, err = d.certify(ctx, d.erasure) // now as it was kept, which is what everybody gets
	}
	if errors.Is(err, kms.ErrUnavailable) || errors.Is(err, translog.ErrQuorum) || ctx.Err() != nil {
		return err
	}
	var v *certificate.Verified
	if err == nil {
		v, err = d.verified(ctx, document)
	}
	if err != nil {
		return fails(drillCertificate, err)
	}
	c := v.Content
	switch {
	case c.Erasure != d.erasure.String(), c.Subject != d.gone.id.String(), !c.Scope.Person, c.Tenant != d.Tenant:
		return fails(drillCertificate, errors.New("it certifies another erasure"))
	case len(c.Destroyed.Slices) < 2, c.Destroyed.Tokens != len(d.gone.tokens)+1: // of values and of the document
		return fails(drillCertificate, errors.New("it certifies less than was there"))
	case c.Ledger == nil:
		return fails(drillUnlisted, errors.New("it does not say where the ledger lists the erasure"))
	}
	return nil
}

// checkLive sees that the one is gone from this vault, and the other is not.
func (d *drill) checkLive(ctx context.Context) error {
	if err := d.mustBeGone(ctx, d.Service, &d.gone); err != nil {
		return err
	}
	return d.mustBeThere(ctx, d.Service, &d.stays)
}

// restoredCopy is what the backup was restored into.
type restoredCopy struct {
	rows      store.Store
	blobs     blob.Store
	place     string
	closeBoth func() error // nil: nothing is open
}

func (c *restoredCopy) close() error {
	if c.closeBoth == nil {
		return nil
	}
	return c.closeBoth()
}

// restore restores the backup beside the vault.
func (d *drill) restore(ctx context.Context) error {
	c := &d.restored
	c.place = d.path("restored")
	err := os.Mkdir(c.place, 0o700)
	if err != nil {
		return err
	}
	if c.rows, c.blobs, c.closeBoth, err = d.Drills.Scratch(c.place); err != nil {
		return err
	}
	return d.fill(ctx, c.rows, c.blobs)
}

func (d *drill) fill(ctx context.Context, rows store.Store, blobs blob.Store) error {
	objects, err := backup.OpenDirectory(d.path("repository"))
	if err != nil {
		return err
	}
	err = d.fillFrom(ctx, objects, rows, blobs)
	return errors.Join(err, objects.Close())
}

func (d *drill) fillFrom(ctx context.Context, objects backup.Objects, rows store.Store, blobs blob.Store) error {
	repository, err := backup.Open(ctx, objects)
	if err != nil {
		return err
	}
	latest, err := repository.Latest(ctx)
	if err != nil {
		return err
	}
	snapshot, err := repository.Snapshot(ctx, latest, d.identities)
	if err != nil {
		return err
	}
	_, err = snapshot.Fill(ctx, rows, blobs, nil)
	return err
}

// inCopy opens a vault over what was restored, with this vault's keys and ledger, for as long as look looks. It is a copy, which
// destroys nothing.
func (d *drill) inCopy(ctx context.Context, replay bool, look func(*Service) error) error {
	o := d.Options
	o.Store, o.Blobs, o.Place, o.Replay = d.restored.rows, d.restored.blobs, d.restored.place, replay
	o.Messenger, o.Identities, o.Agents, o.Observer, o.Backups, o.Drills, o.Anchor = nil, nil, nil, nil, nil, nil, nil
	o.Keyring.Observer = nil
	o.Log = o.Log.With("drill", d.row.Run.String())
	opened, err := Open(ctx, o)
	if err != nil {
		return fmt.Errorf("open what was restored: %w", err)
	}
	defer opened.Close()
	if standing := opened.title.standing(); standing != StandingCopy {
		return fmt.Errorf("what was restored opens as %q and not as a copy", standing)
	}
	opened.drilling.Store(d)
	soon, cancel := context.WithTimeout(ctx, drillCompares)
	defer cancel()
	if err := d.await(soon, func() (bool, error) { return opened.accord.hold() == nil, nil }); err != nil {
		return fails(drillWithheld, errors.Join(err, opened.accord.hold()))
	}
	return look(opened)
}

// lookAtCopy sees that the one can't be read in a copy that knows nothing of the erasure: their keys are no more.
func (d *drill) lookAtCopy(ctx context.Context) error {
	return d.inCopy(ctx, false, func(s *Service) error {
		if err := d.mustBeThere(ctx, s, &d.stays); err != nil {
			return err
		}
		return d.mustBeUnreadable(ctx, s, &d.gone)
	})
}

// lookAtReplayed sees that the one can't be found either in a copy that has replayed the erasure ledger.
func (d *drill) lookAtReplayed(ctx context.Context) error {
	return d.inCopy(ctx, true, func(s *Service) error {
		if _, err := s.accord.place(ctx, d.erasure.String()); err != nil {
			return fails(drillUnlisted, err)
		}
		if err := d.mustBeThere(ctx, s, &d.stays); err != nil {
			return err
		}
		return d.mustBeGone(ctx, s, &d.gone)
	})
}

// mustBeThere fails unless somebody can be read and found.
func (d *drill) mustBeThere(ctx context.Context, s *Service, who *standIn) error {
	if read, err := d.reads(ctx, s, who); err != nil || !read {
		return fails(drillUnreadable, err)
	}
	if found, err := d.finds(ctx, s, who); err != nil || !found {
		return fails(drillUnfindable, err)
	}
	return nil
}

// mustBeGone fails unless somebody is erased, and can neither be read nor found.
func (d *drill) mustBeGone(ctx context.Context, s *Service, who *standIn) error {
	if err := d.mustBeUnreadable(ctx, s, who); err != nil {
		return err
	}
	found, err := d.finds(ctx, s, who)
	if err != nil {
		return err
	}
	if found {
		return fails(drillFindable, nil)
	}
	var p *person
	err = s.Store.View(ctx, func(r store.Reader) (err error) {
		p, err = s.load(r, who.id, "")
		return err
	})
	if err == nil && (p == nil || p.row.state != stateErased) {
		err = fails(drillStands, nil)
	}
	return err
}

func (d *drill) mustBeUnreadable(ctx context.Context, s *Service, who *standIn) error {
	read, err := d.reads(ctx, s, who)
	if read {
		return fails(drillReadable, err)
	}
	return err
}
