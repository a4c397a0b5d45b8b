package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
)

// Append implements [Ledger]. Entries of one call share a sync.
func (b *Book) Append(ctx context.Context, entries ...Entry) (Head, error) {
	entries = slices.Clone(entries)
	for i := range entries {
		if err := entries[i].prepare(b.clock()); err != nil {
			return Head{}, err
		}
	}
	if err := b.take(ctx); err != nil {
		return Head{}, err
	}
	defer b.give()
	for {
		head, err := b.refresh(ctx)
		if err != nil {
			return Head{}, err
		}
		fresh, err := b.fresh(ctx, entries)
		if err != nil || len(fresh) == 0 {
			return head, err
		}
		head, err = b.write(ctx, head, fresh)
		if !errors.Is(err, ErrBehind) { // another process was faster
			return head, err
		}
	}
}

// prepare puts an entry into the form in which it is written.
func (e *Entry) prepare(now time.Time) error {
	e.At = now.UTC().Truncate(time.Millisecond)
	e.Number = 1 // any that is one
	e.Keys = slices.Compact(slices.SortedFunc(slices.Values(e.Keys), compareID))
	e.Slices = slices.Compact(slices.Sorted(slices.Values(e.Slices)))
	return e.check()
}

func compareID(a, b kms.ID) int { return bytes.Compare(a[:], b[:]) }

// fresh returns the entries whose refs are not in the book.
func (b *Book) fresh(ctx context.Context, entries []Entry) ([]Entry, error) {
	var fresh []Entry
	for _, e := range entries {
		earlier, there := Entry{}, false
		if i := slices.IndexFunc(fresh, func(f Entry) bool { return f.Ref == e.Ref }); i >= 0 {
			earlier, there = fresh[i], true
		} else if number := b.refs[e.Ref]; number != 0 { // written under the turn alone
			s, err := b.sealed(ctx, number)
			if err != nil {
				return nil, err
			}
			earlier, there = s.Entry, true
		}
		switch {
		case !there:
			fresh = append(fresh, e)
		case !e.same(earlier):
			return nil, fmt.Errorf("ledger: append %s: %w", e.Ref, ErrConflict)
		}
	}
	return fresh, nil
}

// same reports whether two entries destroy the same.
func (e Entry) same(other Entry) bool {
	return e.Ref == other.Ref && e.Kind == other.Kind && e.Subject == other.Subject &&
		slices.Equal(e.Keys, other.Keys) && slices.Equal(e.Slices, other.Slices)
}

// write seals entries that follow on head, and appends them.
func (b *Book) write(ctx context.Context, head Head, entries []Entry) (Head, error) {
	number := head.Entries + 1
	lines := make([][]byte, len(entries))
	refs := make(map[string]uint64, len(entries))
	for i, e := range entries {
		line, err := Seal(ctx, b.signer, head, e)
		if err != nil {
			return Head{}, err
		}
		head = Head{Entries: head.Entries + 1, Hash: sha256.Sum256(line)}
		lines[i], refs[e.Ref] = line, head.Entries
	}
	if err := b.medium.Append(ctx, number, lines...); err != nil {
		return Head{}, fmt.Errorf("ledger: append: %w", err)
	}
	b.publish(head, refs)
	return head, nil
}
