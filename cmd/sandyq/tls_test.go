package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault/clock"
)

// authority signs certificates for a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.cert, a.key = a.make(&x509.Certificate{
		Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

// make makes a certificate, signed by a or, for a's own, by itself.
func (a *authority) make(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	now := clock.System()
	template.SerialNumber = big.NewInt(now.UnixNano())
	template.NotBefore, template.NotAfter = now.Add(-time.Hour), now.Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// issue makes a certificate of that name for 127.0.0.1 and its key, as PEM.
func (a *authority) issue(name string) (cert, key []byte) {
	a.t.Helper()
	made, private := a.make(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made.Raw}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// TestTLS: a certificate protects the API, is taken anew when its files change, and clients must show theirs where that is
// required.
func TestTLS(t *testing.T) {
	a := newAuthority(t)
	dir := t.TempDir()
	write := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	install := func(name string) {
		cert, key := a.issue(name)
		write("server.crt", cert)
		write("server.key", key)
	}
	install("first")
	write("clients.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
	write("sandyq.yaml", []byte("home: home\ntls: {cert_file: server.crt, key_file: server.key, client_ca_file: clients.crt, client_certificates: required}\n"))
	s := start(t, "serve", "--dev", "--config", filepath.Join(dir, "sandyq.yaml"))
	if !strings.HasPrefix(s.API, "https://") || !strings.HasPrefix(s.Ops, "http://") {
		t.Errorf("announced %s and %s", s.API, s.Ops)
	}

	trust := x509.NewCertPool()
	trust.AddCert(a.cert)
	own, err := tls.X509KeyPair(a.issue("client"))
	if err != nil {
		t.Fatal(err)
	}
	if name, err := ask(s.API, &tls.Config{RootCAs: trust, Certificates: []tls.Certificate{own}}); name != "first" || err != nil {
		t.Errorf("with a certificate: %q, %v", name, err)
	}
	if _, err := ask(s.API, &tls.Config{RootCAs: trust}); err == nil {
		t.Error("a client without a certificate was let in")
	}
	if resp, err := http.Get(strings.Replace(s.API, "https", "http", 1)); err == nil {
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("in the clear: %d", resp.StatusCode)
		}
	}

	install("second")
	if name, err := ask(s.API, &tls.Config{RootCAs: trust, Certificates: []tls.Certificate{own}}); name != "second" || err != nil {
		t.Errorf("after the files changed: %q, %v", name, err)
	}
	key := filepath.Join(dir, "server.key")
	install("third")
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	if name, err := ask(s.API, &tls.Config{RootCAs: trust, Certificates: []tls.Certificate{own}}); name != "second" || err != nil {
		t.Errorf("with a key that others may read: %q, %v", name, err)
	}
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	if name, err := ask(s.API, &tls.Config{RootCAs: trust, Certificates: []tls.Certificate{own}}); name != "third" || err != nil {
		t.Errorf("after its mode was put right: %q, %v", name, err)
	}
	write("server.crt", []byte("damaged"))
	if name, err := ask(s.API, &tls.Config{RootCAs: trust, Certificates: []tls.Certificate{own}}); name != "third" || err != nil {
		t.Errorf("after the files were damaged: %q, %v", name, err)
	}
	s.stop(t)
	if !strings.Contains(s.stderr.String(), "the old ones still are") {
		t.Errorf("the log does not tell of damaged files: %s", s.stderr)
	}
}

// TestClientCertificates: a certificate that the bundle vouches for is a system, over a running server whose bundle and list
// of revoked ones are replaced. Without one a client may still show something else, where none is required.
func TestClientCertificates(t *testing.T) {
	ours, next := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	write := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bundle := func(a *authority) {
		write("clients.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
	}
	cert, key := ours.issue("server")
	write("server.crt", cert)
	write("server.key", key)
	write("revoked", nil)
	bundle(ours)
	write("sandyq.yaml", []byte(`home: home
tls: {cert_file: server.crt, key_file: server.key, client_ca_file: clients.crt}
auth: {certificates: {dns_suffix: .systems.example.kz, revoked_file: revoked}}
`))
	s := start(t, "serve", "--dev", "--config", filepath.Join(dir, "sandyq.yaml"))

	trust := x509.NewCertPool()
	trust.AddCert(ours.cert)
	sessions := tls.NewLRUClientSessionCache(8)
	show := func(a *authority) (*tls.Config, *x509.Certificate) {
		made, private := a.make(&x509.Certificate{DNSNames: []string{"crm.systems.example.kz"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		return &tls.Config{
			RootCAs: trust, ClientSessionCache: sessions,
			Certificates: []tls.Certificate{{Certificate: [][]byte{made.Raw}, PrivateKey: private}},
		}, made
	}
	bearer := ""
	whoami := func(c *tls.Config) (status int, body string) {
		transport := &http.Transport{TLSClientConfig: c.Clone(), ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		req, err := http.NewRequest(http.MethodGet, s.API+"/v1/whoami", nil)
		if err != nil {
			t.Fatal(err)
		}
		if bearer != "" {
			req.Header.Set("Authorization", "Bearer "+bearer)
		}
		resp, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(req)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	good, cert1 := show(ours)
	if status, body := whoami(good); status != http.StatusOK || !strings.Contains(body, `"crm"`) || !strings.Contains(body, "application") {
		t.Errorf("with a certificate: %d %s", status, body)
	}
	if status, body := whoami(&tls.Config{RootCAs: trust}); status != http.StatusUnauthorized {
		t.Errorf("with nothing: %d %s", status, body)
	}
	foreign, _ := show(next)
	if status, body := whoami(foreign); status != 0 {
		t.Errorf("of an authority that is not in the bundle: %d %s", status, body)
	}

	sum := sha256.Sum256(cert1.Raw)
	write("revoked", []byte(hex.EncodeToString(sum[:])+"\n"))
	if status, body := whoami(good); status != http.StatusUnauthorized || strings.Contains(body, "revoked") {
		t.Errorf("revoked: %d %s", status, body)
	}
	token, err := os.ReadFile(filepath.Join(dir, "home", "dev.token"))
	if err != nil {
		t.Fatal(err)
	}
	bearer = strings.TrimSpace(string(token))
	if status, body := whoami(good); status != http.StatusUnauthorized {
		t.Errorf("revoked, with a token beside it: %d %s", status, body)
	}
	if status, body := whoami(&tls.Config{RootCAs: trust}); status != http.StatusOK {
		t.Errorf("with a token alone: %d %s", status, body)
	}
	bearer = ""
	write("revoked", nil)
	if status, body := whoami(good); status != http.StatusOK {
		t.Errorf("no more revoked: %d %s", status, body)
	}

	bundle(next)
	if status, body := whoami(foreign); status != http.StatusOK {
		t.Errorf("of the new bundle: %d %s", status, body)
	}
	if status, body := whoami(good); status != 0 {
		t.Errorf("of the old bundle: %d %s", status, body)
	}
}

// ask makes one request over a connection of its own and gives the name in the server's certificate.
func ask(url string, c *tls.Config) (name string, err error) {
	transport := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get(url + "/v1/whoami")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized || resp.ProtoMajor != 2 {
		return "", fmt.Errorf("status %d over %s", resp.StatusCode, resp.Proto)
	}
	return resp.TLS.PeerCertificates[0].Subject.CommonName, nil
}
