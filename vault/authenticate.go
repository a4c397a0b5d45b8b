package vault

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/authn"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
)

// Presented is what a caller shows of who it is. A bearer credential counts before a certificate.
type Presented struct {
	Bearer  string
	TLS     *tls.ConnectionState // nil without TLS
	Network netip.Addr           // where it comes from; zero when it is not known
}

// Identities tells who shows a credential that is not the vault's own: an issuer's bearer token, or a certificate. It fails
// with fault.Unauthenticated.
type Identities interface {
	Verify(ctx context.Context, bearer string) (access.Principal, error) // ctx has the connection: authn.WithConnection
	Certificate(conn *tls.ConnectionState) (access.Principal, error)
	Connection(conn *tls.ConnectionState) error // refuses one whose certificate is no longer good, whatever else is shown
}

func errNoCredential() *fault.Error {
	return fault.New(fault.Unauthenticated, "a valid credential is required")
}

// errItself is why a credential of somebody called like the vault is refused: what they do would pass for its own work.
var errItself = errors.New("an issuer or a certificate calls its system " + itself + ", which is the vault's own name")

// Authenticate tells who asks. A credential that was revoked or has expired is nobody's from then on.
func (s *Service) Authenticate(ctx context.Context, shown Presented) (access.Principal, error) {
	who, err := s.recognise(ctx, shown)
	if err == nil && who.System == itself {
		err = fault.Wrap(fault.Unauthenticated, errItself, errNoCredential().Detail)
	}
	if err != nil {
		return access.Principal{}, edge(err)
	}
	who.Tenant, who.Network = s.Tenant, shown.Network
	return who, nil
}

func (s *Service) recognise(ctx context.Context, shown Presented) (access.Principal, error) {
	switch {
	case shown.Bearer == "" && (s.Identities == nil || shown.TLS == nil):
		return access.Principal{}, errNoCredential()
	case shown.Bearer == "":
		return s.Identities.Certificate(shown.TLS)
	}
	if s.Identities != nil {
		if err := s.Identities.Connection(shown.TLS); err != nil {
			return access.Principal{}, err
		}
	}
	credential, proof, err := authn.ParseServiceToken(shown.Bearer)
	if err == nil {
		return s.byServiceToken(ctx, credential, proof)
	}
	if s.Identities == nil {
		return access.Principal{}, errNoCredential()
	}
	return s.Identities.Verify(authn.WithConnection(ctx, shown.TLS), shown.Bearer)
}

// byServiceToken tells whose a service token is.
func (s *Service) byServiceToken(ctx context.Context, credential CredentialID, proof authn.Proof) (access.Principal, error) {
	var row *credentialRow
	err := s.Store.View(ctx, func(r store.Reader) (err error) {
		row, err = getRow[credentialRow](r, s.rows.credential(credential))
		return err
	})
	if err != nil {
		return access.Principal{}, err
	}
	now := s.Clock()
	if row == nil || row.ended(now) || !proof.Matches(row.Digest) {
		return access.Principal{}, errNoCredential()
	}
	s.uses.note(credential, now)
	return access.Principal{
		System: row.System, Credential: credential.String(), Roles: []access.Role{row.Role}, Department: row.Department,
		AllSystems: row.Role != access.Application && row.Systems == nil, Systems: row.Systems,
	}, nil
}

// uses are the service tokens that were used of late. They are written down now and then, so that using one costs no
// Update; a crash forgets a minute or two of them.
type uses struct {
	mu    sync.Mutex
	since map[CredentialID]time.Time // not yet written down
	wrote time.Time
}

func (u *uses) init() { u.since = map[CredentialID]time.Time{} }

func (u *uses) note(c CredentialID, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.since[c] = at
}

// take empties the list, at most once in every so often.
func (u *uses) take(now time.Time, every time.Duration) map[CredentialID]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.since) == 0 || now.Sub(u.wrote) < every {
		return nil
	}
	taken := u.since
	u.since, u.wrote = map[CredentialID]time.Time{}, now
	return taken
}

// writeUses writes down when service tokens were used last.
func (s *Service) writeUses(ctx context.Context) error {
	taken := s.uses.take(s.Clock(), time.Minute)
	if taken == nil {
		return nil
	}
	var d draft
	for c, at := range taken {
		d.set(s.rows.key(kindUsed, c[:]), encodeRow(stampOf(at)))
	}
	_, err := commit(ctx, s.Store, &d)
	return err
}

// lastUsed is when a service token was used last, as far as it is written down or this process knows.
func (s *Service) lastUsed(r store.Reader, c CredentialID) (time.Time, error) {
	at, err := getRow[stamp](r, s.rows.key(kindUsed, c[:]))
	if err != nil {
		return time.Time{}, err
	}
	var written time.Time
	if at != nil {
		written = at.time()
	}
	s.uses.mu.Lock()
	defer s.uses.mu.Unlock()
	if recent := s.uses.since[c]; recent.After(written) {
		return recent.UTC(), nil
	}
	return written, nil
}
