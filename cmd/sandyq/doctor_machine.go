package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/store/badgerdb"
)

// checkSpace sees that the disks have room to work: what the store keeps free and as much again, below which operators
// should act.
func checkSpace(found *findings, c config) {
	if c.keepsNothing() {
		found.judge("space", nil, "nothing is kept on this machine", "")
		return
	}
	reserve := badgerdb.DefaultReserve
	least := uint64(2 * (reserve.NewData + reserve.Reading + reserve.Vital))
	var errs []error
	lowest := ^uint64(0)
	dirs := c.dataDirs()
	if len(dirs) == 0 {
		dirs = []string{c.Home}
	}
	for _, dir := range dirs {
		free, err := freeSpace(dir)
		lowest = min(lowest, free)
		if err == nil && free < least {
			err = fmt.Errorf("%s has %d MiB free, less than %d MiB", dir, free>>20, least>>20)
		}
		errs = append(errs, err)
	}
	found.judgeAll("space", errs, fmt.Sprintf("%d MiB are free", lowest>>20),
		"make room: first new data is refused, then reads, blocks and erasures last")
}

// freeSpace returns the bytes that this user may still write to the disk of dir.
func freeSpace(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("measure the free space of %s: %w", dir, err)
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// clockTolerance is how far the clocks of this machine's files and processes may disagree.
const clockTolerance = 2 * time.Minute

// checkClock looks for signs that the clock is behind: a build or a file of the store from the future.
func checkClock(found *findings, c config) {
	now := clock.System()
	latest, what := time.Time{}, ""
	if built, err := time.Parse(time.RFC3339, readBuild().Time); err == nil {
		latest, what = built, "this build"
	}
	files, err := filepath.Glob(filepath.Join(c.storeDir(), "*"))
	for _, path := range files {
		info, failed := os.Stat(path)
		if failed == nil && info.ModTime().After(latest) {
			latest, what = info.ModTime(), "the store's newest file"
		}
	}
	if err == nil && latest.After(now.Add(clockTolerance)) {
		err = fmt.Errorf("it is %s here, before %s of %s", now.UTC().Format(time.RFC3339), what, latest.UTC().Format(time.RFC3339))
	}
	found.judge("clock", err, now.UTC().Format(time.RFC3339),
		"set the clock and keep it with NTP: retention, consents and holds end by it")
}
