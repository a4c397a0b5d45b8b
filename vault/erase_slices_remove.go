package vault

import (
	"context"
	"maps"

	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/token"
)

// removeSlices removes what the destroyed keys sealed, and what points at it: tokens first, for the records tell which.
func (s *Service) removeSlices(ctx context.Context, row *erasureRow) error {
	var d *doomed
	err := s.Store.View(ctx, func(r store.Reader) (err error) {
		d, err = s.doom(r, row.Subject, row.Keys)
		return err
	})
	if err != nil {
		return err
	}
	for _, step := range []struct {
		kind byte
		drop func(*draft, store.Pair) error
	}{
		{kindIssued, func(c *draft, p store.Pair) error {
			system, part := s.rows.issuedParts(p.Key)
			if d.parts[string(part)] {
				c.set(s.rows.token(token.Token(p.Value)), encodeRow(tokenRow{System: system, Erased: true}))
				c.delete(p.Key)
			}
			return nil
		}},
		{kindDocument, func(c *draft, p store.Pair) error {
			document := DocumentID(p.Key[len(s.rows.of(kindDocument, row.Subject)):])
			if !d.parts[string(issuedDocumentPart(document))] {
				return nil
			}
			c.delete(p.Key)
			return s.removeBlobs(ctx, c, row.Subject, p.Value)
		}},
		{kindRecord, func(c *draft, p store.Pair) error {
			if d.parts[string(p.Key[len(s.rows.records(row.Subject, "")):])] {
				c.delete(p.Key)
			}
			return nil
		}},
		{kindConsent, func(c *draft, p store.Pair) error { return dropEvidence(c, p, d) }},
		{kindHolding, func(c *draft, p store.Pair) error { return dropRef(c, p, d) }},
	} {
		if err := s.eachRow(ctx, s.rows.of(step.kind, row.Subject), step.drop); err != nil {
			return err
		}
	}
	return nil
}

// dropEvidence takes from a consent, which stays, the evidence that a destroyed key sealed.
func dropEvidence(c *draft, p store.Pair, d *doomed) error {
	row, err := decodeRow[consentRow](p.Value)
	if err != nil || row.Evidence == nil || !d.under(row.Key) {
		return err
	}
	c.expect(p.Key, p.Value)
	row.Evidence = nil
	c.set(p.Key, encodeRow(row))
	return nil
}

// dropRef takes from a holding the system's own key for the person, which the key of the identity sealed.
func dropRef(c *draft, p store.Pair, d *doomed) error {
	if _, identity := d.keys[schema.IdentitySlice]; !identity {
		return nil
	}
	row, err := decodeRow[holdingRow](p.Value)
	if err != nil || row.Ref == nil {
		return err
	}
	c.expect(p.Key, p.Value)
	row.Ref = nil
	c.set(p.Key, encodeRow(row))
	return nil
}

// settleSlices drafts that the slices have stopped fading, of a person who is still there.
func (s *Service) settleSlices(ctx context.Context, row *erasureRow) (*draft, error) {
	var who *person
	err := s.Store.View(ctx, func(r store.Reader) (err error) {
		who, err = s.load(r, row.Subject, "")
		return err
	})
	if err != nil {
		return nil, err
	}
	if who == nil || who.row.state != stateActive {
		return &draft{}, nil // the erasure of the person overtook it
	}
	c := s.lateChange(who, func(_ store.Writer, inside *change) error {
		inside.row.Fading = maps.Clone(inside.row.Fading)
		for slice, key := range row.Keys {
			if inside.row.Fading[slice] == key {
				delete(inside.row.Fading, slice)
				delete(inside.row.Sealed, slice)
			}
		}
		inside.decided()
		return nil
	})
	return &c.draft, nil
}
