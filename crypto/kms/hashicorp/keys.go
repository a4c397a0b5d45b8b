package hashicorp

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/secret"
)

// entryVersion is of the format of entries in KV version 1.
const entryVersion = 1

// keyEntry is what lies under a key's id.
type keyEntry struct {
	Version int    `json:"v"`
	Key     string `json:"key"` // Transit's ciphertext of the subject key
}

// context binds a wrapped key to its tenant and id: length-prefixed, so that no two pairs read alike.
func (n names) context(id kms.ID) []byte {
	b := []byte("sandyq/hashicorp/key/\x01")
	for _, part := range [][]byte{[]byte(n.tenant), id[:]} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return b
}

// wrapItem is one of a batch for Transit.
type wrapItem struct {
	Plaintext  []byte `json:"plaintext,omitempty"`
	Ciphertext string `json:"ciphertext,omitempty"`
	Context    []byte `json:"associated_data"`
}

// transit has Transit encrypt or decrypt a batch. Every item of the answer is there, in order.
func (c *conn) transit(ctx context.Context, path string, items []wrapItem) ([]wrapItem, error) {
	var answer struct {
		Data struct {
			Results []wrapItem `json:"batch_results"`
		} `json:"data"`
	}
	body := map[string]any{"batch_input": items}
	if err := c.do(ctx, request{method: http.MethodPut, path: path, body: body}, &answer); err != nil {
		return nil, err
	}
	if len(answer.Data.Results) != len(items) {
		return nil, fmt.Errorf("%w: %d answers to a batch of %d", kms.ErrUnavailable, len(answer.Data.Results), len(items))
	}
	return answer.Data.Results, nil
}

// Create implements [kms.KMS].
func (v *Vault) Create(ctx context.Context, ids ...kms.ID) ([]kms.Key, error) {
	ctx, end, err := v.beginShed(ctx)
	if err != nil {
		return nil, fmt.Errorf("hashicorp: create keys: %w", err)
	}
	defer end()
	release, err := v.reserve(ids)
	if err != nil {
		return nil, fmt.Errorf("hashicorp: create keys: %w", err)
	}
	defer release()
	keys := make([]kms.Key, len(ids))
	for i, id := range ids {
		b := make([]byte, kms.KeySize)
		_, _ = rand.Read(b) // never fails (crypto/rand)
		keys[i] = kms.Key{ID: id, Secret: secret.New(b)}
	}
	err = v.serve.chunks(ctx, len(keys), keyChunk, func(ctx context.Context, from, to int) error {
		return v.createChunk(ctx, keys[from:to])
	})
	if err != nil {
		for _, k := range keys {
			k.Secret.Wipe()
		}
		return nil, fmt.Errorf("hashicorp: create keys: %w", err)
	}
	return keys, nil
}

// reserve keeps calls of this process from creating one id at the same moment.
func (v *Vault) reserve(ids []kms.ID) (release func(), err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i, id := range ids {
		if _, taken := v.creating[id]; taken {
			v.release(ids[:i])
			return nil, fmt.Errorf("%w: %s is asked for twice", kms.ErrExists, id)
		}
		v.creating[id] = struct{}{}
	}
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.release(ids)
	}, nil
}

// release ends a reservation. The caller holds mu.
func (v *Vault) release(ids []kms.ID) {
	for _, id := range ids {
		delete(v.creating, id)
	}
}

func (v *Vault) createChunk(ctx context.Context, keys []kms.Key) error {
	items := make([]wrapItem, len(keys))
	for i, k := range keys {
		items[i] = wrapItem{Plaintext: k.Secret.Expose(), Context: v.names.context(k.ID)}
	}
	wrapped, err := v.serve.transit(ctx, v.names.encrypt(), items)
	if err != nil {
		return fmt.Errorf("wrap: %w", err)
	}
	return v.serve.each(ctx, len(keys), func(ctx context.Context, i int) error {
		if !isCiphertext(wrapped[i].Ciphertext) {
			return fmt.Errorf("%w: Transit answers no ciphertext", kms.ErrUnavailable)
		}
		return v.put(ctx, keys[i].ID, keyEntry{entryVersion, wrapped[i].Ciphertext})
	})
}

// put writes a key's entry. Vault denies a write over an entry, as it denies any other update.
func (v *Vault) put(ctx context.Context, id kms.ID, entry keyEntry) error {
	path := v.names.key(id)
	err := v.serve.do(ctx, request{method: http.MethodPut, path: path, body: entry, once: true}, nil)
	if !errors.Is(err, errDenied) {
		return err
	}
	if err := v.serve.do(ctx, request{method: http.MethodGet, path: path}, nil); err != nil {
		return fmt.Errorf("create %s: %w", id, errDenied)
	}
	return fmt.Errorf("%w: %s", kms.ErrExists, id)
}

func isCiphertext(s string) bool { return strings.HasPrefix(s, "vault:v") }

// Open implements [kms.KMS].
func (v *Vault) Open(ctx context.Context, ids ...kms.ID) ([]kms.Key, error) {
	ctx, end, err := v.beginShed(ctx)
	if err != nil {
		return nil, fmt.Errorf("hashicorp: open keys: %w", err)
	}
	defer end()
	keys := make([]kms.Key, len(ids))
	err = v.serve.chunks(ctx, len(ids), keyChunk, func(ctx context.Context, from, to int) error {
		return v.openChunk(ctx, ids[from:to], keys[from:to])
	})
	if err != nil {
		for _, k := range keys {
			k.Secret.Wipe()
		}
		return nil, fmt.Errorf("hashicorp: open keys: %w", err)
	}
	return keys, nil
}

func (v *Vault) openChunk(ctx context.Context, ids []kms.ID, keys []kms.Key) error {
	found := make([]string, len(ids))
	err := v.serve.each(ctx, len(ids), func(ctx context.Context, i int) error {
		var err error
		found[i], err = v.get(ctx, ids[i])
		return err
	})
	if err != nil {
		return err
	}
	var there []int // indices in ids
	var items []wrapItem
	for i, ciphertext := range found {
		keys[i].ID = ids[i]
		if ciphertext != "" {
			there = append(there, i)
			items = append(items, wrapItem{Ciphertext: ciphertext, Context: v.names.context(ids[i])})
		}
	}
	if len(items) == 0 {
		return nil
	}
	opened, err := v.serve.transit(ctx, v.names.decrypt(), items)
	if errors.Is(err, errRefused) {
		return fmt.Errorf("%w: Transit does not unwrap it", kms.ErrCorrupt)
	}
	if err != nil {
		return fmt.Errorf("unwrap: %w", err)
	}
	for j, i := range there {
		if len(opened[j].Plaintext) != kms.KeySize {
			return fmt.Errorf("%w: key %s", kms.ErrCorrupt, ids[i])
		}
		keys[i].Secret = secret.New(opened[j].Plaintext)
	}
	return nil
}

// get returns the wrapped key of id, or "" when it is absent.
func (v *Vault) get(ctx context.Context, id kms.ID) (string, error) {
	var answer struct {
		Data keyEntry `json:"data"`
	}
	err := v.serve.do(ctx, request{method: http.MethodGet, path: v.names.key(id)}, &answer)
	switch {
	case errors.Is(err, errAbsent):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("read %s: %w", id, err)
	case answer.Data.Version != entryVersion || !isCiphertext(answer.Data.Key):
		return "", fmt.Errorf("%w: key %s", kms.ErrCorrupt, id)
	}
	return answer.Data.Key, nil
}

// Destroy implements [kms.KMS].
func (v *Vault) Destroy(ctx context.Context, claim kms.Claim, ids ...kms.ID) error {
	ctx, end, err := v.begin(ctx)
	if err != nil {
		return fmt.Errorf("hashicorp: destroy keys: %w", err)
	}
	defer end()
	if err := v.destroy(ctx, claim, ids); err != nil {
		return fmt.Errorf("hashicorp: destroy keys: %w", err)
	}
	return nil
}

func (v *Vault) destroy(ctx context.Context, claim kms.Claim, ids []kms.ID) error {
	if err := v.erase.check(ctx, v.names, claim); err != nil {
		return err
	}
	err := v.erase.chunks(ctx, len(ids), keyChunk, func(ctx context.Context, from, to int) error {
		return v.erase.each(ctx, to-from, func(ctx context.Context, i int) error { return v.destroyOne(ctx, ids[from+i]) })
	})
	if err != nil {
		return err
	}
	return v.erase.check(ctx, v.names, claim)
}

// destroyOne deletes an entry and sees that it is absent. Vault answers a delete with 204 whether there was one or not.
func (v *Vault) destroyOne(ctx context.Context, id kms.ID) error {
	path := v.names.key(id)
	if err := v.erase.do(ctx, request{method: http.MethodDelete, path: path}, nil); err != nil {
		return fmt.Errorf("delete %s: %w", id, err)
	}
	err := v.erase.do(ctx, request{method: http.MethodGet, path: path}, nil)
	if errors.Is(err, errAbsent) {
		return nil
	}
	if err == nil {
		return fmt.Errorf("%w: key %s is still there", kms.ErrUnavailable, id)
	}
	return fmt.Errorf("see that %s is gone: %w", id, err)
}
