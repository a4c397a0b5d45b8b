package authn_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/sandyq/sandyq/access/authn"
)

// signer is an issuer of the test's own, which signs whatever it is told to, right or wrong. It does its cryptography
// itself, apart from what verifies it.
type signer struct {
	*httptest.Server
	t        testing.TB
	rsa      *rsa.PrivateKey
	ecdsa    *ecdsa.PrivateKey
	ed25519  ed25519.PrivateKey
	kid      atomic.Pointer[string] // of the keys, as the key set has it
	document atomic.Pointer[func(issuer string) string]
	status   atomic.Int64           // of the key set's answer, when it is not 200
	fetches  atomic.Int64           // of the key set
	tokens   atomic.Pointer[string] // the answer of the token endpoint; nil sends the code elsewhere
	strayed  atomic.Int64           // codes that came there
}

func newSigner(t testing.TB) *signer {
	t.Helper()
	s := &signer{t: t}
	var err error
	if s.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	if s.ecdsa, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	if _, s.ed25519, err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	s.rename("1")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if document := s.document.Load(); document != nil {
			_, _ = w.Write([]byte((*document)(s.URL)))
			return
		}
		_, _ = fmt.Fprintf(w, `{"issuer": %q, "jwks_uri": %q, "authorization_endpoint": %q, "token_endpoint": %q}`,
			s.URL, s.URL+"/keys", s.URL+"/login", s.URL+"/token")
	})
	mux.HandleFunc("POST /elsewhere", func(http.ResponseWriter, *http.Request) { s.strayed.Add(1) })
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		if s.tokens.Load() == nil {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(*s.tokens.Load()))
	})
	mux.Handle("GET /moved", http.RedirectHandler("/keys", http.StatusFound))
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		s.fetches.Add(1)
		if status := s.status.Load(); status != 0 {
			w.WriteHeader(int(status))
			return
		}
		_, _ = w.Write(s.keys())
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// rename gives the keys another kid in the key set.
func (s *signer) rename(kid string) { s.kid.Store(&kid) }

func (s *signer) keys() []byte {
	kid := *s.kid.Load()
	point, err := s.ecdsa.PublicKey.Bytes()
	if err != nil {
		s.t.Error(err)
	}
	b, err := json.Marshal(map[string]any{"keys": []map[string]any{
		{"kty": "RSA", "use": "sig", "kid": "rsa" + kid, "n": b64(s.rsa.N.Bytes()), "e": b64(big.NewInt(int64(s.rsa.E)).Bytes())},
		{"kty": "EC", "crv": "P-256", "kid": "ec" + kid, "alg": "ES256", "x": b64(point[1:33]), "y": b64(point[33:])},
		{"kty": "OKP", "crv": "Ed25519", "kid": "ed" + kid, "x": b64(s.ed25519.Public().(ed25519.PublicKey))},
		{"kty": "RSA", "kid": "rs256", "alg": "RS256", "n": b64(s.rsa.N.Bytes()), "e": "AQAB"},
		{"kty": "RSA", "use": "enc", "kid": "enc", "n": b64(s.rsa.N.Bytes()), "e": "AQAB"},
		{"kty": "oct", "kid": "oct", "k": b64([]byte("a symmetric key"))},
		{"kty": "OKP", "crv": "Ed448", "kid": "ed448", "x": "AAAA"},
	}})
	if err != nil {
		s.t.Error(err)
	}
	return b
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// said is what a token's header or claims say.
type said map[string]any

// with is said with a change; nil takes a member away.
func (m said) with(name string, value any) said {
	changed := said{}
	for k, v := range m {
		changed[k] = v
	}
	if changed[name] = value; value == nil {
		delete(changed, name)
	}
	return changed
}

// claims are those of a good token.
func (s *signer) claims(now time.Time) said {
	return said{
		"iss": s.URL, "aud": "sandyq", "sub": "e-1042", "azp": "web", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"roles": []string{"dpo"}, "employee": "a.sarsenova",
	}
}

var rs256 = said{"alg": "RS256", "typ": "at+jwt", "kid": "rsa1"}

// sign makes a token that its alg is true of.
func (s *signer) sign(head, claims said) string {
	s.t.Helper()
	h, err := json.Marshal(head)
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := json.Marshal(claims)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.signText(fmt.Sprint(head["alg"]), string(h), string(c))
}

func (s *signer) signText(alg, head, claims string) string {
	text := b64([]byte(head)) + "." + b64([]byte(claims))
	sum := sha256.Sum256([]byte(text))
	var signature []byte
	var err error
	switch alg {
	case "RS256":
		signature, err = rsa.SignPKCS1v15(rand.Reader, s.rsa, crypto.SHA256, sum[:])
	case "PS256":
		signature, err = rsa.SignPSS(rand.Reader, s.rsa, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	case "ES256":
		var r, v *big.Int
		if r, v, err = ecdsa.Sign(rand.Reader, s.ecdsa, sum[:]); err == nil {
			signature = append(r.FillBytes(make([]byte, 32)), v.FillBytes(make([]byte, 32))...)
		}
	case "EdDSA":
		signature = ed25519.Sign(s.ed25519, []byte(text))
	case "HS256": // with the public key as everybody knows it
		der, failed := x509.MarshalPKIXPublicKey(&s.rsa.PublicKey)
		mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		_, _ = mac.Write([]byte(text))
		signature, err = mac.Sum(nil), failed
	case "none":
		return text + "."
	default:
		signature = []byte(strings.Repeat("x", 256))
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return text + "." + b64(signature)
}

// config is what the vault believes of the signer's tokens.
func (s *signer) config() authn.IssuerConfig {
	return authn.IssuerConfig{
		Name: "own", URL: s.URL, Audience: "sandyq", Tenant: "main", Kind: authn.KindStaff,
		Roles: map[string]string{"dpo": "privacy_officer", "cc": "support"}, SystemsClaim: "systems",
		Strong: authn.StrongConfig{ACR: []string{"high"}, AMR: []string{"hwk"}},
	}
}
