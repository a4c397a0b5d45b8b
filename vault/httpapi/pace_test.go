package httpapi

import (
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault/clock"
)

func TestAConnectionThatDribblesRunsOutOfTime(t *testing.T) {
	var left time.Duration
	p := pace{deadline: func(at time.Time) error { left = at.Sub(clock.System()).Round(time.Second); return nil }}
	move := func(n int) { _, _ = p.step(func() (int, error) { return n, nil }) }

	if move(minRate); left != patience {
		t.Errorf("at first %v left", left)
	}
	if move(0); left != patience+time.Second {
		t.Errorf("after a second's worth of bytes %v left", left)
	}
	p.waited = patience // nothing more comes for half a minute
	if move(1); left != time.Second {
		t.Errorf("after waiting %v left", left)
	}
	p.waited += 10 * time.Second
	if move(0); left >= 0 {
		t.Errorf("time is up, %v left", left)
	}
}
