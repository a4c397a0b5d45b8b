package authn

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// How keys are kept. An issuer that withdraws a key is heard within keysFresh; one that is away is believed, by the keys it
// had, for keysUsable.
const (
	keysFresh  = 5 * time.Minute
	keysUsable = time.Hour
	fetchPause = 10 * time.Second // between fetches, whatever tokens ask for them
	fetchLimit = 2 * time.Second  // for discovery and keys together
	maxBackoff = time.Minute      // after failures, from a second on
	maxKeys    = 64
	minRSA     = 2048 // bits
)

// The ways in which a signature is not verified.
var (
	errAway      = errors.New("authn: the issuer is out of reach")
	errUnknown   = errors.New("authn: token: no key of the issuer has this kid")
	errSignature = errors.New("authn: token: the signature does not verify")
)

// keySet is the keys of an issuer, by discovery (OpenID Connect Discovery 1.0, 4). It is fetched at first use, again when it
// is old or a token names a key that is not in it, and never sooner than a
// pause after the last time: forged tokens make no load.
type keySet struct {
	name, url  string
	algorithms []jose.SignatureAlgorithm
	client     *http.Client
	pause      time.Duration // after a fetch that went well
	now        func() time.Time
	log        *slog.Logger

	fetching chan struct{} // holds one token; who takes it fetches

	mu       sync.Mutex // guards what follows
	keys     []jose.JSONWebKey
	fetched  time.Time // when keys was right
	next     time.Time // no fetch before
	failures int       // since the last success
	provider *oidc.Provider
}

func newKeySet(c IssuerConfig, client *http.Client, pause time.Duration, o Options) *keySet {
	s := &keySet{name: c.Name, url: c.URL, client: client, pause: pause, now: o.Now, log: o.Log, fetching: make(chan struct{}, 1)}
	for _, a := range c.Algorithms {
		s.algorithms = append(s.algorithms, jose.SignatureAlgorithm(a))
	}
	return s
}

// VerifySignature implements oidc.KeySet. Only the algorithms of the configuration are verified.
func (s *keySet) VerifySignature(ctx context.Context, token string) (payload []byte, err error) {
	signed, err := jose.ParseSignedCompact(token, s.algorithms)
	if err != nil {
		return nil, errToken("the algorithm is not accepted, or it does not parse")
	}
	h := signed.Signatures[0].Protected
	keys, err := s.of(ctx, h.KeyID)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if key.Algorithm != "" && key.Algorithm != h.Algorithm {
			continue
		}
		if payload, err := signed.Verify(key.Key); err == nil {
			return payload, nil
		}
	}
	return nil, errSignature
}

// of gives the keys of this kid, of no kid every key. errUnknown says that the issuer has none, errAway that it could not be
// asked.
func (s *keySet) of(ctx context.Context, kid string) ([]jose.JSONWebKey, error) {
	keys, due, err := s.known(kid)
	if !due {
		return keys, err
	}
	if len(keys) > 0 {
		// Old but good: one caller refreshes them and the others do not wait for it.
		select {
		case s.fetching <- struct{}{}:
		default:
			return keys, nil
		}
	} else {
		select {
		case s.fetching <- struct{}{}:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", errAway, ctx.Err())
		}
	}
	defer func() { <-s.fetching }()
	if keys, due, err = s.known(kid); !due { // another caller was first
		return keys, err
	}
	s.refresh(ctx)
	keys, _, err = s.known(kid)
	return keys, err
}

// known gives the keys of this kid that may be used, and whether the issuer should be asked, and may.
func (s *keySet) known(kid string) (keys []jose.JSONWebKey, due bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	age := now.Sub(s.fetched)
	if age < keysUsable {
		for _, key := range s.keys {
			if kid == "" || key.KeyID == kid {
				keys = append(keys, key)
			}
		}
	}
	due = (len(keys) == 0 || age >= keysFresh) && !now.Before(s.next)
	switch {
	case len(keys) > 0:
		return keys, due, nil
	case s.failures > 0 || s.keys == nil:
		return nil, due, errAway
	default:
		return nil, due, errUnknown
	}
}

// refresh asks the issuer and keeps what it says. That a caller goes away does not end it: others wait for it, too.
func (s *keySet) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchLimit)
	defer cancel()
	s.mu.Lock()
	provider := s.provider
	s.mu.Unlock()
	provider, keys, err := s.fetch(ctx, provider)

	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if err != nil {
		backoff := min(time.Second<<min(s.failures, 10), maxBackoff)
		if s.failures++; s.failures == 1 {
			s.log.Warn("an issuer of tokens is out of reach", "issuer", s.name, "error", err)
		}
		s.provider, s.next = nil, now.Add(backoff)
		return
	}
	if s.failures > 0 {
		s.log.Info("an issuer of tokens is back", "issuer", s.name)
	}
	s.provider, s.keys, s.fetched, s.next, s.failures = provider, keys, now, now.Add(s.pause), 0
}

// fetch asks for the keys, and before for where they are unless provider is known.
func (s *keySet) fetch(ctx context.Context, provider *oidc.Provider) (*oidc.Provider, []jose.JSONWebKey, error) {
	if provider == nil {
		var err error
		if provider, err = oidc.NewProvider(oidc.ClientContext(ctx, s.client), s.url); err != nil {
			return nil, nil, fmt.Errorf("discover: %w", err)
		}
	}
	var metadata struct {
		Keys string `json:"jwks_uri"`
	}
	if err := provider.Claims(&metadata); err != nil {
		return nil, nil, fmt.Errorf("discover: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, metadata.Keys, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("fetch the keys: %w", err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("fetch the keys: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	var set struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := json.UnmarshalRead(resp.Body, &set); err != nil {
		return nil, nil, fmt.Errorf("fetch the keys: %w", err)
	}
	keys := verifying(set.Keys)
	if len(keys) == 0 || len(keys) > maxKeys {
		return nil, nil, fmt.Errorf("fetch the keys: %d of %d can be used", len(keys), len(set.Keys))
	}
	return provider, keys, nil
}

// verifying picks the public keys that signatures are verified with. A set may hold others (RFC 7517, 5).
func verifying(set []jsontext.Value) []jose.JSONWebKey {
	var keys []jose.JSONWebKey
	for _, raw := range set {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) != nil || key.Use != "" && key.Use != "sig" {
			continue
		}
		switch public := key.Key.(type) {
		case *rsa.PublicKey:
			if public.N.BitLen() < minRSA {
				continue
			}
		case *ecdsa.PublicKey, ed25519.PublicKey:
		default: // private and symmetric ones
			continue
		}
		keys = append(keys, key)
	}
	return keys
}
