package authn

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sandyq/sandyq/access"
)

// The kinds of issuer: whom its tokens are about.
const (
	KindStaff  = "staff"  // people; they call by themselves and stand behind systems
	KindSystem = "system" // systems
	KindBehalf = "behalf" // people and agents who stand behind systems, and call nothing themselves
)

// IssuerConfig says whose tokens are believed, and what is believed of them.
type IssuerConfig struct {
	Name string `yaml:"name"` // 1 to 20 of a-z, 0-9 and -; the first part of the names of its people
	// URL is the issuer as its tokens say it, letter for letter: https, or http to a loopback address only.
	URL    string `yaml:"url"`
	CAFile string `yaml:"ca_file"` // PEM, to trust in place of the system's authorities
	// Audience is what tokens for this vault have in aud. Several issuers may have one URL, with different audiences.
	Audience string `yaml:"audience"`
	Tenant   string `yaml:"tenant"` // whose principals these are
	Kind     string `yaml:"kind"`
	// Types are the values of typ that are accepted, in any case, with or without "application/"; "" accepts tokens without
	// one. Default: at+jwt (RFC 9068) and JWT.
	Types []string `yaml:"types"`
	// Parties are the clients (azp, else client_id) that tokens may have been made for. Empty accepts any, of tokens that
	// are for this audience and no other.
	Parties []string `yaml:"parties"`
	// ActorClaim holds a person's name, of A-Z, a-z, 0-9, '.', '_' and '-', without nine digits in a row (but for UUIDs).
	// Default: sub.
	ActorClaim  string `yaml:"actor_claim"`
	SystemClaim string `yaml:"system_claim"` // holds a system's name; default: azp, else client_id
	// RolesClaim is the claim with a person's roles, or the path to it with dots between. Default: roles.
	RolesClaim string `yaml:"roles_claim"`
	// Roles maps what RolesClaim holds to roles; what is not in it means nothing. Staff without a role are refused.
	Roles           map[string]string `yaml:"roles"`
	DepartmentClaim string            `yaml:"department_claim"`
	// SystemsClaim is the claim, or the path to it, that names the systems whose people staff may see, "*" for all. Systems
	// names them for everybody.
	SystemsClaim string        `yaml:"systems_claim"`
	Systems      []string      `yaml:"systems"`
	Strong       StrongConfig  `yaml:"strong"`
	ClockSkew    time.Duration `yaml:"clock_skew"` // how far the issuer's clock may be off: default 30s, at most 5m
	// Algorithms are the signatures accepted. Default: RS256, ES256, EdDSA and PS256.
	Algorithms []string `yaml:"algorithms"`
}

// StrongConfig says which authentication was strong: of a class (acr) in ACR, or by one of the methods (amr; RFC 8176) in
// AMR.
type StrongConfig struct {
	ACR []string `yaml:"acr"`
	AMR []string `yaml:"amr"`
}

// The bounds and defaults of a configuration.
const (
	defaultSkew = 30 * time.Second
	maxSkew     = 5 * time.Minute
	allSystems  = "*"
)

var (
	issuerName    = regexp.MustCompile(`^[a-z0-9-]{1,20}$`)
	tenantName    = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)
	systemPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,39}$`)

	signatures = []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA"}
)

// CheckIssuers refuses configurations that cannot work, alone or together. It looks at no file and at no network.
func CheckIssuers(configs []IssuerConfig) error {
	names, audiences := map[string]bool{}, map[[2]string]bool{}
	for i, c := range configs {
		if err := c.check(); err != nil {
			return fmt.Errorf("issuer %d (%s): %w", i+1, c.Name, err)
		}
		if names[c.Name] {
			return fmt.Errorf("issuer %d (%s): another one has this name", i+1, c.Name)
		}
		one := [2]string{c.URL, c.Audience}
		if audiences[one] {
			return fmt.Errorf("issuer %d (%s): another one has this url and this audience", i+1, c.Name)
		}
		names[c.Name], audiences[one] = true, true
	}
	return nil
}

func (c IssuerConfig) check() error {
	if err := checkURL(c.URL); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	for _, r := range []struct {
		broken bool
		rule   string
	}{
		{!issuerName.MatchString(c.Name), "name: is 1 to 20 of a-z, 0-9 and -"},
		{c.Audience == "", "audience: is required"},
		{c.Tenant != "" && !tenantName.MatchString(c.Tenant), "tenant: is 1 to 40 of a-z, 0-9 and -"},
		{!slices.Contains([]string{KindStaff, KindSystem, KindBehalf}, c.Kind), "kind: is staff, system or behalf"},
		{c.ClockSkew < 0 || c.ClockSkew > maxSkew, "clock_skew: is at most 5m"},
		{slices.Contains(c.Parties, ""), "parties: has an empty one"},
		{c.Kind == KindSystem && (len(c.Roles) > 0 || len(c.Systems) > 0 || c.SystemsClaim != ""), "kind: a system has no roles and no systems"},
		{c.Kind == KindStaff && len(c.Roles) == 0, "roles: is required, or nobody is let in"},
	} {
		if r.broken {
			return errors.New(r.rule)
		}
	}
	for _, a := range c.Algorithms {
		if !slices.Contains(signatures, a) {
			return errors.New("algorithms: is of " + strings.Join(signatures, ", "))
		}
	}
	for _, s := range c.Systems {
		if s != allSystems && !systemPattern.MatchString(s) {
			return errors.New("systems: has what is no system's name")
		}
	}
	for _, role := range c.Roles {
		if r, err := access.ParseRole(role); err != nil || r == access.Application {
			return errors.New("roles: maps to what is no role of staff")
		}
	}
	return nil
}

// withDefaults fills in what was left out.
func (c IssuerConfig) withDefaults() IssuerConfig {
	if c.Types == nil {
		c.Types = []string{"at+jwt", "JWT"}
	}
	types := make([]string, len(c.Types))
	for i, t := range c.Types {
		types[i] = mediaType(t)
	}
	c.Types = types
	if len(c.Algorithms) == 0 {
		c.Algorithms = []string{"RS256", "ES256", "EdDSA", "PS256"}
	}
	if c.ActorClaim == "" {
		c.ActorClaim = "sub"
	}
	if c.RolesClaim == "" {
		c.RolesClaim = "roles"
	}
	if c.ClockSkew == 0 {
		c.ClockSkew = defaultSkew
	}
	return c
}

// mediaType is a typ as it is compared (RFC 7515, 4.1.9).
func mediaType(typ string) string {
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}

// checkURL refuses an issuer that others on the way could answer for, or that names more than a place.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("is https://host[:port][/path]") // without err, which repeats it
	}
	if !private(u) {
		return errors.New("is https, or http to a loopback address")
	}
	return nil
}

// private reports whether nobody else can answer for u, or listen.
func private(u *url.URL) bool {
	return u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname())
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
