// Package postgres is the scaled store: one table on a server that speaks PostgreSQL's protocol, shared by any number of
// processes.
//
// # Model
//
// An Update is a SERIALIZABLE transaction, or a part of one. It begins with the first read, in the same round trip; what f writes is kept in
// memory, where f reads it back, and goes out with COMMIT in one more. So an Update that reads once and writes takes two round
// trips, however much it writes, and one that only writes takes one. A transaction that the server refuses as part of a
// conflict is run again, f included, after a short random wait; one that has met conflicts several times waits for the others
// of this process that have, so that they do not keep aborting each other.
//
// Small Updates that come while others are under way share a transaction, its round trips and its COMMIT: a group. Each f reads the state
// before the group, in the goroutine of its caller, and the members take effect in the order of their coming, so one that has read what an
// earlier one writes is left out, and so is one whose f takes long. Whatever does not go well in a group (that, a conflict with others, a server that is away) is no
// member's outcome: they run again, each in a transaction of its own.
//
// A View is one REPEATABLE READ transaction, a pipeline without BEGIN that ends with its Sync: a snapshot of what was committed, in the order of commits, and so of
// every Update acknowledged before. It takes no locks, never conflicts and never waits. Small Views that come at about the same time share a
// snapshot, which is taken after all of them were called. Because a View takes no part in the
// detection of conflicts, it may be a state between two Updates whose serial order is the other one (the later to commit had
// not seen what the earlier wrote): decide in an Update what must hold with what others write.
//
// # Invariants
//
//   - nil is durable: the server flushed it, and every standby that it waits for. Open and a watch refuse a server whose
//     settings do not promise that; a COMMIT that is answered with a warning (a wait for a standby that was cancelled) is not
//     taken for one.
//   - COMMIT is sent once. When its answer is lost the outcome is unknown, and Update says so instead of trying again; of a group, to each who
//     wrote. Whatever fails before COMMIT is sent has written nothing, and is tried again on another connection for as long as Patience.
//   - What an Update writes goes out only together with the check of all that it has read.
//   - An error of f is returned only once the server has agreed that what f read was one state in the serial order.
//   - A context that ends stops an Update between its statements, never in COMMIT: its error means that nothing was written.
//   - All connections lead to the primary of one cluster. A standby is refused; so is another cluster, which stops the store. Once a
//     newer primary was seen, an older one is refused, too, and what still waits for it is cut off.
//
// # Format
//
// The table sandyq_rows has the columns key and value, both bytea; sandyq_schema has the versions of the schema, and for each the least
// version of a program that it bears, so that an older one starts on newer tables and none on what it does not know. The order of
// bytea is that of its bytes.
package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sandyq/sandyq/vault/store"
)

// Store is a database, open for one process of many. It is safe for concurrent use.
type Store struct {
	pool   *pgxpool.Pool
	server server
	lead   *lead
	opt    Options
	log    *slog.Logger
	lane   chan struct{} // holds the one Update that runs after many conflicts

	updates, views groups

	mu      sync.Mutex // guards closed, and running against its Wait
	closed  bool
	running sync.WaitGroup // Views and Updates

	stopWatch context.CancelFunc
	watching  sync.WaitGroup

	failing sync.Once
	failed  chan struct{} // closed after failure is set
	failure error
}

// Open opens the database of opt, and makes or updates its tables unless opt says not to. A server that may lose what it
// acknowledges (ErrUnsafe), and tables that this version may not work on (ErrSchema), are errors.
func Open(ctx context.Context, opt Options) (*Store, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{opt: opt, log: opt.Logger, lane: make(chan struct{}, 1), failed: make(chan struct{})}
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	ctx, s.stopWatch = context.WithCancel(context.WithoutCancel(ctx))
	s.watching.Go(func() { s.watch(ctx) })
	return s, nil
}

// connect opens the pool and learns which database this is.
func (s *Store) connect(ctx context.Context) (err error) {
	config, err := s.opt.pool()
	if err != nil {
		return err
	}
	s.lead = newLead(config.ConnConfig)
	config.BeforeConnect, config.AfterConnect = s.lead.first, s.prepare
	if s.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return fmt.Errorf("postgres: opening: %w", err)
	}
	defer func() {
		if err != nil {
			s.pool.Close()
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, s.opt.Patience)
	defer cancel()
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("postgres: connecting: %w", err)
	}
	defer conn.Release()
	if err := migrate(ctx, conn.Conn(), s.opt.steps, !s.opt.NoMigrate); err != nil {
		return err
	}
	s.views = groups{store: s, keys: groupMembers * memberKeys}
	s.updates = groups{store: s, writes: true}
	if s.updates.keys, err = lockable(ctx, conn.Conn()); err != nil {
		return err
	}
	s.server, err = identify(ctx, conn.Conn(), config.ConnConfig)
	return err
}

// View runs f on what was committed when it first reads. It takes no locks and waits for no Update.
func (s *Store) View(ctx context.Context, f func(store.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.running.Done()
	patience, cancel := context.WithTimeout(ctx, s.opt.Patience)
	defer cancel()
	t := s.views.member(ctx, &tx{s: s, ctx: ctx, patience: patience})
	defer t.end()
	return f(&reader{tx: t})
}

// Update runs f in a SERIALIZABLE transaction, again as long as others interfere. When ctx is done before COMMIT is sent,
// nothing is written and the error is that of ctx; after that it is answered with what happened. An error that is
// store.ErrUnavailable leaves the outcome unknown.
func (s *Store) Update(ctx context.Context, f func(store.Writer) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.running.Done()
	return s.insist(ctx, func(n int) (verdict, error) {
		t := &tx{s: s, ctx: ctx, writes: true}
		if n > 1 {
			return attempt(t, f)
		}
		return attempt(s.updates.member(ctx, t), f)
	})
}

// enter lets a call in, unless the store is closed or has failed. The caller leaves by running.Done.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Err(); err != nil {
		return err
	}
	if s.closed {
		return store.ErrClosed
	}
	s.running.Add(1)
	return nil
}

// Failed is closed when the store has stopped because the server no longer promises that what it acknowledges is kept, or is
// another one, or its tables were taken to where they do not bear this program. The process should exit: what was acknowledged until then is as safe as the server.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// Err returns why the store stopped, an error that is [store.ErrClosed]; nil while it serves.
func (s *Store) Err() error {
	select {
	case <-s.failed:
		return s.failure
	default:
		return nil
	}
}

// fail stops the store. The first cause is kept.
func (s *Store) fail(cause error) {
	s.failing.Do(func() {
		s.failure = fmt.Errorf("%w: stopped by a failure: %w", store.ErrClosed, cause)
		close(s.failed)
		s.log.Error("store stopped", "cause", cause)
	})
}

// Close waits for what runs, for as long as Patience and the limit of a COMMIT at most, and closes the connections.
func (s *Store) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	s.running.Wait()
	if first {
		s.stopWatch()
		s.watching.Wait()
		s.pool.Close()
	}
	return nil
}
