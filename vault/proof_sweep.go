package vault

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/ledger"
	"github.com/sandyq/sandyq/vault/store"
)

// proofsAtOnce is how many proofs one step of the sweeper deals with.
const proofsAtOnce = 100

// sweepProofs takes withdrawals into the proofs of the consents they ended. A proof that cannot be opened holds up no other.
func (s *Service) sweepProofs(ctx context.Context) error {
	prefix := s.rows.key(kindOutdated)
	var after []byte
	var failures error
	for {
		var pairs []store.Pair
		err := s.Store.View(ctx, func(r store.Reader) (err error) {
			pairs, err = r.Scan(prefix, after, proofsAtOnce)
			return err
		})
		if err != nil || len(pairs) == 0 {
			return errors.Join(failures, err)
		}
		for _, p := range pairs {
			err := s.renewProof(ctx, ReceiptID(p.Key[len(prefix):]))
			if errors.Is(err, kms.ErrUnavailable) {
				return err // so are the others
			}
			failures = errors.Join(failures, err)
		}
		after = pairs[len(pairs)-1].Key
	}
}

// renewProof seals a proof anew with the withdrawal that it lacks.
func (s *Service) renewProof(ctx context.Context, receipt ReceiptID) error {
	permit := s.keyring.Permit()
	_, row, later, err := s.findProof(ctx, receipt.String())
	if err != nil || later == nil {
		return err
	}
	var d draft
	d.expect(s.rows.outdated(receipt), encodeRow(later))
	d.delete(s.rows.outdated(receipt))
	if row == nil { // its term was over
		_, err = commit(ctx, s.Store, &d)
		return err
	}
	d.expect(s.rows.proof(receipt), encodeRow(row))
	opened, err := s.keyring.Open(ctx, permit, row.Key)
	if err != nil {
		return err
	}
	defer opened.Close()
	key, err := opened.Key(0)
	if err != nil {
		return err
	}
	p, err := s.openProof(key, receipt, row)
	if err != nil {
		return err
	}
	p.update(later)
	next := &proofRow{Key: row.Key, Version: row.Version + 1, Until: max(row.Until, later.Until)}
	if err := s.sealProof(key, receipt, next, p); err != nil {
		return err
	}
	d.set(s.rows.proof(receipt), encodeRow(next))
	if next.Until != row.Until {
		if row.Until != 0 {
			d.delete(s.rows.proofDue(row.Until, receipt))
		}
		d.set(s.rows.proofDue(next.Until, receipt), nil)
	}
	_, err = commit(ctx, s.Store, &d) // one that changed meanwhile is found again the next time
	return err
}

// endProofs destroys the proofs whose term is over: the key, and then what names it.
func (s *Service) endProofs(ctx context.Context) error {
	for {
		over, err := s.proofsOver(ctx)
		if err != nil || len(over) == 0 {
			return err
		}
		var entries []ledger.Entry
		var d draft
		for _, o := range over {
			d.delete(o.due)
			if o.row != nil {
				entries = append(entries, keyEntry(o.row.Key))
				d.delete(s.rows.proof(o.receipt))
			}
		}
		if err := s.destroy(ctx, entries...); err != nil {
			return err
		}
		if _, err := commit(ctx, s.Store, &d); err != nil {
			return err
		}
	}
}

// overProof is a row that says that a proof's term is over, and the proof; no proof when it has got another term since.
type overProof struct {
	due     []byte
	receipt ReceiptID
	row     *proofRow
}

// proofsOver finds the first of them: they lie in the order of their days.
func (s *Service) proofsOver(ctx context.Context) (over []overProof, err error) {
	prefix := s.rows.key(kindProofDue)
	err = s.Store.View(ctx, func(r store.Reader) error {
		over = nil
		pairs, err := r.Scan(prefix, nil, proofsAtOnce)
		for _, p := range pairs {
			day := binary.BigEndian.Uint32(p.Key[len(prefix):])
			if !s.over(day) {
				break
			}
			o := overProof{due: append([]byte(nil), p.Key...), receipt: ReceiptID(p.Key[len(prefix)+4:])}
			if o.row, err = getRow[proofRow](r, s.rows.proof(o.receipt)); err != nil {
				return err
			}
			if o.row != nil && o.row.Until != day {
				o.row = nil
			}
			over = append(over, o)
		}
		return err
	})
	return over, err
}
