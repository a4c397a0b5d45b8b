package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrSchema reports tables of another version than this program's: older with Options.NoMigrate, or newer.
var ErrSchema = errors.New("postgres: the tables are of another version")

// A step takes the tables to the next version. Steps are never changed once they are released, and an earlier version of the
// program must be able to work on the tables of the next, so that nodes can be replaced one by one.
type step struct {
	all      string // what every server accepts
	postgres string // tuning, for PostgreSQL itself; may be empty
}

// steps lead from nothing to the version of this program, which is their number.
var steps = []step{{
	all: `create table sandyq_rows (key bytea not null primary key, value bytea not null)`,
	// Rows are small and many are changed in place, so pages keep a tenth free for that (HOT). Sealed values do not compress.
	// Vacuum comes after a hundredth of the table instead of a fifth, because what an erasure leaves is to go soon, and freezes
	// inserted rows early.
	postgres: `alter table sandyq_rows alter column value set storage external;
alter table sandyq_rows set (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,
	autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02,
	toast.autovacuum_vacuum_scale_factor = 0.01, toast.autovacuum_vacuum_threshold = 1000)`,
}}

// migrate takes the tables to this program's version, or refuses them if it may not. Several processes may do so at once,
// without any lock: a step and its version are one transaction, and of several that insert the same version one wins.
func migrate(ctx context.Context, conn *pgx.Conn, may bool) error {
	for {
		version, err := schemaVersion(ctx, conn)
		switch {
		case err != nil:
			return fmt.Errorf("postgres: reading the version of the tables: %w", err)
		case version == len(steps):
			return nil
		case version > len(steps):
			return fmt.Errorf("%w: %d, and this program knows %d", ErrSchema, version, len(steps))
		case !may:
			return fmt.Errorf("%w: %d, and this program needs %d: run `sandyq migrate`", ErrSchema, version, len(steps))
		}
		if err := advance(ctx, conn, version); err != nil && !raced(err) {
			return fmt.Errorf("postgres: taking the tables to version %d: %w", version+1, err)
		}
	}
}

// schemaVersion is 0 where there are no tables.
func schemaVersion(ctx context.Context, conn *pgx.Conn) (version int, err error) {
	err = conn.QueryRow(ctx, "select coalesce(max(version), 0) from sandyq_schema").Scan(&version)
	if said, ok := errors.AsType[*pgconn.PgError](err); ok && said.Code == "42P01" { // undefined table
		return 0, nil
	}
	return version, err
}

func advance(ctx context.Context, conn *pgx.Conn, from int) error {
	return pgx.BeginFunc(ctx, conn, func(t pgx.Tx) error {
		statements := []string{"create table if not exists sandyq_schema (version int not null primary key)", steps[from].all}
		if isPostgres(conn) && steps[from].postgres != "" {
			statements = append(statements, steps[from].postgres)
		}
		statements = append(statements, fmt.Sprintf("insert into sandyq_schema (version) values (%d)", from+1))
		for _, statement := range statements {
			if _, err := t.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol); err != nil {
				return err
			}
		}
		return nil
	})
}

// raced reports whether another process was in the way of a step: it, or the server, has made what was to be made.
func raced(err error) bool {
	said, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return false
	}
	switch said.Code {
	case "40001", "40P01", // serialization failure, deadlock
		"23505", "42P07", "42710": // unique violation (of the catalogue, too), duplicate table, duplicate object
		return true
	}
	return false
}
