package endtoend

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault/store/postgres/pgserver"
)

// What TestAMillionPeople holds vaults to.
const (
	slower     = 1.5       // of a reading's p99: the larger vault's to the smaller's
	atWork     = 1 << 30   // bytes: what a vault may have of its own while it is filled as fast as it can be, however many people it has
	grown      = 192 << 20 // bytes: what the larger vault may have of its own more than the smaller, when both do the same
	manyEnough = 100_000   // people from which the times mean something: below, the p99 is of a handful of calls
)

// TestAMillionPeople fills two vaults, one with a hundred times as many people as the other (with SANDYQ_TEST_SCALE=500, a million), and
// reads in both by turns: with keys that were never opened before, people as they come, and people whose keys are leased.
func TestAMillionPeople(t *testing.T) {
	for name, rows := range map[string]func(t *testing.T) (few, many string){
		"badger": func(*testing.T) (few, many string) { return "", "" },
		"postgres": func(t *testing.T) (few, many string) {
			// What docs/store.md asks for, and room for the indexes.
			s := pgserver.Start(t, "max_pred_locks_per_transaction = 1024", "shared_buffers = 1GB", "max_wal_size = 2GB")
			return s.Database(t), s.Database(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := rows(t)
			c := &comparison{few: found(t, a), many: found(t, b)}
			c.fill(t)
			c.restart(t)
			c.cold(t)
			c.asTheyCome(t)
			c.leased(t)
			c.steady(t)
		})
	}
}

// comparison is of two vaults, in one run.
type comparison struct{ few, many *town }

func (c *comparison) fill(t *testing.T) {
	c.few.settle(t, min(scaled(200), 10_000), func(int) {})
	began := time.Now()
	c.many.settle(t, scaled(2000), func(there int) {
		f := c.many.footprint(t)
		t.Logf("%9d people after %4.0f s: %v", there, time.Since(began).Seconds(), f)
		if f.own > atWork {
			t.Errorf("with %d people the process has %d MiB of its own", there, f.own>>20)
		}
	})
}

// restart leaves no key open.
func (c *comparison) restart(t *testing.T) {
	few, many := c.few.restart(t), c.many.restart(t)
	t.Logf("started again: %d people in %.1f s, %d in %.1f s", len(c.few.people), few.Seconds(), len(c.many.people), many.Seconds())
	c.bounded(t, "started again")
}

// bounded holds the larger vault's memory against the smaller's.
func (c *comparison) bounded(t *testing.T, when string) {
	t.Helper()
	few, many := c.few.footprint(t), c.many.footprint(t)
	t.Logf("%s: %d people: %v", when, len(c.few.people), few)
	t.Logf("%s: %d people: %v", when, len(c.many.people), many)
	if many.own-few.own > grown {
		t.Errorf("%s: with %d people the process has %d MiB of its own, with %d people %d", when,
			len(c.many.people), many.own>>20, len(c.few.people), few.own>>20)
	}
}

// Readings are made in so many turns of at most so many calls.
const (
	turns   = 5
	perTurn = 2000
)

// calls is how many a turn has: few enough that the smaller vault has different people for each turn.
func (c *comparison) calls() int { return min(len(c.few.people)/turns, perTurn) }

// cold reads of people whose keys no process has open, nobody twice: each reading opens a key at the provider.
func (c *comparison) cold(t *testing.T) {
	few, many := c.few.different(turns*c.calls()), c.many.different(turns*c.calls())
	c.byTurns(t, "keys not open", 0, func(turn int) ([]int, []int) {
		from, to := turn*c.calls(), (turn+1)*c.calls()
		return few[from:to], many[from:to]
	})
}

// asTheyCome reads of anybody: in the smaller vault the keys are soon all leased, in the larger hardly any.
func (c *comparison) asTheyCome(t *testing.T) {
	c.byTurns(t, "anybody", -1, func(int) ([]int, []int) { return c.few.anybody(c.calls()), c.many.anybody(c.calls()) })
}

// leased reads of the same hundreds of people again and again.
func (c *comparison) leased(t *testing.T) {
	few, many := c.few.different(c.calls()/2), c.many.different(c.calls()/2)
	c.byTurns(t, "keys leased", 1, func(int) ([]int, []int) {
		c.few.read(t, few)
		c.many.read(t, many)
		return slices.Concat(few, few), slices.Concat(many, many)
	})
}

// byTurns reads in one vault and the other, and compares the middle of the turns. leased is the share of the keys that must have been
// open, or negative.
func (c *comparison) byTurns(t *testing.T, what string, leased float64, who func(turn int) (few, many []int)) {
	t.Helper()
	var few, many times
	for turn := range turns {
		a, b := who(turn)
		few.add(t, c.few, a)
		many.add(t, c.many, b)
	}
	ratio := float64(many.p99()) / float64(few.p99())
	t.Logf("%-13s %8d people: p50 %5d µs, p99 %6d µs, %3.0f%% leased", what, len(c.few.people), few.p50().Microseconds(), few.p99().Microseconds(), few.leased()*100)
	t.Logf("%-13s %8d people: p50 %5d µs, p99 %6d µs, %3.0f%% leased; p99 %.2f times", what, len(c.many.people),
		many.p50().Microseconds(), many.p99().Microseconds(), many.leased()*100, ratio)
	if len(c.many.people) >= manyEnough && ratio > slower {
		t.Errorf("%s: p99 is %.2f times that of the smaller vault", what, ratio)
	}
	for _, of := range []times{few, many} {
		if leased >= 0 && math.Abs(of.leased()-leased) > 0.01 { // hardly any may be otherwise
			t.Errorf("%s: %.0f%% of the keys were leased", what, of.leased()*100)
		}
	}
}

// times are the middles and the ends of turns, and of how many keys they found open.
type times struct {
	p50s, p99s   []time.Duration
	hits, misses float64
}

func (r *times) add(t *testing.T, w *town, who []int) {
	t.Helper()
	hits, misses := w.gauge(t, "sandyq_keyring_hits_total"), w.gauge(t, "sandyq_keyring_misses_total")
	took := w.read(t, who)
	r.hits += w.gauge(t, "sandyq_keyring_hits_total") - hits
	r.misses += w.gauge(t, "sandyq_keyring_misses_total") - misses
	r.p50s, r.p99s = append(r.p50s, took[len(took)/2]), append(r.p99s, took[len(took)*99/100])
}

func (r times) p50() time.Duration { return middle(r.p50s) }
func (r times) p99() time.Duration { return middle(r.p99s) }
func (r times) leased() float64    { return r.hits / (r.hits + r.misses) }

func middle(of []time.Duration) time.Duration {
	slices.Sort(of)
	return of[len(of)/2]
}

// steady reads in the larger vault for a while: nothing may pile up.
func (c *comparison) steady(t *testing.T) {
	reads := scaled(200)
	for n := range 10 {
		began := time.Now()
		c.many.read(t, c.many.anybody(reads/10))
		t.Logf("%9d readings (%5.0f/s): %v", (n+1)*reads/10, float64(reads/10)/time.Since(began).Seconds(), c.many.footprint(t))
	}
	c.bounded(t, "after reading")
}
