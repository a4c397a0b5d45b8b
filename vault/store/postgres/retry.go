package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sandyq/sandyq/vault/store"
)

// verdict says what may follow a failure.
type verdict int

const (
	final    verdict = iota // nothing: it is answered
	apart                   // nothing was written, and it was in a group: run it again by itself
	conflict                // nothing was written, and others were in the way: run it again
	lost                    // nothing was written, and the server is away or another: run it again on a new connection
)

var causes = map[verdict]Cause{conflict: Conflict, lost: Lost}

// judge says what may follow an error of the server or of the connection. With committing, COMMIT may have been carried out
// unless the server itself says that it was not.
func judge(err error, committing bool) (verdict, error) {
	unavailable := fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	said, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case errors.Is(err, context.Canceled):
		return final, err
	case !ok && committing && !pgconn.SafeToRetry(err):
		return final, unavailable // the answer to COMMIT is lost
	case !ok:
		return lost, unavailable
	case said.SeverityUnlocalized != "ERROR" && committing, said.Code == "40003", said.Code == "08007":
		return final, unavailable // the connection ends (FATAL), or the server does not know either
	}
	// The server has rolled back.
	switch {
	case said.Code == "40001", said.Code == "40P01": // serialization failure, deadlock
		return conflict, unavailable
	case said.Code == "53100": // disk full
		return final, fmt.Errorf("%w: %w", store.ErrNoSpace, err)
	case said.SeverityUnlocalized != "ERROR", passing[said.Code], passing[said.Code[:min(2, len(said.Code))]]:
		return lost, unavailable
	}
	return final, fmt.Errorf("postgres: %w", err)
}

// passing are the errors, by code or by class, that another connection or another moment may not have.
var passing = map[string]bool{
	"08":    true, // connection
	"57":    true, // shutdown, crash, timeout of a statement
	"53200": true, // out of memory, or of room for predicate locks
	"53300": true, // too many connections
	"55P03": true, // a lock took too long
	"25006": true, // the primary has become a standby
	"25P02": true, // an earlier statement of the transaction failed
	"25P03": true, // the transaction was idle for too long
	"26000": true, // a prepared statement is gone
	"0A000": true, // a prepared statement no longer fits its table; serializable on a standby
}

// The waits before another attempt.
const (
	leastConflict, mostConflict = time.Millisecond, 64 * time.Millisecond
	leastLost, mostLost         = 20 * time.Millisecond, 640 * time.Millisecond

	crowded = 3 // conflicts, after which an Update waits for the lane
)

// insist runs attempt until it is answered, or until Patience or ctx end.
func (s *Store) insist(ctx context.Context, attempt func(n int) (verdict, error)) error {
	patience, cancel := context.WithTimeout(ctx, s.opt.Patience)
	defer cancel()
	for n := 1; ; n++ {
		v, err := s.inLane(patience, n > crowded, func() (verdict, error) { return attempt(n) })
		switch v {
		case final:
			return err
		case apart:
			continue
		}
		if failed := s.Err(); failed != nil {
			return failed
		}
		if !pause(patience, v, n) {
			if ctx.Err() != nil {
				return ctx.Err() // nothing was written
			}
			return fmt.Errorf("giving up after %d attempts: %w", n, err)
		}
		s.opt.Observer.Retried(causes[v])
	}
}

// inLane runs attempt, alone in the lane when it is to be.
func (s *Store) inLane(ctx context.Context, alone bool, attempt func() (verdict, error)) (verdict, error) {
	if alone {
		select {
		case s.lane <- struct{}{}:
			defer func() { <-s.lane }()
		case <-ctx.Done():
		}
	}
	return attempt()
}

// pause waits before attempt n+1, for a random part of a time that doubles; false when ctx ended.
func pause(ctx context.Context, v verdict, n int) bool {
	least, most := leastConflict, mostConflict
	if v == lost {
		least, most = leastLost, mostLost
	}
	wait := time.NewTimer(rand.N(min(most, least<<min(n, 10)))) //nolint:gosec // it only spreads attempts
	defer wait.Stop()
	select {
	case <-wait.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// attempt runs f once in a transaction, which it commits or drops.
func attempt(t transaction, f func(store.Writer) error) (verdict, error) {
	defer t.end() // also when f panics
	w := &writer{reader: reader{tx: t}}
	w.over = &w.own
	refused := f(w)
	if v, err := t.failure(); err != nil {
		return v, err // whatever f made of it
	}
	if refused == nil {
		refused = w.own.Err()
	}
	writes := w.own.Entries
	if refused != nil {
		writes = nil
	}
	if v, err := t.commit(writes); err != nil {
		return v, err
	}
	return final, refused
}

// warned is where a connection keeps the last warning of its server.
const warned = "warning"

// noteWarning keeps what a server warns of. It runs in the goroutine that reads from the connection.
func noteWarning(c *pgconn.PgConn, n *pgconn.Notice) {
	if strings.EqualFold(n.SeverityUnlocalized, "WARNING") {
		c.CustomData()[warned] = n
	}
}

func clearWarning(c *pgxpool.Conn) { delete(c.Conn().PgConn().CustomData(), warned) }

func warning(c *pgxpool.Conn) *pgconn.Notice {
	n, _ := c.Conn().PgConn().CustomData()[warned].(*pgconn.Notice)
	return n
}
