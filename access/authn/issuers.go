package authn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/fault"
)

// Options are what identities need beside their configuration.
type Options struct {
	Now func() time.Time
	Log *slog.Logger // of what troubles an issuer or a list; never of a token
}

// Issuers verifies the bearer tokens of the issuers that are believed. It is safe for concurrent use. A nil Issuers believes
// nobody.
type Issuers struct {
	issuers []*issuer
	now     func() time.Time
}

type issuer struct {
	IssuerConfig
	keys *keySet
}

// NewIssuers makes a verifier. It asks nobody: an issuer is asked when the first of its tokens comes, and one that is away
// fails its own tokens only. Close it.
func NewIssuers(configs []IssuerConfig, o Options) (*Issuers, error) {
	if err := CheckIssuers(configs); err != nil {
		return nil, err
	}
	all := &Issuers{now: o.Now}
	for _, c := range configs {
		c = c.withDefaults()
		client, err := newClient(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("issuer %s: %w", c.Name, err)
		}
		all.issuers = append(all.issuers, &issuer{c, newKeySet(c, client, fetchPause, o)})
	}
	return all, nil
}

// Close drops the idle connections. Tokens may still be verified.
func (all *Issuers) Close() {
	for _, i := range all.issuers {
		i.keys.client.CloseIdleConnections()
	}
}

// Verify tells whose bearer token this is: of a person of the staff, or of a system. It fails with fault.Unauthenticated,
// or, when the issuer would have to be asked and does not answer, with fault.Unavailable.
func (all *Issuers) Verify(ctx context.Context, bearer string) (access.Principal, error) {
	i, c, err := all.verified(ctx, bearer, KindStaff, KindSystem)
	if err != nil {
		return access.Principal{}, refused(err)
	}
	p, err := i.principal(c)
	if err != nil {
		return access.Principal{}, refused(err)
	}
	p.Strong = p.Strong || c.has("cnf") // bound to the certificate of this connection, or it would not be verified
	return p, nil
}

// Behalf tells which person or agent of the tenant a token is about, for a system that acts on their behalf. It fails as
// Verify does.
func (all *Issuers) Behalf(ctx context.Context, tenant, token string) (access.Behalf, error) {
	i, c, err := all.verified(ctx, token, KindStaff, KindBehalf)
	if err != nil {
		return access.Behalf{}, refused(err)
	}
	if i.Tenant != tenant {
		return access.Behalf{}, refused(errToken("its issuer is another tenant's"))
	}
	b := access.Behalf{Verified: true}
	if b.Actor, b.Roles, b.Department, err = i.person(c); err != nil {
		return access.Behalf{}, refused(err)
	}
	return b, nil
}

// refused is why a token is not accepted, as its sender may know it.
func refused(err error) error {
	if errors.Is(err, errAway) {
		return fault.Wrap(fault.Unavailable, err, "the issuer of this credential is out of reach for the moment")
	}
	return fault.Wrap(fault.Unauthenticated, err, "a valid credential is required")
}

// verified gives the claims of a token that one of the issuers of these kinds signed for this vault and that is good now.
func (all *Issuers) verified(ctx context.Context, token string, kinds ...string) (*issuer, claims, error) {
	if all == nil {
		return nil, nil, errToken("no issuer is believed")
	}
	h, unproved, err := parse(token)
	if err != nil {
		return nil, nil, err
	}
	i, err := all.choose(unproved, kinds)
	if err != nil {
		return nil, nil, err
	}
	if !slices.Contains(i.Algorithms, h.Alg) {
		return nil, nil, errToken("the algorithm is not accepted")
	}
	if !slices.Contains(i.Types, mediaType(h.Typ)) {
		return nil, nil, errToken("the type (typ) is not accepted")
	}
	// What is wrong without a signature is not worth asking the issuer for its keys.
	if err := i.check(unproved, all.now()); err != nil {
		return nil, nil, err
	}
	if err := bound(ctx, unproved); err != nil {
		return nil, nil, err
	}
	payload, err := i.keys.VerifySignature(ctx, token)
	if err != nil {
		return nil, nil, err
	}
	var proved claims
	if err := json.Unmarshal(payload, &proved); err != nil {
		return nil, nil, errToken("its claims do not decode")
	}
	return i, proved, nil
}

// choose finds the issuer that a token names, and of several with one URL the one whose audience it names.
func (all *Issuers) choose(c claims, kinds []string) (*issuer, error) {
	iss, err := c.text("iss")
	if err != nil {
		return nil, err
	}
	audiences, err := c.texts("aud")
	if err != nil {
		return nil, err
	}
	var chosen *issuer
	known := false
	for _, i := range all.issuers {
		if i.URL != iss {
			continue
		}
		known = true
		if !slices.Contains(audiences, i.Audience) {
			continue
		}
		if chosen != nil {
			return nil, errToken("several issuers are meant")
		}
		chosen = i
	}
	switch {
	case !known:
		return nil, errToken("the issuer is not known")
	case chosen == nil:
		return nil, errToken("the audience (aud) is another")
	case !slices.Contains(kinds, chosen.Kind):
		return nil, errToken("its issuer is of another kind")
	}
	return chosen, nil
}

// maxLifetime is how long a token may be good for.
const maxLifetime = 24 * time.Hour

// check checks times and the party of a token whose issuer and audience are known.
func (i *issuer) check(c claims, now time.Time) error {
	expires, ok, err := c.moment("exp")
	if err != nil {
		return err
	}
	if !ok {
		return errToken("does not expire (exp)")
	}
	issued, ok, err := c.moment("iat")
	if err != nil {
		return err
	}
	if !ok {
		return errToken("does not say when it was issued (iat)")
	}
	from, _, err := c.moment("nbf")
	if err != nil {
		return err
	}
	switch {
	case !now.Before(expires.Add(i.ClockSkew)):
		return errToken("has expired")
	case issued.After(now.Add(i.ClockSkew)):
		return errToken("is issued in the future (iat)")
	case from.After(now.Add(i.ClockSkew)):
		return errToken("is not good yet (nbf)")
	case expires.Sub(issued) > maxLifetime:
		return errToken("is good for more than a day")
	case c.has("at_hash") || c.has("c_hash"):
		return errToken("is an ID token")
	}
	return i.checkParty(c)
}

// checkParty sees for which client a token was made.
func (i *issuer) checkParty(c claims) error {
	party, err := c.party()
	if err != nil {
		return err
	}
	audiences, err := c.texts("aud")
	switch {
	case err != nil:
		return err
	case len(i.Parties) > 0 && !slices.Contains(i.Parties, party):
		return errToken("was made for another party (azp, client_id)")
	case len(i.Parties) == 0 && len(audiences) != 1:
		return errToken("is for several audiences, and no parties are configured")
	}
	return nil
}

// party is the client that a token was made for; empty when the token does not say.
func (c claims) party() (string, error) {
	azp, err := c.text("azp")
	if err != nil {
		return "", err
	}
	client, err := c.text("client_id")
	if err != nil {
		return "", err
	}
	if azp != "" && client != "" && azp != client {
		return "", errToken("azp and client_id differ")
	}
	if azp == "" {
		return client, nil
	}
	return azp, nil
}
