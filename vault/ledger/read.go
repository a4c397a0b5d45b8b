package ledger

import (
	"context"
	"errors"
	"fmt"
)

// reading follows lines, each from the one before.
type reading struct {
	tenant  string
	begun   bool // the header was read, or head is where this begins
	head    Head // of the line read last
	last    Sealed
	refs    map[string]uint64 // of the entries read; nil when nobody asks
	earlier map[string]uint64 // of the entries before
	known   Head              // must be on the way, if it is ahead
}

// line takes the next line.
func (r *reading) line(line []byte) error {
	if !r.begun {
		return r.header(line)
	}
	s, err := Parse(line)
	if err != nil {
		return fmt.Errorf("line %d: %w", r.head.Entries+1, err)
	}
	if s.Entry.Number != r.head.Entries+1 || s.Prev != r.head.Hash {
		return fmt.Errorf("ledger: line %d does not follow on the one before: %w", r.head.Entries+1, ErrDamaged)
	}
	if r.refs != nil {
		if r.refs[s.Entry.Ref] != 0 || r.earlier[s.Entry.Ref] != 0 {
			return fmt.Errorf("ledger: line %d: its reference was there before: %w", s.Entry.Number, ErrDamaged)
		}
		r.refs[s.Entry.Ref] = s.Entry.Number
	}
	return r.advance(Head{Entries: s.Entry.Number, Hash: s.Hash}, s)
}

// header takes line 0.
func (r *reading) header(line []byte) error {
	s, err := ParseHeader(line)
	if err != nil {
		return fmt.Errorf("line 0: %w", err)
	}
	if s.Header.Tenant != r.tenant {
		return fmt.Errorf("ledger: it is another tenant's: %w", ErrForged)
	}
	r.begun = true
	return r.advance(Head{Hash: s.Hash}, s)
}

func (r *reading) advance(head Head, s Sealed) error {
	if head.Entries == r.known.Entries && r.known.Hash != ([32]byte{}) && head.Hash != r.known.Hash {
		return fmt.Errorf("ledger: line %d is another than it was: %w", head.Entries, ErrForged)
	}
	r.head, r.last = head, s
	return nil
}

// errEnough ends a reading that has come to where it was to go.
var errEnough = errors.New("ledger: read enough")

// sealed reads and verifies one line.
func (b *Book) sealed(ctx context.Context, number uint64) (s Sealed, err error) {
	found := false
	err = b.medium.Read(ctx, number, func(line []byte) error {
		found = true
		if number == 0 {
			s, err = ParseHeader(line)
		} else {
			s, err = Parse(line)
		}
		if err != nil {
			return err
		}
		return errEnough
	})
	switch {
	case err != nil && !errors.Is(err, errEnough):
		return Sealed{}, fmt.Errorf("ledger: read line %d: %w", number, err)
	case !found:
		return Sealed{}, fmt.Errorf("ledger: ends before line %d: %w", number, ErrTruncated)
	case s.Entry.Number != number:
		return Sealed{}, fmt.Errorf("ledger: line %d has the number %d: %w", number, s.Entry.Number, ErrDamaged)
	}
	return s, b.trust.verify(ctx, s)
}

// At implements [Ledger].
func (b *Book) At(ctx context.Context, number uint64) ([32]byte, error) {
	head, err := b.known()
	if err != nil {
		return [32]byte{}, err
	}
	if number > head.Entries {
		return [32]byte{}, fmt.Errorf("ledger: ends at entry %d, before %d: %w", head.Entries, number, ErrTruncated)
	}
	s, err := b.sealed(ctx, number)
	return s.Hash, err
}

// Scan implements [Ledger].
func (b *Book) Scan(ctx context.Context, after uint64, f func(Entry) error) error {
	until, err := b.known()
	if err != nil {
		return err
	}
	if after > until.Entries {
		return fmt.Errorf("ledger: ends at entry %d, before %d: %w", until.Entries, after, ErrTruncated)
	}
	from, err := b.sealed(ctx, after)
	if err != nil {
		return err
	}
	r := reading{tenant: b.tenant, begun: true, head: Head{Entries: after, Hash: from.Hash}, known: until}
	if after == until.Entries {
		return r.advance(r.head, from)
	}
	err = b.medium.Read(ctx, after+1, func(line []byte) error {
		if err := r.line(line); err != nil {
			return err
		}
		if err := b.trust.verify(ctx, r.last); err != nil {
			return err
		}
		if err := f(r.last.Entry); err != nil {
			return err
		}
		if r.head.Entries == until.Entries {
			return errEnough
		}
		return nil
	})
	switch {
	case errors.Is(err, errEnough):
		return nil
	case err != nil:
		return fmt.Errorf("ledger: scan: %w", err)
	}
	return fmt.Errorf("ledger: ends at entry %d, not %d: %w", r.head.Entries, until.Entries, ErrTruncated)
}
