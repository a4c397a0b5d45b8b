package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/postgres/pgserver"
)

// TestUnsafeServer: a server that may lose what it acknowledges is not opened, unless the operator says so, which is logged.
func TestUnsafeServer(t *testing.T) {
	for _, line := range []string{"fsync = off", "full_page_writes = off"} {
		t.Run(line, func(t *testing.T) {
			server := pgserver.Start(t, line)
			dsn := server.Database(t)
			s, err := Open(t.Context(), Options{DSN: dsn, Logger: quiet})
			if !errors.Is(err, ErrUnsafe) {
				t.Errorf("Open: %v", err)
			}
			if err == nil {
				_ = s.Close()
			}
			var log bytes.Buffer
			s, err = Open(t.Context(), Options{DSN: dsn, Logger: slog.New(slog.NewTextHandler(&log, nil)), AcceptLoss: true})
			if err != nil {
				t.Fatal(err)
			}
			put(t, s, "k", "v")
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if !strings.Contains(log.String(), "NOT SAFE") {
				t.Error("the log says nothing")
			}
		})
	}
}

// TestSessionWins: what a role or a database sets for its sessions does not make commits asynchronous.
func TestSessionWins(t *testing.T) {
	server := pgserver.Start(t, "synchronous_commit = off")
	server.Exec(t, "alter role sandyq set synchronous_commit = off")
	s := open(t, Options{DSN: server.Database(t) + "&options=-csynchronous_commit%3Doff"})
	conn, err := s.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	var setting string
	if err := conn.QueryRow(t.Context(), "show synchronous_commit").Scan(&setting); err != nil || setting != "on" {
		t.Errorf("synchronous_commit is %s: %v", setting, err)
	}
}

// TestBecomesUnsafe: a store stops when its server no longer keeps what it acknowledges.
func TestBecomesUnsafe(t *testing.T) {
	server := pgserver.Start(t)
	s := open(t, Options{DSN: server.Database(t), check: 50 * time.Millisecond})
	put(t, s, "k", "v")
	server.Configure(t, "fsync = off")
	select {
	case <-s.Failed():
	case <-time.After(20 * time.Second):
		t.Fatal("the store goes on")
	}
	if err := s.Err(); !errors.Is(err, ErrUnsafe) || !errors.Is(err, store.ErrClosed) {
		t.Errorf("Err: %v", err)
	}
	err := s.Update(t.Context(), func(w store.Writer) error { return w.Set([]byte("k"), nil) })
	if !errors.Is(err, store.ErrClosed) {
		t.Errorf("Update: %v", err)
	}
}

// TestStandbys: a primary that waits for none of its standbys is refused; one that waits is not; and an Update whose wait was
// cancelled by the server's operator is not acknowledged, although the server says COMMIT.
func TestStandbys(t *testing.T) {
	primary := pgserver.Start(t)
	dsn := primary.Database(t)
	standby := primary.Standby(t, "other")
	if _, err := Open(t.Context(), Options{DSN: dsn, Logger: quiet}); !errors.Is(err, ErrUnsafe) {
		t.Errorf("a primary with an asynchronous standby: %v", err)
	}
	if _, err := Open(t.Context(), Options{DSN: strings.ReplaceAll(dsn, fmt.Sprint(primary.Port), fmt.Sprint(standby.Port)), Logger: quiet, Patience: time.Second}); err == nil {
		t.Error("a standby was opened")
	}
	primary.Configure(t, "synchronous_standby_names = 'other'")
	// Both hosts are named, the standby first.
	hosts := fmt.Sprintf("127.0.0.1:%d,127.0.0.1:%d", standby.Port, primary.Port)
	both := strings.ReplaceAll(dsn, fmt.Sprintf("127.0.0.1:%d", primary.Port), hosts)
	seen := &observed{}
	s := open(t, Options{DSN: both, Patience: 20 * time.Second, Observer: seen})
	put(t, s, "k", "first")

	standby.Pause(t)
	answered := make(chan error, 1)
	go func() {
		answered <- s.Update(t.Context(), func(w store.Writer) error { return w.Set([]byte("k"), []byte("waits")) })
	}()
	select {
	case err := <-answered:
		t.Fatalf("acknowledged without the standby: %v", err)
	case <-time.After(500 * time.Millisecond):
	}
	if got := get(t, s, "k"); got != "first" {
		t.Errorf("a View sees what the standby does not have: %q", got)
	}
	primary.Exec(t, "select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'")
	if err := <-answered; !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("an Update whose wait was cancelled: %v", err)
	}
	standby.Resume(t)

	// The primary dies and the standby takes over: the store follows it and finds what was acknowledged.
	put(t, s, "k", "second")
	place, _ := s.Place()
	primary.Kill(t)
	standby.Configure(t, "synchronous_standby_names = ''")
	standby.Promote(t)
	if got := get(t, s, "k"); got != "second" {
		t.Errorf("after the failover: %q", got)
	}
	put(t, s, "k", "third")
	if took, rows, used := seen.takeovers.Load(), seen.rows.Load(), seen.inUse.Load(); took != 1 || rows < 3 || used != 0 {
		t.Errorf("observed: %d failovers, %d rows, %d connections in use", took, rows, used)
	}
	again := open(t, Options{DSN: both})
	if now, _ := again.Place(); now != place {
		t.Error("another place after the failover")
	}
}

// observed counts what a store tells its Observer.
type observed struct{ inUse, waiting, rows, retries, takeovers atomic.Int64 }

func (o *observed) Connections(inUse, waiting int) {
	o.inUse.Add(int64(inUse))
	o.waiting.Add(int64(waiting))
}
func (o *observed) CommittedRows(rows int, _ time.Duration) { o.rows.Add(int64(rows)) }
func (o *observed) Retried(Cause)                           { o.retries.Add(1) }
func (o *observed) TookOver()                               { o.takeovers.Add(1) }
