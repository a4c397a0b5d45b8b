package vault

import (
	"context"
	"errors"
	"sync"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/budget"
	"github.com/sandyq/sandyq/vault/fault"
)

// due is what one item of a call costs: one unit.
type due struct {
	item     int // its place in the call
	kind     budget.Kind
	category string // of the field
}

// personCategory is the category of what staff are shown of a person beside values.
const personCategory = "person"

// bill is what the items of a call have been paid for. All rounds and attempts of the call share it, so that what goes
// stale is not paid for twice. It is safe for concurrent use about different items.
type bill struct {
	mu   sync.Mutex
	paid []budget.Kind // by item
}

// unpaid picks what is still to be paid. Whoever has paid for a reading owes nothing for finding nothing.
func (b *bill) unpaid(dues []due) []due {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []due
	for _, d := range dues {
		if d.item < len(b.paid) && (b.paid[d.item] == d.kind || b.paid[d.item] == budget.Read) {
			continue
		}
		all = append(all, d)
	}
	return all
}

func (b *bill) settle(dues []due) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range dues {
		for len(b.paid) <= d.item {
			b.paid = append(b.paid, "")
		}
		b.paid[d.item] = d.kind
	}
}

// charge spends what deeds cost from the caller's budgets, all or nothing, before anything of them is written or shown. A
// reading is paid for when it is permitted; a search also when it is refused, for the refusal tells something. When the
// budgets have no room, that is recorded, and is the error.
func (s *Service) charge(ctx context.Context, call Call, deeds []deed, permitted func(int) bool) error {
	var dues []due
	for i := range deeds {
		for _, d := range deeds[i].dues {
			if d.kind == budget.Search || permitted(i) {
				dues = append(dues, d)
			}
		}
	}
	if len(dues) == 0 {
		return nil
	}
	unpaid := call.bill.unpaid(dues)
	if len(unpaid) == 0 {
		return nil
	}
	of := deeds[0].request
	spent := s.meter.Spend(ctx, call.Principal.Roles, charges(call.Principal.System, of.Purpose, unpaid)...)
	if spent == nil {
		call.bill.settle(unpaid)
	}
	if err := s.alertOverdrawn(ctx, call, string(of.Action)); err != nil {
		return err
	}
	if over, ok := errors.AsType[*budget.Exceeded](spent); ok {
		return s.limited(ctx, call, deeds, over)
	}
	return spent
}

// charges groups what is to be paid.
func charges(system, purpose string, dues []due) []budget.Charge {
	var all []budget.Charge
next:
	for _, d := range dues {
		for i := range all {
			if all[i].Kind == d.kind && all[i].Category == d.category {
				all[i].Units++
				continue next
			}
		}
		all = append(all, budget.Charge{System: system, Purpose: purpose, Category: d.category, Kind: d.kind, Units: 1})
	}
	return all
}

// limited records that deeds of a call found no room in a budget: as one refusal, with whatever they would have alerted of.
func (s *Service) limited(ctx context.Context, call Call, deeds []deed, over *budget.Exceeded) error {
	refused := deed{request: deeds[0].request}
	for i := range deeds {
		refused.entry.Items += deeds[i].entry.Items
	}
	if len(deeds) == 1 {
		refused.alerts = deeds[0].alerts
	} else {
		r := deeds[0].request
		refused.request = access.Request{
			Action: r.Action, Purpose: r.Purpose, Reason: r.Reason, Form: r.Form, Count: r.Count, Behalf: r.Behalf, Recipient: r.Recipient,
		}
		for i := range deeds {
			refused.alerts = append(refused.alerts, s.alertsOf(call, &deeds[i])...)
		}
	}
	refused.request.Refusal = fault.From(over)
	return s.refuseDeed(ctx, call, refused)
}
