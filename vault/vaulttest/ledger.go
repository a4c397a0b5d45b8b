package vaulttest

import (
	"context"
	"sync"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/ledger"
	"github.com/sandyq/sandyq/vault/ledger/file"
	"github.com/sandyq/sandyq/vault/store"
)

// Ledger opens the erasure ledger of a tenant in a folder. The services of one test that write to one share it, as they would
// share a bucket. Of a store that came to the keys from others, name it, for what those signed.
func Ledger(dir, tenant string, keys kms.Signer, moved ...store.Store) vault.OpenLedger {
	return func(ctx context.Context, use ledger.Use) (ledger.Ledger, error) {
		var former []ledger.Former
		for _, s := range moved {
			had, err := vault.FormerSigners(ctx, s, tenant)
			if err != nil {
				return nil, err
			}
			former = append(former, had...)
		}
		o, err := ledger.Options{Tenant: tenant, Former: former, Clock: clock.System}.SignedBy(ctx, keys)
		if err != nil {
			return nil, err
		}
		if use == ledger.Look {
			return file.Look(ctx, dir, o)
		}
		return open.take(file.Path(dir, tenant), func() (*ledger.Book, error) { return file.For(ctx, use, dir, o) })
	}
}

// open are the ledgers that are written to, by their paths.
var open = books{open: map[string]*shared{}}

type books struct {
	mu   sync.Mutex
	open map[string]*shared
}

// shared is a ledger that closes when the last that took it has closed it.
type shared struct {
	*ledger.Book
	path  string
	users int // guarded by books.mu
}

func (b *books) take(path string, make func() (*ledger.Book, error)) (ledger.Ledger, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.open[path]
	if s == nil {
		book, err := make()
		if err != nil {
			return nil, err
		}
		s = &shared{Book: book, path: path}
		b.open[path] = s
	}
	s.users++
	return s, nil
}

// Close implements ledger.Ledger.
func (s *shared) Close() error {
	open.mu.Lock()
	defer open.mu.Unlock()
	if s.users--; s.users > 0 {
		return nil
	}
	delete(open.open, s.path)
	return s.Book.Close()
}
