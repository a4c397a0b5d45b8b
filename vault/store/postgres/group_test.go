package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/postgres/pgserver"
)

// commits counts what was committed.
type commits struct {
	nobody
	made, retried atomic.Int64
}

func (c *commits) CommittedRows(int, time.Duration) { c.made.Add(1) }
func (c *commits) Retried(Cause)                    { c.retried.Add(1) }

// together has Updates share one group, in this order, and returns the outcome of each and how many transactions were committed for them.
// Before they are let go, once they wait, meanwhile is called.
func together(t *testing.T, s *Store, seen *commits, meanwhile func(), each ...func(ctx context.Context) error) (outcomes []error, made int64) {
	t.Helper()
	g := &s.updates
	g.mu.Lock()
	g.held = true
	g.mu.Unlock()
	outcomes = make([]error, len(each))
	var work sync.WaitGroup
	for i, one := range each {
		work.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					outcomes[i] = fmt.Errorf("panic: %v", p)
				}
			}()
			outcomes[i] = one(t.Context())
		})
		for waiting := 0; waiting <= i; time.Sleep(time.Millisecond) {
			g.mu.Lock()
			waiting = len(g.waiting)
			g.mu.Unlock()
		}
	}
	if meanwhile != nil {
		meanwhile()
	}
	before := seen.made.Load()
	g.mu.Lock()
	g.next()
	g.mu.Unlock()
	work.Wait()
	return outcomes, seen.made.Load() - before
}

// update is an Update of one function.
func update(s *Store, f func(store.Writer) error) func(context.Context) error {
	return func(ctx context.Context) error { return s.Update(ctx, f) }
}

// adding counts up a row.
func adding(key string) func(store.Writer) error {
	return func(w store.Writer) error {
		values, err := w.Get([]byte(key))
		if err != nil {
			return err
		}
		n, _ := strconv.Atoi(string(values[0]))
		return w.Set([]byte(key), strconv.AppendInt(nil, int64(n+1), 10))
	}
}

// TestGroup: Updates that come together are one transaction, and one that goes wrong, in whatever way, takes nothing from the others.
func TestGroup(t *testing.T) {
	seen := &commits{}
	s := open(t, Options{DSN: database(t), Observer: seen})
	refused := errors.New("refused")
	ended, end := context.WithCancel(t.Context())
	defer end()
	outcomes, made := together(t, s, seen, end,
		update(s, adding("a")),
		update(s, func(w store.Writer) error { return errors.Join(adding("b")(w), refused) }),
		update(s, func(w store.Writer) error { _ = adding("c")(w); panic("mine") }),
		func(context.Context) error { return s.Update(ended, adding("d")) },
		update(s, func(w store.Writer) error {
			return errors.Join(adding("e")(w), w.Set(make([]byte, store.MaxKey+1), nil))
		}),
		update(s, func(w store.Writer) error { return w.Set([]byte("f"), []byte("1")) }),
		update(s, func(w store.Writer) error { // asks twice
			return errors.Join(adding("g")(w), adding("h")(w))
		}),
		update(s, adding("z")),
	)
	if made != 1 {
		t.Errorf("%d transactions were made", made)
	}
	for i, want := range []error{nil, refused, nil, context.Canceled, store.ErrTooLarge, nil, nil, nil} {
		if i == 2 {
			if outcomes[i] == nil || outcomes[i].Error() != "panic: mine" {
				t.Errorf("the one that panics: %v", outcomes[i])
			}
		} else if !errors.Is(outcomes[i], want) {
			t.Errorf("%d: %v, not %v", i, outcomes[i], want)
		}
	}
	for key, want := range map[string]string{"a": "1", "b": "", "c": "", "d": "", "e": "", "f": "1", "g": "1", "h": "1", "z": "1"} {
		if got := get(t, s, key); got != want {
			t.Errorf("%s is %q, not %q", key, got, want)
		}
	}
	if n := seen.retried.Load(); n != 0 {
		t.Errorf("%d were tried again", n)
	}
}

// TestGroupApart: what a group cannot settle is settled by a transaction of its own: who has read what another writes, reads ranges after
// that, or writes much.
func TestGroupApart(t *testing.T) {
	seen := &commits{}
	s := open(t, Options{DSN: database(t), Observer: seen})
	large := func(key string) func(store.Writer) error {
		return func(w store.Writer) error {
			err := adding(key)(w)
			for n := range 3 {
				err = errors.Join(err, w.Set(fmt.Appendf(nil, "large/%s/%d", key, n), make([]byte, store.MaxValue)))
			}
			return err
		}
	}
	outcomes, made := together(t, s, seen, nil,
		update(s, adding("n")), update(s, adding("n")), update(s, adding("n")),
		update(s, func(w store.Writer) error { // a sum of what is there, in a row
			err := adding("sum")(w)
			pairs, lost := w.Scan([]byte("n"), nil, 9)
			for _, p := range pairs {
				err = errors.Join(err, w.Set([]byte("sum"), bytes.Clone(p.Value)))
			}
			return errors.Join(err, lost)
		}),
		update(s, large("x")), update(s, large("y")),
	)
	for i, err := range outcomes {
		if err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	if made != 6 { // the first with nobody else: the others have read what it writes, or write too much beside it
		t.Errorf("%d transactions were made", made)
	}
	if got := get(t, s, "n"); got != "3" {
		t.Errorf("the row counts %s", got)
	}
}

// TestGroupConflict: when others interfere with one of a group, all are done all the same, each once.
func TestGroupConflict(t *testing.T) {
	seen := &commits{}
	dsn := database(t)
	s, other := open(t, Options{DSN: dsn, Observer: seen}), open(t, Options{DSN: dsn})
	interfere := sync.OnceFunc(func() {
		if err := other.Update(t.Context(), adding("b")); err != nil {
			t.Error(err)
		}
	})
	outcomes, made := together(t, s, seen, nil,
		update(s, adding("a")),
		update(s, func(w store.Writer) error {
			err := adding("b")(w)
			interfere()
			return err
		}),
		update(s, adding("c")),
	)
	for i, err := range outcomes {
		if err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	if made != 3 || seen.retried.Load() < 3 {
		t.Errorf("%d transactions were made, %d tried again", made, seen.retried.Load())
	}
	for key, want := range map[string]string{"a": "1", "b": "2", "c": "1"} {
		if got := get(t, s, key); got != want {
			t.Errorf("%s is %q, not %q", key, got, want)
		}
	}
}

// TestGroupCut: when the answer to COMMIT is lost, it is unknown to all who wrote what became of that, nothing is done twice, and who only
// read is answered.
func TestGroupCut(t *testing.T) {
	server := pgserver.Start(t)
	wire := server.Wire(t)
	seen := &commits{}
	s := open(t, Options{DSN: server.Over(wire, server.Database(t)), Observer: seen})
	refused := errors.New("refused")
	outcomes, _ := together(t, s, seen, func() {
		wire.CutAt(func(sent []byte, byServer bool) bool {
			return byServer && bytes.Contains(sent, []byte("INSERT 0 2\x00"))
		})
	},
		update(s, adding("a")),
		update(s, func(w store.Writer) error { _, err := w.Get([]byte("a")); return errors.Join(err, refused) }),
		update(s, adding("b")),
	)
	wire.CutAt(nil)
	for i, want := range []error{store.ErrUnavailable, refused, store.ErrUnavailable} {
		if !errors.Is(outcomes[i], want) {
			t.Errorf("%d: %v, not %v", i, outcomes[i], want)
		}
	}
	if a, b := get(t, s, "a"), get(t, s, "b"); a != "1" || b != "1" {
		t.Errorf("the rows count %q and %q", a, b)
	}
}

// TestGroupHungUp: a group that does not begin holds nobody up for long.
func TestGroupHungUp(t *testing.T) {
	s := open(t, Options{DSN: database(t)})
	free := make(chan struct{})
	var work, under sync.WaitGroup
	for range 2 {
		under.Add(1)
		began := sync.OnceFunc(under.Done)
		work.Go(func() {
			_ = s.Update(t.Context(), func(w store.Writer) error {
				_, err := w.Get([]byte("held"))
				began()
				<-free
				return err
			})
		})
		under.Wait()
	}
	for range 20 {
		work.Go(func() {
			if err := s.Update(t.Context(), count); err != nil {
				t.Error(err)
			}
		})
	}
	for got := ""; got != "20"; got = get(t, s, "count") {
		time.Sleep(10 * time.Millisecond)
	}
	close(free)
	work.Wait()
}

// TestGroupBlocked: a group whose COMMIT waits for another's lock holds up no other group for long.
func TestGroupBlocked(t *testing.T) {
	dsn := database(t)
	s := open(t, Options{DSN: dsn})
	put(t, s, "a", "0")
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	other, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Exec(t.Context(), `select from sandyq_rows where key = 'a' for update`); err != nil {
		t.Fatal(err)
	}
	blocked := make(chan error, 1)
	go func() { blocked <- s.Update(t.Context(), adding("a")) }()
	for waiting := 0; waiting == 0; { // for the lock
		const locks = `select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`
		if err := other.QueryRow(t.Context(), locks).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Update(t.Context(), adding("b")); err != nil {
		t.Error(err)
	}
	free := func() bool {
		s.updates.mu.Lock()
		defer s.updates.mu.Unlock()
		return !s.updates.held
	}
	for began := time.Now(); !free(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatal("the group that waits keeps others from beginning")
		}
	}
	select {
	case err := <-blocked:
		t.Errorf("the one that was blocked came to its end first: %v", err)
	default:
	}
	if err := other.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-blocked; err != nil {
		t.Error(err)
	}
	if a, b := get(t, s, "a"), get(t, s, "b"); a != "1" || b != "1" {
		t.Errorf("the rows count %q and %q", a, b)
	}
}

// TestViewsTogether: Views share a snapshot, each sees what was acknowledged before it began, and one that lasts holds up no other.
func TestViewsTogether(t *testing.T) {
	s := open(t, Options{DSN: database(t)})
	put(t, s, "k", "0")
	free, work := make(chan struct{}), sync.WaitGroup{}
	for range 4 {
		work.Go(func() {
			err := s.View(t.Context(), func(r store.Reader) error {
				before, err := r.Get([]byte("k"))
				<-free
				after, lost := r.Scan([]byte("k"), nil, 9)
				if len(after) != 1 || !bytes.Equal(before[0], after[0].Value) {
					t.Errorf("a snapshot has %q and then %v", before[0], after)
				}
				return errors.Join(err, lost)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	for n := range scaled(50) {
		put(t, s, "k", strconv.Itoa(n))
		var readers sync.WaitGroup
		for range 8 {
			readers.Go(func() {
				if got := get(t, s, "k"); got != strconv.Itoa(n) {
					t.Errorf("%s after %d", got, n)
				}
			})
		}
		readers.Wait()
	}
	close(free)
	work.Wait()
}
