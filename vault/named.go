package vault

import (
	"context"
	"fmt"

	"github.com/sandyq/sandyq/crypto/envelope"
	"github.com/sandyq/sandyq/crypto/keyring"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/vault/store"
)

// namedKeys are the vault's own keys, kept by the provider as people's keys are: a row names each. They are made at first
// need.
type namedKeys struct {
	service *Service
	making  chan struct{} // holds one while a key is being made, which is rare
}

func (n *namedKeys) init(s *Service) { n.service, n.making = s, make(chan struct{}, 1) }

// namedRow points at a key.
type namedRow struct {
	Key kms.ID `cbor:"1,keyasint"`
	// Sealed is the key itself, under the one that the provider has: what is MACed under it outlives a move to another provider.
	Sealed []byte `cbor:"2,keyasint,omitempty"`
}

func (l layout) nameContext(name string) envelope.Context {
	return envelope.Context{Kind: sealedNamed, Tenant: l.tenant, Name: name, Version: 1}
}

// use calls f with the key of a name, making it when there is none. f must not keep the bytes.
func (n *namedKeys) use(ctx context.Context, name string, f func(secret.Bytes) error) error {
	s := n.service
	permit := s.keyring.Permit()
	row, err := n.find(ctx, name)
	if err != nil {
		return err
	}
	for range maxRounds {
		if row != nil {
			break
		}
		if row, err = n.make(ctx, name); err != nil {
			return fmt.Errorf("make the key %q: %w", name, err)
		}
	}
	if row == nil {
		return errContended
	}
	return n.with(ctx, permit, name, row, f)
}

// open calls f with the key of a name, which it does not make: the error is keyring.ErrMissing when there is none.
func (n *namedKeys) open(ctx context.Context, name string, f func(secret.Bytes) error) error {
	permit := n.service.keyring.Permit()
	row, err := n.find(ctx, name)
	if err != nil {
		return err
	}
	if row == nil {
		return fmt.Errorf("open the key %q: %w", name, keyring.ErrMissing)
	}
	return n.with(ctx, permit, name, row, f)
}

func (n *namedKeys) with(ctx context.Context, permit permit, name string, row *namedRow, f func(secret.Bytes) error) error {
	opened, err := n.service.keyring.Open(ctx, permit, row.Key)
	if err != nil {
		return err
	}
	defer opened.Close()
	key, err := opened.Key(0)
	if err != nil {
		return fmt.Errorf("open the key %q: %w", name, err)
	}
	if row.Sealed == nil {
		return f(key)
	}
	plain, err := envelope.Open(key, n.service.rows.nameContext(name), row.Sealed)
	if err != nil {
		return fmt.Errorf("open the key %q: %w", name, err)
	}
	defer clear(plain)
	return f(secret.New(plain))
}

func (n *namedKeys) find(ctx context.Context, name string) (row *namedRow, err error) {
	err = n.service.Store.View(ctx, func(r store.Reader) error {
		row, err = getRow[namedRow](r, n.service.rows.meta(name))
		return err
	})
	return row, err
}

func (n *namedKeys) make(ctx context.Context, name string) (*namedRow, error) {
	select {
	case n.making <- struct{}{}:
		defer func() { <-n.making }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	s := n.service
	fresh, err := s.keyring.Fresh(ctx, 1)
	if err != nil {
		return nil, err
	}
	defer fresh[0].Close()
	var d draft
	row := &namedRow{Key: fresh[0].ID(0)}
	d.expect(s.rows.meta(name), nil)
	d.set(s.rows.meta(name), encodeRow(row))
	s.consumeKey(&d, row.Key)
	permit := s.keyring.Permit()
	written, err := commit(ctx, s.Store, &d)
	if err != nil {
		return nil, err
	}
	if written[0] {
		s.keyring.Keep(fresh[0], permit)
		return row, nil
	}
	return n.find(ctx, name) // somebody was faster, or took the fresh key: then there is still none
}

// forget destroys a named key and then its row.
func (n *namedKeys) forget(ctx context.Context, name string) error {
	row, err := n.find(ctx, name)
	if err != nil || row == nil {
		return err
	}
	if err := n.service.destroy(ctx, keyEntry(row.Key)); err != nil {
		return err
	}
	return n.service.Store.Update(store.With(ctx, store.Vital), func(w store.Writer) error {
		return w.Delete(n.service.rows.meta(name))
	})
}
