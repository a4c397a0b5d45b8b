package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sandyq/sandyq/vault/store"
)

// A program that has begun goes on when the tables are taken two versions further, to where they do not bear it.
func TestARunningProgramStopsOnTablesThatDoNotBearIt(t *testing.T) {
	dsn := database(t)
	old := open(t, Options{DSN: dsn, check: 50 * time.Millisecond})
	write(t, old, "before")
	open(t, Options{DSN: dsn, steps: next(len(steps) + 1)})
	refused(t, Options{DSN: dsn})
	time.Sleep(time.Second)
	if err := old.Update(t.Context(), func(w store.Writer) error { return w.Set([]byte("old"), []byte("old")) }); err == nil {
		t.Error("it writes to tables that do not bear it")
	}
}

// Rows without the table of versions: an error and not a loop.
func TestRowsWithoutVersions(t *testing.T) {
	dsn := database(t)
	write(t, open(t, Options{DSN: dsn}), "old")
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), "drop table sandyq_schema"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err = Open(ctx, Options{DSN: dsn, Logger: quiet})
	t.Log(err)
	if ctx.Err() != nil {
		t.Error("it goes round and round")
	}
}
