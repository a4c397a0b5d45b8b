package main

import (
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"sync"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// keys are the provider's, the newest last: that one signs.
type keys struct {
	mu  sync.Mutex
	all []key
}

type key struct {
	id      string
	private *rsa.PrivateKey
}

func (k key) ID() string                                  { return k.id }
func (k key) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k key) Key() any                                    { return k.private }

// public is a key as the key set has it.
type public struct{ key }

func (p public) Algorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (p public) Use() string                        { return "sig" }
func (p public) Key() any                           { return &p.private.PublicKey }

func newKeys() (*keys, error) {
	k := &keys{}
	return k, k.add()
}

func (k *keys) add() error {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all = append(k.all, key{uuid.NewString(), private})
	return nil
}

func (k *keys) signing() key {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.all[len(k.all)-1]
}

func (k *keys) set() []op.Key {
	k.mu.Lock()
	defer k.mu.Unlock()
	var set []op.Key
	for _, one := range k.all {
		set = append(set, public{one})
	}
	return set
}

func (k *keys) rotate(w http.ResponseWriter, _ *http.Request) {
	if err := k.add(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (k *keys) forget(http.ResponseWriter, *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all = k.all[len(k.all)-1:]
}
