package vault

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"

	"github.com/sandyq/sandyq/crypto/blind"
	"github.com/sandyq/sandyq/vault/store"
)

// index makes blind index entries: the provider MACs, an epoch's key encrypts. Which epoch that is can change at any time and
// on any node (see indexRow), so what is looked up or entered holds only while the current epoch is what it was: whoever looks
// up checks that in the same snapshot, and whoever enters in the same Update.
type index struct {
	service *Service
	state   atomic.Pointer[epochs] // as last read; nil: to be read
	kick    chan struct{}          // holds one when there is something to tend
	losers  losers
}

func (x *index) init(s *Service) { x.service, x.kick = s, make(chan struct{}, 1) }

// lookup is a value to be looked up: what it is found under is filled in by entries.
type lookup struct {
	field  string
	value  string // the normalised key of the value
	mac    []byte
	under  *epochs
	entry  blind.Entry  // what it is entered under
	former *blind.Entry // what it may still stand under, while a rotation runs
}

// all is what the value may stand under.
func (l *lookup) all() []blind.Entry {
	if l.former == nil {
		return []blind.Entry{l.entry}
	}
	return []blind.Entry{l.entry, *l.former}
}

// is reports whether an indexed row says that the value is this one.
func (l *lookup) is(row store.Pair) bool {
	for _, e := range l.all() {
		if bytes.Equal(row.Value[1:], e[:]) {
			return true
		}
	}
	return false
}

// entries fills in what every lookup is found under, with one batch of MACs for those that have none yet.
func (x *index) entries(ctx context.Context, lookups ...*lookup) error {
	if len(lookups) == 0 {
		return nil
	}
	under, err := x.epochs(ctx)
	if err != nil {
		return err
	}
	var inputs [][]byte
	var lacking []*lookup
	for _, l := range lookups {
		if l.mac == nil {
			lacking, inputs = append(lacking, l), append(inputs, blind.Input(x.service.Tenant, l.field, l.value))
		}
	}
	if len(lacking) > 0 {
		macs, err := x.service.keyring.MAC(ctx, inputs...)
		if err != nil {
			return err
		}
		for i, l := range lacking {
			l.mac = macs[i]
		}
	}
	for _, l := range lookups {
		if err := l.enter(under); err != nil {
			return err
		}
	}
	return nil
}

// enter fills in what the lookup is found under in some epochs.
func (l *lookup) enter(under *epochs) (err error) {
	if l.entry, err = under.current.Entry(l.mac); err != nil {
		return err
	}
	l.under, l.former = under, nil
	if under.leaving == nil {
		return nil
	}
	former, err := under.leaving.Entry(l.mac)
	l.former = &former
	return err
}

// errEpoch tells that lookups were made under another epoch than a snapshot shows to be the current one.
var errEpoch = errors.New("the index is in another epoch")

// stands fails with errEpoch when the epochs are not those that lookups were made under.
func (x *index) stands(r store.Reader, lookups ...*lookup) error {
	if len(lookups) == 0 {
		return nil
	}
	rows, err := r.Get(x.service.rows.meta(metaIndex))
	if err != nil {
		return err
	}
	for _, l := range lookups {
		if l.under == nil || !bytes.HasPrefix(rows[0], l.under.head()) {
			return errEpoch
		}
		if !bytes.Equal(rows[0], l.under.raw) {
			x.state.CompareAndSwap(l.under, nil) // it holds an epoch's key longer than anybody looks there
		}
	}
	return nil
}

// again fills in lookups anew after errEpoch.
func (x *index) again(ctx context.Context, lookups ...*lookup) error {
	x.state.Store(nil)
	return x.entries(ctx, lookups...)
}

// owners reads the row of kindUnique of each lookup, nil for a value that nobody has.
func (s *Service) owners(r store.Reader, lookups []*lookup) ([][]byte, error) {
	var keys [][]byte
	for _, l := range lookups {
		for _, e := range l.all() {
			keys = append(keys, s.rows.unique(l.field, e))
		}
	}
	rows, err := r.Get(keys...)
	if err != nil {
		return nil, err
	}
	found, next := make([][]byte, len(lookups)), 0
	for i, l := range lookups {
		for range l.all() {
			if rows[next] != nil {
				found[i] = rows[next]
			}
			next++
		}
	}
	return found, nil
}

// owner is what a row of kindUnique says: who has the value, and in which slot.
func owner(id SubjectID, slot uint16) []byte { return append(id[:], slotBytes(slot)...) }

func ownerOf(row []byte) (SubjectID, uint16) { return SubjectID(row[:16]), slotOf(row) }

// index enters a value into the blind index, and into the list of what must leave it with the person. A value that one
// person has must be nobody's, in whatever epoch it would stand. The row of the list is returned.
func (w *writing) index(l *lookup, unique bool, slot uint16) (indexed store.Pair) {
	w.expectPrefix(w.rows.meta(metaIndex), l.under.head())
	if unique {
		for _, e := range l.all() {
			w.expect(w.rows.unique(l.field, e), nil)
		}
		w.set(w.rows.unique(l.field, l.entry), owner(w.id, slot))
	} else {
		w.set(w.rows.lookup(l.field, l.entry, w.id, slot), nil)
	}
	w.row.Counts.Index++
	indexed = store.Pair{Key: w.rows.indexed(w.id, l.field, slot), Value: encodeIndexed(l.entry, unique)}
	w.set(indexed.Key, indexed.Value)
	return indexed
}

// encodeIndexed is the value of an indexed row: whether the entry belongs to one person, and the entry.
func encodeIndexed(e blind.Entry, unique bool) []byte {
	b := make([]byte, 1, 1+len(e))
	if unique {
		b[0] = 1
	}
	return append(b, e[:]...)
}

// entryOf is the entry in the value of an indexed row.
func entryOf(indexed []byte) blind.Entry { return blind.Entry(indexed[1:]) }

// unindex has a change take a value out of the blind index. The row is one of kindIndexed; it must still say the same, for a
// rotation rewrites it without a word to the person's row.
func (s *Service) unindex(c *change, row store.Pair, field string, slot uint16) {
	c.expect(row.Key, row.Value)
	e := entryOf(row.Value)
	if row.Value[0] == 1 {
		c.delete(s.rows.unique(field, e))
	} else {
		c.delete(s.rows.lookup(field, e, c.id, slot))
	}
	c.delete(row.Key)
	c.row.Counts.Index--
}

// loadIndexed reads the rows that say how a person's values of a field stand in the index: as they were entered, whatever
// the schema says today.
func (s *Service) loadIndexed(r store.Reader, id SubjectID, field string) (map[uint16]store.Pair, error) {
	rows := map[uint16]store.Pair{}
	prefix := append(s.rows.of(kindIndexed, id), name(field)...)
	return rows, scanAll(r, prefix, func(p store.Pair) error {
		rows[slotOf(p.Key)] = store.Pair{Key: bytes.Clone(p.Key), Value: bytes.Clone(p.Value)}
		return nil
	})
}

// unindexAll takes everything of a person out of the blind index.
func (s *Service) unindexAll(r store.Reader, c *change) error {
	return scanAll(r, s.rows.of(kindIndexed, c.id), func(p store.Pair) error {
		p = store.Pair{Key: bytes.Clone(p.Key), Value: bytes.Clone(p.Value)}
		_, field, slot := s.rows.indexedParts(p.Key)
		s.unindex(c, p, field, slot)
		return nil
	})
}
