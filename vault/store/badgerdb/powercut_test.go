package badgerdb

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

func TestPowerCut(t *testing.T) {
	cuts := scaled(3)
	missing, total := cutPower(t, cuts, false)
	if missing > 0 {
		t.Errorf("%d of %d acknowledged Updates are lost", missing, total)
	}
	t.Logf("%d cuts, %d Updates acknowledged, %d lost", cuts, total, missing)
}

// TestPowerCutControl shows that the test above can fail: without syncing, a power cut loses.
func TestPowerCutControl(t *testing.T) {
	cuts := scaled(3)
	missing, total := cutPower(t, cuts, true)
	if missing == 0 {
		t.Errorf("%d cuts lost none of %d unsynced Updates: the cut is none", cuts, total)
	}
	t.Logf("%d cuts, %d Updates acknowledged, %d lost", cuts, total, missing)
}

// cutPower cuts the power of a disk under load, looks, and goes on, with the same store when it is synced. It returns
// how many acknowledged Updates were missing, and how many there were.
func cutPower(t *testing.T, cuts int, unsynced bool) (missing, total int) {
	d := newDisk(t, 1024)
	dir := filepath.Join(d.dir, "store")
	acked, late := map[int]int{}, 0
	defer func() { t.Logf("%d were acknowledged while the file system went down, and lost", late) }()
	for cut := range cuts {
		if unsynced { // a store that lost something counts anew
			dir, acked = filepath.Join(d.dir, strconv.Itoa(cut)), map[int]int{}
		}
		before := sum(acked)
		l := startLoad(t, dir, unsynced)
		<-l.opened
		time.Sleep(rand.N(1500 * time.Millisecond))
		// What is acknowledged while the file system goes down does not count: with the power, the machine would have
		// gone, and ext4 answers a sync that this catches halfway as if it had succeeded.
		l.until.Store(now())
		d.cut(t)
		time.Sleep(50 * time.Millisecond) // for the process to notice
		acked = l.stop(acked)
		total += sum(acked) - before
		d.remount(t)
		s, err := Open(Options{Dir: dir, Logger: quiet})
		if err != nil && unsynced {
			t.Logf("cut %d: does not even open: %v", cut, err)
			missing += sum(acked)
			continue
		}
		if err != nil {
			t.Fatalf("cut %d: %v; the child said %s", cut, err, l.stderr.String())
		}
		gone, err := lost(s, acked)
		goneLate, err2 := lost(s, l.late)
		if err := errors.Join(err, err2, s.Close()); err != nil {
			t.Fatalf("cut %d: %v", cut, err)
		}
		missing += gone
		late += goneLate
	}
	return missing, total
}

func sum(acked map[int]int) (total int) {
	for _, n := range acked {
		total += n
	}
	return total
}
