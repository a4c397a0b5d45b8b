package vault

import (
	"bytes"
	"context"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
)

// Approval says how many others must agree to something, and who counts.
type Approval struct {
	Needed int           // 0 to 10
	Roles  []access.Role // an approver has one of them; empty: any that a policy lets approve
	Life   time.Duration // how long it waits
}

// The things that may need the agreement of others.
const (
	ApproveErasure   = "erasure"
	ApprovePurpose   = "purpose_change"  // a purpose made, changed or ended
	ApprovePolicies  = "policies_change" // who may do what
	ApproveConfig    = "configuration_change"
	ReviewBreakGlass = "break_glass" // afterwards
)

// DefaultApprovals is four eyes as an operator starts with it.
func DefaultApprovals() map[string]Approval {
	return map[string]Approval{
		ApproveErasure:   {Needed: 1, Life: ballotLife},
		ApprovePurpose:   {Needed: 1, Roles: []access.Role{access.PrivacyOfficer}, Life: ballotLife},
		ApprovePolicies:  {Needed: 1, Roles: []access.Role{access.PrivacyOfficer, access.SecurityOfficer}, Life: ballotLife},
		ApproveConfig:    {Needed: 0, Life: ballotLife},
		ReviewBreakGlass: {Needed: 1, Roles: []access.Role{access.SecurityOfficer, access.PrivacyOfficer}, Life: ballotLife},
	}
}

// ballotLife is how long something waits when nothing else is said.
const ballotLife = 14 * 24 * time.Hour

// ballot is the agreement that something waits for: who asked, who has agreed to what, and until when it may be had.
type ballot struct {
	Needed int           `cbor:"1,keyasint"`
	Roles  []access.Role `cbor:"2,keyasint,omitempty"`
	By     string        `cbor:"3,keyasint"` // the credential of whoever asked
	System string        `cbor:"4,keyasint"` // and their system
	Digest []byte        `cbor:"5,keyasint"` // SHA-256 of what an approver is shown
	Until  stamp         `cbor:"6,keyasint"` // zero: for ever
	Votes  []vote        `cbor:"7,keyasint,omitempty"`
}

// vote is one approver's word.
type vote struct {
	By     string `cbor:"1,keyasint"` // the credential
	System string `cbor:"2,keyasint"`
	Roles  string `cbor:"3,keyasint"`
	At     stamp  `cbor:"4,keyasint"`
	Digest []byte `cbor:"5,keyasint"` // of what was put to the vote then
}

// newBallot asks for an approval of what digest is of.
func (s *Service) newBallot(caller access.Principal, a Approval, digest []byte) ballot {
	life := a.Life
	if life == 0 {
		life = ballotLife
	}
	return ballot{
		Needed: a.Needed, Roles: a.Roles, By: caller.Credential, System: caller.System, Digest: digest,
		Until: stampOf(s.Clock().Add(life)),
	}
}

// digest is what is put to the vote, in hexadecimal digits.
func (b *ballot) digest() string { return hex.EncodeToString(b.Digest) }

// wire is the words given, as staff see them.
func (b *ballot) wire() []api.Approval {
	all := make([]api.Approval, len(b.Votes))
	for i, v := range b.Votes {
		all[i] = api.Approval{BySystem: v.System, Roles: strings.Split(v.Roles, ","), At: v.At.time(), Digest: hex.EncodeToString(v.Digest)}
	}
	return all
}

// missing is how many approvals are still needed.
func (b *ballot) missing() int { return max(b.Needed-len(b.Votes), 0) }

// lapsed reports that it was not agreed to in time.
func (b *ballot) lapsed(now time.Time) bool {
	return b.missing() > 0 && b.Until != 0 && !now.Before(b.Until.time())
}

// vote adds the caller's word, or returns why it does not count: it is their own wish, or of somebody who may be the one who
// wished or another approver (see oneHand); they lack the role; it came too late; or what they say they saw (the digest in
// hexadecimal digits; empty: as it stands) is not what is put to the vote.
func (s *Service) vote(ctx context.Context, caller access.Principal, b *ballot, saw string) (*fault.Error, error) {
	now := s.Clock()
	switch {
	case b.lapsed(now):
		return conflict("approval", "it was not approved in time"), nil
	case saw != "" && saw != b.digest():
		return conflict("digest", "it is not what is put to the vote now"), nil
	case len(b.Roles) > 0 && !slices.ContainsFunc(b.Roles, caller.Has):
		return fault.New(fault.Denied, "somebody of another role has to approve"), nil
	}
	word := vote{caller.Credential, caller.System, caller.RoleNames(), stampOf(now), bytes.Clone(b.Digest)}
	for _, other := range append([]vote{{By: b.By, System: b.System}}, b.Votes...) {
		if same, err := s.oneHand(ctx, word, other); err != nil {
			return nil, err
		} else if same {
			return fault.New(fault.Denied, "somebody else has to approve"), nil
		}
	}
	b.Votes = append(b.Votes, word)
	return nil, nil
}
