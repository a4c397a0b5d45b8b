package vault

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sandyq/sandyq/crypto/blind"
	"github.com/sandyq/sandyq/crypto/keyring"
	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
)

const (
	metaIndex  = "index"        // → indexRow
	metaCursor = "index-cursor" // → indexCursor
	metaEpoch  = "index-epoch-" // and the number → namedRow: the epoch's key
)

func epochName(number uint32) string { return metaEpoch + strconv.FormatUint(uint64(number), 10) }

// indexRow says in which epoch the index is. In the store the number of the current epoch comes first, in 4 bytes, big-endian:
// every Update that enters a value expects that, and every snapshot in which one is looked up shows it. Of a rotation only the
// beginning changes it, so each costs a call one round at most. What comes after need not be as it was: who looked into two
// epochs, of which the former is empty by now, has only looked too much. How far a pass has come is in a row of its own.
//
// Keys and rows come in this order. The next epoch's key is made; the row goes from indexWhole to indexMoving; entries are
// carried over; once a whole pass has met none of the epoch being left, the row goes to indexMoved, and nobody looks there any
// more; that epoch's key is destroyed; the row goes to indexWhole. When an epoch's key is gone (the store is an older one,
// restored) the row goes to indexRebuilding with another epoch, in which nobody can look anything up, and from there to indexMoved.
type indexRow struct {
	Current uint32     `cbor:"-"` // the epoch of every entry made from now on
	Since   stamp      `cbor:"2,keyasint"`
	Leaving uint32     `cbor:"3,keyasint,omitempty"` // the epoch whose entries are re-mapped; 0 for none
	Phase   indexPhase `cbor:"4,keyasint,omitempty"`
	Left    int        `cbor:"5,keyasint,omitempty"` // entries of epochs whose key is gone that could not be rebuilt
}

// indexHead is the length of what lookups rest on in the row.
const indexHead = 4

func (r indexRow) encode() []byte {
	return append(binary.BigEndian.AppendUint32(nil, r.Current), encodeRow(r)...)
}

func decodeIndexRow(raw []byte) (row indexRow, err error) {
	if len(raw) < indexHead {
		return row, errors.New("the row of the index's epochs is damaged")
	}
	read, err := decodeRow[indexRow](raw[indexHead:])
	if err != nil {
		return row, err
	}
	read.Current = binary.BigEndian.Uint32(raw)
	return *read, nil
}

// indexPhase is where a rotation stands. The numbers are in the store.
type indexPhase byte

const (
	indexWhole      indexPhase = 0 // every entry is of the current epoch, save those that are left
	indexMoving     indexPhase = 1 // entries are of the current epoch or of the one being left
	indexRebuilding indexPhase = 2 // entries may be of an epoch whose key is gone
	indexMoved      indexPhase = 3 // as indexWhole; the key of the epoch that was left is about to be destroyed
)

// epochs are the epochs of a row, their keys open.
type epochs struct {
	row     indexRow
	raw     []byte       // as it stood in the store
	current *blind.Epoch // nil when its key is gone
	leaving *blind.Epoch // nil when there is none, or its key is gone
}

// head is what the row must still begin with for what was looked up under it to hold.
func (e *epochs) head() []byte { return e.raw[:indexHead] }

// gone reports that the key of an epoch that has entries is not at the provider.
func (e *epochs) gone() bool {
	return e.current == nil || e.row.Phase == indexMoving && e.leaving == nil
}

// errRebuilding answers whatever needs the index while it cannot tell who has a value: never that nobody has it.
var errRebuilding = fault.New(fault.Unavailable, "the search index is being rebuilt after a restore: see GET /v1/index and ask again")

// epochs returns the epochs to look up and to enter in, as they were last read.
func (x *index) epochs(ctx context.Context) (*epochs, error) {
	if e := x.state.Load(); e != nil {
		return e, nil
	}
	e, err := x.survey(ctx)
	if err != nil {
		return nil, err
	}
	if e == nil {
		if e, err = x.found(ctx); err != nil {
			return nil, err
		}
	}
	if e.gone() || e.row.Phase == indexRebuilding {
		x.wake()
		return nil, errRebuilding
	}
	x.state.Store(e)
	return e, nil
}

// survey reads the row and opens its epochs; nil when nothing was ever entered. A key that is gone counts only if the row did
// not go on while it was asked for.
func (x *index) survey(ctx context.Context) (*epochs, error) {
	for round := range maxRounds {
		if round == 1 {
			defer x.losers.enter()()
		}
		e := &epochs{}
		err := x.service.Store.View(ctx, func(r store.Reader) (err error) {
			e.row, e.raw, err = x.service.indexRow(r)
			return err
		})
		if err != nil || e.raw == nil {
			return nil, err
		}
		opened := x.openAll(ctx, e)
		if opened == nil && !e.gone() {
			return e, nil
		}
		err = x.service.Store.View(ctx, func(r store.Reader) error { return x.unchanged(r, e) })
		if errors.Is(err, errEpoch) {
			continue
		}
		return e, errors.Join(opened, err)
	}
	return nil, errContended
}

// openAll opens the epochs in which entries may be found.
func (x *index) openAll(ctx context.Context, e *epochs) (err error) {
	if e.current, err = x.open(ctx, e.row.Current); err != nil {
		return err
	}
	if e.row.Leaving != 0 && e.row.Phase != indexMoved {
		e.leaving, err = x.open(ctx, e.row.Leaving)
	}
	return err
}

// indexRow reads the row; raw is nil when there is none.
func (s *Service) indexRow(r store.Reader) (row indexRow, raw []byte, err error) {
	rows, err := r.Get(s.rows.meta(metaIndex))
	if err != nil || rows[0] == nil {
		return row, nil, err
	}
	row, err = decodeIndexRow(rows[0])
	return row, bytes.Clone(rows[0]), err
}

// open opens an epoch; nil when its key is gone. One that is open already is not asked for again.
func (x *index) open(ctx context.Context, number uint32) (epoch *blind.Epoch, err error) {
	if e := x.state.Load(); e != nil {
		for _, is := range []*blind.Epoch{e.current, e.leaving} {
			if is != nil && is.Number() == number {
				return is, nil
			}
		}
	}
	err = x.service.names.open(ctx, epochName(number), func(key secret.Bytes) (err error) {
		epoch, err = blind.NewEpoch(number, key)
		return err
	})
	if errors.Is(err, keyring.ErrMissing) {
		return nil, nil //nolint:nilnil // it is gone
	}
	return epoch, err
}

// found makes the first epoch, when something is looked up for the first time.
func (x *index) found(ctx context.Context) (*epochs, error) {
	s := x.service
	if err := s.writable(); err != nil {
		return nil, err
	}
	first := indexRow{Current: 1, Since: stampOf(s.Clock())}
	if err := x.make(ctx, first.Current); err != nil {
		return nil, err
	}
	var d draft
	d.expect(s.rows.meta(metaIndex), nil)
	d.set(s.rows.meta(metaIndex), first.encode())
	if _, err := commit(ctx, s.Store, &d); err != nil {
		return nil, err
	}
	e, err := x.survey(ctx) // the one just written, or somebody else's
	if err == nil && e == nil {
		err = errContended
	}
	return e, err
}

// make makes the key of an epoch, unless there is one, and has the erasure ledger list it. The error is keyring.ErrMissing when
// there was one.
func (x *index) make(ctx context.Context, number uint32) error {
	s, name := x.service, epochName(number)
	if err := s.names.use(ctx, name, func(secret.Bytes) error { return nil }); err != nil {
		return err
	}
	row, err := s.names.find(ctx, name)
	if err == nil && row == nil {
		err = errContended // somebody else has gone on, and ended it
	}
	if err != nil {
		return err
	}
	return s.listEpoch(ctx, name, row.Key)
}

// begin drafts the start of a rotation out of e, once the next epoch's key is there.
func (x *index) begin(ctx context.Context, e *epochs) (*draft, error) {
	s := x.service
	next := indexRow{Current: e.row.Current + 1, Since: stampOf(s.Clock()), Leaving: e.row.Current, Phase: indexMoving, Left: e.row.Left}
	if err := x.make(ctx, next.Current); err != nil {
		return nil, fmt.Errorf("make the key of an index epoch: %w", err)
	}
	return x.turn(e, next), nil
}

// turn drafts the step from one row to the next, from which a pass begins anew.
func (x *index) turn(e *epochs, next indexRow) *draft {
	var d draft
	d.expect(x.service.rows.meta(metaIndex), e.raw)
	d.set(x.service.rows.meta(metaIndex), next.encode())
	d.delete(x.service.rows.meta(metaCursor))
	return &d
}

// due reports whether it is time for a rotation.
func (x *index) due(row indexRow) bool {
	next := x.next(row)
	return row.Phase == indexWhole && !next.IsZero() && !x.service.Clock().Before(next)
}

// next is when the next rotation begins by itself; zero for never.
func (x *index) next(row indexRow) time.Time {
	if x.service.RotateIndexEvery == 0 || row.Current == 0 {
		return time.Time{}
	}
	return row.Since.time().Add(x.service.RotateIndexEvery)
}

// indexEpoch tells in which epoch index entries are made, since when, and when the next rotation begins by itself (zero:
// never). Backups hold entries of this epoch, and while a rotation runs of the one before: they can be matched, by who holds
// such a backup and uses both index keys, until the rotation after has ended. The number is 0 before the first entry.
func (s *Service) indexEpoch(ctx context.Context) (number uint32, since, next time.Time, err error) {
	var row indexRow
	err = s.Store.View(ctx, func(r store.Reader) (err error) {
		row, _, err = s.indexRow(r)
		return err
	})
	return row.Current, row.Since.time(), s.index.next(row), err
}

// retire destroys the keys of the epochs before the current one.
func (x *index) retire(ctx context.Context, current uint32) error {
	s := x.service
	prefix := s.rows.key(kindMeta, []byte(metaEpoch))
	var past []string
	err := s.Store.View(ctx, func(r store.Reader) error {
		past = past[:0]
		return scanAll(r, prefix, func(p store.Pair) error {
			number, err := strconv.ParseUint(strings.TrimSuffix(string(p.Key[len(prefix):]), "\x00"), 10, 32)
			if err != nil {
				return errors.New("the name of an index epoch's key is damaged")
			}
			if uint32(number) < current {
				past = append(past, epochName(uint32(number)))
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	for _, name := range past {
		if err := s.names.forget(ctx, name); err != nil {
			return fmt.Errorf("destroy the key %q: %w", name, err)
		}
	}
	return nil
}
