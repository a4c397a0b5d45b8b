// Package badgerdb is the embedded store: Badger with every commit synced, and one writer that shares each sync.
//
// # Model
//
// One goroutine, the writer, owns all writing. It takes the Updates that wait, runs them one after another, each over
// an overlay of its own over the overlay of its group over the last committed state, commits the group as one synced
// Badger transaction, and then answers them all. While it syncs, the next group forms; nobody waits for a timer. Serial
// execution is serializable, needs no conflict detection and no retries: f runs exactly once.
//
// Badger runs in managed mode: the writer numbers the groups, and a group's number is its version. A View reads at the
// newest version that is synced, so it sees every acknowledged Update, sees nothing that a power cut could still take
// away, and never waits for a sync. Compaction may drop what no running View can see.
//
// # Invariants
//
//   - Nothing is answered before the sync of its group returned. That includes errors of f, because f may have read
//     what others in its group wrote.
//   - After a failed commit nothing is acknowledged any more: the store stops, and [Store.Failed] tells the process.
//     An error that Badger only logs (a flush, a compaction, a file that cannot be removed) stops it as well.
//   - A group always fits one Badger transaction. Open refuses options with which it might not.
//   - No value reaches Badger's value log, whose failed syncs Badger does not return: [store.MaxValue] is below the
//     threshold.
//   - Damage is an error, never an absent key. Badger reads a table block that fails its checksum as the end of the
//     table, replays a damaged write-ahead log up to the damage and drops the rest, and leaves out a damaged table. So
//     Open checks every file that holds data before Badger sees it, and [Store.Verify] repeats that for tables while
//     the store runs.
//
// # Format
//
// A key is stored after one byte: 1 for data, 0 for the row that [Store.Compact] writes and drops, 2 for the row without
// key and value that each group writes, so that a gap between tables and logs shows. That also keeps clear of the prefix
// that Badger reserves, and lets a key be empty.
package badgerdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/sandyq/sandyq/vault/store"
)

// ErrReadOnly answers an Update on a store that was opened read-only. Nothing was written.
var ErrReadOnly = errors.New("badgerdb: opened read-only")

// ErrInUse reports a directory that another process, or another Store, has open. Nothing was read or written.
var ErrInUse = errors.New("another process has this store open")

// Store is a Badger directory, open for one process.
type Store struct {
	db     *badger.DB
	log    *slog.Logger
	opt    Options
	marker *marker // holds the lock on the directory

	queue     *queue
	snapshots *snapshots
	written   sync.WaitGroup // the writer

	compacting sync.Mutex // one Compact at a time
	firstLog   uint64     // the log that the last flush began; owned by whoever compacts
	residue    atomic.Pointer[store.Residue]
	committing sync.Mutex // held over every Badger transaction that writes

	failing sync.Once
	failed  chan struct{} // closed after failure is set
	failure error

	closing  sync.Once
	closeErr error
}

// Open opens the store in opt.Dir, creating it when it does not exist, and checks all that is in it. A directory that
// another process has open (ErrInUse), damage (ErrDamaged), and options that cannot work are errors.
func Open(opt Options) (*Store, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	m, err := openMarker(opt.Dir, opt.ReadOnly)
	if err != nil {
		return nil, err
	}
	s := &Store{opt: opt, log: opt.Logger, marker: m, failed: make(chan struct{}), queue: newQueue()}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, m.close())
	}
	return s, nil
}

func (s *Store) open() error {
	if err := checkDir(s.opt.Dir, s.opt.ReadOnly); err != nil {
		return fmt.Errorf("badgerdb: checking the files: %w", err)
	}
	db, err := badger.OpenManaged(s.opt.badger(&bridge{log: s.log, broken: s.fail}))
	if err != nil {
		return fmt.Errorf("badgerdb: opening: %w", err)
	}
	if err := s.Err(); err != nil { // Badger logged an error and went on without the file
		return errors.Join(fmt.Errorf("badgerdb: opening: %w", err), db.Close())
	}
	if err := fits(db); err != nil {
		return errors.Join(err, db.Close())
	}
	s.db = db
	s.snapshots = newSnapshots(db.MaxVersion())
	if s.opt.ReadOnly {
		return nil
	}
	w, err := newWriter(s)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	s.written.Go(w.run)
	return nil
}

// View runs f on the newest synced state. It does not wait for Updates that are being written.
func (s *Store) View(ctx context.Context, f func(store.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.Err(); err != nil {
		return err
	}
	version, err := s.snapshots.acquire()
	if err != nil {
		return err
	}
	defer s.snapshots.release(version)
	r := reader{txn: s.db.NewTransactionAt(version, false)}
	defer r.txn.Discard()
	return f(&r)
}

// Update hands f to the writer. When ctx is done before the writer has picked it, nothing is written and the error is
// that of ctx; once picked it is answered with what happened, so an error of ctx always means that nothing was written.
// f runs in the writer's goroutine; when it panics nothing of it is written, others are not touched, and the panic
// continues in the goroutine that called Update.
func (s *Store) Update(ctx context.Context, f func(store.Writer) error) error {
	if s.opt.ReadOnly {
		return ErrReadOnly
	}
	return s.queue.do(ctx, f)
}

// Failed is closed when the store has stopped because it could not commit, or because Badger reported an error of its
// own. The process should exit: what was acknowledged is safe, and opening again recovers.
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
		s.queue.close(s.failure)
		s.log.Error("store stopped", "cause", cause)
	})
}

// Close answers the Updates that wait, waits for Views and for Compact, and closes Badger, which writes its memtable to a table. A
// second Close returns what the first did.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.queue.close(store.ErrClosed)
		s.written.Wait()
		s.snapshots.close() // waits for Compact and Verify as well
		s.closeErr = errors.Join(s.db.Close(), s.marker.close())
	})
	return s.closeErr
}

// Place identifies where this store physically lies: it is kept by a rename within a file system and by a restart, and
// is another one for every copy of the directory, however faithful (cp -a, tar, rsync, a restored backup), also for one
// that was written over the directory itself. It is made of a random name in a marker file, of that file's inode number
// and time of birth, and of the time its contents or attributes last changed, none of which a tool can set. So a chmod, a
// chown or a hard link of the marker makes another place, too; the store itself never touches it again.
// What copies the whole file system block by block (a volume snapshot, a cloned disk) keeps the place.
func (s *Store) Place() (string, error) { return s.marker.place() }
