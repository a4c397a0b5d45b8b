// Package clock is the one place outside cmd that reads the machine's clock. Everything else is handed a [Clock], so
// that a test can hold time still or make it jump.
package clock

import "time"

// Clock tells the time. It is safe for concurrent use. System times carry Go's monotonic reading, so intervals between
// two readings survive a change of the wall clock.
type Clock func() time.Time

// System reads the machine's clock.
func System() time.Time { return time.Now() }
