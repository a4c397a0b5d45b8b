package vault

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"time"

	"github.com/sandyq/sandyq/crypto/keyring"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/store"
)

// poolRows is the durable record of keys made ahead (keyring.Pool): a row for each of its state (one byte), the process that
// made it (16) and, once that is known, when the provider had it (8: nanoseconds of Unix time, big-endian).
type poolRows struct {
	*Service
}

const (
	poolReady  = 'r' // may be consumed by an Update
	poolDoomed = 'd' // is to be destroyed
)

func poolRow(state byte, owner kms.ID) []byte { return append([]byte{state}, owner[:]...) }

// consumeKey has a draft take a key out of the pool: it must not have been flipped meanwhile.
func (s *Service) consumeKey(d *draft, k kms.ID) {
	d.expectPrefix(s.rows.pool(k), []byte{poolReady})
	d.delete(s.rows.pool(k))
}

// Reserve writes the rows of keys that are about to be made.
func (p *poolRows) Reserve(ctx context.Context, ids ...kms.ID) error {
	return p.Store.Update(ctx, func(w store.Writer) error {
		for _, k := range ids {
			if err := w.Set(p.rows.pool(k), poolRow(poolReady, p.fleet.id)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Spoil flips rows of keys that nobody will use.
func (p *poolRows) Spoil(ctx context.Context, ids ...kms.ID) error {
	_, err := p.flip(ctx, ids)
	return err
}

// Date writes into rows when the provider had their keys. One that was consumed or flipped meanwhile is passed over.
func (p *poolRows) Date(ctx context.Context, made time.Time, ids ...kms.ID) error {
	return p.Store.Update(ctx, func(w store.Writer) error {
		for _, k := range ids {
			key := p.rows.pool(k)
			rows, err := w.Get(key)
			if err != nil {
				return err
			}
			if rows[0] == nil || rows[0][0] != poolReady {
				continue
			}
			if err := w.Set(key, p.dated(made)); err != nil {
				return err
			}
		}
		return nil
	})
}

// dated is the row of a ready key of this process.
func (p *poolRows) dated(made time.Time) []byte {
	return binary.BigEndian.AppendUint64(poolRow(poolReady, p.fleet.id), uint64(made.UnixNano()))
}

// isDated reports whether a row says since when the provider has its key.
func isDated(row []byte) bool { return len(row) == 1+len(kms.ID{})+8 }

// Adopt makes dated rows that other processes left ready this process's own.
func (p *poolRows) Adopt(ctx context.Context, most int) (adopted []keyring.Dated, err error) {
	_, left, err := p.list(ctx, p.fleet.owners)
	if err != nil {
		return nil, err
	}
	left = slices.DeleteFunc(left, func(l leftRow) bool { return !isDated(l.row) })
	left = left[:min(most, len(left))]
	err = p.Store.Update(ctx, func(w store.Writer) error {
		adopted = adopted[:0]
		for _, l := range left {
			key := p.rows.pool(l.key)
			rows, err := w.Get(key)
			if err != nil {
				return err
			}
			if !bytes.Equal(rows[0], l.row) { // another process was first
				continue
			}
			made := time.Unix(0, int64(binary.BigEndian.Uint64(l.row[len(l.row)-8:])))
			if err := w.Set(key, p.dated(made)); err != nil {
				return err
			}
			adopted = append(adopted, keyring.Dated{ID: l.key, Made: made})
		}
		return nil
	})
	return adopted, err
}

// flip flips the rows that are still there, and names them: a key whose row was consumed meanwhile is somebody's.
func (p *poolRows) flip(ctx context.Context, ids []kms.ID) (flipped []kms.ID, err error) {
	err = p.Store.Update(store.With(ctx, store.Vital), func(w store.Writer) error {
		flipped = flipped[:0]
		for _, k := range ids {
			key := p.rows.pool(k)
			rows, err := w.Get(key)
			if err != nil {
				return err
			}
			if rows[0] == nil {
				continue
			}
			if err := w.Set(key, poolRow(poolDoomed, p.fleet.id)); err != nil {
				return err
			}
			flipped = append(flipped, k)
		}
		return nil
	})
	return flipped, err
}

// Reclaim flips what processes left that are gone and names all that is flipped. It is the leader's to do. Where one process has
// the store open at a time, every other owner is gone; where several have, those that are not among the nodes.
func (p *poolRows) Reclaim(ctx context.Context) ([]kms.ID, error) {
	ctx, leads := p.fleet.lead(ctx)
	if !leads {
		return nil, nil
	}
	doomed, left, err := p.list(ctx, p.fleet.owners)
	if err != nil {
		return nil, err
	}
	if p.RequireSnapshot {
		left = slices.DeleteFunc(left, func(l leftRow) bool { return isDated(l.row) }) // which are for Adopt
	}
	const most = 200 // rows flipped in one Update
	for some := range slices.Chunk(keysLeft(left), most) {
		flipped, err := p.flip(ctx, some)
		if err != nil {
			return nil, err
		}
		doomed = append(doomed, flipped...)
	}
	return doomed, nil
}

// abandon removes the rows that other processes left ready, and lets their keys be. In a store that was copied they name keys
// that the store which went on may have given to people since. The nodes that it names are that store's, too.
func (p *poolRows) abandon(ctx context.Context) error {
	mine := func(store.Reader) (map[kms.ID]bool, error) { return map[kms.ID]bool{p.fleet.id: true}, nil }
	_, left, err := p.list(ctx, mine)
	if err != nil {
		return err
	}
	const most = 1000 // rows removed in one Update
	for some := range slices.Chunk(keysLeft(left), most) {
		if err := p.Forget(ctx, some...); err != nil {
			return err
		}
	}
	return nil
}

// leftRow is a row that another process left ready.
type leftRow struct {
	key kms.ID
	row []byte
}

func keysLeft(left []leftRow) []kms.ID {
	keys := make([]kms.ID, len(left))
	for i, l := range left {
		keys[i] = l.key
	}
	return keys
}

// list tells flipped rows from ready ones that are none of the owners'.
func (p *poolRows) list(ctx context.Context, owners func(store.Reader) (map[kms.ID]bool, error)) (doomed []kms.ID, left []leftRow, err error) {
	prefix := p.rows.key(kindPool)
	err = p.Store.View(ctx, func(r store.Reader) error {
		doomed, left = nil, nil
		kept, err := owners(r)
		if err != nil {
			return err
		}
		return scanAll(r, prefix, func(pair store.Pair) error {
			k := kms.ID(pair.Key[len(prefix):])
			switch {
			case pair.Value[0] == poolDoomed:
				doomed = append(doomed, k)
			case !kept[kms.ID(pair.Value[1:])]:
				left = append(left, leftRow{k, bytes.Clone(pair.Value)})
			}
			return nil
		})
	})
	return doomed, left, err
}

// Forget removes the rows of keys that are verifiably gone.
func (p *poolRows) Forget(ctx context.Context, ids ...kms.ID) error {
	return p.Store.Update(store.With(ctx, store.Vital), func(w store.Writer) error {
		for _, k := range ids {
			if err := w.Delete(p.rows.pool(k)); err != nil {
				return err
			}
		}
		return nil
	})
}
