package hashicorp

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
)

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b breaker
		defer b.stop()
		admitted := func(want bool, when string) {
			t.Helper()
			if err := b.admit(); (err == nil) != want {
				t.Fatalf("%s: admitted %v, want %v", when, err == nil, want)
			} else if err != nil && !errors.Is(err, kms.ErrUnavailable) {
				t.Fatalf("%s: %v, want ErrUnavailable", when, err)
			}
		}
		trip := func() {
			for range tripAfter {
				admitted(true, "before it trips")
				b.settle(away)
			}
			admitted(false, "tripped")
		}

		admitted(true, "fresh")
		b.settle(away)
		b.settle(alive)
		admitted(true, "failures that do not run on")
		b.settle(unknown)
		trip()

		rest := func() { time.Sleep(cooldown); synctest.Wait() }
		rest()
		admitted(true, "the trial")
		admitted(false, "beside the trial")
		rest()
		admitted(false, "while the trial is still out")
		b.settle(away)
		admitted(false, "after a failed trial")
		rest()
		admitted(true, "the second trial")
		b.settle(unknown)
		admitted(false, "after a trial without verdict")
		rest()
		admitted(true, "the third trial")
		b.settle(alive)
		for range 5 {
			admitted(true, "recovered")
		}
		b.settle(alive)
		rest()
		admitted(true, "a while after the recovery")
		b.settle(alive)
		trip()
	})
}

// TestBreakerLateFailures: operations that began before the breaker tripped end one by one. They put the trial off no
// further, and let none go beside it.
func TestBreakerLateFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b breaker
		defer b.stop()
		const early = 10
		for range early {
			if err := b.admit(); err != nil {
				t.Fatal(err)
			}
		}
		b.settle(away)
		b.settle(away)
		for range 4 { // over four fifths of the cooldown
			time.Sleep(cooldown / 5)
			b.settle(away)
		}
		time.Sleep(cooldown / 5)
		synctest.Wait()
		if err := b.admit(); err != nil {
			t.Fatalf("the trial is put off: %v", err)
		}
		if err := b.admit(); err == nil {
			t.Error("a second trial goes beside the first")
		}
	})
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name  string
		err   error
		ended bool
		want  verdict
	}{
		{"success", nil, false, alive},
		{"denial", errDenied, false, alive},
		{"wrong claim", kms.ErrClaim, false, alive},
		{"over quota", statusError(429), false, alive},
		{"behind", statusError(412), false, alive},
		{"sealed", statusError(503), false, away},
		{"performance standby", statusError(473), false, away},
		{"slow", errSlow, false, away},
		{"caller gave up", public(errSlow), true, unknown},
	} {
		if got := judge(c.err, c.ended); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
