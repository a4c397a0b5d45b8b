package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/store"
)

// Side is a store, and where it lies.
type Side struct {
	Store store.Store
	Place string
}

// Relocation takes a tenant's rows from the store that is live to another one, the keys staying where they are. Package move carries the
// rows; this says what the two stores are to the keys meanwhile.
//
// The target has a mark of its own from before its first row on, and gets the title last of all. Without a title it opens as no vault; with
// the source's it is a copy, and Service.Promote makes it the live one in one step on the key side: until then the source is live, and from
// then on it is superseded. So whenever it falls, one of the two is the live one, or the target has only to be promoted again.
type Relocation struct {
	Tenant   string
	From, To Side
	Keys     kms.Anchor

	still generationRow // of the source when it was to stand still
}

// Stage is how far a relocation has come.
type Stage int

// The stages.
const (
	StageSource Stage = iota // the source is the live one
	StageTold                // the target has everything and the keys know it, but its promotion fell: promote it
	StageTarget              // the target is the live one
)

// The ways a relocation is refused.
var (
	// ErrOccupied: the target has rows of the tenant that no relocation from this source put there.
	ErrOccupied = errors.New("the target has rows that were not copied from this source")
	// ErrNotLive: the source is not the live store for its keys, and what is now is not the target.
	ErrNotLive = errors.New("the source is not the live vault for its keys, and neither is the target")
	// ErrKeysMove: a move of the source's keys was begun or is not ended, and its mark would stay behind.
	ErrKeysMove = errors.New("a move of the source's keys has to be ended, or abandoned, first")
	// ErrUsed: the source was opened since it was to stand still. It is the live one, and may have more than the target.
	ErrUsed = errors.New("a server was started on the source while it was moved")
)

// ErrTaken: the target has a title by now. Another try has ended the move while this one stood still.
var ErrTaken = errors.New("another try has ended this move, and the target is a vault by now: nothing more is written to it")

// Untaken fails with ErrTaken when a target of moves has a title of any of the tenants. It is a move.Rows' Fence.
func Untaken(tenants ...string) func(store.Reader) error {
	return func(to store.Reader) error {
		for _, t := range tenants {
			title, err := getRow[titleRow](to, layout{t}.meta(metaTitle))
			if err != nil {
				return err
			}
			if title != nil {
				return ErrTaken
			}
		}
		return nil
	}
}

// metaMove names the mark: from where a store is being filled. Each side has its own; it is never carried.
const metaMove = "move"

type moveRow struct {
	Sentinel kms.Sentinel `cbor:"1,keyasint"`
	Place    string       `cbor:"2,keyasint"` // of the source
}

// Prefix is that of all the tenant's rows.
func (m *Relocation) Prefix() []byte { return layout{m.Tenant}.prefix() }

func (l layout) prefix() []byte { return l.key(0)[:1+len(l.tenant)] }

// StaysBehind reports whether a row of any tenant is one that each store has for itself: its title, its mark, and who works on it.
func StaysBehind(key []byte) bool {
	kind, tenant := kindOfKey(key)
	rows := layout{tenant}
	own := func(name string) bool { return bytes.Equal(key, rows.meta(name)) }
	return kind == kindFleet || kind == kindMeta && (own(metaTitle) || own(metaMove) || own(metaRekey))
}

// KindOfRow is the letter of a row's kind, as layout.go lists them; 0 for what is no row of ours.
func KindOfRow(key []byte) byte {
	kind, _ := kindOfKey(key)
	return kind
}

// TenantsIn are the tenants that have rows in a store, in the order of their rows.
func TenantsIn(ctx context.Context, s store.Store) (tenants []string, err error) {
	err = s.View(ctx, func(r store.Reader) error {
		tenants = nil
		var after []byte
		for {
			pairs, err := r.Scan(nil, after, 1)
			if err != nil || len(pairs) == 0 {
				return err
			}
			_, tenant := kindOfKey(pairs[0].Key)
			if tenant == "" {
				return errors.New("the store has rows that are not Sandyq's")
			}
			tenants = append(tenants, tenant)
			after = append(layout{tenant}.prefix(), 0xff) // kinds are letters
		}
	})
	return tenants, err
}

// Stage finds out how far the relocation has come. The error is ErrNotLive, or says that the keys could not be asked.
func (m *Relocation) Stage(ctx context.Context) (Stage, error) {
	if m.From.Place == m.To.Place {
		return StageSource, errors.New("source and target are the same store")
	}
	arrived, err := StandingOf(ctx, m.Tenant, m.To.Store, m.To.Place, m.Keys)
	if err != nil && !errors.Is(err, ErrForeignKeys) {
		return StageSource, fmt.Errorf("the target's title to the keys: %w", err)
	}
	title, err := readTitle(ctx, m.To.Store, layout{m.Tenant})
	if err != nil {
		return StageSource, err
	}
	if title != nil && arrived == StandingLive {
		return StageTarget, nil
	}
	left, err := StandingOf(ctx, m.Tenant, m.From.Store, m.From.Place, m.Keys)
	if err != nil {
		return StageSource, fmt.Errorf("the source's title to the keys: %w", err)
	}
	if left == StandingLive {
		return StageSource, nil
	}
	if title == nil || left != StandingSuperseded {
		return StageSource, ErrNotLive
	}
	current, err := m.Keys.Generation(ctx)
	if err != nil {
		return StageSource, fmt.Errorf("the keys' generation: %w", err)
	}
	if current != title.Pending.generation() {
		return StageSource, ErrNotLive
	}
	return StageTold, nil
}

// Begin marks the target, which has no rows of the tenant or those of an earlier try, and takes away its title. ErrOccupied when the
// target has other rows.
func (m *Relocation) Begin(ctx context.Context) error {
	rows := layout{m.Tenant}
	title, err := readTitle(ctx, m.From.Store, rows)
	if err != nil {
		return err
	}
	if title == nil {
		return errors.New("the source was never set up: its keys were never reached")
	}
	switch mark, err := readRekey(ctx, m.From.Store, rows); {
	case err != nil:
		return err
	case mark != nil:
		return ErrKeysMove
	}
	want := moveRow{title.Sentinel, m.From.Place}
	err = m.To.Store.View(ctx, func(r store.Reader) error {
		mark, err := getRow[moveRow](r, rows.meta(metaMove))
		if err != nil {
			return err
		}
		found, err := r.Scan(rows.prefix(), nil, 1)
		if err != nil {
			return err
		}
		if mark == nil && len(found) > 0 || mark != nil && *mark != want {
			return ErrOccupied
		}
		return nil
	})
	if err != nil {
		return err
	}
	return m.To.Store.Update(ctx, func(w store.Writer) error {
		return errors.Join(w.Set(rows.meta(metaMove), encodeRow(want)), w.Delete(rows.meta(metaTitle)))
	})
}

// Still notes that from now on nobody opens the source. What is copied and verified after that is all there is.
func (m *Relocation) Still(ctx context.Context) error {
	title, err := readTitle(ctx, m.From.Store, layout{m.Tenant})
	if err != nil {
		return err
	}
	m.still = title.Generation
	return nil
}

// HandOver gives the target, which has all other rows by now, the source's title: with it, it is a copy of the source that can be promoted.
// It fails with ErrUsed when the source did not stand still: every service that opens a store takes it to another generation.
func (m *Relocation) HandOver(ctx context.Context) error {
	rows := layout{m.Tenant}
	title, err := readTitle(ctx, m.From.Store, rows)
	if err != nil {
		return err
	}
	current, err := m.Keys.Generation(ctx)
	if err != nil {
		return fmt.Errorf("the keys' generation: %w", err)
	}
	if title.Generation != m.still || current != title.Generation.generation() && current != title.Pending.generation() {
		return ErrUsed
	}
	return m.To.Store.Update(ctx, func(w store.Writer) error { return w.Set(rows.meta(metaTitle), encodeRow(title)) })
}

// End takes the mark away, once the target is the live one.
func (m *Relocation) End(ctx context.Context) error {
	return m.To.Store.Update(ctx, func(w store.Writer) error { return w.Delete(layout{m.Tenant}.meta(metaMove)) })
}
