package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrUnsafe reports a server that may lose what it acknowledges.
var ErrUnsafe = errors.New("postgres: the server may lose what it acknowledges")

// errOther reports another cluster, or another database, than the one that was opened.
var errOther = errors.New("postgres: another database answers than the one that was opened")

// server is which database this is, whichever host is its primary at the moment.
type server struct {
	system   string // the cluster's system identifier, which its standbys share
	database string // the numbers of the database and of the table in it
	hosts    string // of the DSN
}

// isPostgres tells PostgreSQL and what is built from it from those that only speak its protocol.
func isPostgres(conn *pgx.Conn) bool {
	return conn.PgConn().ParameterStatus("crdb_version") == ""
}

// session is what every connection to PostgreSQL sets for itself. The plans are those of an index, whatever the statistics say:
// a sequential scan in a SERIALIZABLE transaction locks the table against all others, and a bitmap is not worth a few keys. A View is a transaction without BEGIN, of the
// default isolation.
const session = `set synchronous_commit = on;
set default_transaction_isolation = 'repeatable read';
set enable_seqscan = off;
set enable_bitmapscan = off;
set plan_cache_mode = force_generic_plan;
set lock_timeout = '5s';
set statement_timeout = '14s';
set idle_in_transaction_session_timeout = '30s'`

// prepare makes a new connection fit: its settings, and a server that keeps what it acknowledges and is the one it was.
func (s *Store) prepare(ctx context.Context, conn *pgx.Conn) error {
	if !isPostgres(conn) {
		return nil
	}
	if _, err := conn.PgConn().Exec(ctx, session).ReadAll(); err != nil {
		return fmt.Errorf("preparing a connection: %w", err)
	}
	if s.opt.unsynced {
		_, err := conn.PgConn().Exec(ctx, "set synchronous_commit = off").ReadAll()
		return err
	}
	if err := s.obey(ctx, conn); err != nil {
		if errors.Is(err, errOther) {
			s.fail(err)
		}
		return err
	}
	return s.inspect(ctx, conn)
}

// inspect stops the store when the server's settings do not promise what Update promises.
func (s *Store) inspect(ctx context.Context, conn *pgx.Conn) error {
	err := checkDurable(ctx, conn)
	if !errors.Is(err, ErrUnsafe) {
		return err
	}
	if s.opt.AcceptLoss {
		s.log.Warn("NOT SAFE: the store goes on, as it was told to, on a server that may lose what it acknowledges", "why", err)
		return nil
	}
	s.fail(err)
	return err
}

// watch looks at the server's settings again and again. A server that does not answer is no reason to stop.
func (s *Store) watch(ctx context.Context) {
	tick := time.NewTicker(s.opt.check)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.failed:
			return
		case <-tick.C:
		}
		limited, cancel := context.WithTimeout(ctx, statementLimit)
		err := s.look(limited)
		s.seek(limited)
		cancel()
		if err != nil && ctx.Err() == nil && s.Err() == nil {
			s.log.Warn("the database does not answer", "error", err)
		}
	}
}

func (s *Store) look(ctx context.Context) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if err := s.stillBorne(ctx, conn.Conn()); err != nil || !isPostgres(conn.Conn()) || s.opt.unsynced {
		return err
	}
	return s.inspect(ctx, conn.Conn())
}

// durability are the settings that Update's promise rests on.
const durability = `select current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'),
	current_setting('synchronous_standby_names'), pg_is_in_recovery()`

// candidates counts the standbys that follow the server. Backups, archivers and logical subscribers are none; what this role
// may not see may be one.
const candidates = `select count(*) from pg_stat_replication r
	where coalesce(r.state, '') <> 'backup' and coalesce(r.application_name, '') <> 'pg_receivewal'
	and not exists (select 1 from pg_replication_slots l where l.active_pid = r.pid and l.slot_type = 'logical')`

// checkDurable holds a server against what Update promises. A standby that may take over must have what was acknowledged: where
// standbys follow, COMMIT has to wait for some, and whoever promotes one must choose among those.
func checkDurable(ctx context.Context, conn *pgx.Conn) error {
	var fsync, pages, commit, names string
	var standby bool
	if err := conn.QueryRow(ctx, durability).Scan(&fsync, &pages, &commit, &names, &standby); err != nil {
		return fmt.Errorf("reading the server's settings: %w", err)
	}
	var followers int
	if err := conn.QueryRow(ctx, candidates).Scan(&followers); err != nil {
		return fmt.Errorf("counting the server's standbys: %w", err)
	}
	switch {
	case fsync != "on":
		return fmt.Errorf("%w: fsync is %s", ErrUnsafe, fsync)
	case pages != "on":
		return fmt.Errorf("%w: full_page_writes is %s", ErrUnsafe, pages)
	case commit != "on" && commit != "remote_apply":
		return fmt.Errorf("%w: synchronous_commit is %s", ErrUnsafe, commit)
	case standby:
		return errStandby
	case followers > 0 && strings.TrimSpace(names) == "":
		return fmt.Errorf("%w: it has %d standbys and waits for none of them: set synchronous_standby_names", ErrUnsafe, followers)
	}
	return nil
}

func systemIdentifier(ctx context.Context, conn *pgx.Conn) (system string, err error) {
	if err = conn.QueryRow(ctx, "select system_identifier::text from pg_control_system()").Scan(&system); err != nil {
		return "", fmt.Errorf("reading the cluster's identifier: %w", err)
	}
	return system, nil
}

// rowLocks is how many rows of a table a SERIALIZABLE transaction may read without the server locking the whole table instead.
const rowLocks = `select case when r < 0 then t / -r - 1 else r end
	from (select current_setting('max_pred_locks_per_relation')::int r, current_setting('max_pred_locks_per_transaction')::int t) s`

// lockable asks for that. What is not PostgreSQL itself is taken for one with PostgreSQL's defaults.
func lockable(ctx context.Context, conn *pgx.Conn) (rows int, err error) {
	if !isPostgres(conn) {
		return 31, nil
	}
	if err = conn.QueryRow(ctx, rowLocks).Scan(&rows); err != nil {
		return 0, fmt.Errorf("postgres: asking how many rows are locked one by one: %w", err)
	}
	return rows, nil
}

// identify learns which database a connection leads to.
func identify(ctx context.Context, conn *pgx.Conn, config *pgx.ConnConfig) (server, error) {
	of := server{system: "not PostgreSQL"}
	err := conn.QueryRow(ctx, "select d.oid::text || '/' || 'sandyq_rows'::regclass::oid::text from pg_database d where d.datname = current_database()").
		Scan(&of.database)
	if err != nil {
		return server{}, fmt.Errorf("postgres: identifying the database: %w", err)
	}
	if isPostgres(conn) {
		if of.system, err = systemIdentifier(ctx, conn); err != nil {
			return server{}, fmt.Errorf("postgres: identifying the database: %w", err)
		}
	}
	hosts := []string{address(config.Host, config.Port)}
	for _, f := range config.Fallbacks {
		hosts = append(hosts, address(f.Host, f.Port))
	}
	slices.Sort(hosts)
	of.hosts = strings.Join(slices.Compact(hosts), ",")
	return of, nil
}

func address(host string, port uint16) string { return net.JoinHostPort(host, strconv.Itoa(int(port))) }

// Place identifies where this store lies: the cluster, the database and the table in it, and the hosts of the DSN. It is kept by
// a restart, by a failover to another host of the DSN, and by VACUUM; it is another one for a dump that was restored, even over
// the database itself, for a clone of the database or of the cluster at other hosts, and after pg_upgrade. A cluster that is
// restored to an earlier time at the same hosts keeps it: there the generation beside the keys has to tell.
func (s *Store) Place() (string, error) {
	sum := sha256.Sum256([]byte(s.server.system + "\n" + s.server.database + "\n" + s.server.hosts))
	return "postgres-" + hex.EncodeToString(sum[:16]), nil
}
