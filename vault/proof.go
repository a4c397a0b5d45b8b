package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/envelope"
	"github.com/sandyq/sandyq/crypto/keyring"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/store"
)

// ReceiptID is the random number that finds the proof of a consent. The person keeps it; the vault has it in the person's
// own rows and nowhere else, so that after an erasure nobody can tell whose a proof is but whoever brings the receipt.
type ReceiptID [16]byte

const receiptPrefix = "rcp_"

func (r ReceiptID) String() string { return id.Encode(receiptPrefix, r) }

// proofRow is the proof of a consent, which outlives its person: sealed under a key of its own. Nothing in the row, in the
// key's id or in what is sealed leads to the person. Until is of a month, so that it does not tell the day of an erasure.
type proofRow struct {
	Key     kms.ID `cbor:"1,keyasint"`
	Version uint64 `cbor:"2,keyasint"` // grows each time it is sealed
	Until   uint32 `cbor:"3,keyasint"` // the day it is destroyed on; 0: the consent has no end yet
	Sealed  []byte `cbor:"4,keyasint"`
}

// proof is what a proof proves.
type proof struct {
	Text      string   `cbor:"1,keyasint"`
	Digests   digests  `cbor:"2,keyasint"`
	Purposes  []string `cbor:"3,keyasint"`
	Channel   string   `cbor:"4,keyasint"`
	Given     stamp    `cbor:"5,keyasint"`
	GivenBy   string   `cbor:"6,keyasint"`
	Expires   stamp    `cbor:"7,keyasint,omitempty"`
	System    string   `cbor:"8,keyasint"`
	Withdrawn stamp    `cbor:"9,keyasint,omitempty"`
	Kept      []string `cbor:"10,keyasint,omitempty"`
}

// outdatedRow is what a withdrawal, which needs no keys, leaves to be taken into a proof as soon as its key can be had.
type outdatedRow struct {
	Withdrawn stamp    `cbor:"1,keyasint"`
	Kept      []string `cbor:"2,keyasint,omitempty"`
	Until     uint32   `cbor:"3,keyasint"`
}

// prove has a draft write the proof of a consent, sealed under a fresh key that the draft consumes.
func (s *Service) prove(d *draft, keyID kms.ID, key secret.Bytes, c *consentRow) error {
	row := &proofRow{Key: keyID, Version: 1, Until: s.proofEnds(c)}
	err := s.sealProof(key, c.Receipt, row, &proof{
		Text: c.Text, Digests: c.Digests, Purposes: c.Purposes, Channel: c.Channel, Given: c.Given, GivenBy: c.GivenBy,
		Expires: c.Expires, System: c.System,
	})
	if err != nil {
		return err
	}
	d.set(s.rows.proof(c.Receipt), encodeRow(row))
	if row.Until != 0 {
		d.set(s.rows.proofDue(row.Until, c.Receipt), nil)
	}
	return nil
}

// outdate has a draft note that a consent was withdrawn, for its proof.
func (s *Service) outdate(d *draft, c *consentRow) {
	d.set(s.rows.outdated(c.Receipt), encodeRow(outdatedRow{c.Withdrawn, c.Kept, s.proofEnds(c)}))
}

func (l layout) proofContext(r ReceiptID, version uint64) envelope.Context {
	return envelope.Context{Kind: sealedProof, Tenant: l.tenant, Name: r.String(), Version: version}
}

func (s *Service) sealProof(key secret.Bytes, r ReceiptID, row *proofRow, p *proof) (err error) {
	row.Sealed, err = envelope.Seal(key, s.rows.proofContext(r, row.Version), encodeRow(p))
	return err
}

func (s *Service) openProof(key secret.Bytes, r ReceiptID, row *proofRow) (*proof, error) {
	plain, err := envelope.Open(key, s.rows.proofContext(r, row.Version), row.Sealed)
	if err != nil {
		return nil, fmt.Errorf("open a proof of consent: %w", err)
	}
	return decodeRow[proof](plain)
}

// proofEnds is the day on which the proof of a consent is destroyed: the term after the last of its giving, its expiry and
// its withdrawal. 0 while it has no end: no term was named, and it is not withdrawn for all its purposes.
func (s *Service) proofEnds(c *consentRow) uint32 {
	if c.Expires == 0 && (c.Withdrawn == 0 || len(c.Kept) > 0) {
		return 0
	}
	return s.proofTerm(max(c.Given, c.Expires, c.Withdrawn).time())
}

// proofTerm is the first day of a month that lies the whole term after t.
func (s *Service) proofTerm(t time.Time) uint32 {
	end := t.UTC().AddDate(s.ProofYears, 0, 0)
	return dayOf(time.Date(end.Year(), end.Month()+1, 1, 0, 0, 0, 0, time.UTC))
}

func dayTime(day uint32) time.Time {
	if day == 0 {
		return time.Time{}
	}
	return time.Unix(int64(day)*86400, 0).UTC()
}

// over reports that a proof that ends on the day has ended.
func (s *Service) over(day uint32) bool { return day != 0 && day <= dayOf(s.Clock()) }

// endProof gives the proof of a consent that had no end yet one: when the person's erasure was asked for. The rows of the
// person are the last that know which proof is theirs.
func (s *Service) endProof(ctx context.Context, d *draft, c *consentRow, asked stamp) error {
	if s.proofEnds(c) != 0 {
		return nil
	}
	var row *proofRow
	err := s.Store.View(ctx, func(r store.Reader) (err error) {
		row, err = getRow[proofRow](r, s.rows.proof(c.Receipt))
		return err
	})
	if err != nil || row == nil || row.Until != 0 {
		return err
	}
	d.expect(s.rows.proof(c.Receipt), encodeRow(row))
	row.Until = s.proofTerm(asked.time())
	d.set(s.rows.proof(c.Receipt), encodeRow(row))
	d.set(s.rows.proofDue(row.Until, c.Receipt), nil)
	return nil
}

// keptProofs is what an erasure leaves of a person's consents.
type keptProofs struct {
	Count    int    `cbor:"1,keyasint,omitempty"`
	Until    uint32 `cbor:"2,keyasint,omitempty"` // the day on which the last is destroyed
	Own      int    `cbor:"3,keyasint,omitempty"` // of them, those of the system that asked for the erasure
	OwnUntil uint32 `cbor:"4,keyasint,omitempty"`
}

// keptProofs counts the proofs that would outlive a person whose erasure is asked for now.
func (s *Service) keptProofs(r store.Reader, caller access.Principal, subject SubjectID) (kept keptProofs, err error) {
	err = s.eachConsent(r, subject, func(_ ConsentID, c *consentRow) error {
		ends := s.proofEnds(c)
		if s.over(ends) {
			return nil
		}
		if ends == 0 {
			ends = s.proofTerm(s.Clock())
		}
		kept.Count, kept.Until = kept.Count+1, max(kept.Until, ends)
		if !caller.VaultWide() && c.System == caller.System {
			kept.Own, kept.OwnUntil = kept.Own+1, max(kept.OwnUntil, ends)
		}
		return nil
	})
	return kept, err
}

// keptProof is how proofs of consent are cited.
const keptProof = "proof of consent"

// wire is what a caller may know of them.
func (k keptProofs) wire(caller access.Principal) []api.Kept {
	count, until := k.Count, k.Until
	if !caller.VaultWide() {
		count, until = k.Own, k.OwnUntil
	}
	if count == 0 {
		return []api.Kept{}
	}
	return []api.Kept{{Citation: keptProof, Count: count, Until: dayTime(until)}}
}

// ConsentProof shows the proof that a receipt finds, whatever has become of the person. The log says that a proof was asked
// for and not which: an entry must not lead from a person to a proof.
func (s *Service) ConsentProof(ctx context.Context, call Call, req *api.ProofRequest) (*api.ConsentProof, error) {
	return underRules(ctx, s, call, func(call Call) (*api.ConsentProof, error) { return s.consentProof(ctx, call, req) })
}

func (s *Service) consentProof(ctx context.Context, call Call, req *api.ProofRequest) (*api.ConsentProof, error) {
	r := access.Request{Action: access.ShowProof}
	ctx = store.With(ctx, store.Reading)
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	permit := s.keyring.Permit()
	receipt, row, later, err := s.findProof(ctx, req.Receipt)
	if err != nil {
		return nil, err
	}
	if row == nil || s.over(row.Until) {
		return nil, s.refuse(ctx, call, r, fault.New(fault.NotFound, "there is no proof of consent under this receipt"))
	}
	o, err := s.act(ctx, call, func() (deed, error) { return deed{request: r}, nil })
	if err != nil {
		return nil, err
	}
	if !o.grant.Permits(access.ShowProof, "") {
		return nil, fault.New(fault.Denied, "this is not permitted")
	}
	p, err := s.readProof(ctx, permit, receipt, row)
	if err != nil {
		return nil, err
	}
	p.update(later)
	return &api.ConsentProof{
		Receipt: receipt.String(), Text: p.Text, SHA256: p.Digests.wire(), Purposes: p.Purposes, Channel: p.Channel,
		GivenAt: p.Given.time(), GivenBy: p.GivenBy, ExpiresAt: p.Expires.time(), WithdrawnAt: p.Withdrawn.time(),
		KeptFor: p.Kept, RecordedBy: p.System,
	}, nil
}

// findProof reads a proof by its receipt, with what was not taken into it yet; no row when there is none.
func (s *Service) findProof(ctx context.Context, text string) (ReceiptID, *proofRow, *outdatedRow, error) {
	raw, err := id.Decode(receiptPrefix, text)
	if err != nil {
		return ReceiptID{}, nil, nil, nil //nolint:nilerr // a mistyped receipt is nobody's
	}
	receipt := ReceiptID(raw)
	var row *proofRow
	var later *outdatedRow
	err = s.Store.View(ctx, func(r store.Reader) (err error) {
		if row, err = getRow[proofRow](r, s.rows.proof(receipt)); err != nil {
			return err
		}
		later, err = getRow[outdatedRow](r, s.rows.outdated(receipt))
		return err
	})
	return receipt, row, later, err
}

// update takes in a withdrawal.
func (p *proof) update(later *outdatedRow) {
	if later != nil {
		p.Withdrawn, p.Kept = later.Withdrawn, slices.Clone(later.Kept)
	}
}

func (s *Service) readProof(ctx context.Context, permit permit, receipt ReceiptID, row *proofRow) (*proof, error) {
	opened, err := s.keyring.Open(ctx, permit, row.Key)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	key, err := opened.Key(0)
	if errors.Is(err, keyring.ErrMissing) {
		s.Log.Error("the key of a proof of consent is missing at the provider: see the runbook before anything is changed there")
	}
	if err != nil {
		return nil, err
	}
	return s.openProof(key, receipt, row)
}
