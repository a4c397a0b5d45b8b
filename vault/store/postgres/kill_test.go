package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/postgres/pgserver"
)

// scaled returns a count for a test, which SANDYQ_TEST_SCALE multiplies.
func scaled(n int) int {
	if scale, err := strconv.Atoi(os.Getenv("SANDYQ_TEST_SCALE")); err == nil {
		n *= scale
	}
	return n
}

const loadClients = 8

// load has clients append to a list each until it is stopped, and remembers what was acknowledged. An append whose outcome is
// unknown may be there or not, but no later one is without it.
type load struct {
	acked [loadClients]int // the last number acknowledged
	ended sync.WaitGroup
	stop  context.CancelFunc
}

func loadKey(client, n int) []byte { return fmt.Appendf(nil, "load/%d/%08d", client, n) }
func headKey(client int) []byte    { return fmt.Appendf(nil, "head/%d", client) }

func startLoad(s *Store) *load {
	l := &load{}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	for c := range loadClients {
		l.ended.Go(func() {
			for ctx.Err() == nil {
				n := 0
				err := s.Update(ctx, func(w store.Writer) (err error) {
					n, err = appendNext(w, c)
					return err
				})
				if err == nil {
					l.acked[c] = n
				}
			}
		})
	}
	return l
}

func appendNext(w store.Writer, c int) (int, error) {
	values, err := w.Get(headKey(c))
	if err != nil {
		return 0, err
	}
	n, _ := strconv.Atoi(string(values[0]))
	n++
	return n, errors.Join(w.Set(loadKey(c, n), []byte("row")), w.Set(headKey(c), strconv.AppendInt(nil, int64(n), 10)))
}

func (l *load) end() (total int) {
	l.stop()
	l.ended.Wait()
	for _, n := range l.acked {
		total += n
	}
	return total
}

// lost counts what was acknowledged and is not there. Whatever is there is whole.
func (l *load) lost(t *testing.T, s *Store) (lost int) {
	t.Helper()
	err := s.View(t.Context(), func(r store.Reader) error {
		for c := range loadClients {
			pairs, err := r.Scan(fmt.Appendf(nil, "load/%d/", c), nil, 1_000_000)
			if err != nil {
				return err
			}
			values, err := r.Get(headKey(c))
			if err != nil {
				return err
			}
			head, _ := strconv.Atoi(string(values[0]))
			if len(pairs) != head {
				t.Errorf("client %d: %d rows, and the head says %d", c, len(pairs), head)
			}
			lost += max(0, l.acked[c]-head)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lost
}

// kills runs the load through kills of the server with all its processes, and counts what was lost. The store is one and the
// same all the time: it goes on by itself.
func kills(t *testing.T, opt Options, rounds int) (acked, lost int) {
	t.Helper()
	server := pgserver.Start(t)
	opt.DSN, opt.Patience = server.Database(t), 30*time.Second
	s := open(t, opt)
	for range rounds {
		l := startLoad(s)
		time.Sleep(50*time.Millisecond + rand.N(300*time.Millisecond))
		server.Kill(t)
		server.Restart(t)
		time.Sleep(50 * time.Millisecond)
		acked += l.end()
		lost += l.lost(t, s)
		if t.Failed() {
			break
		}
	}
	return acked, lost
}

func TestKill(t *testing.T) {
	acked, lost := kills(t, Options{}, scaled(5))
	if acked == 0 || lost != 0 {
		t.Fatalf("%d Updates acknowledged, %d lost", acked, lost)
	}
	t.Logf("%d Updates acknowledged, 0 lost", acked)
}

// TestKillUnsynced is the control: without waiting for the disk, the same kills lose.
func TestKillUnsynced(t *testing.T) {
	if _, lost := kills(t, Options{unsynced: true}, 3); lost == 0 {
		t.Error("nothing was lost: the kill test would not notice")
	}
}

// TestAway has a View and an Update begin while the server is away: they wait for it.
func TestAway(t *testing.T) {
	server := pgserver.Start(t)
	s := open(t, Options{DSN: server.Database(t), Patience: 30 * time.Second})
	put(t, s, "k", "before")
	server.Stop(t)
	var calls sync.WaitGroup
	calls.Go(func() {
		if err := s.Update(t.Context(), func(w store.Writer) error { return w.Set([]byte("k"), []byte("after")) }); err != nil {
			t.Errorf("an Update begun while the server was away: %v", err)
		}
	})
	calls.Go(func() {
		if got := get(t, s, "k"); got != "before" && got != "after" {
			t.Errorf("a View begun while the server was away: %q", got)
		}
	})
	time.Sleep(100 * time.Millisecond)
	server.Restart(t)
	calls.Wait()
	if got := get(t, s, "k"); got != "after" {
		t.Errorf("reads %q", got)
	}
}

// TestGivesUp: without a server there is an answer all the same.
func TestGivesUp(t *testing.T) {
	server := pgserver.Start(t)
	s := open(t, Options{DSN: server.Database(t), Patience: 300 * time.Millisecond})
	server.Stop(t)
	err := s.Update(t.Context(), func(w store.Writer) error { return w.Set([]byte("k"), nil) })
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Update: %v", err)
	}
	err = s.View(t.Context(), func(r store.Reader) error {
		_, err := r.Get([]byte("k"))
		return err
	})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("View: %v", err)
	}
}

func put(t *testing.T, s *Store, key, value string) {
	t.Helper()
	if err := s.Update(t.Context(), func(w store.Writer) error { return w.Set([]byte(key), []byte(value)) }); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s *Store, key string) (value string) {
	t.Helper()
	err := s.View(t.Context(), func(r store.Reader) error {
		values, err := r.Get([]byte(key))
		if err == nil {
			value = string(values[0])
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return value
}
