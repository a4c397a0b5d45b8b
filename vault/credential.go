package vault

import (
	"context"
	"regexp"

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
	Maker   string      `cbor:"6,keyasint,omitempty"` // the credential that made it
}

var systemPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,39}$`)

// Authenticate tells whose the bearer credential is. A revoked one is nobody's from the answer to its revocation on.
func (s *Service) Authenticate(ctx context.Context, bearer string) (access.Principal, error) {
	nobody := fault.New(fault.Unauthenticated, "a valid credential is required")
	credential, proof, err := authn.ParseServiceToken(bearer)
	if err != nil {
		return access.Principal{}, nobody
	}
	var row *credentialRow
	err = s.Store.View(ctx, func(r store.Reader) (err error) {
		row, err = getRow[credentialRow](r, s.rows.credential(credential))
		return err
	})
	if err != nil {
		return access.Principal{}, edge(err)
	}
	if row == nil || row.Revoked != 0 || !proof.Matches(row.Digest) {
		return access.Principal{}, nobody
	}
	return access.Principal{
		Tenant: s.Tenant, System: row.System, Credential: CredentialID(credential).String(), Roles: []access.Role{row.Role},
		AllSystems: row.Role != access.Application,
	}, nil
}

// CreateServiceToken makes a service token. Its text is in this answer and nowhere else.
func (s *Service) CreateServiceToken(ctx context.Context, call Call, req *api.CreateServiceTokenRequest) (*api.ServiceToken, error) {
	return underRules(ctx, s, call, func(call Call) (*api.ServiceToken, error) { return s.createServiceToken(ctx, call, req) })
}

func (s *Service) createServiceToken(ctx context.Context, call Call, req *api.CreateServiceTokenRequest) (*api.ServiceToken, error) {
	if !systemPattern.MatchString(req.System) || req.System == itself {
		return nil, fault.Bad("system", "1 to 40 of a–z, 0–9, dot, hyphen and _, and not the vault's own name")
	}
	role, err := access.ParseRole(req.Role)
	if err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	var made *api.ServiceToken
	err = s.once(ctx, call, access.CreateCredential, func(o *once) error {
		if o.earlier(0) != nil {
			return fault.New(fault.Conflict, "the token was made and shown by the first call: revoke it and make another")
		}
		text, credential, proof := authn.NewServiceToken()
		row := credentialRow{
			Digest: proof.Digest(), System: req.System, Role: role, Created: stampOf(s.Clock()), Maker: call.Principal.Credential,
		}
		d := deed{request: access.Request{Action: access.CreateCredential}, effect: &draft{}}
		d.entry.Objects, d.entry.Kind = []string{CredentialID(credential).String()}, string(role)
		d.effect.expect(s.rows.credential(credential), nil)
		d.effect.set(s.rows.credential(credential), encodeRow(row))
		o.keep(d.effect, 0, done{Object: credential})
		if _, err := s.act(ctx, call, func() (deed, error) { return d, nil }); err != nil {
			return err
		}
		made = credentialWire(credential, &row)
		made.Secret = text
		return nil
	})
	return made, err
}

// oneMadeTheOther reports whether two credentials are one, or one was made by the other, or by one that it made.
func (s *Service) oneMadeTheOther(ctx context.Context, a, b string) (bool, error) {
	for _, line := range [][2]string{{a, b}, {b, a}} {
		for at, depth := line[0], 0; at != "" && depth < 1000; depth++ {
			if at == line[1] {
				return true, nil
			}
			var err error
			if at, err = s.makerOf(ctx, at); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

// makerOf is the credential that made a credential; empty when there is none.
func (s *Service) makerOf(ctx context.Context, credential string) (maker string, err error) {
	raw, err := parseID(credentialPrefix, credential)
	if err != nil {
		return "", nil //nolint:nilerr // a principal that is not known by a service token
	}
	err = s.Store.View(ctx, func(r store.Reader) error {
		row, err := getRow[credentialRow](r, s.rows.credential(raw))
		if err == nil && row != nil {
			maker = row.Maker
		}
		return err
	})
	return maker, err
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
			page.Items = append(page.Items, *credentialWire(CredentialID(p.Key[len(prefix):]), row))
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
	return &api.ServiceToken{
		ID: c.String(), System: row.System, Role: string(row.Role), CreatedAt: row.Created.time(), RevokedAt: row.Revoked.time(),
	}
}
