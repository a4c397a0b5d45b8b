package witness_test

import (
	"errors"
	"testing"

	"github.com/sandyq/sandyq/vault/audit/translog"
	"github.com/sandyq/sandyq/vault/audit/witness"
	"github.com/sandyq/sandyq/vault/audit/witness/litewitness"
)

// TestWithAWitnessThatOthersWrote: litewitness takes what we submit, and we its cosignatures; from another process too, and it stops a
// store that was put back and has grown beyond what it knew.
func TestWithAWitnessThatOthersWrote(t *testing.T) {
	w := newWorld(t, 0)
	w.commit(3)
	w.flush()
	keys, err := w.log.PublicKeys(t.Context())
	check(t, err)
	w.all = []witness.Witness{litewitness.Start(t, "lite.example/w", keys[0])}
	w.quorum = 1
	w.open()
	reaches := func(size int64) {
		t.Helper()
		eventually(t, "it is cosigned", func() bool {
			w.flush()
			check(t, w.log.Collect(t.Context()))
			got, names := w.cosigned()
			return got == size && len(names) == 1
		})
	}
	w.commit(2)
	reaches(5)
	earlier := w.copy()
	w.commit(600)
	reaches(605)
	w.open()
	w.commit(1)
	reaches(606)
	w.store = earlier
	w.open()
	w.commit(700)
	eventually(t, "the log is stopped", func() bool {
		_, err := w.log.Flush(t.Context())
		return errors.Is(err, translog.ErrWitness)
	})
}
