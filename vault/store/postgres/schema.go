package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrSchema reports tables that this program may not work on: older ones with Options.NoMigrate, or newer ones that do not bear it.
var ErrSchema = errors.New("postgres: the tables are of another version")

// A step takes the tables to the next version. Steps are never changed once they are released, and each must bear the program of the
// version before, which goes on working on the tables, and starts on them, while nodes are replaced one by one. So a step adds; what it
// makes superfluous goes with a later one.
type step struct {
	all      string // what every server accepts
	postgres string // tuning, for PostgreSQL itself; may be empty
	bears    int    // the least version of the program that may work on the tables from then on
}

// steps lead from nothing to the version of this program, which is their number.
var steps = []step{{
	all:   `create table sandyq_rows (key bytea not null primary key, value bytea not null)`,
	bears: 1,
	// Rows are small and many are changed in place, so pages keep a tenth free for that (HOT). Sealed values do not compress.
	// Vacuum comes after a hundredth of the table instead of a fifth, because what an erasure leaves is to go soon, and freezes
	// inserted rows early.
	postgres: `alter table sandyq_rows alter column value set storage external;
alter table sandyq_rows set (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,
	autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02,
	toast.autovacuum_vacuum_scale_factor = 0.01, toast.autovacuum_vacuum_threshold = 1000)`,
}}

// migrate takes the tables to the version that steps lead to, leaves newer ones that bear it, or refuses them. Several processes may do
// so at once, without any lock: a step and its version are one transaction, and of several that insert the same version one wins.
func migrate(ctx context.Context, conn *pgx.Conn, steps []step, may bool) error {
	for met, last := 0, -1; ; {
		version, err := schemaVersion(ctx, conn)
		if version != last {
			met, last = 0, version
		}
		switch {
		case err != nil:
			return fmt.Errorf("postgres: reading the version of the tables: %w", err)
		case version == len(steps):
			return nil
		case version > len(steps):
			return borne(ctx, conn, len(steps))
		case !may:
			return fmt.Errorf("%w: they are at %d, and this program needs %d: run `sandyq migrate`", ErrSchema, version, len(steps))
		}
		if err := advance(ctx, conn, steps[version], version+1); err != nil {
			if met++; !raced(err) || met == races {
				return fmt.Errorf("postgres: taking the tables to version %d: %w", version+1, err)
			}
			pause(ctx, lost, met)
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

// races is how often another process may be in the way of a step that nobody then has taken.
const races = 10

// borne refuses newer tables that do not bear a program that knows so many steps.
func borne(ctx context.Context, conn *pgx.Conn, known int) error {
	var version, bears int
	const newest = "select version, bears from sandyq_schema order by version desc limit 1"
	if err := conn.QueryRow(ctx, newest).Scan(&version, &bears); err != nil {
		return fmt.Errorf("postgres: reading which programs the tables bear: %w", err)
	}
	if bears > known {
		return fmt.Errorf("%w: they are at %d and bear programs that know %d or more; this one knows %d: use a newer one", ErrSchema, version, bears, known)
	}
	return nil
}

// stillBorne stops a store whose tables others have taken to where they do not bear it.
func (s *Store) stillBorne(ctx context.Context, conn *pgx.Conn) error {
	version, err := schemaVersion(ctx, conn)
	if err != nil || version <= len(s.opt.steps) {
		return err
	}
	if err = borne(ctx, conn, len(s.opt.steps)); errors.Is(err, ErrSchema) {
		s.fail(err)
	}
	return err
}

// versions makes the table that keeps them, before a step and not with it: not every server lets a transaction use a column that it adds.
var versions = []string{
	"create table if not exists sandyq_schema (version int not null primary key)",
	"alter table sandyq_schema add column if not exists bears int not null default 1",
}

// advance takes a step, to a version.
func advance(ctx context.Context, conn *pgx.Conn, s step, version int) error {
	for _, statement := range versions {
		if _, err := conn.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
	}
	return pgx.BeginFunc(ctx, conn, func(t pgx.Tx) error {
		statements := []string{s.all}
		if isPostgres(conn) && s.postgres != "" {
			statements = append(statements, s.postgres)
		}
		statements = append(statements, fmt.Sprintf("insert into sandyq_schema (version, bears) values (%d, %d)", version, s.bears))
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
		"23505", "42P07", "42701", "42710": // unique violation (of the catalogue, too), duplicate table, column, object
		return true
	}
	return false
}
