package vault

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/postgres"
	"github.com/sandyq/sandyq/vault/store/postgres/pgserver"
)

// TestADeposedLeaderWritesNothing: neither one that was stopped in the middle of an Update while another began to lead, nor one that begins
// an Update then by what it knew before, nor one that leads again, for its work from before.
func TestADeposedLeaderWritesNothing(t *testing.T) {
	ctx := context.Background()
	shared, err := postgres.Open(ctx, postgres.Options{DSN: pgserver.Shared(t).Database(t)}) // there others go on while an Update is under way
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	const term = time.Minute
	var at atomic.Pointer[time.Time]
	pass := func(d time.Duration) { now := at.Load().Add(d); at.Store(&now) }
	began := time.Now()
	at.Store(&began)
	node := bareNode(t, shared, func() time.Time { return *at.Load() }, term)
	first, second := node(latestFormat), node(latestFormat)
	tend := func(s *Service, leads bool) {
		t.Helper()
		for range 2 {
			if err := s.fleet.tend(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if (s.fleet.fence.Load() != 0) != leads {
			t.Fatalf("it leads by %d", s.fleet.fence.Load())
		}
	}
	row := first.rows.meta("test")
	holds := func(want, when string) {
		t.Helper()
		if err := shared.View(ctx, func(r store.Reader) error {
			rows, err := r.Get(row)
			if got := string(rows[0]); got != want {
				t.Errorf("%s the row holds %q", when, got)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	write := func(ctx context.Context, value string, meanwhile func()) error {
		return first.Store.Update(ctx, func(w store.Writer) error {
			if _, err := w.Get(row); err != nil {
				return err
			}
			if meanwhile != nil {
				meanwhile()
				meanwhile = nil // an Update may run again
			}
			return w.Set(row, []byte(value))
		})
	}
	tend(first, true)
	tend(second, false)
	before, leads := first.fleet.lead(ctx)
	if !leads {
		t.Fatal("it does not lead")
	}
	if err := write(before, "by the leader", nil); err != nil {
		t.Fatal(err)
	}
	err = write(before, "in the middle", func() {
		pass(2 * term)
		tend(second, true)
	})
	if !errors.Is(err, errDeposed) {
		t.Errorf("stopped in the middle: %v", err)
	}
	holds("by the leader", "after an Update that was stopped")
	if err := write(before, "late", func() { t.Error("it came to what it is to do") }); !errors.Is(err, errDeposed) {
		t.Errorf("begun when another led: %v", err)
	}
	holds("by the leader", "after an Update that began late")
	tend(first, false)
	if err := second.fleet.leave(ctx); err != nil {
		t.Fatal(err)
	}
	tend(first, true)
	if err := write(before, "again", nil); !errors.Is(err, errDeposed) {
		t.Errorf("of an earlier lead: %v", err)
	}
	holds("by the leader", "after an Update of an earlier lead")
	now, _ := first.fleet.lead(ctx)
	if err := write(now, "by the leader again", nil); err != nil {
		t.Fatal(err)
	}
	tend(second, false)
	err = write(now, "given up", func() {
		if err := first.fleet.giveUp(ctx, reaching); err != nil {
			t.Error(err)
		}
		tend(second, true)
	})
	if !errors.Is(err, errDeposed) {
		t.Errorf("having given up the lead: %v", err)
	}
	holds("by the leader again", "after the leader gave up")
}
