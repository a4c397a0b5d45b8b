package ledger

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/clock"
)

// Book is a [Ledger] over a [Medium]. It keeps the refs in memory, about 150 bytes for each entry.
type Book struct {
	medium Medium
	tenant string
	signer checkpoint.Signer
	trust  trust
	clock  clock.Clock

	turn  chan struct{} // held by who appends or looks at the medium's end
	doubt bool          // under turn: the medium was touched, and not all of it read again since

	mu     sync.RWMutex
	head   Head
	refs   map[string]uint64 // ref → number, up to head
	closed bool
}

var _ Ledger = (*Book)(nil)

// Open reads a ledger from beginning to end. All lines must be in canonical form and hang together by their hashes, and the
// last one's signature, which so stands for all, must verify. The medium is the book's from here on, and closed when this
// fails.
func Open(ctx context.Context, m Medium, o Options) (*Book, error) {
	b := &Book{
		medium: m, tenant: o.Tenant, signer: o.Signer, trust: trust{keys: o.Keys, former: o.Former}, clock: o.Clock, turn: make(chan struct{}, 1),
	}
	if err := b.load(ctx); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return b, nil
}

// take waits for the turn; give passes it on.
func (b *Book) take(ctx context.Context) error {
	select {
	case b.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("ledger: wait for another append: %w", ctx.Err())
	}
	if _, err := b.known(); err != nil {
		b.give()
		return err
	}
	return nil
}

func (b *Book) give() { <-b.turn }

// known is the head as last seen.
func (b *Book) known() (Head, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return Head{}, fmt.Errorf("ledger: %w", ErrClosed)
	}
	return b.head, nil
}

// Head implements [Ledger].
func (b *Book) Head(ctx context.Context) (Head, error) {
	if err := b.take(ctx); err != nil {
		return Head{}, err
	}
	defer b.give()
	return b.refresh(ctx)
}

// refresh looks at the medium again, under the turn.
func (b *Book) refresh(ctx context.Context) (Head, error) {
	last, err := b.medium.Last(ctx)
	if err != nil {
		return Head{}, fmt.Errorf("ledger: look at its end: %w", err)
	}
	head := b.head // written under the turn alone
	b.doubt = b.doubt || last.Touched
	switch {
	case b.doubt:
		if err := b.load(ctx); err != nil {
			return Head{}, err
		}
		b.doubt = false
	case last.Number < head.Entries:
		return Head{}, fmt.Errorf("ledger: ends at entry %d, not %d: %w", last.Number, head.Entries, ErrTruncated)
	case last.Number > head.Entries:
		if err := b.catchUp(ctx); err != nil {
			return Head{}, err
		}
	case sha256.Sum256(last.Line) != head.Hash:
		return Head{}, fmt.Errorf("ledger: entry %d is another than it was: %w", head.Entries, ErrForged)
	}
	return b.head, nil
}

// load reads everything. What the book knew must still be there.
func (b *Book) load(ctx context.Context) error {
	r := reading{tenant: b.tenant, refs: make(map[string]uint64, len(b.refs)), known: b.head}
	if err := b.read(ctx, &r, 0); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.head, b.refs = r.head, r.refs
	return nil
}

// catchUp reads what others have appended.
func (b *Book) catchUp(ctx context.Context) error {
	r := reading{tenant: b.tenant, begun: true, head: b.head, refs: make(map[string]uint64), earlier: b.refs, known: b.head}
	if err := b.read(ctx, &r, b.head.Entries+1); err != nil {
		return err
	}
	b.publish(r.head, r.refs)
	return nil
}

// read reads lines to the end and verifies the last one's signature.
func (b *Book) read(ctx context.Context, r *reading, from uint64) error {
	if err := b.medium.Read(ctx, from, r.line); err != nil {
		return fmt.Errorf("ledger: read it: %w", err)
	}
	if !r.begun || r.head.Entries < r.known.Entries {
		return fmt.Errorf("ledger: ends at entry %d, not %d: %w", r.head.Entries, r.known.Entries, ErrTruncated)
	}
	return b.trust.verify(ctx, r.last)
}

// publish makes entries known.
func (b *Book) publish(head Head, refs map[string]uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.head = head
	for ref, number := range refs {
		b.refs[ref] = number
	}
}

// Find implements [Ledger].
func (b *Book) Find(_ context.Context, ref string) (uint64, bool, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return 0, false, fmt.Errorf("ledger: %w", ErrClosed)
	}
	number, found := b.refs[ref]
	return number, found, nil
}

// Close implements [Ledger]. It waits for an append under way.
func (b *Book) Close() error {
	b.turn <- struct{}{}
	defer b.give()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	if err := b.medium.Close(); err != nil {
		return fmt.Errorf("ledger: close: %w", err)
	}
	return nil
}
