package authn

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/fault"
)

// CertificatesConfig says which system a client certificate is, by its subject alternative names. A name that nothing here
// is about means nothing; all the others must mean one and the same system.
type CertificatesConfig struct {
	URIPrefix string            `yaml:"uri_prefix"` // such as spiffe://example.kz/: what follows it is the system's name
	DNSSuffix string            `yaml:"dns_suffix"` // such as .systems.example.kz: what is before it is the system's name
	Systems   map[string]string `yaml:"systems"`    // of whole names, URIs or DNS names, to systems; they come first
	// RevokedFile lists certificates that are refused, and authorities all of whose certificates are: revocation lists (PEM
	// or DER), or lines with a SHA-256 fingerprint or a serial number in hexadecimal. Without one nothing is revoked.
	RevokedFile string `yaml:"revoked_file"`
	Tenant      string `yaml:"tenant"` // whose systems these are
}

// IsZero reports whether no certificate is a system.
func (c CertificatesConfig) IsZero() bool {
	return c.URIPrefix == "" && c.DNSSuffix == "" && len(c.Systems) == 0 && c.RevokedFile == "" && c.Tenant == ""
}

// Check refuses a configuration that cannot work. It looks at no file.
func (c CertificatesConfig) Check() error {
	if c.URIPrefix == "" && c.DNSSuffix == "" && len(c.Systems) == 0 {
		return errors.New("needs uri_prefix, dns_suffix or systems: without them no certificate is a system")
	}
	if c.URIPrefix != "" && (!strings.Contains(c.URIPrefix, "://") || !strings.HasSuffix(c.URIPrefix, "/")) {
		return errors.New("uri_prefix: is SCHEME://…/, such as spiffe://example.kz/")
	}
	if c.DNSSuffix != "" && (!strings.HasPrefix(c.DNSSuffix, ".") || len(c.DNSSuffix) < 2) {
		return errors.New("dns_suffix: begins with a dot, such as .systems.example.kz")
	}
	if c.Tenant != "" && !tenantName.MatchString(c.Tenant) {
		return errors.New("tenant: is 1 to 40 of a-z, 0-9 and -")
	}
	for _, system := range c.Systems {
		if !systemPattern.MatchString(system) {
			return errors.New("systems: a name of a system is 1 to 40 of a-z, 0-9, '.', '_' and '-'")
		}
	}
	return nil
}

// Certificates tells which system shows a client certificate. It is safe for concurrent use. To a nil Certificates no
// certificate is a system.
type Certificates struct {
	config  CertificatesConfig
	revoked *revocation // nil when nothing is revoked
	now     func() time.Time
}

// NewCertificates makes it of its configuration. A list that cannot be read is no error here: until it can be, nobody is let
// in.
func NewCertificates(c CertificatesConfig, o Options) (*Certificates, error) {
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	c.DNSSuffix = strings.ToLower(c.DNSSuffix)
	made := &Certificates{config: c, now: o.Now}
	if c.RevokedFile != "" {
		made.revoked = &revocation{path: c.RevokedFile, now: o.Now, log: o.Log}
		_, _ = made.revoked.current() // whoever starts the server reads of it in the log
	}
	return made, nil
}

// errCertificate is why a certificate is refused, for the log: in words that are the same for every certificate.
func errCertificate(why string) error { return errors.New("authn: certificate: " + why) }

// Principal tells which system is at the other end of a connection. It is to be asked at every request, since a connection
// may outlive what made its certificate good: that it is in time and not revoked is checked again. It fails with
// fault.Unauthenticated.
func (cs *Certificates) Principal(state *tls.ConnectionState) (access.Principal, error) {
	p, err := cs.principal(state)
	if err != nil {
		return access.Principal{}, fault.Wrap(fault.Unauthenticated, err, "a valid credential is required")
	}
	return p, nil
}

// Connection refuses a connection that shows a certificate which is not good any more, whatever else is shown over it: a
// token beside it does not make up for that. It is to be asked at every request, and fails with fault.Unauthenticated. A
// connection without a certificate it lets pass.
func (cs *Certificates) Connection(state *tls.ConnectionState) error {
	if cs == nil || state == nil || len(state.PeerCertificates) == 0 {
		return nil
	}
	if err := cs.good(state); err != nil {
		return fault.Wrap(fault.Unauthenticated, err, "a valid credential is required")
	}
	return nil
}

// good refuses what is out of time or revoked, or rests on what is.
func (cs *Certificates) good(state *tls.ConnectionState) error {
	now := cs.now()
	inTime := func(c *x509.Certificate) bool { return !now.Before(c.NotBefore) && !now.After(c.NotAfter) }
	if !slices.ContainsFunc(state.VerifiedChains, func(chain []*x509.Certificate) bool {
		return !slices.ContainsFunc(chain, func(c *x509.Certificate) bool { return !inTime(c) })
	}) {
		return errCertificate("has expired, or one that it rests on has")
	}
	return cs.revoked.check(state.VerifiedChains)
}

func (cs *Certificates) principal(state *tls.ConnectionState) (access.Principal, error) {
	if cs == nil {
		return access.Principal{}, errCertificate("no certificate is a system")
	}
	if state == nil || len(state.PeerCertificates) == 0 || len(state.VerifiedChains) == 0 {
		return access.Principal{}, errCertificate("none was shown")
	}
	leaf := state.PeerCertificates[0]
	if !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		return access.Principal{}, errCertificate("is not for clients (extended key usage)")
	}
	if err := cs.good(state); err != nil {
		return access.Principal{}, err
	}
	system, err := cs.system(leaf)
	if err != nil {
		return access.Principal{}, err
	}
	sum := sha256.Sum256(leaf.Raw)
	return access.Principal{
		Tenant: cs.config.Tenant, System: system, Credential: "x509:" + hex.EncodeToString(sum[:16]),
		Roles: []access.Role{access.Application}, Strong: true,
	}, nil
}

// system is the one that the names of a certificate mean.
func (cs *Certificates) system(leaf *x509.Certificate) (string, error) {
	var found []string
	for _, u := range leaf.URIs {
		uri := u.String()
		if name, ok := cs.config.Systems[uri]; ok {
			found = append(found, name)
		} else if rest, ok := strings.CutPrefix(uri, cs.config.URIPrefix); ok && cs.config.URIPrefix != "" {
			found = append(found, rest)
		}
	}
	for _, name := range leaf.DNSNames {
		dns := strings.ToLower(name)
		if name, ok := cs.config.Systems[dns]; ok {
			found = append(found, name)
		} else if rest, ok := strings.CutSuffix(dns, cs.config.DNSSuffix); ok && cs.config.DNSSuffix != "" {
			found = append(found, rest)
		}
	}
	slices.Sort(found)
	switch found = slices.Compact(found); {
	case len(found) == 0:
		return "", errCertificate("none of its names is a system's")
	case len(found) > 1:
		return "", errCertificate("its names mean several systems")
	case !systemPattern.MatchString(found[0]):
		return "", errCertificate("what its name says is no system's name")
	}
	return found[0], nil
}
