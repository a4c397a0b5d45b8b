package badgerdb

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/store"
)

// Sizes, in bytes. A Badger transaction holds at most 15% of a memtable; the rest follows from store.MaxUpdate.
const (
	memTable   = 32 << 20
	tableSize  = 4 << 20   // of every level below the first: see badger
	groupBytes = 512 << 10 // a group that has reached this takes no further Update
	groupCount = 4096      // likewise, in Set and Delete calls

	// What Badger adds to an entry when it measures a transaction, and our own byte before the key.
	entryOverhead = 16
)

// Options configure a store. Dir is required; the zero value of all else is right for production.
type Options struct {
	// Dir is the folder, of this store alone.
	Dir string

	// ReadOnly opens without writing anything, shared with other readers. It only works on a store that was closed:
	// what a crash or a copy of a running store left behind is opened normally, on a copy if need be.
	ReadOnly bool

	// Reserve is the free space to keep, in bytes. Zero fields get the values of DefaultReserve.
	Reserve Reserve

	// Free returns the bytes free on the disk that holds the folder it is given; by default statfs tells.
	Free func(dir string) (int64, error)

	// Observer is told of every group; nil for none.
	Observer Observer

	// Logger gets Badger's own messages, without keys or values; by default slog.Default.
	Logger *slog.Logger

	// Clock times commits for Observer; by default clock.System.
	Clock clock.Clock

	unsynced bool // for the control run of the power cut test, which must lose data
}

// Reserve says how much space stays free for each urgency, in bytes, beyond what Badger itself may need at the moment
// for a flush and for the largest compaction (which Store works out from the tables there are).
type Reserve struct{ NewData, Reading, Vital int64 }

// DefaultReserve is counted in memtables, because what Badger needs changes by about that much when levels change.
var DefaultReserve = Reserve{NewData: 5 * memTable, Reading: 3 * memTable, Vital: memTable}

// Group is what one commit carried.
type Group struct {
	Updates int           // answered, whether they wrote or not
	Writes  int           // keys set or deleted
	Bytes   int           // of keys and values
	Commit  time.Duration // taken by the commit with its sync
}

// Observer is told of groups after they are answered. Calls come from one goroutine and hold up the next group.
type Observer interface{ Committed(Group) }

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("badgerdb: Options.Dir is not set")
	}
	if o.Reserve.NewData == 0 {
		o.Reserve.NewData = DefaultReserve.NewData
	}
	if o.Reserve.Reading == 0 {
		o.Reserve.Reading = DefaultReserve.Reading
	}
	if o.Reserve.Vital == 0 {
		o.Reserve.Vital = DefaultReserve.Vital
	}
	if r := o.Reserve; r.Vital < 0 || r.Reading < r.Vital || r.NewData < r.Reading {
		return o, errors.New("badgerdb: Options.Reserve must fall from NewData over Reading to Vital")
	}
	if o.Free == nil {
		o.Free = freeSpace
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Clock == nil {
		o.Clock = clock.System
	}
	return o, nil
}

// badger are Badger's options. A compaction has up to thirteen tables in memory that are made, each in a buffer of twice its size. By default
// tables are twice as large on each further level, so that a store takes the more memory the more there is in it; here they are not.
func (o Options) badger(log badger.Logger) badger.Options {
	opt := badger.DefaultOptions(o.Dir).
		WithBaseTableSize(tableSize).
		WithSyncWrites(!o.unsynced).
		WithReadOnly(o.ReadOnly).
		WithLogger(log).
		WithMetricsEnabled(false).
		WithDetectConflicts(false). // one writer
		WithNumVersionsToKeep(1).
		WithMemTableSize(memTable).
		WithNumMemtables(3).
		WithNumLevelZeroTables(3). // bounds both what a compaction rewrites and how long deleted data lingers
		WithNumLevelZeroTablesStall(8).
		WithNumCompactors(2).
		WithValueThreshold(1 << 20).
		WithValueLogFileSize(1 << 20). // never written to; Badger maps twice this
		WithVerifyValueChecksum(true).
		WithChecksumVerificationMode(options.OnBlockRead).
		WithCompression(options.None). // values are sealed: they do not compress
		WithBlockCacheSize(0)          // the page cache holds the tables, which are neither compressed nor encrypted
	opt.TableSizeMultiplier = 1
	return opt
}

// fits reports whether the largest group fits one Badger transaction.
func fits(db *badger.DB) error {
	writes := int64(groupCount+store.MaxWrites) + 1 // lastGroup
	bytes := int64(groupBytes+store.MaxUpdate) + writes*entryOverhead
	if bytes >= db.MaxBatchSize() || writes >= db.MaxBatchCount() {
		return fmt.Errorf("badgerdb: a group of %d bytes and %d writes is over Badger's %d and %d",
			bytes, writes, db.MaxBatchSize(), db.MaxBatchCount())
	}
	return nil
}
