// Package budget bounds how many values of people a principal may read or search in a minute, an hour and a day.
//
// A [Limit] names whom and what it is about and how many units each window holds. Every limit that matches a [Charge]
// applies to it. The account of a limit is (limit, system): each principal has a budget of its own, and a limit that names no
// purpose or category counts all of them together. Windows begin with the minute, the hour and the day of UTC.
//
// A [Meter] is one node's part. It leases units of an account's window from the [Ledger], durably, and spends them from
// memory, so that no counter becomes a row everyone fights for. It leases what is needed at once and ahead of that at most
// half of what it has spent in the window, and never more than a twentieth of the limit. Invariants:
//
//   - What all nodes together let pass in a window never exceeds the limit, also over restarts and failures of the ledger.
//   - What a node leased and did not spend before it died, or what a failed lease may have taken, is lost to the window: the
//     budget errs to the strict side.
//   - A call's charges are spent all or none, over all accounts and windows. A refused call spends nothing, though what
//     was leased for it stays with the node.
//   - A clock that goes back refills nothing. Back by less than a day it stays in the windows it was in; back by more it is
//     believed, and the ledger still knows what those windows held.
//   - When the ledger fails, so does the call, in either mode.
//
// Mode observe refuses nothing: it alerts, and goes on counting beyond the limit, so that [Suggest] knows what is usual.
//
// A Meter belongs to one tenant.
package budget

import (
	"context"
	"time"
)

// Kind is what a charge is for.
type Kind string

// The kinds.
const (
	Read   Kind = "read"   // a value or a document is shown
	Search Kind = "search" // a search, a token that is nobody's, a tokenize call that met a person or another value
)

// Charge is what a call costs. Units of one system, purpose, category and kind go in one charge.
type Charge struct {
	System   string // the principal's (access.Principal)
	Purpose  string
	Category string // of the field (vault/schema)
	Kind     Kind
	Units    int64 // values, documents or searches; at most 10^12
}

// Mode is what becomes of a call that exceeds a budget.
type Mode string

// The modes.
const (
	Observe Mode = "observe" // it goes on; counted, and alerted of
	Enforce Mode = "enforce" // it is refused, and alerted of
)

// Account is one window of a limit's budget for one system. A system may be a person of the staff: its name is not for
// store keys or metrics as it is.
type Account struct {
	Limit  string // its name
	System string
	Window Window
	Start  time.Time // of the window, in UTC
}

// End is when the window of the account ends.
func (a Account) End() time.Time { return a.Start.Add(a.Window.Length()) }

// Ledger keeps how much of each account is leased. It is safe for concurrent use by several nodes. It may forget accounts
// whose window ended more than two days ago.
type Ledger interface {
	// Take leases up to want (> 0) units of an account and returns how many it got: fewer than want only if the account
	// now holds limit in all. A limit of 0 is no bound: all that is wanted is counted and got. What it returned is durable.
	// After an error the units may be leased or not.
	Take(ctx context.Context, a Account, want, limit int64) (got int64, err error)
}
