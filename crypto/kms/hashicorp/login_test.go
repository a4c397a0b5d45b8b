package hashicorp_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp/vaultserver"
	"github.com/sandyq/sandyq/crypto/kms/kmstest"
)

// secure is the one server of these tests that speaks TLS.
func secure(t *testing.T) *vaultserver.Server {
	t.Helper()
	return vaultserver.Start(t, vaultserver.TLS())
}

// over has a place's provider reach the server by TLS.
func (p place) over(s *vaultserver.Secure) place {
	p.config.Address, p.config.CAFile, p.config.TLSServerName = s.Address, s.CAFile, vaultserver.ServerName
	return p
}

// role makes a role of a login method that gives what the set-up's role gives.
func (p place) role(t *testing.T, path, suffix string, more map[string]any) {
	t.Helper()
	role := map[string]any{
		"token_policies":          []string{p.config.Mount + "-" + p.config.Tenant + suffix},
		"token_no_default_policy": true,
		"token_ttl":               "20m",
		"token_max_ttl":           "24h",
	}
	for key, value := range more {
		role[key] = value
	}
	write(t, p.server, path, role)
}

// enable enables a login method at a path of the place's own.
func (p place) enable(t *testing.T, method string) (mount string) {
	t.Helper()
	mount = p.config.Mount + "-" + method
	write(t, p.server, "sys/auth/"+mount, map[string]any{"type": method})
	return mount
}

// signer signs JWTs.
type signer struct{ key *ecdsa.PrivateKey }

func newSigner(t *testing.T) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{key}
}

func (s signer) public(t *testing.T) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(s.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func (s signer) jwt(t *testing.T, claims map[string]any) string {
	t.Helper()
	claims["exp"], claims["iat"] = time.Now().Add(time.Hour).Unix(), time.Now().Add(-time.Minute).Unix()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"ES256","typ":"JWT"}`)) + "." + encode(payload)
	sum := sha256.Sum256([]byte(text))
	r, v, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	v.FillBytes(signature[32:])
	return text + "." + encode(signature)
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// rotates checks a login whose files change: with the wrong ones nothing works, with the good ones everything does, and
// after a revocation the files of then are read.
func (p place) rotates(t *testing.T, spoil, mend func()) {
	t.Helper()
	spoil()
	v := p.open(t)
	_, err := v.Create(t.Context(), kms.NewID())
	if !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("create with wrong credentials: %v, want ErrUnavailable", err)
	}
	p.wantNoCredential(t, err)
	mend()
	eventually(t, 5*time.Second, "create", func() error { _, err := v.Create(t.Context(), kms.NewID()); return err })
	id := create(t, v)
	claim := kmstest.Claim(t, v)
	spoil()
	p.revokeAll(t)
	_, err = v.Open(t.Context(), id)
	if !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("open after the token was revoked, with wrong credentials: %v, want ErrUnavailable", err)
	}
	p.wantNoCredential(t, err)
	mend()
	eventually(t, 5*time.Second, "destroy", func() error { return v.Destroy(t.Context(), claim, id) })
}

// wantNoCredential fails when an error tells what any of the place's files holds.
func (p place) wantNoCredential(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	auths := []hashicorp.Auth{p.config.Auth}
	if p.config.EraseAuth != nil {
		auths = append(auths, *p.config.EraseAuth)
	}
	for _, a := range auths {
		for _, file := range a.Files() {
			b, readErr := os.ReadFile(*file)
			for line := range strings.Lines(string(b)) {
				if line = strings.TrimSpace(line); readErr == nil && line != "" && strings.Contains(err.Error(), line) {
					t.Errorf("an error tells what %s holds: %v", filepath.Base(*file), err)
				}
			}
		}
	}
}

// revokeAll ends every token that has one of the place's policies.
func (p place) revokeAll(t *testing.T) {
	t.Helper()
	_, answer := p.server.Request(t, "LIST", "auth/token/accessors", nil)
	var list struct {
		Data struct {
			Keys []string `json:"keys"`
		} `json:"data"`
	}
	if err := json.Unmarshal(answer, &list); err != nil {
		t.Fatal(err)
	}
	for _, accessor := range list.Data.Keys {
		body := map[string]any{"accessor": accessor}
		_, answer := p.server.Request(t, "POST", "auth/token/lookup-accessor", body)
		var token struct {
			Data struct {
				Policies []string `json:"policies"`
			} `json:"data"`
		}
		if err := json.Unmarshal(answer, &token); err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(token.Data.Policies, func(name string) bool { return strings.HasPrefix(name, p.config.Mount+"-") }) {
			p.server.Request(t, "POST", "auth/token/revoke-accessor", body)
		}
	}
}

func TestLoginJWT(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	mount, issuer := p.enable(t, "jwt"), newSigner(t)
	write(t, p.server, "auth/"+mount+"/config", map[string]any{"jwt_validation_pubkeys": []string{issuer.public(t)}})
	p.role(t, "auth/"+mount+"/role/sandyq", "", map[string]any{
		"role_type": "jwt", "user_claim": "sub", "bound_audiences": []string{"vault"}, "bound_subject": "sandyq",
	})
	file := filepath.Join(p.files, "jwt")
	p.config.Auth = hashicorp.Auth{Method: "jwt", Mount: mount, Role: "sandyq", JWTFile: file}
	p.rotates(t,
		func() { put(t, file, newSigner(t).jwt(t, map[string]any{"sub": "sandyq", "aud": "vault"})) },
		func() { put(t, file, issuer.jwt(t, map[string]any{"sub": "sandyq", "aud": "vault"})+"\n") })
}

// TestLoginKubernetes has the real server ask a stand-in for the cluster's TokenReview whether a token is a pod's. That is
// all that Vault asks of a cluster, and all that this shows: not how a cluster makes and ends tokens.
func TestLoginKubernetes(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	cluster := newCluster(t, "sandyq-pod-uid")
	mount := p.enable(t, "kubernetes")
	write(t, p.server, "auth/"+mount+"/config", map[string]any{
		"kubernetes_host": cluster.URL, "kubernetes_ca_cert": cluster.ca, "token_reviewer_jwt": cluster.reviewer,
		"disable_local_ca_jwt": true,
	})
	p.role(t, "auth/"+mount+"/role/sandyq", "", map[string]any{
		"bound_service_account_names": "sandyq", "bound_service_account_namespaces": "vaults", "audience": "vault",
	})
	file := filepath.Join(p.files, "token")
	p.config.Auth = hashicorp.Auth{Method: "kubernetes", Mount: mount, Role: "sandyq", JWTFile: file}
	p.rotates(t,
		func() { put(t, file, newSigner(t).jwt(t, cluster.claims("sandyq"))) }, // of no pod that the cluster knows
		func() { put(t, file, cluster.pod(t, "sandyq")) })
	put(t, file, cluster.pod(t, "another"))
	if _, err := p.open(t).Create(t.Context(), kms.NewID()); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("another service account's token: %v, want ErrUnavailable", err)
	}
}

// cluster answers TokenReview.
type cluster struct {
	*httptest.Server
	signer
	ca, reviewer, uid string

	mu   sync.Mutex
	pods map[string]string // the service account of each token that it made
}

func newCluster(t *testing.T, uid string) *cluster {
	t.Helper()
	c := &cluster{signer: newSigner(t), uid: uid, pods: map[string]string{}}
	c.reviewer = c.jwt(t, c.claims("reviewer"))
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(c.review))
	c.Config.ErrorLog = log.New(io.Discard, "", 0)
	c.StartTLS()
	t.Cleanup(c.Close)
	c.ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw}))
	return c
}

func (c *cluster) claims(account string) map[string]any {
	return map[string]any{
		"iss": "https://kubernetes.default.svc", "sub": "system:serviceaccount:vaults:" + account, "aud": []string{"vault"},
		"kubernetes.io": map[string]any{"namespace": "vaults", "serviceaccount": map[string]any{"name": account, "uid": c.uid}},
	}
}

// pod makes the token of a pod.
func (c *cluster) pod(t *testing.T, account string) string {
	t.Helper()
	token := c.jwt(t, c.claims(account))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pods[token] = account
	return token
}

func (c *cluster) review(w http.ResponseWriter, r *http.Request) {
	var review struct {
		Spec struct {
			Token     string   `json:"token"`
			Audiences []string `json:"audiences"`
		} `json:"spec"`
	}
	if r.URL.Path != "/apis/authentication.k8s.io/v1/tokenreviews" || r.Header.Get("Authorization") != "Bearer "+c.reviewer ||
		json.NewDecoder(r.Body).Decode(&review) != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	c.mu.Lock()
	account, known := c.pods[review.Spec.Token]
	c.mu.Unlock()
	status := map[string]any{"authenticated": known}
	if known {
		status["audiences"] = review.Spec.Audiences
		status["user"] = map[string]any{"username": "system:serviceaccount:vaults:" + account, "uid": c.uid}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status,
	})
}

// clientCertificate makes a certificate that vouches for itself, and its key, in PEM.
func clientCertificate(t *testing.T, name string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}))
}

// TestLoginCert has a serving role by certificate and an erasing one by another, of which neither will do for the other.
func TestLoginCert(t *testing.T) {
	server := secure(t)
	p := setUp(t, server, true).over(server.Secure)
	mount := p.enable(t, "cert")
	auth := func(name, suffix string) hashicorp.Auth {
		a := hashicorp.Auth{
			Method: "cert", Mount: mount, Name: name,
			CertFile: filepath.Join(p.files, name+".crt"), KeyFile: filepath.Join(p.files, name+".key"),
		}
		certificate, key := clientCertificate(t, name)
		p.role(t, "auth/"+mount+"/certs/"+name, suffix, map[string]any{"certificate": certificate})
		put(t, a.CertFile, certificate)
		put(t, a.KeyFile, key)
		return a
	}
	p.config.Auth = auth("serve", "-read")
	erase := auth("erase", "-erase")
	p.config.EraseAuth = &erase

	good := map[string]string{}
	for _, file := range []string{p.config.Auth.CertFile, p.config.Auth.KeyFile} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		good[file] = string(b)
	}
	p.rotates(t, func() { // a certificate that nobody vouches for
		certificate, key := clientCertificate(t, "serve")
		put(t, p.config.Auth.CertFile, certificate)
		put(t, p.config.Auth.KeyFile, key)
	}, func() {
		for file, text := range good {
			put(t, file, text)
		}
	})
	p.rotates(t, func() { put(t, p.config.Auth.KeyFile, "canary") }, func() {
		put(t, p.config.Auth.KeyFile, good[p.config.Auth.KeyFile])
	})

	swapped := p
	swapped.config.Auth, swapped.config.EraseAuth = erase, &p.config.Auth
	if _, err := swapped.open(t).Create(t.Context(), kms.NewID()); err == nil {
		t.Error("the erasing certificate serves")
	}
}

// TestLoginCertRenews: the connections that carry the token show the certificate too, as Vault asks of a renewal. Each
// login makes an accessor; three lives of the token need no second login.
func TestLoginCertRenews(t *testing.T) {
	server := secure(t)
	p := setUp(t, server, false).over(server.Secure)
	mount := p.enable(t, "cert")
	a := hashicorp.Auth{Method: "cert", Mount: mount, CertFile: filepath.Join(p.files, "crt"), KeyFile: filepath.Join(p.files, "key")}
	certificate, key := clientCertificate(t, "serve")
	put(t, a.CertFile, certificate)
	put(t, a.KeyFile, key)
	p.role(t, "auth/"+mount+"/certs/serve", "", map[string]any{"certificate": certificate, "token_ttl": "1s"})
	p.config.Auth = a
	v := p.open(t)
	create(t, v)
	first := p.accessors(t)
	time.Sleep(3 * time.Second)
	create(t, v)
	if now := p.accessors(t); len(first) == 0 || !slices.Equal(first, now) {
		t.Errorf("the token was replaced, not renewed: accessors %d, then %d", len(first), len(now))
	}
}

func (p place) accessors(t *testing.T) []string {
	t.Helper()
	_, answer := p.server.Request(t, "LIST", "auth/token/accessors", nil)
	var list struct {
		Data struct {
			Keys []string `json:"keys"`
		} `json:"data"`
	}
	if err := json.Unmarshal(answer, &list); err != nil {
		t.Fatal(err)
	}
	slices.Sort(list.Data.Keys)
	return list.Data.Keys
}

// TestTLSServerName reaches a server whose certificate does not name its address.
func TestTLSServerName(t *testing.T) {
	server := secure(t)
	p := setUp(t, server, false).over(server.Secure)
	p.config.TLSServerName = ""
	if err := p.open(t).Health(t.Context()); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("a certificate of another name: %v, want ErrUnavailable", err)
	}
	p.config.TLSServerName = vaultserver.ServerName
	create(t, p.open(t))
}

// TestNamespace looks at what is sent: Vault's community edition has no namespaces, so the wire takes the header off.
func TestNamespace(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), true)
	w := newWire(t, &p)
	var without, with int
	var mu sync.Mutex
	w.sees = func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Header.Get("X-Vault-Namespace") == "team/a/" || r.Header.Get("X-Vault-Namespace") == "team/a" {
			with++
		} else {
			without++
		}
		r.Header.Del("X-Vault-Namespace")
	}
	p.config.Namespace = "team/a"
	v := p.open(t)
	id, claim := create(t, v), kmstest.Claim(t, v)
	if err := v.Destroy(t.Context(), claim, id); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if with < 8 || without > 0 {
		t.Errorf("%d requests with the namespace and %d without", with, without)
	}
}

// TestOneLogin revokes the token under 64 callers. They all come back with one login.
func TestOneLogin(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	w := newWire(t, &p)
	logins := w.counts("/login")
	v := p.open(t)
	id := create(t, v)
	for round := range 3 {
		before := logins.Load()
		p.revokeAll(t)
		var callers sync.WaitGroup
		for range 64 {
			callers.Go(func() {
				if keys, err := v.Open(t.Context(), id); err != nil || keys[0].Missing() {
					t.Errorf("open after the token was revoked: %v", err)
				}
			})
		}
		callers.Wait()
		if n := logins.Load() - before; n != 1 {
			t.Errorf("round %d: %d logins after one revocation, want 1", round, n)
		}
	}
}

// TestNoStormOfLogins takes the credentials away too. A thousand calls make one login. Five wrong ones
// would have Vault lock the role out, and the right credentials with it.
func TestNoStormOfLogins(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	w := newWire(t, &p)
	logins := w.counts("/login")
	v := p.open(t)
	id := create(t, v)
	file := p.credentials("serve").SecretIDFile
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	put(t, file, "canary")
	before := logins.Load()
	p.revokeAll(t)
	var callers sync.WaitGroup
	for range 32 {
		callers.Go(func() {
			for range 32 {
				_, err := v.Open(t.Context(), id)
				if !errors.Is(err, kms.ErrUnavailable) || strings.Contains(err.Error(), "canary") {
					t.Errorf("open without credentials: %v, want ErrUnavailable", err)
				}
			}
		})
	}
	callers.Wait()
	if n := logins.Load() - before; n != 1 {
		t.Errorf("%d logins for 1,024 calls without credentials, want 1", n)
	}
	put(t, file, string(good))
	eventually(t, 3*time.Second, "recovery", func() error { return v.Health(t.Context()) })
}

// TestLoginTellsNothing has what is between, or a file, try to get a credential into an error.
func TestLoginTellsNothing(t *testing.T) {
	const secret = "canary-secret-id"
	for name, do := range map[string]func(http.ResponseWriter, func() *http.Response){
		"refused":          answer(400, `{"errors":["invalid secret id: `+secret+`"]}`),
		"denied":           answer(403, `{"errors":["`+secret+`"]}`),
		"a page":           answer(502, `<html>`+secret),
		"no JSON":          answer(200, secret),
		"no token":         answer(200, `{"auth":{"metadata":{"x":"`+secret+`"}}}`),
		"a token of lines": answer(200, `{"auth":{"client_token":"`+secret+`\r\nX: y"}}`),
		"a redirect":       answer(307, secret, "Location", "http://127.0.0.1:1/"+secret),
		"a cut answer":     cutAnswer,
	} {
		p := setUp(t, vaultserver.Shared(t), false)
		w := newWire(t, &p)
		put(t, p.credentials("serve").SecretIDFile, secret)
		w.does(http.MethodPut, "/login", always, do)
		if _, err := p.open(t).Create(t.Context(), kms.NewID()); !errors.Is(err, kms.ErrUnavailable) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
	p := setUp(t, vaultserver.Shared(t), false)
	for name, text := range map[string]string{
		"two lines":       secret + "\n" + secret,
		"not text":        "\xff" + secret,
		"a quote":         secret + `"}`,
		"empty":           "",
		"longer than any": strings.Repeat(secret, 2000),
	} {
		put(t, p.credentials("serve").SecretIDFile, text)
		if _, err := p.open(t).Create(t.Context(), kms.NewID()); !errors.Is(err, kms.ErrUnavailable) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
