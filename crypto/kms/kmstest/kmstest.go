// Package kmstest is the conformance suite of [kms.Provider]: what every provider does, whatever keeps its keys.
//
// A provider's own tests call [Run] and add what only they can break: a torn file, a sealed server, a lost answer.
package kmstest

import (
	"context"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
)

// Opener opens one set-up of a provider. It may be called again while an earlier provider is still open, as a second
// process would. The test closes what it opened; the opener's own cleanup comes after that.
type Opener func(t *testing.T) kms.Provider

// Run checks a provider. Each call of setup makes a fresh set-up: new sentinel, new index key, new signing key of one version,
// no subject keys, the zero generation and mark.
func Run(t *testing.T, setup func(t *testing.T) Opener) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Opener)
	}{
		{"create and open", createOpen},
		{"order", order},
		{"nothing asked", nothingAsked},
		{"missing", missing},
		{"write once", writeOnce},
		{"write once under a race", writeOnceRace},
		{"an id twice in one call", sameIDTwice},
		{"destroy", destroy},
		{"destroy again", destroyAgain},
		{"destroy many", destroyMany},
		{"claim of another generation", claimGeneration},
		{"claim before the first generation", claimZero},
		{"claim of a superseded generation", claimSuperseded},
		{"generation", generation},
		{"generation race", generationRace},
		{"mark", mark},
		{"mark race", markRace},
		{"mark over a reopen", markReopen},
		{"sign", sign},
		{"sign before all else", signFirst},
		{"sign as every version", signVersions},
		{"first signature under a race", signFirstRace},
		{"rotation race", rotateRace},
		{"signing keys over a reopen", signReopen},
		{"MAC", mac},
		{"MAC many", macMany},
		{"reopen", reopen},
		{"large batch", largeBatch},
		{"ended context", endedContext},
		{"closed", closed},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, setup(t)) })
	}
	t.Run("claim on a fresh provider", func(t *testing.T) { claimFresh(t, setup(t), setup(t)) })
	t.Run("signing key of another set-up", func(t *testing.T) { signOther(t, setup(t), setup(t)) })
	t.Run("MAC of another set-up", func(t *testing.T) { macOther(t, setup(t), setup(t)) })
}

// patience bounds one step of a test, so that a provider that hangs fails instead of stopping the run.
const patience = 30 * time.Second

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func open(t *testing.T, o Opener) kms.Provider {
	t.Helper()
	p := o(t)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return p
}

// ids draws n fresh ids.
func ids(n int) []kms.ID {
	out := make([]kms.ID, n)
	for i := range out {
		out[i] = kms.NewID()
	}
	return out
}

func create(t *testing.T, p kms.Provider, id ...kms.ID) []kms.Key {
	t.Helper()
	keys, err := p.Create(bounded(t), id...)
	if err != nil {
		t.Fatalf("create %d keys: %v", len(id), err)
	}
	wantKeys(t, keys, id)
	return keys
}

func openKeys(t *testing.T, p kms.Provider, id ...kms.ID) []kms.Key {
	t.Helper()
	keys, err := p.Open(bounded(t), id...)
	if err != nil {
		t.Fatalf("open %d keys: %v", len(id), err)
	}
	if len(keys) != len(id) {
		t.Fatalf("open of %d ids answers %d keys", len(id), len(keys))
	}
	return keys
}

// wantKeys checks that keys are whole and in the order of id.
func wantKeys(t *testing.T, keys []kms.Key, id []kms.ID) {
	t.Helper()
	if len(keys) != len(id) {
		t.Fatalf("%d ids answer %d keys", len(id), len(keys))
	}
	for i, k := range keys {
		if k.ID != id[i] {
			t.Fatalf("key %d has id %s, want %s", i, k.ID, id[i])
		}
		if k.Secret.Len() != kms.KeySize {
			t.Fatalf("key %d has %d bytes, want %d", i, k.Secret.Len(), kms.KeySize)
		}
	}
}

func wantMissing(t *testing.T, p kms.Provider, id ...kms.ID) {
	t.Helper()
	for i, k := range openKeys(t, p, id...) {
		if !k.Missing() || k.ID != id[i] {
			t.Fatalf("key %d of %d is there, want it missing", i, len(id))
		}
	}
}

// Claim makes the next generation current, as making a store the live one does, and returns the claim that holds then.
func Claim(t *testing.T, p kms.Provider) kms.Claim {
	t.Helper()
	sentinel, err := p.Sentinel(bounded(t))
	if err != nil {
		t.Fatalf("sentinel: %v", err)
	}
	now, err := p.Generation(bounded(t))
	if err != nil {
		t.Fatalf("generation: %v", err)
	}
	next := after(now)
	if err := p.Advance(bounded(t), now, next); err != nil {
		t.Fatalf("advance from %s: %v", now, err)
	}
	return kms.Claim{Sentinel: sentinel, Generation: next}
}

func after(g kms.Generation) kms.Generation {
	return kms.Generation{Number: g.Number + 1, Instance: kms.NewID()}
}
