package ledger

import (
	"context"
	"errors"
	"fmt"
)

// Both is a ledger in two places that fail apart, such as a disk and a bucket. What is appended is in both before Append
// returns, first in the first: heads, hashes and numbers are the first's. A crash between the two leaves the second behind, and the
// next Append carries over what it lacks. When the first is the shorter, entries of it were lost: [ErrTruncated]; when they
// end in different destructions, one of them is not what it was: [ErrForged]. Nobody else appends to either.
func Both(first, second Ledger) Ledger {
	return &both{Ledger: first, second: second, turn: make(chan struct{}, 1)}
}

// both reads from the first.
type both struct {
	Ledger
	second Ledger
	turn   chan struct{} // held by who appends to both or compares them
}

func (b *both) take(ctx context.Context) error {
	select {
	case b.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("ledger: wait for another append: %w", ctx.Err())
	}
}

// Head implements [Ledger]: it looks at both.
func (b *both) Head(ctx context.Context) (Head, error) {
	if err := b.take(ctx); err != nil {
		return Head{}, err
	}
	defer func() { <-b.turn }()
	head, _, err := b.compare(ctx)
	return head, err
}

// compare returns the head of the first, and how far the second goes on the same way.
func (b *both) compare(ctx context.Context) (head Head, second uint64, err error) {
	head, err = b.Ledger.Head(ctx)
	if err != nil {
		return Head{}, 0, err
	}
	other, err := b.second.Head(ctx)
	switch {
	case err != nil:
		return Head{}, 0, fmt.Errorf("ledger: its second place: %w", err)
	case other.Entries > head.Entries:
		return Head{}, 0, fmt.Errorf("ledger: entry %d is in its second place alone: %w", head.Entries+1, ErrTruncated)
	case other.Entries == 0:
		return head, 0, nil
	}
	one, err := entryAt(ctx, b.Ledger, other.Entries)
	if err != nil {
		return Head{}, 0, err
	}
	two, err := entryAt(ctx, b.second, other.Entries)
	if err != nil {
		return Head{}, 0, fmt.Errorf("ledger: its second place: %w", err)
	}
	if !one.same(two) {
		return Head{}, 0, fmt.Errorf("ledger: entry %d is another in its second place: %w", other.Entries, ErrForged)
	}
	return head, other.Entries, nil
}

// entryAt is the entry of one number.
func entryAt(ctx context.Context, l Ledger, number uint64) (entry Entry, err error) {
	found := errors.New("ledger: found")
	err = l.Scan(ctx, number-1, func(e Entry) error {
		entry = e
		return found
	})
	switch {
	case errors.Is(err, found):
		return entry, nil
	case err == nil:
		err = fmt.Errorf("ledger: ends before entry %d: %w", number, ErrTruncated)
	}
	return Entry{}, err
}

// carried is how many entries are carried over in one append.
const carried = 256

// Append implements [Ledger].
func (b *both) Append(ctx context.Context, entries ...Entry) (Head, error) {
	if err := b.take(ctx); err != nil {
		return Head{}, err
	}
	defer func() { <-b.turn }()
	_, from, err := b.compare(ctx)
	if err != nil {
		return Head{}, err
	}
	head, err := b.Ledger.Append(ctx, entries...)
	if err != nil {
		return Head{}, err
	}
	var batch []Entry
	carry := func() error {
		_, err := b.second.Append(ctx, batch...)
		batch = batch[:0]
		if err != nil {
			return fmt.Errorf("ledger: its second place: %w", err)
		}
		return nil
	}
	err = b.Ledger.Scan(ctx, from, func(e Entry) error {
		if batch = append(batch, e); len(batch) < carried {
			return nil
		}
		return carry()
	})
	if err == nil && len(batch) > 0 {
		err = carry()
	}
	if err != nil {
		return Head{}, err
	}
	return head, nil
}

// Close implements [Ledger].
func (b *both) Close() error {
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	return errors.Join(b.Ledger.Close(), b.second.Close())
}
