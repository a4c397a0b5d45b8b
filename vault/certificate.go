package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit/certificate"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/audit/translog"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
)

// The certificate of an erasure is made once, when the log covers the entry of the erasure's end, and kept as it was issued.
// Nothing of it changes after that but that the note on physical removal is added, once. The sweeper makes it; who asks before
// that has it made at once.

// certificatesAtOnce is how many certificates one sweep makes at most.
const certificatesAtOnce = 200

// errMoving ends an attempt during which the log went on; the next one finds it still.
var errMoving = errors.New("the transparency log went on meanwhile")

// Certificate is the certificate of an erasure: the document as it was issued, and what it says. Who may see the erasure may have
// it, but for a system to which it would tell what is not its own: that one is denied. Until the erasure is at its end there is
// none.
func (s *Service) Certificate(ctx context.Context, call Call, erasure string) (*IssuedCertificate, error) {
	return underRules(ctx, s, call, func(call Call) (*IssuedCertificate, error) { return s.certificate(ctx, call, erasure) })
}

// IssuedCertificate is a certificate that was issued.
type IssuedCertificate struct {
	Document []byte // as certificate.Parse reads it
	Verified *certificate.Verified
}

func (s *Service) certificate(ctx context.Context, call Call, erasure string) (*IssuedCertificate, error) {
	r := access.Request{Action: access.ShowErasure}
	ctx = store.With(ctx, store.Reading)
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	id, row, who, err := s.meetErasure(ctx, call, r, erasure)
	if err != nil {
		return nil, err
	}
	r.Subject = who.id.String()
	if row.State != api.ErasureErased || !row.logged() { // in the words in which what there is not is refused
		return nil, s.refuse(ctx, call, r, fault.New(fault.NotFound, "there is no such erasure"))
	}
	if !call.Principal.VaultWide() && !row.knownWhole() {
		return nil, s.refuse(ctx, call, r, fault.New(fault.Denied, "the certificate tells more than this system may know: staff give it out"))
	}
	d := deed{request: r}
	d.entry.Objects, d.entry.Kind = []string{id.String()}, "certificate"
	if _, err := s.act(ctx, call, func() (deed, error) { return d, nil }); err != nil {
		return nil, err
	}
	document, err := s.issued(store.With(ctx, store.Vital), id)
	if err != nil {
		return nil, logFault(err)
	}
	v, err := s.verified(ctx, document)
	if err != nil {
		return nil, err
	}
	return &IssuedCertificate{document, v}, nil
}

// errElsewhere tells that the node that leads is to issue a certificate.
var errElsewhere = errors.New("the leading node issues the certificate")

// issued is certify, which waits a while: on a node that does not lead for the one that does, and for the witnesses of the log, unless
// it is known that they have been wanting for longer. Each try for the witnesses has the log looked at, so these are few.
func (s *Service) issued(ctx context.Context, id ErasureID) ([]byte, error) {
	const patience = 5 * time.Second
	pause := 100 * time.Millisecond
	for waited := time.Duration(0); ; waited += pause {
		document, err := s.certify(ctx, id)
		held := errors.Is(err, translog.ErrQuorum)
		if !held && !errors.Is(err, errElsewhere) || held && s.unsigned.Load() || waited >= patience {
			return document, err
		}
		if held {
			pause *= 2
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// knownWhole reports whether the certificate tells the system that asked for the erasure nothing that is not its own. Of an erasure
// of slices it does: the person lives, and the certificate names them by the id that no system is told. Of a person whom others
// held too, or of whom there was more than the system knew when it asked, it counts that.
func (row *erasureRow) knownWhole() bool {
	own, all := row.Own, row.Destroys
	return row.Slices == nil && row.Proofs.Own == row.Proofs.Count &&
		own.Fields == all.Fields && own.Documents == all.Documents && own.Tokens == all.Tokens
}

// logged reports whether the entries are known that a certificate rests on.
func (row *erasureRow) logged() bool {
	_, destroyed := row.Logged[string(api.ErasureKeyDestroyed)]
	_, erased := row.Logged[string(api.ErasureErased)]
	return destroyed && erased
}

// sweepCertificates makes the certificates, and the notes on removal, that are wanting.
func (s *Service) sweepCertificates(ctx context.Context) error {
	ids, err := s.pending(ctx, kindUncertified)
	if err != nil {
		return err
	}
	made := 0
	for _, id := range ids { // one that cannot be made keeps back no other
		if made == certificatesAtOnce || ctx.Err() != nil {
			break
		}
		_, wrong := s.certify(ctx, id)
		if errors.Is(wrong, translog.ErrQuorum) {
			return err // the metrics tell of it when it lasts
		}
		if stopped(wrong) {
			return errors.Join(err, wrong)
		}
		if wrong != nil {
			err = errors.Join(err, fmt.Errorf("erasure %s: %w", id, wrong))
			continue
		}
		made++
	}
	return err
}

// stopped reports whether no certificate can be made, rather than one: each try would have the whole log looked at again, and what the
// sweeper does besides, wait.
func stopped(err error) bool {
	for _, why := range []error{kms.ErrUnavailable, translog.ErrAnchor, translog.ErrRestored, translog.ErrWitness} {
		if errors.Is(err, why) {
			return true
		}
	}
	return false
}

// certify returns the certificate of an erasure that is at its end, and first makes what is wanting of it.
func (s *Service) certify(ctx context.Context, id ErasureID) ([]byte, error) {
	var row *erasureRow
	var was []byte
	err := s.Store.View(ctx, func(r store.Reader) (err error) {
		if row, err = getRow[erasureRow](r, s.rows.erasure(id)); err != nil {
			return err
		}
		rows, err := r.Get(s.rows.certificate(id))
		if err != nil {
			return err
		}
		was = bytes.Clone(rows[0])
		return nil
	})
	if err != nil {
		return nil, err
	}
	if row == nil || !row.logged() {
		return nil, errors.New("the entries of the erasure are not known")
	}
	now := was
	ctx, leads := s.fleet.lead(ctx) // it alone extends the log and signs
	switch {
	case leads && s.signs():
		now, err = s.completed(ctx, id, row, was)
	case was == nil && s.signs():
		return nil, errElsewhere
	case was == nil:
		return nil, fault.New(fault.Unavailable, "the certificate is not issued yet, and this is not known to be the live vault")
	}
	if err != nil || bytes.Equal(now, was) {
		return now, err
	}
	d := &draft{}
	d.expect(s.rows.certificate(id), was)
	d.expect(s.rows.erasure(id), encodeRow(row)) // a removal that is measured meanwhile finds the certificate wanting again
	d.set(s.rows.certificate(id), now)
	d.delete(s.rows.uncertified(id))
	written, err := commit(ctx, s.Store, d)
	if err == nil && !written[0] {
		return s.certify(ctx, id) // somebody else was faster: theirs is the one
	}
	return now, err
}

// completed makes what is wanting of a certificate.
func (s *Service) completed(ctx context.Context, id ErasureID, row *erasureRow, was []byte) ([]byte, error) {
	_, gone := row.At[stampRemoved]
	var d *certificate.Document
	var err error
	if was == nil {
		d, err = s.issueCertificate(ctx, id, row)
	} else {
		d, err = certificate.Parse(was)
	}
	if err != nil || was != nil && (d.Removal != "") == gone {
		return was, err
	}
	if gone {
		if err := s.addRemoval(ctx, id, row, d); err != nil {
			return nil, err
		}
	}
	b, err := d.Encode()
	if err != nil {
		return nil, err
	}
	_, err = s.verified(ctx, b) // nothing is issued that does not verify
	return b, err
}

// issueCertificate makes a certificate.
func (s *Service) issueCertificate(ctx context.Context, id ErasureID, row *erasureRow) (d *certificate.Document, err error) {
	const attempts = 10
	for range attempts {
		if d, err = s.tryCertificate(ctx, id, row); !errors.Is(err, errMoving) {
			break
		}
	}
	return d, err
}

func (s *Service) tryCertificate(ctx context.Context, id ErasureID, row *erasureRow) (*certificate.Document, error) {
	erased, last, err := s.evidence(ctx, row, api.ErasureErased) // the later first: then both are covered
	if err != nil {
		return nil, err
	}
	destroyed, first, err := s.evidence(ctx, row, api.ErasureKeyDestroyed)
	if err != nil {
		return nil, err
	}
	by, err := s.translog.Signer(ctx)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(first.Checkpoint, last.Checkpoint) {
		return nil, errMoving
	}
	if _, err := checkpoint.OpenTree(last.Checkpoint, by.Key()); err != nil {
		return nil, errMoving // the key, or the origin, is a new one
	}
	successions, err := s.translog.Successions(ctx)
	if err != nil {
		return nil, err
	}
	content, err := s.certifies(ctx, id, row)
	if err != nil {
		return nil, err
	}
	content.Origin = by.Key().Name
	note, err := certificate.Sign(ctx, content, by)
	if err != nil {
		return nil, err
	}
	return certificate.NewDocument(note, destroyed, erased, successions)
}

// evidence is the entry of a state with its proof.
func (s *Service) evidence(ctx context.Context, row *erasureRow, state api.ErasureState) (certificate.Evidence, checkpoint.InclusionProof, error) {
	p, entry, err := s.translog.Prove(ctx, row.Logged[string(state)])
	if err != nil {
		return certificate.Evidence{}, p, err
	}
	if entry == nil {
		return certificate.Evidence{}, p, translog.ErrAbsent
	}
	text, err := p.Marshal()
	return certificate.Evidence{Entry: string(entry), Proof: string(text)}, p, err
}

// addRemoval adds the note that nothing is left in files.
func (s *Service) addRemoval(ctx context.Context, id ErasureID, row *erasureRow, d *certificate.Document) error {
	b, err := d.Encode()
	if err != nil {
		return err
	}
	v, err := s.verified(ctx, b)
	if err != nil {
		return err
	}
	by, err := s.translog.Signer(ctx)
	if err != nil {
		return err
	}
	note, err := certificate.SignRemoval(ctx, &certificate.Removal{
		Erasure: id.String(), Certificate: v.Hash, Origin: by.Key().Name, MeasuredAt: row.At[stampRemoved].time(),
		Measured: []certificate.Measure{{What: "documents"}, {What: "store"}},
	}, by)
	if err != nil {
		return err
	}
	d.Removal = string(note)
	if d.Successions, err = s.successionTexts(ctx); err != nil { // the key that signs may have come after the certificate's
		return err
	}
	return nil
}

func (s *Service) successionTexts(ctx context.Context) ([]string, error) {
	notes, err := s.translog.Successions(ctx)
	texts := make([]string, len(notes))
	for i, n := range notes {
		texts[i] = string(n)
	}
	return texts, err
}

// verified verifies a certificate of our own, by the first key that the log had.
func (s *Service) verified(ctx context.Context, document []byte) (*certificate.Verified, error) {
	d, err := certificate.Parse(document)
	if err != nil {
		return nil, fmt.Errorf("a certificate in the store: %w", err)
	}
	keys, err := s.translog.PublicKeys(ctx)
	if err != nil {
		return nil, err
	}
	if len(d.Successions) > 0 {
		first, err := checkpoint.OpenSuccession([]byte(d.Successions[0]))
		if err != nil {
			return nil, fmt.Errorf("a certificate in the store: %w", err)
		}
		keys = []checkpoint.Key{first.From}
	} else if notes, err := s.translog.Successions(ctx); err != nil {
		return nil, err
	} else if len(notes) > 0 {
		first, err := checkpoint.OpenSuccession(notes[0])
		if err != nil {
			return nil, err
		}
		keys = []checkpoint.Key{first.From}
	}
	v, err := certificate.Verify(d, keys...)
	if err != nil {
		return nil, fmt.Errorf("a certificate in the store: %w", err)
	}
	return v, nil
}
