package vault

import (
	"context"
	"fmt"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/authn"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
)

// maxOverlap is how long a token may go on working beside the one that replaces it.
const maxOverlap = 30 * 24 * time.Hour

// RotateServiceToken makes a service token that stands for the same as another, which goes on working for the overlap: long
// enough to give the new one to whoever uses it. Its text is in this answer and nowhere else.
func (s *Service) RotateServiceToken(ctx context.Context, call Call, credential string, req *api.RotateServiceTokenRequest) (*api.ServiceToken, error) {
	return underRules(ctx, s, call, func(call Call) (*api.ServiceToken, error) {
		return s.rotateServiceToken(ctx, call, credential, req)
	})
}

func (s *Service) rotateServiceToken(ctx context.Context, call Call, credential string, req *api.RotateServiceTokenRequest) (*api.ServiceToken, error) {
	r := access.Request{Action: access.RotateCredential}
	overlap := time.Duration(req.Overlap) * time.Second
	if req.Overlap < 0 || overlap > maxOverlap {
		return nil, fault.Bad("overlap_seconds", fmt.Sprintf("0 to %d", maxOverlap/time.Second))
	}
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	old, err := parseID(credentialPrefix, credential)
	if err != nil {
		return nil, err
	}
	var made *api.ServiceToken
	err = s.once(ctx, call, access.RotateCredential, func(o *once) error {
		if o.earlier(0) != nil {
			return errShownOnce()
		}
		_, err := s.act(ctx, call, func() (d deed, err error) {
			d, made, err = s.rotation(ctx, call, r, old, overlap, req.ExpiresAt, o)
			return d, err
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// rotation drafts the new token and the end of the old one.
func (s *Service) rotation(ctx context.Context, call Call, r access.Request, old CredentialID, overlap time.Duration, expires time.Time, o *once) (d deed, made *api.ServiceToken, err error) {
	d = deed{request: r, effect: &draft{}}
	d.entry.Objects = []string{old.String()}
	var was *credentialRow
	err = s.Store.View(ctx, func(rd store.Reader) (err error) {
		was, err = getRow[credentialRow](rd, s.rows.credential(old))
		return err
	})
	now := s.Clock()
	switch {
	case err != nil:
		return d, nil, err
	case was == nil:
		d.request.Refusal = fault.New(fault.NotFound, "there is no such service token")
		return d, nil, nil
	case was.ended(now):
		d.request.Refusal = conflict("id", "it has ended: make another")
		return d, nil, nil
	}
	text, credential, proof := authn.NewServiceToken()
	row := &credentialRow{
		Digest: proof.Digest(), System: was.System, Role: was.Role, Created: stampOf(now), Maker: old.String(), Replaces: true,
		Systems: was.Systems, Department: was.Department, Shown: holderOf(call.Principal),
	}
	if err := s.expire(row, expires); err != nil {
		return d, nil, err
	}
	ends := *was
	if end := stampOf(now.Add(overlap)); ends.Expires == 0 || end < ends.Expires {
		ends.Expires = end
	}
	d.entry.Objects = append(d.entry.Objects, CredentialID(credential).String())
	d.alerts = handedOut(call, credential, row)
	d.effect.expect(s.rows.credential(old), encodeRow(was))
	d.effect.set(s.rows.credential(old), encodeRow(ends))
	d.effect.expect(s.rows.credential(credential), nil)
	d.effect.set(s.rows.credential(credential), encodeRow(row))
	o.keep(d.effect, 0, done{Object: credential})
	made = credentialWire(credential, row)
	made.Secret = text
	return d, made, nil
}

// errShownOnce answers a retry of a call whose answer held a secret.
func errShownOnce() *fault.Error {
	return fault.New(fault.Conflict, "the token was made and shown by the first call: revoke it and make another")
}
