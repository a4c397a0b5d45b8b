package vault

import (
	"bytes"
	"context"
	"sync"

	"github.com/sandyq/sandyq/crypto/blind"
	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/vault/store"
)

// metaEpoch names the key of the index's one epoch.
const metaEpoch = "index-epoch-1"

// index makes blind index entries: the provider MACs, the epoch's key encrypts.
type index struct {
	service *Service
	mu      sync.Mutex
	epoch   *blind.Epoch // once opened
}

// lookup is a value to be looked up: the entry is filled in by entries.
type lookup struct {
	field string
	value string // the normalised key of the value
	entry blind.Entry
}

// entries fills in the entry of every lookup, with one batch of MACs.
func (x *index) entries(ctx context.Context, lookups ...*lookup) error {
	if len(lookups) == 0 {
		return nil
	}
	epoch, err := x.current(ctx)
	if err != nil {
		return err
	}
	inputs := make([][]byte, len(lookups))
	for i, l := range lookups {
		inputs[i] = blind.Input(x.service.Tenant, l.field, l.value)
	}
	macs, err := x.service.keyring.MAC(ctx, inputs...)
	if err != nil {
		return err
	}
	for i, l := range lookups {
		if l.entry, err = epoch.Entry(macs[i]); err != nil {
			return err
		}
	}
	return nil
}

// current returns the epoch, opening its key the first time.
func (x *index) current(ctx context.Context) (*blind.Epoch, error) {
	x.mu.Lock()
	epoch := x.epoch
	x.mu.Unlock()
	if epoch != nil {
		return epoch, nil
	}
	err := x.service.names.use(ctx, metaEpoch, func(key secret.Bytes) error {
		var err error
		epoch, err = blind.NewEpoch(1, key)
		return err
	})
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	x.epoch = epoch
	x.mu.Unlock()
	return epoch, nil
}

// encodeIndexed is the value of an indexed row: whether the entry belongs to one person, and the entry.
func encodeIndexed(e blind.Entry, unique bool) []byte {
	b := make([]byte, 1, 1+len(e))
	if unique {
		b[0] = 1
	}
	return append(b, e[:]...)
}

// unindex has a change take a value out of the blind index. The row is one of kindIndexed.
func (s *Service) unindex(c *change, row store.Pair, field string, slot uint16) {
	e := blind.Entry(row.Value[1:])
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
	prefix := s.rows.of(kindIndexed, c.id)
	return scanAll(r, prefix, func(p store.Pair) error {
		field := string(p.Key[len(prefix) : len(p.Key)-3]) // before the zero byte and the slot
		p.Key = append([]byte(nil), p.Key...)
		s.unindex(c, p, field, slotOf(p.Key))
		return nil
	})
}
