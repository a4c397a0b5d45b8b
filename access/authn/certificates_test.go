package authn_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/authn"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/fault"
)

// authority signs certificates and revocation lists.
type authority struct {
	t     *testing.T
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	above []*x509.Certificate // those between it and the root, its own included
}

var serial atomic.Int64

// authorities gives a root and an authority below it.
func authorities(t *testing.T) (root, below *authority) {
	root = &authority{t: t}
	root.cert, root.key = root.make(ca("root"))
	below = &authority{t: t}
	below.cert, below.key = root.make(ca("below"))
	below.above = []*x509.Certificate{below.cert}
	return root, below
}

func ca(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

func (a *authority) make(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	now := clock.System()
	template.SerialNumber = big.NewInt(1<<40 + serial.Add(1))
	if template.NotAfter.IsZero() {
		template.NotAfter = now.Add(time.Hour)
	}
	template.NotBefore = now.Add(-2 * time.Hour)
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

// client makes a client's certificate with these names, URIs or DNS names.
func (a *authority) client(names ...string) *x509.Certificate {
	cert, _ := a.make(named(names...))
	return cert
}

func named(names ...string) *x509.Certificate {
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "client"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, name := range names {
		if u, err := url.Parse(name); err == nil && u.Scheme != "" {
			template.URIs = append(template.URIs, u)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return template
}

// shown is a connection over which a certificate was shown and verified.
func (a *authority) shown(root, leaf *x509.Certificate) *tls.ConnectionState {
	chain := append([]*x509.Certificate{leaf}, a.above...)
	return &tls.ConnectionState{PeerCertificates: chain, VerifiedChains: [][]*x509.Certificate{append(chain[:len(chain):len(chain)], root)}}
}

// crl is a revocation list, as PEM.
func (a *authority) crl(next time.Duration, revoked ...*x509.Certificate) []byte {
	a.t.Helper()
	return a.crlWith(nil, next, revoked...)
}

// crlWith is crl with extensions.
func (a *authority) crlWith(more []pkix.Extension, next time.Duration, revoked ...*x509.Certificate) []byte {
	a.t.Helper()
	now := clock.System()
	template := &x509.RevocationList{Number: big.NewInt(serial.Add(1)), ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(next), ExtraExtensions: more}
	for _, c := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: now})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, a.cert, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

func mapped() authn.CertificatesConfig {
	return authn.CertificatesConfig{
		URIPrefix: "spiffe://example.kz/", DNSSuffix: ".systems.example.kz", Tenant: "main",
		Systems: map[string]string{"spiffe://example.kz/ns/pay": "billing", "legacy.example.kz": "legacy"},
	}
}

func newCertificates(t *testing.T, c authn.CertificatesConfig, o authn.Options) *authn.Certificates {
	t.Helper()
	made, err := authn.NewCertificates(c, o)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestNames(t *testing.T) {
	root, below := authorities(t)
	certificates := newCertificates(t, mapped(), options(&hands{}))
	for _, test := range []struct {
		names []string
		want  string
	}{
		{[]string{"spiffe://example.kz/crm"}, "crm"},
		{[]string{"crm.systems.example.kz"}, "crm"},
		{[]string{"CRM.Systems.example.kz"}, "crm"},
		{[]string{"spiffe://example.kz/ns/pay"}, "billing"},
		{[]string{"legacy.example.kz"}, "legacy"},
		{[]string{"spiffe://example.kz/crm", "crm.systems.example.kz", "other.example", "https://other.example/"}, "crm"},
		{[]string{"spiffe://example.kz/crm", "spiffe://example.kz/billing"}, ""},
		{[]string{"spiffe://example.kz/crm", "billing.systems.example.kz"}, ""},
		{[]string{"spiffe://example.kz/crm", "spiffe://example.kz/ns/x"}, ""},
		{[]string{"spiffe://example.kz/ns/x"}, ""},
		{[]string{"spiffe://example.kz/"}, ""},
		{[]string{"spiffe://example.kz/CRM"}, ""},
		{[]string{"spiffe://example.kz.evil/crm"}, ""},
		{[]string{"spiffe://evil/spiffe://example.kz/crm"}, ""},
		{[]string{"systems.example.kz"}, ""},
		{[]string{"crm.systems.example.kz.evil"}, ""},
		{[]string{"other.example"}, ""},
		{nil, ""},
	} {
		leaf := below.client(test.names...)
		p, err := certificates.Principal(below.shown(root.cert, leaf))
		if test.want == "" {
			if !errors.Is(err, fault.Unauthenticated) || p.System != "" || p.Roles != nil || strings.Contains(err.Error(), "example") {
				t.Errorf("%v: %+v, %v", test.names, p, err)
			}
			continue
		}
		sum := sha256.Sum256(leaf.Raw)
		if err != nil || p.System != test.want || p.Tenant != "main" || !p.Strong || p.VaultWide() || !p.Has(access.Application) ||
			p.Credential != "x509:"+hex.EncodeToString(sum[:16]) {
			t.Errorf("%v: %+v, %v", test.names, p, err)
		}
	}
}

func TestRefusedConnections(t *testing.T) {
	root, below := authorities(t)
	h := &hands{}
	certificates := newCertificates(t, mapped(), options(h))
	server, _ := below.make(&x509.Certificate{DNSNames: []string{"crm.systems.example.kz"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	unmarked, _ := below.make(&x509.Certificate{DNSNames: []string{"crm.systems.example.kz"}})
	good := below.shown(root.cert, below.client("crm.systems.example.kz"))
	for name, state := range map[string]*tls.ConnectionState{
		"no TLS":         nil,
		"none":           {},
		"not verified":   {PeerCertificates: good.PeerCertificates},
		"a server's":     below.shown(root.cert, server),
		"of no purpose":  below.shown(root.cert, unmarked),
		"a common name":  below.shown(root.cert, below.client()),
		"an authority's": {PeerCertificates: []*x509.Certificate{below.cert}, VerifiedChains: [][]*x509.Certificate{{below.cert, root.cert}}},
	} {
		if p, err := certificates.Principal(state); !errors.Is(err, fault.Unauthenticated) || p.System != "" {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	if _, err := certificates.Principal(good); err != nil {
		t.Fatal(err)
	}
	if _, err := (*authn.Certificates)(nil).Principal(good); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("where no certificate is a system: %v", err)
	}
	h.move(61 * time.Minute)
	if _, err := certificates.Principal(good); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("it expired while the connection lived: %v", err)
	}
	h.move(-4 * time.Hour)
	if _, err := certificates.Principal(good); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("before its time: %v", err)
	}
}

// TestRevocation: each form of a list, and each way in which it goes wrong.
func TestRevocation(t *testing.T) {
	root, below := authorities(t)
	_, stranger := authorities(t) // another authority of the same name
	leaf, other := below.client("spiffe://example.kz/crm"), below.client("spiffe://example.kz/billing")
	direct := root.client("spiffe://example.kz/direct")
	hour := time.Hour
	// An issuing distribution point that says onlyContainsUserCerts (RFC 5280, 5.2.5).
	ofAPart := []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 3, 0x81, 1, 0xff}}}
	block, _ := pem.Decode(below.crl(hour, leaf))
	sum, above := sha256.Sum256(leaf.Raw), sha256.Sum256(below.cert.Raw)
	colons := func(b []byte) string {
		var pairs []string
		for _, c := range b {
			pairs = append(pairs, strings.ToUpper(hex.EncodeToString([]byte{c})))
		}
		return strings.Join(pairs, ":")
	}
	var log bytes.Buffer
	o := options(&hands{})
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	c := mapped()
	c.RevokedFile = filepath.Join(t.TempDir(), "revoked")
	certificates := newCertificates(t, c, o)
	if !strings.Contains(log.String(), "every client certificate is refused") {
		t.Errorf("the log of a list that is not there: %s", &log)
	}
	let := func(by *authority, leaf *x509.Certificate) bool {
		_, err := certificates.Principal(by.shown(root.cert, leaf))
		if err != nil && !errors.Is(err, fault.Unauthenticated) {
			t.Error(err)
		}
		return err == nil
	}
	if let(below, leaf) || let(below, other) {
		t.Error("without its list somebody is let in")
	}
	for _, test := range []struct {
		name                string
		list                []byte
		leaf, other, direct bool
	}{
		{"empty", nil, true, true, true},
		{"a comment", []byte("# nothing is revoked\n\n"), true, true, true},
		{"fingerprint", []byte(hex.EncodeToString(sum[:]) + " # lost\n"), false, true, true},
		{"fingerprint with colons", []byte("# lost\r\n" + colons(sum[:]) + "\r\n"), false, true, true},
		{"serial", []byte(leaf.SerialNumber.Text(16)), false, true, true},
		{"serial as openssl has it", []byte("0" + strings.ToUpper(leaf.SerialNumber.Text(16)) + "\n"), false, true, true},
		{"authority", []byte(hex.EncodeToString(above[:])), false, false, true},
		{"neither", []byte("crm\n"), false, false, false},
		{"half a fingerprint", []byte(hex.EncodeToString(sum[:24])), false, false, false},
		{"both lists", append(below.crl(hour, leaf), root.crl(hour)...), false, true, true},
		{"lists of nobody", append(below.crl(hour), root.crl(hour)...), true, true, true},
		{"one authority's", below.crl(hour, leaf), false, true, false},
		{"DER", block.Bytes, false, true, false},
		{"the authority revoked", append(below.crl(hour), root.crl(hour, below.cert)...), false, false, true},
		{"out of date", append(below.crl(-time.Second), root.crl(hour)...), false, false, true},
		{"the authority's out of date", append(below.crl(hour), root.crl(-time.Second)...), false, false, false},
		{"a stranger's", append(stranger.crl(hour), root.crl(hour)...), false, false, true},
		{"a stranger's beside it", append(stranger.crl(hour, other), append(below.crl(hour, leaf), root.crl(hour)...)...), false, true, true},
		{"of a part", append(below.crlWith(ofAPart, hour, leaf), root.crl(hour)...), false, false, false},
		{"cut short", append(below.crl(hour, leaf), root.crl(hour)[:100]...), false, false, false},
		{"DER cut short", block.Bytes[:len(block.Bytes)-1], false, false, false},
		{"certificates", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}), false, false, false},
	} {
		replace(t, c.RevokedFile, test.list)
		if got := [3]bool{let(below, leaf), let(below, other), let(root, direct)}; got != [3]bool{test.leaf, test.other, test.direct} {
			t.Errorf("%s: %v, want %v", test.name, got, []bool{test.leaf, test.other, test.direct})
		}
	}
	log.Reset()
	for range 10 {
		_ = let(below, leaf)
	}
	if log.Len() != 0 {
		t.Errorf("the same trouble is logged again: %s", &log)
	}
	if err := os.Remove(c.RevokedFile); err != nil {
		t.Fatal(err)
	}
	if let(below, leaf) || !strings.Contains(log.String(), "every client certificate is refused") {
		t.Errorf("the list was taken away: %s", &log)
	}
	replace(t, c.RevokedFile, nil)
	if !let(below, leaf) || !strings.Contains(log.String(), "can be read again") {
		t.Errorf("the list is back: %s", &log)
	}
}

var renewed atomic.Int64

// replace puts another file in the place of one, of a time of its own: tests are faster than some clocks of files.
func replace(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	at := clock.System().Add(time.Duration(renewed.Add(1)) * time.Second)
	if err := os.Chtimes(path+".new", at, at); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// TestRunningServer: over real connections, a certificate that is revoked while a connection lives is refused at its next
// request, and a token bound to a certificate is good with that one only.
func TestRunningServer(t *testing.T) {
	root, below := authorities(t)
	s, h := newSigner(t), &hands{}
	issuers := newIssuers(t, h, s.config())
	c := mapped()
	c.RevokedFile = filepath.Join(t.TempDir(), "revoked")
	replace(t, c.RevokedFile, nil)
	certificates := newCertificates(t, c, options(h))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var p access.Principal
		var err error
		if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); !ok {
			p, err = certificates.Principal(r.TLS)
		} else if err = certificates.Connection(r.TLS); err == nil {
			p, err = issuers.Verify(authn.WithConnection(r.Context(), r.TLS), token)
		}
		if err != nil || !p.Strong {
			w.WriteHeader(http.StatusUnauthorized)
		}
		_, _ = w.Write([]byte(p.System))
	}))
	pool := x509.NewCertPool()
	pool.AddCert(root.cert)
	server.TLS = &tls.Config{ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()

	connect := func(template *x509.Certificate) (*http.Client, *x509.Certificate) {
		leaf, key := below.make(template)
		trust := x509.NewCertPool()
		trust.AddCert(server.Certificate())
		transport := &http.Transport{TLSClientConfig: &tls.Config{
			RootCAs: trust, MinVersion: tls.VersionTLS12,
			Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw, below.cert.Raw}, PrivateKey: key}},
		}}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}, leaf
	}
	ask := func(c *http.Client, token string) (string, error) {
		req, err := http.NewRequest(http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := c.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		var b bytes.Buffer
		if _, err := b.ReadFrom(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			return "", errors.New(resp.Status)
		}
		return b.String(), nil
	}
	crm, leaf := connect(named("spiffe://example.kz/crm"))
	billing, _ := connect(named("billing.systems.example.kz"))
	for client, want := range map[*http.Client]string{crm: "crm", billing: "billing"} {
		if got, err := ask(client, ""); got != want || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}

	sum := sha256.Sum256(leaf.Raw)
	bound := s.sign(rs256, s.claims(h.now()).with("cnf", said{"x5t#S256": b64(sum[:])}))
	if got, err := ask(crm, bound); got != "own/e-1042" || err != nil {
		t.Errorf("a bound token: %q, %v", got, err)
	}
	more := s.sign(rs256, s.claims(h.now()).with("cnf", said{"x5t#S256": b64(sum[:]), "jkt": "x"}))
	for name, try := range map[string]func() (string, error){
		"with another certificate": func() (string, error) { return ask(billing, bound) },
		"bound to more":            func() (string, error) { return ask(crm, more) },
	} {
		if got, err := try(); err == nil {
			t.Errorf("a bound token %s: %q", name, got)
		}
	}

	replace(t, c.RevokedFile, []byte(hex.EncodeToString(sum[:])))
	for _, token := range []string{"", bound, s.sign(rs256, s.claims(h.now()).with("acr", "high"))} {
		if got, err := ask(crm, token); err == nil {
			t.Errorf("revoked, over the connection of before: %q", got)
		}
	}
	if got, err := ask(billing, ""); got != "billing" || err != nil {
		t.Errorf("the other: %q, %v", got, err)
	}

	late := named("spiffe://example.kz/crm")
	late.NotAfter = clock.System().Add(-time.Minute)
	expired, _ := connect(late)
	wrong := named("spiffe://example.kz/crm")
	wrong.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	notClient, _ := connect(wrong)
	for name, c := range map[string]*http.Client{"expired": expired, "a server's": notClient} {
		if got, err := ask(c, ""); err == nil || errors.As(err, new(*net.DNSError)) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestCertificateRules(t *testing.T) {
	for name, c := range map[string]authn.CertificatesConfig{
		"nothing":              {RevokedFile: "x"},
		"a prefix of a host":   {URIPrefix: "spiffe://example.kz"},
		"a prefix of nothing":  {URIPrefix: "/"},
		"a suffix of a name":   {DNSSuffix: "systems.example.kz"},
		"a suffix of nothing":  {DNSSuffix: "."},
		"no system's name":     {Systems: map[string]string{"a.example": "A"}},
		"no tenant's name":     {DNSSuffix: ".example", Tenant: "A"},
		"a system with a path": {Systems: map[string]string{"a.example": "a/b"}},
	} {
		if _, err := authn.NewCertificates(c, options(&hands{})); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
