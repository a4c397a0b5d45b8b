package vault

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/budget"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
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

// maxBudgetDays is as far back as days are kept.
const maxBudgetDays = 35

// BudgetUse tells what was used of the budgets in the last days, and what limits that suggests with headroom, a factor.
func (s *Service) BudgetUse(ctx context.Context, call Call, days int, headroom float64) (*api.Budgets, error) {
	return underRules(ctx, s, call, func(call Call) (*api.Budgets, error) { return s.budgetUse(ctx, call, days, headroom) })
}

func (s *Service) budgetUse(ctx context.Context, call Call, days int, headroom float64) (*api.Budgets, error) {
	switch {
	case days < 1 || days > maxBudgetDays:
		return nil, fault.Bad("days", fmt.Sprintf("1 to %d", maxBudgetDays))
	case !(headroom >= 1 && headroom <= 100):
		return nil, fault.Bad("headroom", "1 to 100")
	}
	if err := s.consult(ctx, call, access.ReadBudgets); err != nil {
		return nil, err
	}
	usage, err := s.usage(ctx, s.Clock().Add(-time.Duration(days)*24*time.Hour))
	if err != nil {
		return nil, err
	}
	return &api.Budgets{
		Enforced: s.Budget.Mode == budget.Enforce, Limits: limitsWire(s.Budget.Limits),
		Suggested: limitsWire(budget.Suggest(s.Budget.Limits, usage, headroom)), Accounts: accountsWire(usage),
	}, nil
}

// usage reads what was leased in the windows that began since.
func (s *Service) usage(ctx context.Context, since time.Time) (all []budget.Usage, err error) {
	const page = 1000
	err = s.Store.View(ctx, func(r store.Reader) error {
		all = nil
		for _, w := range budget.Windows() {
			after := s.rows.budgetsFrom(w, since)
			for more := true; more; {
				pairs, err := r.Scan(s.rows.budgets(w), after, page)
				if err != nil {
					return err
				}
				for _, p := range pairs {
					row, err := decodeRow[budgetRow](p.Value)
					if err != nil {
						return err
					}
					all = append(all, budget.Usage{
						Limit: s.rows.budgetLimit(p.Key), System: row.System, Window: w, Start: s.rows.budgetStart(p.Key), Units: row.Units,
					})
					after = p.Key
				}
				more = len(pairs) == page
			}
		}
		return nil
	})
	return all, err
}

// budgetLimit reads from the key of an account whose limit it is of.
func (l layout) budgetLimit(key []byte) string {
	limit, _, _ := bytes.Cut(key[len(l.budgets(budget.Day))+8:], []byte{0})
	return string(limit)
}

// accountsWire sums up the windows of each account, in the order in which they come.
func accountsWire(usage []budget.Usage) []api.BudgetAccount {
	type account struct {
		limit, system string
		window        budget.Window
	}
	all := []api.BudgetAccount{}
	at := map[account]int{}
	for _, u := range usage {
		of := account{u.Limit, u.System, u.Window}
		i, ok := at[of]
		if !ok {
			i = len(all)
			at[of] = i
			all = append(all, api.BudgetAccount{Limit: u.Limit, System: u.System, Window: string(u.Window)})
		}
		a := &all[i]
		a.Windows++
		a.Most, a.Units = max(a.Most, u.Units), a.Units+u.Units
	}
	return all
}

func limitsWire(limits []budget.Limit) []api.BudgetLimit {
	all := make([]api.BudgetLimit, len(limits))
	for i, l := range limits {
		all[i] = api.BudgetLimit{
			Name: l.Name, System: l.System, Purpose: l.Purpose, Category: l.Category, Kind: string(l.Kind),
			Minute: l.Minute, Hour: l.Hour, Day: l.Day,
		}
		for _, r := range l.Roles {
			all[i].Roles = append(all[i].Roles, string(r))
		}
	}
	return all
}

// budgetsLeft is what stands of the caller's budgets, as this node knows it.
func (s *Service) budgetsLeft(who access.Principal) []api.BudgetLeft {
	all := []api.BudgetLeft{}
	for _, l := range s.meter.Left(who.System, who.Roles) {
		all = append(all, api.BudgetLeft{
			Limit: l.Limit, Window: string(l.Window), Max: l.Max, Left: max(0, l.Max-l.Used), ResetsAt: l.Resets,
		})
	}
	return all
}
