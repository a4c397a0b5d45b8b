package vault

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/clock"
)

// openKeys are keys of one provider, kept open for a while. An absent key is kept as Missing, and only under the sentinel that the provider
// was pinned by.
type openKeys struct {
	provider kms.Provider
	pinned   kms.Sentinel
	clock    clock.Clock
	keys     map[kms.ID]kms.Key

	unanswered time.Time // when keys were last asked for that may come yet; zero when all were answered
}

// mostOpen is how many keys are kept at most before the next rows are looked at.
const mostOpen = 4096

func newOpenKeys(p kms.Provider, pinned kms.Sentinel, c clock.Clock) *openKeys {
	return &openKeys{provider: p, pinned: pinned, clock: c, keys: map[kms.ID]kms.Key{}}
}

// open returns keys by their ids. They are wiped by the second call after this, at the latest by forget.
func (o *openKeys) open(ctx context.Context, ids []kms.ID) (map[kms.ID]kms.Key, error) {
	if len(o.keys) > mostOpen {
		o.forget()
	}
	lacking := slices.DeleteFunc(slices.Clone(ids), func(k kms.ID) bool { _, open := o.keys[k]; return open })
	absent := false
	for batch := range slices.Chunk(lacking, destroysAtOnce) {
		opened, err := o.provider.Open(ctx, batch...)
		if err != nil {
			return nil, fmt.Errorf("open keys: %w", err)
		}
		for i, k := range opened {
			o.keys[batch[i]] = k
			absent = absent || k.Missing()
		}
	}
	if !absent {
		return o.keys, nil
	}
	sentinel, err := o.provider.Sentinel(ctx)
	if err == nil && sentinel != o.pinned {
		err = kms.ErrClaim
	}
	if err != nil {
		o.forget()
		return nil, fmt.Errorf("whether keys are absent: %w", err)
	}
	return o.keys, nil
}

// make returns keys by their ids, and makes those that there are not. What counts is what the provider gives out afterwards: a key may have
// been made by an earlier try whose answer was lost. One that comes later yet does not go unnoticed: see Rekeying.Retire.
func (o *openKeys) make(ctx context.Context, ids []kms.ID) (map[kms.ID]kms.Key, error) {
	keys, err := o.open(ctx, ids)
	if err != nil {
		return nil, err
	}
	lacking := slices.DeleteFunc(slices.Clone(ids), func(k kms.ID) bool { return !keys[k].Missing() })
	for batch := range slices.Chunk(lacking, destroysAtOnce) {
		made, err := o.provider.Create(ctx, batch...)
		for _, k := range made {
			k.Secret.Wipe()
		}
		for _, k := range batch {
			delete(o.keys, k)
		}
		if err != nil {
			o.unanswered = o.clock()
			return nil, fmt.Errorf("make keys: %w", err)
		}
	}
	if keys, err = o.open(ctx, ids); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(ids, func(k kms.ID) bool { return keys[k].Missing() }) {
		return nil, fmt.Errorf("keys that were just made are not there: %w", kms.ErrUnavailable)
	}
	return keys, nil
}

func (o *openKeys) forget() {
	for _, k := range o.keys {
		k.Secret.Wipe()
	}
	clear(o.keys)
}
