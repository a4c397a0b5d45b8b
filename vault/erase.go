package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/token"
)

// itself is who acts when the vault does its own work.
const itself = "sandyq"

// notice is what the nodes are told before the keys are destroyed.
func (row *erasureRow) notice() *noticeRow {
	return &noticeRow{Subject: row.Subject, Keys: slices.Collect(maps.Values(row.Keys)), Streams: row.covers(schema.DocumentsSlice)}
}

// destroyKeys destroys the person's keys. Only when the provider has shown every one to be gone is that written.
func (s *Service) destroyKeys(ctx context.Context, id ErasureID, row *erasureRow) error {
	if err := s.tell(ctx, row.notice()); err != nil {
		return err
	}
	if err := s.destroy(ctx, erasureEntry(id, row)); err != nil {
		return err
	}
	return s.stampErasure(ctx, id, row, api.ErasureKeyDestroyed, string(api.ErasureKeyDestroyed), &draft{})
}

// endErasure removes what the keys sealed, and writes that nothing is left.
func (s *Service) endErasure(ctx context.Context, id ErasureID, row *erasureRow) error {
	if err := s.removeAll(ctx, row); err != nil {
		return fmt.Errorf("remove what the keys sealed: %w", err)
	}
	if err := s.finishErasure(ctx, id, row); err != nil {
		return fmt.Errorf("finish: %w", err)
	}
	return nil
}

// finishErasure leaves of the person a row that says erased, or of the slices nothing.
func (s *Service) finishErasure(ctx context.Context, id ErasureID, row *erasureRow) error {
	var d *draft
	var err error
	if row.Slices != nil {
		d, err = s.settleSlices(ctx, row)
	} else {
		d, err = s.leaveErased(ctx, id, row)
	}
	if err != nil {
		return err
	}
	d.delete(s.rows.open(id))
	d.set(s.rows.uncertified(id), nil)
	if _, measures := s.Store.(store.Residual); measures {
		d.set(s.rows.removal(id), nil)
	}
	return s.stampErasure(ctx, id, row, api.ErasureErased, string(api.ErasureErased), d)
}

// leaveErased drafts the row that stays of a person.
func (s *Service) leaveErased(ctx context.Context, id ErasureID, row *erasureRow) (*draft, error) {
	var d draft
	var was *subject
	err := s.Store.View(ctx, func(r store.Reader) error {
		rows, err := r.Get(s.rows.subject(row.Subject))
		if err != nil {
			return err
		}
		if rows[0] == nil {
			return errors.New("the person's row is gone")
		}
		was, err = decodeSubject(rows[0])
		return err
	})
	if err != nil {
		return nil, err
	}
	gone := subject{status: status{state: stateErased, epoch: was.epoch + 1}, subjectRow: subjectRow{Revision: was.Revision + 1, Created: was.Created, Erasure: id}}
	d.set(s.rows.subject(row.Subject), gone.encode())
	return &d, nil
}

// stampErasure writes what became of an erasure and when, if it still stands where it was read, with an entry in the log. The
// entry of the destruction commits to the keys and to what they sealed, which is gone. Times ascend, whatever the
// clock does: the log has entries of one time in any order, and the certificate has these in theirs.
func (s *Service) stampErasure(ctx context.Context, id ErasureID, row *erasureRow, to api.ErasureState, what string, d *draft) error {
	d.expect(s.rows.erasure(id), encodeRow(row))
	at := max(stampOf(s.Clock()), slices.Max(slices.Collect(maps.Values(row.At)))+1)
	entry := &audit.Entry{
		At: at.time(), System: itself, Operation: "erasure." + what, Subject: row.Subject.String(),
		Objects: row.objects(id), Decision: audit.Allow, Reason: row.Reason, Kind: row.Ground,
	}
	row.State, row.At[what] = to, at
	if to == api.ErasureKeyDestroyed {
		digest, err := row.destroyed().Digest()
		if err != nil {
			return err
		}
		entry.Digest = digest
	}
	if err := s.log(d, entry); err != nil {
		return err
	}
	logged, err := audit.ParseID(entry.ID)
	if err != nil {
		return err
	}
	if row.Logged == nil {
		row.Logged = map[string]audit.ID{}
	}
	row.Logged[what] = logged
	d.set(s.rows.erasure(id), encodeRow(row))
	written, err := commit(ctx, s.Store, d)
	if err == nil && !written[0] {
		err = errors.New("somebody else carried it on")
	}
	return err
}

// removeAll removes what the destroyed keys sealed, and what points at it. Of a token there remains which system it was
// given to, so that this system, and no other, is told that the person is erased.
func (s *Service) removeAll(ctx context.Context, row *erasureRow) error {
	if row.Slices != nil {
		return s.removeSlices(ctx, row)
	}
	steps := []struct {
		kind byte
		drop func(*draft, store.Pair) error
	}{
		{kindDocument, func(d *draft, p store.Pair) error { return s.removeBlobs(ctx, d, row.Subject, p.Value) }},
		{kindRecord, func(*draft, store.Pair) error { return nil }},
		{kindTransfer, func(*draft, store.Pair) error { return nil }},
		{kindIssued, s.tombToken},
		{kindConsent, func(d *draft, p store.Pair) error {
			c, err := decodeRow[consentRow](p.Value)
			if err != nil {
				return err
			}
			return s.endProof(ctx, d, c, row.At[string(api.ErasureRequested)])
		}},
		{kindHolding, func(d *draft, p store.Pair) error { return s.tombHolding(d, row.Subject, p) }},
	}
	for _, step := range steps {
		if err := s.removeKind(ctx, s.rows.of(step.kind, row.Subject), step.drop); err != nil {
			return err
		}
	}
	return nil
}

// removeKind deletes all rows under a prefix, in pages, after drop has dealt with what each points at.
func (s *Service) removeKind(ctx context.Context, prefix []byte, drop func(*draft, store.Pair) error) error {
	return s.eachRow(ctx, prefix, func(d *draft, p store.Pair) error {
		if err := drop(d, p); err != nil {
			return err
		}
		d.delete(p.Key)
		return nil
	})
}

// eachRow has drop draft what becomes of each row under a prefix, in pages.
func (s *Service) eachRow(ctx context.Context, prefix []byte, drop func(*draft, store.Pair) error) error {
	var after []byte
	for {
		pairs, err := s.pageAfter(ctx, prefix, after)
		if err != nil || len(pairs) == 0 {
			return err
		}
		var d draft
		for _, p := range pairs {
			if err := drop(&d, p); err != nil {
				return err
			}
		}
		after = pairs[len(pairs)-1].Key
		if len(d.writes) == 0 {
			continue
		}
		written, err := commit(ctx, s.Store, &d)
		if err != nil {
			return err
		}
		if !written[0] {
			return errContended // the sweeper comes again
		}
	}
}

// pageAfter reads the first rows under a prefix after a key.
func (s *Service) pageAfter(ctx context.Context, prefix, after []byte) (pairs []store.Pair, err error) {
	const rows = 200
	err = s.Store.View(ctx, func(r store.Reader) error {
		found, err := r.Scan(prefix, after, rows)
		pairs = pairs[:0]
		for _, p := range found {
			pairs = append(pairs, store.Pair{Key: bytes.Clone(p.Key), Value: bytes.Clone(p.Value)})
		}
		return err
	})
	return pairs, err
}

// tombToken leaves of a token which system it was given to.
func (s *Service) tombToken(d *draft, p store.Pair) error {
	system, _ := s.rows.issuedParts(p.Key)
	d.set(s.rows.token(token.Token(p.Value)), encodeRow(tokenRow{System: system, Erased: true}))
	return nil
}

func (s *Service) tombHolding(d *draft, id SubjectID, p store.Pair) error {
	h, err := decodeRow[holdingRow](p.Value)
	if err != nil {
		return err
	}
	prefix := s.rows.of(kindHolding, id)
	system := string(p.Key[len(prefix) : len(p.Key)-1])
	d.set(s.rows.pairwise(h.Pairwise), encodeRow(pairwiseRow{System: system, Erased: true}))
	return nil
}
