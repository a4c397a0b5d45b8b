package vault

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/authn"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
)

// credentialRow is a service token: whom it stands for, and the digest that proves it.
type credentialRow struct {
	Digest  []byte      `cbor:"1,keyasint"`
	System  string      `cbor:"2,keyasint"`
	Role    access.Role `cbor:"3,keyasint"`
	Created stamp       `cbor:"4,keyasint"`
	Revoked stamp       `cbor:"5,keyasint,omitempty"`
	Maker   string      `cbor:"6,keyasint,omitempty"` // the credential that made it, or that it replaces

	Expires    stamp    `cbor:"7,keyasint,omitempty"`
	Systems    []string `cbor:"8,keyasint,omitempty"` // of staff: whose people they may see; nil: everybody's
	Department string   `cbor:"9,keyasint,omitempty"`
	Replaces   bool     `cbor:"10,keyasint,omitempty"` // Maker is what it replaces
	Shown      *holder  `cbor:"11,keyasint,omitempty"` // to whom its text was shown
}

// ended reports that the token lets nobody in any more.
func (r *credentialRow) ended(now time.Time) bool {
	return r.Revoked != 0 || r.Expires != 0 && !now.Before(r.Expires.time())
}

var systemPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,39}$`)

// CreateServiceToken makes a service token. Its text is in this answer and nowhere else.
func (s *Service) CreateServiceToken(ctx context.Context, call Call, req *api.CreateServiceTokenRequest) (*api.ServiceToken, error) {
	return underRules(ctx, s, call, func(call Call) (*api.ServiceToken, error) { return s.createServiceToken(ctx, call, req) })
}

func (s *Service) createServiceToken(ctx context.Context, call Call, req *api.CreateServiceTokenRequest) (*api.ServiceToken, error) {
	row, err := s.newCredential(req)
	if err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	var made *api.ServiceToken
	err = s.once(ctx, call, access.CreateCredential, func(o *once) error {
		if o.earlier(0) != nil {
			return errShownOnce()
		}
		text, credential, proof := authn.NewServiceToken()
		row.Digest, row.Maker, row.Shown = proof.Digest(), call.Principal.Credential, holderOf(call.Principal)
		d := deed{request: access.Request{Action: access.CreateCredential}, effect: &draft{}}
		d.entry.Objects, d.entry.Kind = []string{CredentialID(credential).String()}, string(row.Role)
		d.alerts = handedOut(call, credential, row)
		d.effect.expect(s.rows.credential(credential), nil)
		d.effect.set(s.rows.credential(credential), encodeRow(row))
		o.keep(d.effect, 0, done{Object: credential})
		if _, err := s.act(ctx, call, func() (deed, error) { return d, nil }); err != nil {
			return err
		}
		made = credentialWire(credential, row)
		made.Secret = text
		return nil
	})
	return made, err
}

// handedOut alerts of a token of staff: whoever makes one holds what may see data, and nobody else is asked. The operator
// at the machine needs no telling.
func handedOut(call Call, credential CredentialID, row *credentialRow) []api.Alert {
	if row.Role == access.Application || call.Principal.System == itself {
		return nil
	}
	return []api.Alert{{Kind: alertCredential, Object: credential.String()}}
}

// newCredential checks what a service token is to be.
func (s *Service) newCredential(req *api.CreateServiceTokenRequest) (*credentialRow, error) {
	if !systemPattern.MatchString(req.System) || req.System == itself {
		return nil, fault.Bad("system", ruleSystem)
	}
	role, err := access.ParseRole(req.Role)
	if err != nil {
		return nil, err
	}
	ofStaff := role != access.Application
	switch {
	case !ofStaff && req.Systems != nil:
		return nil, fault.Bad("systems", "only staff see other systems' people")
	case !ofStaff && req.Department != "":
		return nil, fault.Bad("department", "only staff have one")
	case req.Department != "" && (!actorPattern.MatchString(req.Department) || numberInCode.MatchString(req.Department)):
		return nil, fault.Bad("department", ruleActor)
	case req.Systems != nil && len(req.Systems) == 0: // which a row does not tell from all of them
		return nil, fault.Bad("systems", "at least 1; to leave it out means all")
	case len(req.Systems) > maxSystems:
		return nil, fault.Bad("systems", fmt.Sprintf("at most %d", maxSystems))
	}
	for _, name := range req.Systems {
		if !systemPattern.MatchString(name) {
			return nil, fault.Bad("systems", ruleSystem)
		}
	}
	row := &credentialRow{
		System: req.System, Role: role, Created: stampOf(s.Clock()), Systems: req.Systems, Department: req.Department,
	}
	return row, s.expire(row, req.ExpiresAt)
}

// maxSystems is how many systems a credential of staff may name.
const maxSystems = 100

const ruleSystem = "1 to 40 of a–z, 0–9, dot, hyphen and _, and not the vault's own name"

// expire gives a token its end; the zero time is none.
func (s *Service) expire(row *credentialRow, at time.Time) error {
	switch {
	case at.IsZero():
	case !at.After(s.Clock()):
		return fault.Bad("expires_at", "in the future")
	default:
		row.Expires = stampOf(at)
	}
	return nil
}

// Bootstrap makes the first administrator's token, which nobody could ask for over the API. The caller is the operator at
// the machine.
func (s *Service) Bootstrap(ctx context.Context, system string) (*api.ServiceToken, error) {
	operator := Call{Principal: access.Principal{Tenant: s.Tenant, System: itself, Roles: []access.Role{access.Administrator}}}
	return s.CreateServiceToken(ctx, operator, &api.CreateServiceTokenRequest{System: system, Role: string(access.Administrator)})
}

// ServiceTokens lists service tokens, without their secrets.
func (s *Service) ServiceTokens(ctx context.Context, call Call, limit int, cursor string) (*api.Page[api.ServiceToken], error) {
	return underRules(ctx, s, call, func(call Call) (*api.Page[api.ServiceToken], error) { return s.serviceTokens(ctx, call, limit, cursor) })
}

func (s *Service) serviceTokens(ctx context.Context, call Call, limit int, cursor string) (*api.Page[api.ServiceToken], error) {
	if err := s.consult(ctx, call, access.ListCredentials); err != nil {
		return nil, err
	}
	limit, err := checkLimit(limit)
	if err != nil {
		return nil, err
	}
	prefix := s.rows.key(kindCredential)
	var after []byte
	if cursor != "" {
		from, err := parseID(credentialPrefix, cursor)
		if err != nil {
			return nil, fault.Bad("cursor", ruleUnknown)
		}
		after = s.rows.credential(from)
	}
	page := &api.Page[api.ServiceToken]{Items: []api.ServiceToken{}}
	err = s.Store.View(ctx, func(r store.Reader) error {
		page.Items = page.Items[:0]
		pairs, err := r.Scan(prefix, after, limit)
		for _, p := range pairs {
			row, err := decodeRow[credentialRow](p.Value)
			if err != nil {
				return err
			}
			id := CredentialID(p.Key[len(prefix):])
			wire := credentialWire(id, row)
			if wire.LastUsedAt, err = s.lastUsed(r, id); err != nil {
				return err
			}
			page.Items = append(page.Items, *wire)
		}
		return err
	})
	if len(page.Items) == limit {
		page.NextCursor = page.Items[limit-1].ID
	}
	return page, err
}

// RevokeServiceToken ends a service token. Revoking again answers the same.
func (s *Service) RevokeServiceToken(ctx context.Context, call Call, credential string) (*api.ServiceToken, error) {
	return underRules(ctx, s, call, func(call Call) (*api.ServiceToken, error) { return s.revokeServiceToken(ctx, call, credential) })
}

func (s *Service) revokeServiceToken(ctx context.Context, call Call, credential string) (*api.ServiceToken, error) {
	r := access.Request{Action: access.RevokeCredential}
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	raw, err := parseID(credentialPrefix, credential)
	if err != nil {
		return nil, err
	}
	key := s.rows.credential(raw)
	var row *credentialRow
	_, err = s.act(store.With(ctx, store.Vital), call, func() (deed, error) {
		d := deed{request: r, effect: &draft{}}
		d.entry.Objects = []string{credential}
		err := s.Store.View(ctx, func(rd store.Reader) (err error) {
			row, err = getRow[credentialRow](rd, key)
			return err
		})
		switch {
		case err != nil:
			return d, err
		case row == nil:
			d.request.Refusal = fault.New(fault.NotFound, "there is no such service token")
		case row.Revoked == 0:
			d.effect.expect(key, encodeRow(row))
			row.Revoked = stampOf(s.Clock())
			d.effect.set(key, encodeRow(row))
		}
		return d, nil
	})
	if err != nil {
		return nil, err
	}
	return credentialWire(raw, row), nil
}

func credentialWire(c CredentialID, row *credentialRow) *api.ServiceToken {
	wire := &api.ServiceToken{
		ID: c.String(), System: row.System, Role: string(row.Role), Systems: row.Systems, Department: row.Department,
		CreatedAt: row.Created.time(), ExpiresAt: row.Expires.time(), RevokedAt: row.Revoked.time(),
	}
	if row.Replaces {
		wire.Replaces = row.Maker
	}
	return wire
}
