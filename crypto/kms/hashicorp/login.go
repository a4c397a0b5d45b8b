package hashicorp

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/hashicorp/vault/api"

	"github.com/sandyq/sandyq/crypto/kms"
)

// tokenAnswer is what Vault answers to a login and to a renewal.
type tokenAnswer struct {
	Auth struct {
		Token     string `json:"client_token"`
		Seconds   int    `json:"lease_duration"`
		Renewable bool   `json:"renewable"`
	} `json:"auth"`
}

func (a tokenAnswer) lease(client *api.Client) lease {
	return lease{client, time.Duration(a.Auth.Seconds) * time.Second, a.Auth.Renewable}
}

// identity is whom a connection logs in. One login at a time uses it.
type identity struct {
	Auth
	spares  bool // another identity destroys, and this one may not
	refused refusal
}

// refusal is of AppRole credentials that Vault called wrong. After five wrong logins in a quarter of an hour Vault locks a
// role out for another, even for who has the right ones. So the same are not tried again until that is over.
type refusal struct {
	sum  [sha256.Size]byte
	over *time.Timer // nil when nothing was refused
}

// refusalRest is longer than Vault counts wrong logins together.
const refusalRest = 16 * time.Minute

var errRefusedBefore = fmt.Errorf("%w: Vault called these credentials wrong; they are tried again when the files change, or in %v",
	kms.ErrUnavailable, refusalRest)

// covers reports whether credentials are those refused a while ago.
func (r *refusal) covers(credentials []byte) bool {
	if r.over == nil || r.sum != sha256.Sum256(credentials) {
		return false
	}
	select {
	case <-r.over.C:
		r.over = nil
		return false
	default:
		return true
	}
}

// login logs the identity in and refuses one that Vault would let do more than it should.
func (a *identity) login(ctx context.Context, c Config, n names, transport *http.Transport) (lease, error) {
	l, err := a.logIn(ctx, c, transport)
	if err != nil {
		return lease{}, fmt.Errorf("log in: %w", err)
	}
	if err := checkRights(ctx, l.client, n, a.spares); err != nil {
		return lease{}, fmt.Errorf("log in: %w", err)
	}
	return l, nil
}

// logIn has Vault make a token by the method, or takes the one that there is. Errors name files and never what is in them.
func (a *identity) logIn(ctx context.Context, c Config, transport *http.Transport) (lease, error) {
	switch a.Method {
	case MethodToken:
		return loginToken(ctx, c, a.Auth, transport)
	case MethodCert:
		return loginCert(ctx, c, a.Auth, transport)
	}
	credentials, err := a.credentials()
	if err != nil {
		return lease{}, err
	}
	if a.refused.covers(credentials) {
		return lease{}, errRefusedBefore
	}
	l, err := exchange(ctx, c, a.Auth, transport, transport, credentials)
	if a.Method == MethodAppRole && errors.Is(err, errRefused) {
		a.refused = refusal{sha256.Sum256(credentials), time.NewTimer(refusalRest)}
	}
	return l, err
}

// credentials are what a login by AppRole, by a Kubernetes service account or by a JWT sends, encoded.
func (a Auth) credentials() ([]byte, error) {
	if a.Method != MethodAppRole {
		jwt, err := readLine(a.JWTFile)
		if err != nil {
			return nil, fmt.Errorf("jwt_file: %w", err)
		}
		return encodeCredentials(map[string]string{"role": a.Role, "jwt": jwt})
	}
	role, err := readLine(a.RoleIDFile)
	if err != nil {
		return nil, fmt.Errorf("role_id_file: %w", err)
	}
	secretID, err := readLine(a.SecretIDFile)
	if err != nil {
		return nil, fmt.Errorf("secret_id_file: %w", err)
	}
	return encodeCredentials(map[string]string{"role_id": role, "secret_id": secretID})
}

// encodeCredentials writes them always alike.
func encodeCredentials(credentials map[string]string) ([]byte, error) {
	b, err := json.Marshal(credentials, json.Deterministic(true))
	if err != nil { // whose text may quote them
		return nil, errors.New("the credentials are not text")
	}
	return b, nil
}

// loginCert logs in by a connection of its own: those that are open were made with the certificate of then. The others
// show a certificate too, for servers that ask for one on each and for renewals.
func loginCert(ctx context.Context, c Config, a Auth, transport *http.Transport) (lease, error) {
	pair, err := a.keyPair()
	if err != nil {
		return lease{}, err
	}
	own := transport.Clone()
	own.DisableKeepAlives = true
	own.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair, nil }
	credentials, err := encodeCredentials(map[string]string{"name": a.Name}) // no name is any
	if err != nil {
		return lease{}, err
	}
	return exchange(ctx, c, a, own, transport, credentials)
}

// keyPair reads a client certificate and its key. What the parser says may quote the files.
func (a Auth) keyPair() (*tls.Certificate, error) {
	certificate, err := os.ReadFile(a.CertFile)
	if err != nil {
		return nil, fmt.Errorf("cert_file: %w", err)
	}
	key, err := os.ReadFile(a.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("key_file: %w", err)
	}
	defer clear(key)
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, errors.New("cert_file and key_file hold no certificate with its key in PEM")
	}
	return &pair, nil
}

// showCertificate is for connections that carry a token. Without the files they go on without a certificate, and the next
// login says what is wrong.
func (a Auth) showCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	pair, err := a.keyPair()
	if err != nil {
		return &tls.Certificate{}, nil
	}
	return pair, nil
}

// exchange sends credentials and gets a token, which is used over another transport.
func exchange(ctx context.Context, c Config, a Auth, transport, use *http.Transport, credentials []byte) (lease, error) {
	nobody, err := newClient(c, transport, "")
	if err != nil {
		return lease{}, err
	}
	var answer tokenAnswer
	path := "auth/" + a.Mount + "/login"
	if _, err := send(ctx, nobody, request{method: http.MethodPut, path: path}, credentials, &answer); err != nil {
		return lease{}, fmt.Errorf("%s: %w", path, err)
	}
	if answer.Auth.Token == "" {
		return lease{}, fmt.Errorf("%w: %s answers no token", kms.ErrUnavailable, path)
	}
	client, err := newClient(c, use, answer.Auth.Token)
	return answer.lease(client), err
}

func loginToken(ctx context.Context, c Config, a Auth, transport *http.Transport) (lease, error) {
	token := os.Getenv("VAULT_TOKEN")
	if a.TokenFile != "" {
		var err error
		if token, err = readLine(a.TokenFile); err != nil {
			return lease{}, fmt.Errorf("token_file: %w", err)
		}
	}
	if token == "" {
		return lease{}, errors.New("there is neither a token_file nor VAULT_TOKEN")
	}
	client, err := newClient(c, transport, token)
	if err != nil {
		return lease{}, err
	}
	var answer struct {
		Data struct {
			Seconds   int  `json:"ttl"`
			Renewable bool `json:"renewable"`
		} `json:"data"`
	}
	if _, err := send(ctx, client, request{method: http.MethodGet, path: "auth/token/lookup-self"}, nil, &answer); err != nil {
		return lease{}, err
	}
	return lease{client, time.Duration(answer.Data.Seconds) * time.Second, answer.Data.Renewable}, nil
}

// maxLine is the length of a credential at most, in bytes. JWTs with many claims are the longest.
const maxLine = 16 << 10

// readLine reads a file of one line. The error names the file and not what is in it.
func readLine(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	line := strings.TrimSpace(string(b))
	if line == "" || strings.ContainsAny(line, "\r\n") || len(line) > maxLine {
		return "", errors.New("the file does not hold one line")
	}
	return line, nil
}

// checkRights asks Vault what the token may do to a key's entry. Write-once rests on the denial of update, and a token
// that may do everything would overwrite in silence; where another identity destroys, this one's right to is a mistake.
func checkRights(ctx context.Context, client *api.Client, n names, spares bool) error {
	path := n.key(kms.NewID())
	body, err := json.Marshal(map[string][]string{"paths": {path}})
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	var answer struct {
		Data struct {
			Capabilities []string `json:"capabilities"`
		} `json:"data"`
	}
	ask := request{method: http.MethodPut, path: "sys/capabilities-self"}
	if _, err := send(ctx, client, ask, body, &answer); err != nil {
		return fmt.Errorf("ask for the token's capabilities: %w", err)
	}
	for _, forbidden := range []string{"root", "sudo", "update", "patch"} {
		if slices.Contains(answer.Data.Capabilities, forbidden) {
			return fmt.Errorf("the token may overwrite keys (capability %s on %s/keys/+); use the policies of sandyq keys setup",
				forbidden, n.mount)
		}
	}
	if spares && slices.Contains(answer.Data.Capabilities, "delete") {
		return fmt.Errorf("the token may destroy keys, which is for erase_auth alone (capability delete on %s/keys/+); "+
			"use the credentials of sandyq keys setup --separate-erase", n.mount)
	}
	return nil
}
