package postgres

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault/store"
)

// A program that has begun stops when others take the tables to where they do not bear it.
func TestARunningProgramStopsOnTablesThatDoNotBearIt(t *testing.T) {
	dsn := database(t)
	old := open(t, Options{DSN: dsn, check: 50 * time.Millisecond})
	write(t, old, "before")
	open(t, Options{DSN: dsn, steps: next(len(steps) + 1)})
	refused(t, Options{DSN: dsn})
	select {
	case <-old.Failed():
	case <-time.After(30 * time.Second):
		t.Fatal("it goes on on tables that do not bear it")
	}
	if err := old.Err(); !errors.Is(err, ErrSchema) {
		t.Errorf("it stopped because of %v", err)
	}
	if err := old.Update(t.Context(), func(w store.Writer) error { return w.Set([]byte("old"), []byte("old")) }); !errors.Is(err, store.ErrClosed) {
		t.Errorf("it writes to tables that do not bear it: %v", err)
	}
}

// Rows without the table of versions: an error and not a loop.
func TestRowsWithoutVersions(t *testing.T) {
	dsn := database(t)
	write(t, open(t, Options{DSN: dsn}), "old")
	alter(t, dsn, "drop table sandyq_schema")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := Open(ctx, Options{DSN: dsn, Logger: quiet})
	if err == nil {
		s.Close()
		t.Error("it is opened")
	}
	if ctx.Err() != nil {
		t.Error("it goes round and round")
	}
}
