package postgres

import (
	"context"
	"fmt"
)

// sessions counts the connections to this database that go by the name of the one that asks.
const sessions = `select count(*) from pg_stat_activity
	where datname = current_database() and application_name = current_setting('application_name') and backend_type = 'client backend'`

// Others counts the connections to the database that other processes have under the name that this one goes by, which is sandyq
// unless the DSN says otherwise: other nodes. A connection that is just being opened or closed may be counted as another's. On what is
// not PostgreSQL itself it finds none.
func (s *Store) Others(ctx context.Context) (int, error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return 0, fmt.Errorf("postgres: counting the others: %w", err)
	}
	defer conn.Release()
	if !isPostgres(conn.Conn()) {
		return 0, nil
	}
	var all int
	if err := conn.QueryRow(ctx, sessions).Scan(&all); err != nil {
		return 0, fmt.Errorf("postgres: counting the others: %w", err)
	}
	return max(0, all-int(s.pool.Stat().TotalConns())), nil
}
