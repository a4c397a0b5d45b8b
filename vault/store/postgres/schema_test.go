package postgres

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sandyq/sandyq/vault/store"
)

// next is the schema of a later version, of which the last step bears programs from a version on.
func next(bears int) []step {
	return append(slices.Clip(steps), step{all: "alter table sandyq_rows add column added int not null default 7", bears: bears})
}

// write sets a row to its own key.
func write(t *testing.T, s *Store, key string) {
	t.Helper()
	if err := s.Update(t.Context(), func(w store.Writer) error { return w.Set([]byte(key), []byte(key)) }); err != nil {
		t.Error(err)
	}
}

// reads reports whether rows are there as write leaves them.
func reads(t *testing.T, s *Store, keys ...string) {
	t.Helper()
	err := s.View(t.Context(), func(r store.Reader) error {
		for _, key := range keys {
			if values, err := r.Get([]byte(key)); err != nil || string(values[0]) != key {
				return errors.Join(err, errors.New("the row "+key+" is not as it was written"))
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// alter changes the tables as no step does.
func alter(t *testing.T, dsn, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

// versionsOf are the versions that a database says its tables have been at; nil where there are no tables.
func versionsOf(t *testing.T, dsn string) (versions []int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	var tables int
	if err := conn.QueryRow(t.Context(), "select count(*) from pg_tables where tablename like 'sandyq%'").Scan(&tables); err != nil {
		t.Fatal(err)
	}
	if tables == 0 {
		return nil
	}
	rows, err := conn.Query(t.Context(), "select version from sandyq_schema order by version")
	if err != nil {
		t.Fatal(err)
	}
	if versions, err = pgx.CollectRows(rows, pgx.RowTo[int]); err != nil {
		t.Fatal(err)
	}
	return versions
}

// refused sees that a store is not opened for the version of its tables.
func refused(t *testing.T, opt Options) {
	t.Helper()
	opt.Logger = quiet
	s, err := Open(t.Context(), opt)
	if err == nil {
		s.Close()
	}
	if !errors.Is(err, ErrSchema) {
		t.Errorf("it is opened: %v", err)
	}
}

// TestEachStepBearsTheProgramBefore: or nodes could not be replaced one by one.
func TestEachStepBearsTheProgramBefore(t *testing.T) {
	least := 1
	for i, s := range steps {
		if s.bears < least || s.bears > max(i, 1) {
			t.Errorf("the tables of version %d bear programs from %d on; those before bore them from %d on", i+1, s.bears, least)
		}
		least = s.bears
	}
}

// TestTwoVersionsWorkOnOneDatabase: one that has begun on tables of its own version goes on while the next version takes them further,
// and starts on them again, whether it may migrate or not.
func TestTwoVersionsWorkOnOneDatabase(t *testing.T) {
	dsn := database(t)
	old := open(t, Options{DSN: dsn})
	write(t, old, "before")
	newer := open(t, Options{DSN: dsn, steps: next(len(steps))})
	write(t, newer, "newer")
	write(t, old, "old")
	for _, again := range []*Store{old, newer, open(t, Options{DSN: dsn}), open(t, Options{DSN: dsn, NoMigrate: true})} {
		reads(t, again, "before", "old", "newer")
		write(t, again, "old")
	}
	if got := versionsOf(t, dsn); len(got) != len(steps)+1 {
		t.Errorf("the tables were at %v", got)
	}
}

// TestNewerTablesThatDoNotBearAProgramAreRefused, and left as they are.
func TestNewerTablesThatDoNotBearAProgramAreRefused(t *testing.T) {
	dsn := database(t)
	newer := open(t, Options{DSN: dsn, steps: next(len(steps) + 1)})
	write(t, newer, "newer")
	before := versionsOf(t, dsn)
	for _, leave := range []bool{false, true} {
		refused(t, Options{DSN: dsn, NoMigrate: leave})
	}
	reads(t, newer, "newer")
	if got := versionsOf(t, dsn); !slices.Equal(got, before) {
		t.Errorf("the tables are at %v, and were at %v", got, before)
	}
}

// TestTheLastStepSaysWhomTheTablesBear: of several steps that a program does not know, an earlier one that bore it does not count.
func TestTheLastStepSaysWhomTheTablesBear(t *testing.T) {
	dsn := database(t)
	further := append(next(len(steps)), step{all: "alter table sandyq_rows drop column added", bears: len(steps) + 1})
	open(t, Options{DSN: dsn, steps: further})
	refused(t, Options{DSN: dsn})
	open(t, Options{DSN: dsn, steps: next(len(steps))})
}

// TestTablesAreLeftAlone: who may not migrate makes no tables and changes none, and starts once somebody else has.
func TestTablesAreLeftAlone(t *testing.T) {
	dsn := database(t)
	refused(t, Options{DSN: dsn, NoMigrate: true})
	if got := versionsOf(t, dsn); got != nil {
		t.Fatalf("it made tables: %v", got)
	}
	write(t, open(t, Options{DSN: dsn}), "old")
	before := versionsOf(t, dsn)
	if len(before) != len(steps) {
		t.Fatalf("the tables were at %v", before)
	}
	reads(t, open(t, Options{DSN: dsn, NoMigrate: true}), "old")
	later := Options{DSN: dsn, NoMigrate: true, steps: next(len(steps))}
	refused(t, later)
	if got := versionsOf(t, dsn); !slices.Equal(got, before) {
		t.Fatalf("it took the tables to %v", got)
	}
	open(t, Options{DSN: dsn, steps: later.steps})
	reads(t, open(t, later), "old")
}

// TestManyMigrateAtOnce: of several that start on one moment each step is taken once.
func TestManyMigrateAtOnce(t *testing.T) {
	dsn := database(t)
	for _, known := range [][]step{steps, next(len(steps))} {
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				s, err := Open(t.Context(), Options{DSN: dsn, steps: known, Logger: quiet})
				if err != nil {
					t.Error(err)
					return
				}
				write(t, s, "row")
				s.Close()
			})
		}
		all.Wait()
		if got := versionsOf(t, dsn); len(got) != len(known) {
			t.Errorf("the tables were at %v, and there are %d steps", got, len(known))
		}
	}
}

// TestTablesFromBeforeTheyToldWhomTheyBear are taken further like others.
func TestTablesFromBeforeTheyToldWhomTheyBear(t *testing.T) {
	dsn := database(t)
	write(t, open(t, Options{DSN: dsn}), "old")
	alter(t, dsn, "alter table sandyq_schema drop column bears")
	reads(t, open(t, Options{DSN: dsn}), "old")
	reads(t, open(t, Options{DSN: dsn, steps: next(len(steps))}), "old")
	reads(t, open(t, Options{DSN: dsn}), "old")
}
