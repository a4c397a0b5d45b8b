package hashicorp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/sandyq/sandyq/crypto/kms"
)

// Defaults of [Config].
const (
	DefaultMount   = "sandyq"
	DefaultTenant  = "main"
	DefaultTimeout = 2 * time.Second
)

// Config says where the keys are and who asks for them.
type Config struct {
	Address       string        `yaml:"address"`         // https://host:port; plain http only to a loopback address
	Addresses     []string      `yaml:"addresses"`       // of the nodes of one cluster, instead of Address
	CAFile        string        `yaml:"ca_file"`         // PEM certificates to trust instead of the system's
	TLSServerName string        `yaml:"tls_server_name"` // the name in the server's certificate; the address's host when empty
	Namespace     string        `yaml:"namespace"`       // of Vault Enterprise; empty elsewhere
	Mount         string        `yaml:"mount"`           // KV mount, and the stem of the two beside it; DefaultMount when empty
	Tenant        string        `yaml:"tenant"`          // whose Transit keys; DefaultTenant when empty
	Timeout       time.Duration `yaml:"timeout"`         // for each fifty keys of a call, 100 ms to 30 s; DefaultTimeout when 0
	Auth          Auth          `yaml:"auth"`            // who creates and opens
	EraseAuth     *Auth         `yaml:"erase_auth"`      // who destroys, advances the generation, sets the mark and rotates the signing key; Auth when nil

	cluster *cluster // nil with one address
}

var mountName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// complete checks c and fills in what is left out.
func (c Config) complete() (Config, error) {
	c.Mount = or(c.Mount, DefaultMount)
	c.Tenant = or(c.Tenant, DefaultTenant)
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if err := c.checkAddresses(); err != nil {
		return c, err
	}
	if c.TLSServerName != "" && !isHTTPS(c.Address) {
		return c, errors.New("tls_server_name is for an https address")
	}
	if !mountName.MatchString(c.Mount) || !mountName.MatchString(c.Tenant) {
		return c, errors.New("mount and tenant are 1 to 64 of a-z, 0-9, _ and -")
	}
	if c.Timeout < 100*time.Millisecond || c.Timeout > 30*time.Second {
		return c, errors.New("timeout is not between 100ms and 30s")
	}
	var err error
	if c.Auth, err = c.Auth.complete(); err != nil {
		return c, err
	}
	if c.EraseAuth != nil {
		erase, err := c.EraseAuth.complete()
		if err != nil {
			return c, fmt.Errorf("erase_auth: %w", err)
		}
		c.EraseAuth = &erase
	}
	for _, a := range c.identities() {
		if a.Method == MethodCert && !isHTTPS(c.Address) {
			return c, errors.New("auth method cert needs an https address")
		}
	}
	return c, nil
}

// identities are those that log in.
func (c Config) identities() []Auth {
	if c.EraseAuth == nil {
		return []Auth{c.Auth}
	}
	return []Auth{c.Auth, *c.EraseAuth}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// checkAddresses checks the one address or the several. Of several the first stands for all from then on.
func (c *Config) checkAddresses() (err error) {
	if len(c.Addresses) == 0 {
		return checkAddress(c.Address)
	}
	if c.Address != "" && c.Address != c.Addresses[0] {
		return errors.New("there are both address and addresses; use one of them")
	}
	for _, address := range c.Addresses {
		if err := checkAddress(address); err != nil {
			return err
		}
	}
	c.Address = c.Addresses[0]
	if len(c.Addresses) > 1 {
		c.cluster, err = newCluster(c.Addresses, c.Timeout)
	}
	return err
}

// checkAddress refuses to send tokens and keys over a network in the clear. It does not repeat the address, which may hold
// a password.
func checkAddress(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "":
		return errors.New("address is not a URL like https://vault.example:8200")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/":
		return errors.New("address has more than scheme, host and port")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return errors.New("address is plain http to another machine; use https")
	}
	return errors.New("address is neither http nor https")
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// connections bounds the connections to the server, and with them the requests at once.
const connections = 64

// newTransport keeps HTTP/1.1 connections open, as many as there are requests at once: over one HTTP/2 connection the
// many small requests of a batch wait for one another. No proxy is used, whatever the environment names.
func newTransport(c Config) (*http.Transport, error) {
	t := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: c.Timeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.TLSServerName},
		TLSHandshakeTimeout: c.Timeout,
		MaxIdleConns:        connections,
		MaxIdleConnsPerHost: connections,
		MaxConnsPerHost:     connections,
		IdleConnTimeout:     time.Minute,
		Protocols:           new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read ca_file: %w", err)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("ca_file holds no certificate")
		}
	}
	return t, nil
}

// newClient makes a client that sends token. The SDK's own retries and timeouts are off: [conn] has them.
func newClient(c Config, transport *http.Transport, token string) (*api.Client, error) {
	client, err := api.NewClient(&api.Config{
		Address: c.Address,
		HttpClient: &http.Client{
			Transport:     c.cluster.over(transport),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		ReadYourWrites: true, // Vault Enterprise: a standby behind our last write answers 412
		// A redirect from here might lead the token off this machine in the clear; in a cluster it only says that a node
		// stands by.
		DisableRedirects: !isHTTPS(c.Address) || c.cluster != nil,
	})
	if err != nil {
		return nil, errors.New("make client: the environment's VAULT_ variables are malformed")
	}
	client.SetToken(token) // not the one that the SDK finds in the environment
	client.ClearNamespace()
	if c.Namespace != "" {
		client.SetNamespace(c.Namespace)
	}
	return client, nil
}

func isHTTPS(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Scheme == "https"
}

// names are the paths of one tenant's things.
type names struct{ mount, tenant string }

func (n names) transitMount() string    { return n.mount + "-transit" }
func (n names) generationMount() string { return n.mount + "-generation" }
func (n names) key(id kms.ID) string    { return n.mount + "/keys/" + id.String() }
func (n names) sentinel() string        { return n.mount + "/sentinel" }
func (n names) generation() string      { return n.generationMount() + "/data/generation" }
func (n names) mark() string            { return n.generationMount() + "/data/mark" }
func (n names) wrapKey() string         { return "wrap-" + n.tenant }
func (n names) indexKey() string        { return "index-" + n.tenant }
func (n names) encrypt() string         { return n.transitMount() + "/encrypt/" + n.wrapKey() }
func (n names) decrypt() string         { return n.transitMount() + "/decrypt/" + n.wrapKey() }
func (n names) hmac() string            { return n.transitMount() + "/hmac/" + n.indexKey() + "/sha2-256" }
func (n names) logKey() string          { return "log-" + n.tenant }
func (n names) signing() string         { return n.transitMount() + "/keys/" + n.logKey() }
func (n names) sign() string            { return n.transitMount() + "/sign/" + n.logKey() }
func (n names) rotate() string          { return n.signing() + "/rotate" }
