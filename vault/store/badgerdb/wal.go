package badgerdb

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/sandyq/sandyq/vault/store"
)

// The layout of a memtable's log: a header, then entries. An entry is its meta byte, a user's meta byte (0), key
// length, value length and time of expiry (0) as uvarints, key, value, and the Castagnoli CRC of all that. A key ends
// in eight bytes, the complement of its version. A transaction is a run of entries of one version, and a last one that
// carries the mark of its end.
const (
	logHeader  = 20
	metaDelete = 1 << 0
	metaTxn    = 1 << 6
	metaEnd    = 1 << 7

	maxLogKey   = 64 + store.MaxKey // our byte, the version, and Badger's own name for the end mark
	maxLogValue = store.MaxValue
)

// checkLog looks for damage in a memtable's log. Badger replays whole transactions up to the first entry that does not
// check, and cuts off the rest: right for what a crash interrupted, wrong for damage further up. The two can be told
// apart, because a group is only written when the one before it is synced. So at most one version can be incomplete,
// and nothing of a later version can come after it.
//
// Damage within the very last group is taken for an interrupted write. There is no telling without a second record of
// what was acknowledged.
//
// It returns the versions in the log; the last is 0 when the log is empty.
func checkLog(path string) (logRange, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return logRange{}, fmt.Errorf("reading %s: %w", filepath.Base(path), err)
	}
	if len(b) < logHeader {
		return logRange{}, nil
	}
	b = b[logHeader:]
	rest, first, last := replay(b)
	broken := uint64(0)
	if last > 0 {
		broken = last + 1
	}
	for i := len(b) - len(rest); i < len(b); {
		e, ok := parseLogEntry(b[i:])
		if !ok {
			i++
			continue
		}
		if broken == 0 {
			broken = e.version
		}
		if e.version > broken {
			return logRange{}, damaged(path, "at byte %d, before the group of version %d", len(b)-len(rest)+logHeader, e.version)
		}
		i += e.size
	}
	return logRange{path, first, last}, nil
}

// logRange is what a log holds: the whole groups from the first version to the last.
type logRange struct {
	path        string
	first, last uint64
}

// replay returns what comes after the last whole transaction, and the versions of the first and last, 0 when there is
// none.
func replay(b []byte) (rest []byte, first, last uint64) {
	rest = b
	for at := b; ; {
		e, ok := parseLogEntry(at)
		if !ok {
			return rest, first, last
		}
		at = at[e.size:]
		if e.end {
			rest, last = at, e.version
			if first == 0 {
				first = last
			}
		}
	}
}

type logEntry struct {
	size    int
	version uint64
	end     bool
}

// parseLogEntry parses what b begins with, and refuses whatever Badger would not have written for us.
func parseLogEntry(b []byte) (e logEntry, ok bool) {
	const fixed = 2
	if len(b) < fixed || b[0]&(metaTxn|metaEnd) == 0 || b[0]&^(metaDelete|metaTxn|metaEnd) != 0 || b[1] != 0 {
		return e, false
	}
	at := fixed
	var lengths [3]uint64
	for i := range lengths {
		v, n := binary.Uvarint(b[at:min(len(b), at+binary.MaxVarintLen64)])
		if n <= 0 {
			return e, false
		}
		lengths[i], at = v, at+n
	}
	key, value := lengths[0], lengths[1]
	if key < 8 || key > maxLogKey || value > maxLogValue || lengths[2] != 0 {
		return e, false
	}
	sum := at + int(key) + int(value)
	e.size = sum + crc32.Size
	if e.size > len(b) || crc32.Checksum(b[:sum], castagnoli) != binary.BigEndian.Uint32(b[sum:]) {
		return e, false
	}
	e.version = ^binary.BigEndian.Uint64(b[at+int(key)-8:])
	e.end = b[0]&metaEnd != 0
	return e, true
}
