package budget

import (
	"fmt"
	"time"

	"github.com/sandyq/sandyq/vault/fault"
)

// Exceeded is a budget that a call has no room in. As an error it is fault.Limited to its receiver, with RetryAfter.
type Exceeded struct {
	Account    Account
	Max        int64         // units that the window holds
	Units      int64         // units that the call asked of it
	RetryAfter time.Duration // until the window ends
}

func (e *Exceeded) Error() string {
	return fmt.Sprintf("budget %s of the %s: %d units do not fit", e.Account.Limit, e.Account.Window, e.Units)
}

// Unwrap is the error as its receiver may see it.
func (e *Exceeded) Unwrap() error {
	f := fault.Newf(fault.Limited, "the budget %s of this %s is spent", e.Account.Limit, e.Account.Window)
	if e.Units > e.Max {
		f = fault.Newf(fault.Limited, "the call needs more than the budget %s of a whole %s holds: ask for less at once",
			e.Account.Limit, e.Account.Window)
	}
	f.RetryAfter = e.RetryAfter
	return f
}
