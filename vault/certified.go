package vault

import (
	"context"
	"time"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit/certificate"
)

// dataLaw is the law on personal data, and articlesOf those of its articles that the grounds of an erasure rest on: 8 on the
// withdrawal of consent, 18 on destruction, 24 on the rights of the person. Whether they fit is for the operator's counsel.
const dataLaw = "94-V"

var articlesOf = map[string][]string{
	"request": {"18", "24"}, "withdrawal": {"8", "18"}, "purpose_reached": {"18"}, "unlawful": {"18", "24"}, "court": {"18"}, "other": {"18"},
}

// indexGrace is how long after its beginning a rotation of the index has destroyed the key of the epoch before, at the latest.
const indexGrace = 24 * time.Hour

// certifies is what the certificate of an erasure says, but for the log's origin.
func (s *Service) certifies(ctx context.Context, id ErasureID, row *erasureRow) (*certificate.Content, error) {
	at := func(state api.ErasureState) time.Time { return row.At[string(state)].time() }
	c := &certificate.Content{
		Erasure: id.String(), Tenant: s.Tenant, Operator: s.Operator, Subject: row.Subject.String(),
		Ground: certificate.Ground{Code: row.Ground, Law: dataLaw, Articles: articlesOf[row.Ground]}, Reason: row.Reason,
		Scope:       certificate.Scope{Person: len(row.Slices) == 0, Slices: row.Slices},
		RequestedAt: at(api.ErasureRequested), ErasingAt: at(api.ErasureErasing),
		KeyDestroyedAt: at(api.ErasureKeyDestroyed), ErasedAt: at(api.ErasureErased),
		Destroyed: row.destroyed(), Kept: []certificate.Kept{},
		Residue: certificate.Residue{Keys: s.keyResidue(at(api.ErasureKeyDestroyed)), Physical: certificate.PhysicalPending},
	}
	if pairwise, ok := row.Pairwise[row.Ballot.System]; ok {
		c.Requester = &certificate.Requester{System: row.Ballot.System, Subject: PairwiseID(pairwise).String()}
	}
	if p := row.Proofs; p.Count > 0 {
		c.Kept = append(c.Kept, certificate.Kept{Citation: keptProof, Count: p.Count, Until: dayTime(p.Until)})
	}
	if len(row.Keys) > 0 {
		place, err := s.accord.place(ctx, id.String())
		if err != nil {
			return nil, err
		}
		c.Ledger = place
	}
	if row.Destroys.Index > 0 {
		number, _, next, err := s.indexEpoch(ctx)
		if err != nil {
			return nil, err
		}
		c.Residue.Index = &certificate.IndexResidue{Epoch: uint64(number)}
		if !next.IsZero() {
			c.Residue.Index.DestroyedBy = next.Add(indexGrace).UTC().Truncate(time.Millisecond)
		}
	}
	return c, nil
}

// keyResidue bounds what remains of keys that were destroyed at a time.
func (s *Service) keyResidue(destroyed time.Time) certificate.KeyResidue {
	if s.SnapshotDays == 0 {
		return certificate.KeyResidue{Provider: certificate.ProviderLocal}
	}
	return certificate.KeyResidue{
		Provider: certificate.ProviderVault, SnapshotDays: s.SnapshotDays, Until: destroyed.AddDate(0, 0, s.SnapshotDays),
	}
}
