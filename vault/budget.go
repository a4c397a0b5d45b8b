package vault

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sandyq/sandyq/access/budget"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/store"
)

// budgetRow is one account of a budget: what all nodes together have leased of it.
type budgetRow struct {
	System string `cbor:"1,keyasint"` // whose it is, as the log has it
	Units  int64  `cbor:"2,keyasint,omitempty"`
	Told   bool   `cbor:"3,keyasint,omitempty"` // somebody was alerted that it is exceeded
}

// windowLetters stand for the windows in keys.
var windowLetters = map[budget.Window]byte{budget.Minute: 'm', budget.Hour: 'h', budget.Day: 'd'}

// budgetAge is how long the accounts of a window are kept once it has begun. Days are kept for suggestions.
var budgetAge = map[budget.Window]time.Duration{
	budget.Minute: 2*24*time.Hour + time.Hour, budget.Hour: 2*24*time.Hour + time.Hour, budget.Day: 36 * 24 * time.Hour,
}

// budgets is the prefix of the accounts of a window; those that begin first come first.
func (l layout) budgets(w budget.Window) []byte { return l.key(kindBudget, []byte{windowLetters[w]}) }

// budgetsFrom is below every account of a window that begins then or later.
func (l layout) budgetsFrom(w budget.Window, start time.Time) []byte {
	return binary.BigEndian.AppendUint64(l.budgets(w), uint64(start.Unix()))
}

// budget is an account's key. A system may be one of the staff, so its name is in the key by its digest only.
func (l layout) budget(a budget.Account) []byte {
	system := sha256.Sum256([]byte(a.System))
	return append(append(l.budgetsFrom(a.Window, a.Start), name(a.Limit)...), system[:16]...)
}

// budgetStart reads from the key of an account when its window begins.
func (l layout) budgetStart(key []byte) time.Time {
	return time.Unix(int64(binary.BigEndian.Uint64(key[len(l.budgets(budget.Day)):])), 0).UTC()
}

// budgetRows keep the accounts of the budgets in the store. Implements budget.Ledger.
type budgetRows struct{ *Service }

// Take implements budget.Ledger: one short Update, under whatever disk space a disclosure would have.
func (b budgetRows) Take(ctx context.Context, a budget.Account, want, limit int64) (got int64, err error) {
	key := b.rows.budget(a)
	err = b.Store.Update(store.With(ctx, store.Reading), func(w store.Writer) error {
		row, err := getRow[budgetRow](w, key)
		if err != nil {
			return err
		}
		if row == nil {
			row = &budgetRow{System: a.System}
		}
		if got = want; limit > 0 {
			got = max(0, min(want, limit-row.Units))
		}
		if got == 0 {
			return nil
		}
		row.Units += got
		return w.Set(key, encodeRow(row))
	})
	if err != nil {
		return 0, fmt.Errorf("lease units of a budget: %w", err)
	}
	return got, nil
}

// openMeter makes the node's part of the budgets.
func (s *Service) openMeter() (err error) {
	s.meter, err = budget.New(budget.Options{
		Mode: s.Budget.Mode, Limits: s.Budget.Limits, Ledger: budgetRows{s}, Now: s.Clock, Alert: s.overdrawn.add,
	})
	return err
}

// overdrawn are accounts that were exceeded and that nobody was alerted of yet.
type overdrawn struct {
	mu  sync.Mutex
	all []budget.Exceeded
}

func (o *overdrawn) add(e budget.Exceeded) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, e)
}

func (o *overdrawn) take() []budget.Exceeded {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.all
	o.all = nil
	return all
}

// alertOverdrawn alerts of the accounts that were exceeded: of each once, whatever nodes notice it and however often. What
// could not be written is tried again with the next call.
func (s *Service) alertOverdrawn(ctx context.Context, call Call, operation string) error {
	var failed error
	for _, e := range s.overdrawn.take() {
		d := &draft{late: func(w store.Writer) error { return s.tellOnce(w, e.Account) }}
		raise := s.alert(d, api.Alert{
			Kind: alertBudget, System: e.Account.System, Operation: operation, RequestID: call.RequestID,
			Object: e.Account.Limit + "/" + string(e.Account.Window),
		})
		written, err := commit(store.With(ctx, store.Vital), s.Store, d)
		switch {
		case err != nil:
			s.overdrawn.add(e)
			failed = errors.Join(failed, fmt.Errorf("alert of a budget: %w", err))
		case written[0]:
			raise()
		}
	}
	return failed
}

// tellOnce marks an account as told of; errStale when it is already.
func (s *Service) tellOnce(w store.Writer, a budget.Account) error {
	key := s.rows.budget(a)
	row, err := getRow[budgetRow](w, key)
	switch {
	case err != nil:
		return err
	case row == nil:
		row = &budgetRow{System: a.System} // one call asked for more than a whole window holds
	case row.Told:
		return errStale
	}
	row.Told = true
	return w.Set(key, encodeRow(row))
}

// expireBudgets forgets the accounts of windows that are long past.
func (s *Service) expireBudgets(ctx context.Context) error {
	const page = 1000
	for _, window := range budget.Windows() {
		prefix, oldest := s.rows.budgets(window), s.Clock().Add(-budgetAge[window])
		for more := true; more; {
			var old draft
			err := s.Store.View(ctx, func(r store.Reader) error {
				old = draft{}
				pairs, err := r.Scan(prefix, nil, page)
				for _, p := range pairs {
					if s.rows.budgetStart(p.Key).Before(oldest) {
						old.delete(append([]byte(nil), p.Key...))
					}
				}
				return err
			})
			if err != nil {
				return err
			}
			if more = len(old.writes) > 0; !more {
				break
			}
			if _, err := commit(ctx, s.Store, &old); err != nil {
				return err
			}
		}
	}
	return nil
}
