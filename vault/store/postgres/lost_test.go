package postgres

import (
	"bytes"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/postgres/pgserver"
)

// TestCutInCommit cuts the connection when COMMIT is on its way, and when its answer is: either way the outcome is unknown, and
// nothing is tried again.
func TestCutInCommit(t *testing.T) {
	server := pgserver.Start(t)
	for _, c := range []struct {
		name     string
		byServer bool
		want     int // what the row counts then
	}{{"the request is lost", false, 1}, {"the answer is lost", true, 2}} {
		t.Run(c.name, func(t *testing.T) {
			wire := server.Wire(t)
			s := open(t, Options{DSN: server.Over(wire, server.Database(t))})
			if err := s.Update(t.Context(), count); err != nil {
				t.Fatal(err)
			}
			runs, cut := 0, false
			err := s.Update(t.Context(), func(w store.Writer) error {
				runs++
				defer wire.CutAt(func(sent []byte, byServer bool) bool {
					now := !cut && byServer == c.byServer && (!byServer || bytes.Contains(sent, []byte("COMMIT\x00")))
					cut = cut || now
					return now
				})
				return count(w)
			})
			wire.CutAt(nil)
			if !errors.Is(err, store.ErrUnavailable) || runs != 1 {
				t.Errorf("after %d runs: %v", runs, err)
			}
			if got := get(t, s, "count"); got != strconv.Itoa(c.want) {
				t.Errorf("the row counts %s, not %d", got, c.want)
			}
		})
	}
}

// count adds one to a row: what must not be done twice. It reads before it is cut.
func count(w store.Writer) error {
	values, err := w.Get([]byte("count"))
	if err != nil {
		return err
	}
	n, _ := strconv.Atoi(string(values[0]))
	return w.Set([]byte("count"), strconv.AppendInt(nil, int64(n+1), 10))
}

// TestCutWhileIdle: connections that were cut while nobody used them, by the way or by the server, are not noticed by callers.
func TestCutWhileIdle(t *testing.T) {
	server := pgserver.Start(t)
	wire := server.Wire(t)
	s := open(t, Options{DSN: server.Over(wire, server.Database(t))})
	for n, cut := range []func(){
		func() { wire.Cut(); wire.Join() },
		func() {
			server.Exec(t, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'sandyq'")
		},
	} {
		if err := s.Update(t.Context(), count); err != nil {
			t.Fatal(err)
		}
		cut()
		if err := s.Update(t.Context(), count); err != nil {
			t.Error(err)
		}
		if got, want := get(t, s, "count"), strconv.Itoa(2*n+2); got != want {
			t.Errorf("the row counts %s, not %s", got, want)
		}
	}
}

// TestHeldUp: what a lock holds up is done once the lock is gone, and what takes longer than the server allows is begun again.
func TestHeldUp(t *testing.T) {
	server := pgserver.Start(t)
	dsn := server.Database(t)
	s := open(t, Options{DSN: dsn, Patience: 20 * time.Second})
	put(t, s, "k", "v")
	var runs atomic.Int32
	held, done := make(chan error, 1), make(chan error, 1)
	go func() {
		held <- pgserver.Exec(t.Context(), dsn, "do $$ begin lock table sandyq_rows in access exclusive mode; perform pg_sleep(6); end $$")
	}()
	time.Sleep(500 * time.Millisecond)
	go func() {
		done <- s.Update(t.Context(), func(w store.Writer) error { runs.Add(1); return count(w) })
	}()
	if err := <-held; err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || runs.Load() < 2 {
		t.Errorf("after %d runs: %v", runs.Load(), err) // lock_timeout ended the first
	}
	if got := get(t, s, "count"); got != "1" {
		t.Errorf("the row counts %s", got)
	}
}

// TestConnectionsLast: a View, an Update, and one that is refused leave their connection fit for the next.
func TestConnectionsLast(t *testing.T) {
	s := open(t, Options{DSN: database(t)})
	refused := errors.New("refused")
	for range 20 {
		put(t, s, "k", "v")
		_ = get(t, s, "k")
		if err := s.Update(t.Context(), func(w store.Writer) error { return errors.Join(count(w), refused) }); !errors.Is(err, refused) {
			t.Errorf("a refused Update: %v", err)
		}
	}
	if made := s.pool.Stat().NewConnsCount(); made != 1 {
		t.Errorf("%d connections were made, one after the other", made)
	}
}
