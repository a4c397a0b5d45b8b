package vault

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/store"
)

// erasureApproval is what an erasure needs of others: as configured, whatever ground the caller names, and one word at least
// when a system asks for the erasure of somebody whom other systems hold too. Where erasures are not among what may need
// approval, there is nobody to give it.
func (s *Service) erasureApproval(r store.Reader, caller access.Principal, who *person) (Approval, error) {
	a, named := s.Approvals[ApproveErasure]
	if !named || caller.VaultWide() {
		return a, nil
	}
	holders, err := r.Scan(s.rows.of(kindHolding, who.id), nil, 2)
	if len(holders) > 1 {
		a.Needed = max(a.Needed, 1)
	}
	return a, err
}

// digest is SHA-256 of what is put to the vote: who goes, whole or which slices, why, and how much was held when it was requested. What is
// hashed is lines of text, documented in docs/approvals.md, that an approver can write down from what they are shown.
func (row *erasureRow) digest(id ErasureID) []byte {
	c, whole := willDestroy(row.Destroys, len(row.Keys)), "person"
	if row.Slices != nil {
		whole = "slices"
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "sandyq erasure 1\n%s\n%s\n%s\n%s\n%s\n%d %d %d %d %d %d\n",
		id, row.Subject, strings.Join(append([]string{whole}, row.Slices...), " "), row.Ground, row.Reason, c.Keys, c.Fields, c.Documents, c.Parts, c.Tokens, c.IndexEntries))
	return sum[:]
}

// waitingErasure is an erasure in the list of what waits, for those who may know of the person.
func (s *Service) waitingErasure(r store.Reader, caller access.Principal, thing [16]byte) (*api.Waiting, error) {
	id := ErasureID(thing)
	row, err := getRow[erasureRow](r, s.rows.erasure(id))
	if err != nil || row == nil || row.State != api.ErasureRequested {
		return nil, err
	}
	who, err := s.load(r, row.Subject, caller.System)
	if err != nil || who == nil {
		return nil, err
	}
	if sees, err := s.sees(r, caller, who); err != nil || !sees {
		return nil, err
	}
	w := row.Ballot.waiting(id.String(), api.WaitingErasure)
	w.At = row.At[string(api.ErasureRequested)].time()
	return w, nil
}

// lapseErasure cancels an erasure that was not approved in time, and lifts its block.
func (s *Service) lapseErasure(ctx context.Context, thing [16]byte, now time.Time) error {
	id := ErasureID(thing)
	var row *erasureRow
	var who *person
	err := s.Store.View(ctx, func(r store.Reader) (err error) {
		if row, err = getRow[erasureRow](r, s.rows.erasure(id)); err != nil || row == nil {
			return err
		}
		who, err = s.load(r, row.Subject, "")
		return err
	})
	if err != nil || row == nil || who == nil || row.State != api.ErasureRequested || !row.Ballot.lapsed(now) {
		return err
	}
	before := encodeRow(row)
	c := s.lateChange(who, s.cancelled(row))
	c.expect(s.rows.erasure(id), before)
	c.set(s.rows.erasure(id), encodeRow(row))
	c.delete(s.rows.waiting(waitingErasure, id))
	err = s.log(&c.draft, &audit.Entry{
		System: itself, Operation: "erasure." + string(api.ErasureCancelled), Subject: row.Subject.String(), Objects: row.objects(id),
		Decision: audit.Allow, Reason: row.Reason, Kind: row.Ground, Digest: row.Ballot.digest(),
	})
	if err != nil {
		return err
	}
	_, err = commit(ctx, s.Store, &c.draft) // one that is stale was decided meanwhile, or is looked at again
	return err
}
