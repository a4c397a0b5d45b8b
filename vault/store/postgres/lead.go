package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// errSucceeded reports a primary that another has taken over from, and that may not know.
var errSucceeded = errors.New("postgres: another server has taken over as primary since")

var errStandby = errors.New("postgres: the server is a standby")

// lead is who leads the cluster, as far as this process has seen it. Every server that is promoted begins a new timeline, with a
// greater number. A process that has seen one has no more to do with primaries of earlier ones, whatever they say of themselves:
// such a server acknowledges nothing, because its standby has left it, but it answers what is read.
type lead struct {
	hosts []*pgconn.FallbackConfig // of the DSN, in its order; no ports of one host twice for the sake of TLS

	mu       sync.Mutex
	timeline int64
	term     context.Context // ends when a newer timeline is seen
	end      context.CancelFunc
	at       string            // the address of the primary; tried before other hosts
	names    map[string]string // hosts of the DSN, by the addresses they were found at
}

func newLead(config *pgx.ConnConfig) *lead {
	l := &lead{names: map[string]string{}}
	l.term, l.end = context.WithCancel(context.Background())
	l.hosts = append(l.hosts, &pgconn.FallbackConfig{Host: config.Host, Port: config.Port, TLSConfig: config.TLSConfig})
	l.hosts = append(l.hosts, config.Fallbacks...)
	look := config.LookupFunc
	config.LookupFunc = func(ctx context.Context, host string) ([]string, error) {
		found, err := look(ctx, host)
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, at := range found {
			l.names[at] = host
		}
		return found, err
	}
	return l
}

// first has a connection try the host of the last primary before the others: one that is down without a word takes its time.
func (l *lead) first(_ context.Context, config *pgx.ConnConfig) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	hosts := slices.Clone(l.hosts)
	slices.SortStableFunc(hosts, func(a, b *pgconn.FallbackConfig) int {
		return boolInt(address(b.Host, b.Port) == l.at) - boolInt(address(a.Host, a.Port) == l.at)
	})
	config.Host, config.Port, config.TLSConfig, config.Fallbacks = hosts[0].Host, hosts[0].Port, hosts[0].TLSConfig, hosts[1:]
	return nil
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// meet takes in the timeline of a primary that a connection leads to. It reports whether that succeeded another; an error is
// errSucceeded.
func (l *lead) meet(conn *pgx.Conn, timeline int64) (succeeded bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if timeline < l.timeline {
		return false, errSucceeded
	}
	if at, ok := conn.PgConn().Conn().RemoteAddr().(*net.TCPAddr); ok {
		if name := l.names[at.IP.String()]; name != "" {
			l.at = address(name, uint16(at.Port))
		}
	}
	succeeded = l.timeline != 0 && timeline > l.timeline
	l.timeline = timeline
	if succeeded {
		l.end()
		l.term, l.end = context.WithCancel(context.Background())
	}
	conn.PgConn().CustomData()[term] = l.term
	return succeeded, nil
}

// term is where a connection keeps the term of its primary.
const term = "term"

// termOf ends when the primary of a connection is known to have a successor.
func termOf(conn *pgx.Conn) context.Context {
	if of, ok := conn.PgConn().CustomData()[term].(context.Context); ok {
		return of
	}
	return context.Background() // not PostgreSQL
}

// currentTimeline is that of a primary, which writes it into the names of its log's files; 0 of a standby.
const currentTimeline = `select case when pg_is_in_recovery() then 0
	else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint end`

// obey refuses a connection to an old primary, and one to another cluster; of a new primary it tells the others, and leaves the one
// before.
func (s *Store) obey(ctx context.Context, conn *pgx.Conn) error {
	system, err := systemIdentifier(ctx, conn)
	if err != nil {
		return err
	}
	if s.server.system != "" && system != s.server.system { // it is empty while the store is opened
		return errOther
	}
	var timeline int64
	if err := conn.QueryRow(ctx, currentTimeline).Scan(&timeline); err != nil {
		return fmt.Errorf("reading the server's timeline: %w", err)
	}
	if timeline == 0 {
		return errStandby
	}
	succeeded, err := s.lead.meet(conn, timeline)
	if succeeded {
		s.opt.Observer.TookOver()
		s.log.Warn("another server has taken over as primary", "timeline", timeline)
		s.pool.Reset()
	}
	return err
}

// seek asks the hosts of the DSN, beside those that the pool leads to, whether one has taken over as primary. An old one may hold
// on to its connections as long as nobody tells it.
func (s *Store) seek(ctx context.Context) {
	if len(s.lead.hosts) < 2 {
		return
	}
	for _, host := range s.lead.hosts {
		config := s.pool.Config().ConnConfig
		config.Host, config.Port, config.TLSConfig, config.Fallbacks = host.Host, host.Port, host.TLSConfig, nil
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			continue // a standby, or away
		}
		_ = s.obey(ctx, conn) // what it finds it has told
		_ = conn.Close(ctx)   // it was only asked
	}
}
