package vault

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/ledger"
	"github.com/sandyq/sandyq/vault/store"
)

// metaSigners names the row of the keys that signed lines of the erasure ledger at providers that were left since. It is carried along with
// all else, so that it is in every backup.
const metaSigners = "signers"

type signersRow struct {
	Former []formerRow `cbor:"1,keyasint"`
}

type formerRow struct {
	Keys    [][]byte `cbor:"1,keyasint"` // every version of the provider's key: the log may have taken up fewer
	Through uint64   `cbor:"2,keyasint"` // the last line that there was when the provider was left
	Ended   kms.ID   `cbor:"3,keyasint"` // as rekeyRow.Ended of that move
}

// FormerSigners are the keys of providers that a tenant's store was moved from, each with the last line of the erasure ledger that
// it may have signed. Whoever has an old provider's key afterwards can write nothing that is believed.
func FormerSigners(ctx context.Context, s store.Store, tenant string) ([]ledger.Former, error) {
	row, err := readSigners(ctx, s, layout{tenant})
	if err != nil {
		return nil, err
	}
	former := make([]ledger.Former, len(row.Former))
	for i, was := range row.Former {
		former[i].Through = was.Through
		for _, k := range was.Keys {
			former[i].Keys = append(former[i].Keys, ed25519.PublicKey(k))
		}
	}
	return former, nil
}

func readSigners(ctx context.Context, s store.Store, rows layout) (row signersRow, err error) {
	err = s.View(ctx, func(r store.Reader) error {
		row = signersRow{}
		stored, err := getRow[signersRow](r, rows.meta(metaSigners))
		if stored != nil {
			row = *stored
		}
		return err
	})
	return row, err
}

// signers is the source's row and, now that it stands still, the old provider's keys.
func (m *Rekeying) signers(ctx context.Context, mark *rekeyRow) (row signersRow, err error) {
	if row, err = readSigners(ctx, m.From.Store, layout{m.Tenant}); err != nil {
		return row, err
	}
	versions, err := m.Old.PublicKeys(ctx)
	if err != nil {
		return row, fmt.Errorf("the old keys that sign the erasure ledger: %w", err)
	}
	was := formerRow{Ended: mark.Ended}
	for _, k := range versions {
		was.Keys = append(was.Keys, slices.Clone(k))
	}
	if was.Through, err = m.listed(ctx); err != nil {
		return row, fmt.Errorf("the end of the erasure ledger: %w", err)
	}
	row.Former = append(row.Former, was)
	return row, nil
}

// listed is how many lines the erasure ledger has. There is none yet where nobody has ever known of one.
func (m *Rekeying) listed(ctx context.Context) (entries uint64, err error) {
	l, err := m.Ledger(m.Old, m.From.Store)(ctx, ledger.Look)
	if errors.Is(err, ledger.ErrMissing) {
		carried, of := m.Old.Mark(ctx)
		if of == nil && carried == (kms.Mark{}) {
			return 0, nil
		}
		return 0, errors.Join(err, of)
	}
	if err != nil {
		return 0, err
	}
	head, err := l.Head(ctx)
	return head.Entries, errors.Join(err, l.Close())
}
