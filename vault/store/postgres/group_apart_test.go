package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sandyq/sandyq/vault/store"
)

// TestGroupReads: one of a group has read all that it asked for, not only at last, and whatever it made of its keys afterwards.
func TestGroupReads(t *testing.T) {
	seen := &commits{}
	s := open(t, Options{DSN: database(t), Observer: seen})
	appending := func(w store.Writer) error {
		key := []byte("n")
		values, err := w.Get(key)
		if err != nil {
			return err
		}
		copy(key, "x")
		if _, err := w.Get([]byte("y")); err != nil {
			return err
		}
		return w.Set([]byte("n"), append(bytes.Clone(values[0]), '+'))
	}
	outcomes, _ := together(t, s, seen, nil, update(s, appending), update(s, appending), update(s, appending))
	if err := errors.Join(outcomes...); err != nil {
		t.Error(err)
	}
	if got := get(t, s, "n"); got != "+++" {
		t.Errorf("the row is %q", got)
	}
}

// TestGroupGoesOn: an f that lasts holds up nobody of its group, not even when it waits for one.
func TestGroupGoesOn(t *testing.T) {
	seen := &commits{}
	s := open(t, Options{DSN: database(t), Observer: seen})
	done := make(chan struct{})
	outcomes, made := together(t, s, seen, nil,
		func(ctx context.Context) error {
			defer close(done)
			return s.Update(ctx, adding("a"))
		},
		update(s, func(w store.Writer) error {
			err := adding("b")(w)
			<-done
			return err
		}),
	)
	if err := errors.Join(outcomes...); err != nil || made != 2 {
		t.Errorf("%d transactions were made: %v", made, err)
	}
	if a, b := get(t, s, "a"), get(t, s, "b"); a != "1" || b != "1" {
		t.Errorf("the rows count %q and %q", a, b)
	}
}

// tableLocks counts the tables and indexes that SERIALIZABLE transactions have locked as a whole.
func tableLocks(t *testing.T, dsn string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	const locked = `select count(*) from pg_locks where mode = 'SIReadLock' and locktype = 'relation'
		and database = (select oid from pg_database where datname = current_database())`
	if err := conn.QueryRow(t.Context(), locked).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestGroupLocks: a group reads no more than the server locks row by row, however often each of it asks, and deletes no more.
func TestGroupLocks(t *testing.T) {
	dsn, seen := database(t), &commits{}
	s := open(t, Options{DSN: dsn, Observer: seen})
	const rows = 2000
	row := func(n int) []byte { return fmt.Appendf(nil, "row/%05d", n) }
	if err := s.Update(t.Context(), func(w store.Writer) error {
		for n := range rows {
			if err := w.Set(row(n), make([]byte, 1500)); err != nil { // a few to a page
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for over := range 2 { // that is what the server does
		var tables int
		if err := s.Update(t.Context(), func(w store.Writer) error {
			keys := make([][]byte, s.updates.keys+over)
			for i := range keys {
				keys[i] = row(rows / len(keys) * i)
			}
			_, err := w.Get(keys...)
			tables = tableLocks(t, dsn)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if (tables > 0) != (over > 0) {
			t.Errorf("after %d rows %d tables are locked", s.updates.keys+over, tables)
		}
	}
	// The server keeps the locks for as long as there is one that overlaps them.
	var tables int
	if err := open(t, Options{DSN: dsn}).Update(t.Context(), func(w store.Writer) error {
		_, err := w.Get([]byte("open"))
		const members, each = 12, 4
		all := make([]func(context.Context) error, members)
		for i := range all {
			nth := func(n int) []byte { return row(rows / (members * each) * (i*each + n)) }
			all[i] = update(s, func(w store.Writer) error {
				_, err := w.Get(nth(0))
				_, more := w.Get(nth(1))
				_, most := w.Get(nth(2))
				return errors.Join(err, more, most, w.Delete(nth(3)))
			})
		}
		outcomes, _ := together(t, s, seen, nil, all...)
		tables = tableLocks(t, dsn)
		return errors.Join(append(outcomes, err)...)
	}); err != nil {
		t.Fatal(err)
	}
	if tables > 0 {
		t.Errorf("a group has locked %d tables", tables)
	}
}

// held is a store whose only connection a View holds until free is called.
func held(t *testing.T, patience time.Duration) (s *Store, free func()) {
	t.Helper()
	s = open(t, Options{DSN: database(t), MaxConns: 1})
	s.opt.Patience = patience
	var work sync.WaitGroup
	holds, freed := make(chan struct{}), make(chan struct{})
	work.Go(func() {
		if err := s.View(t.Context(), func(r store.Reader) error {
			_, err := r.Get([]byte("k"))
			close(holds)
			<-freed
			return err
		}); err != nil {
			t.Error(err)
		}
	})
	<-holds
	free = sync.OnceFunc(func() {
		close(freed)
		work.Wait()
	})
	t.Cleanup(free)
	return s, free
}

// TestViewLeaves: a View whose context ends waits no longer for the connection of its group.
func TestViewLeaves(t *testing.T) {
	s, _ := held(t, time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := s.View(ctx, func(r store.Reader) error {
		_, err := r.Get([]byte("k"))
		return err
	})
	if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > 30*time.Second {
		t.Errorf("%v after %v", err, took)
	}
}

// TestReadFails: an Update that could not read has failed, whatever f makes of that and asks afterwards.
func TestReadFails(t *testing.T) {
	s, free := held(t, 100*time.Millisecond)
	err := s.Update(t.Context(), func(w store.Writer) error {
		many := make([][]byte, memberKeys+1)
		for i := range many {
			many[i] = []byte{byte(i)}
		}
		_, err := w.Get(many...)
		if err == nil {
			t.Error("there was a connection")
		}
		free()
		_, _ = w.Get([]byte("k"))
		return w.Set([]byte("k"), nil)
	})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Error(err)
	}
}
