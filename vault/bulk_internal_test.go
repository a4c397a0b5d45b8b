package vault

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// However many large batches there are, they have so much room together, and calls about few tokens do not wait for it.
func TestLargeBatchesLeaveRoom(t *testing.T) {
	b := bulk{room: make(chan struct{}, 2), aside: make(chan struct{}, 1)}
	var steps [2]chan struct{}
	done := make(chan error, len(steps))
	for i := range steps {
		steps[i] = make(chan struct{})
		began := make(chan struct{})
		go func() {
			done <- b.do(t.Context(), true, func() error { close(began); <-steps[i]; return nil })
		}()
		<-began
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := b.do(ended, true, func() error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("a third has room: %v", err)
	}
	ran := false
	if err := b.do(ended, false, func() error { ran = true; return nil }); err != nil || !ran {
		t.Errorf("a small one waits: %v", err)
	}
	failed := errors.New("failed")
	close(steps[0])
	if err := b.do(t.Context(), true, func() error { return failed }); !errors.Is(err, failed) {
		t.Errorf("once one has ended: %v", err)
	}
	close(steps[1])
	for range steps {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// While there are calls about few tokens, large batches have half of their room.
func TestLargeBatchesStandAsideForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulk{room: make(chan struct{}, 2), aside: make(chan struct{}, 1)}
		const steps = 3
		var entered atomic.Int64
		next, done := make(chan struct{}), make(chan error, steps)
		begin := func() {
			done <- b.do(t.Context(), true, func() error { entered.Add(1); <-next; return nil })
		}
		want := func(many int64, when string) {
			t.Helper()
			synctest.Wait()
			if got := entered.Load(); got != many {
				t.Errorf("%s: %d steps at once, want %d", when, got, many)
			}
		}
		err := b.do(t.Context(), false, func() error {
			for range steps - 1 {
				go begin()
			}
			want(1, "beside a call about few")
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		go begin()
		want(2, "once there is none")
		close(next)
		for range steps {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if len(b.room)+len(b.aside) > 0 || b.few.Load() != 0 {
			t.Error("something is not given back")
		}
	})
}
