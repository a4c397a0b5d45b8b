package patroni_test

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/postgres"
	"github.com/sandyq/sandyq/vault/store/postgres/patroni"
)

// TestSettings has an operator and two dead machines take away what the store rests on. It takes a minute or two, so it runs
// with SANDYQ_TEST_SCALE.
func TestSettings(t *testing.T) {
	if scale() == 1 {
		t.Skip("runs with SANDYQ_TEST_SCALE=2 and above")
	}
	c := patroni.Start(t)
	dsn := c.Database(t)
	t.Run("no standby is left", func(t *testing.T) { noStandby(t, c, dsn) })
	t.Run("synchronous mode is turned off", func(t *testing.T) { asynchronous(t, c, dsn) })
}

// noStandby: in strict mode a primary without a standby acknowledges nothing. What it did not acknowledge is there once it has one again.
func noStandby(t *testing.T, c *patroni.Cluster, dsn string) {
	s := open(t, postgres.Options{DSN: dsn, Patience: 3 * time.Second})
	set := func(key string) error {
		return s.Update(t.Context(), func(w store.Writer) error { return w.Set([]byte(key), nil) })
	}
	if err := set("before"); err != nil {
		t.Fatal(err)
	}
	leader := c.Leader(t)
	for _, n := range c.Node {
		if n != leader {
			n.Kill(t)
		}
	}
	began := time.Now()
	if err := set("alone"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("an Update without a standby: %v", err)
	}
	if took := time.Since(began); took > 40*time.Second { // the limit of a COMMIT, and what comes before it
		t.Errorf("it was answered after %s", took)
	}
	for _, n := range c.Node {
		if n != leader {
			n.Start(t)
		}
	}
	c.Await(t, patroni.Whole)
	if err := set("after"); err != nil {
		t.Errorf("an Update with standbys again: %v", err)
	}
}

// asynchronous: a store stops when its cluster no longer waits for standbys, unless it was told to accept the loss; then it says so.
func asynchronous(t *testing.T, c *patroni.Cluster, dsn string) {
	var log log
	careful, careless := open(t, postgres.Options{DSN: dsn}), open(t, postgres.Options{DSN: dsn, AcceptLoss: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	c.Configure(t, map[string]any{"synchronous_mode": false})
	select {
	case <-careful.Failed():
	case <-time.After(time.Minute):
		t.Fatal("the store goes on")
	}
	if err := careful.Err(); !errors.Is(err, postgres.ErrUnsafe) {
		t.Errorf("it stopped because of %v", err)
	}
	if _, err := postgres.Open(t.Context(), postgres.Options{DSN: dsn, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}); !errors.Is(err, postgres.ErrUnsafe) {
		t.Errorf("opened anew: %v", err)
	}
	for deadline := time.Now().Add(time.Minute); !strings.Contains(log.String(), "NOT SAFE"); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the other store says nothing")
		}
	}
	if err := careless.Update(t.Context(), func(w store.Writer) error { return w.Set([]byte("k"), nil) }); err != nil {
		t.Errorf("the store that accepts loss: %v", err)
	}
	c.Configure(t, map[string]any{"synchronous_mode": true})
	c.Await(t, patroni.Whole)
	open(t, postgres.Options{DSN: dsn})
}

// log is what a store said.
type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
