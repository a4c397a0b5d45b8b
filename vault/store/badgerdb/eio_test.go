package badgerdb

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestFailedSystemCalls lets strace fail the n-th msync, fsync or ftruncate of a thread under load. The process must
// stop by itself, soon, and what it acknowledged must be there.
func TestFailedSystemCalls(t *testing.T) {
	if out, err := exec.Command("strace", "-f", "-e", "trace=none", "-qq", "true").CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("NOT TESTED: strace: %v %s", err, out)
		}
		t.Skipf("NOT TESTED: strace: %v %s", err, out)
	}
	for _, c := range []struct {
		call   string
		nth    []int
		always bool // some thread gets so far
	}{
		{"msync", []int{1, 5, 100}, true},
		{"fsync", []int{1, 2, 3, 4}, false},
		{"ftruncate", []int{1, 2, 3}, false},
	} {
		for i := range scaled(len(c.nth)) {
			nth := c.nth[i%len(c.nth)] + i/len(c.nth)
			// A store of its own for each, so that it is too young for compactions: Badger 4.9.6 takes a compaction that
			// could not write its tables for done (docs/store.md tells), which no user of it can prevent.
			dir, acked := t.TempDir(), map[int]int{}
			l := startLoad(t, dir, false, "strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace="+c.call,
				"-e", fmt.Sprintf("inject=%s:error=EIO:when=%d", c.call, nth))
			ended := make(chan struct{})
			go func() { l.read.Wait(); close(ended) }()
			stopped := false
			select {
			case <-ended:
				stopped = true
			case <-time.After(5 * time.Second): // this thread did not get so far
			}
			acked = l.stop(acked)
			<-ended
			if !stopped && c.always {
				t.Errorf("%s %d failed and the process went on", c.call, nth)
			}
			if stopped && !strings.Contains(l.stderr.String(), "input/output error") {
				t.Errorf("%s %d: the process does not say why it stopped: %s", c.call, nth, l.stderr.String())
			}
			s := open(t, Options{Dir: dir})
			missing, err := lost(s, acked)
			if missing > 0 || err != nil {
				t.Errorf("%s %d: %d acknowledged Updates are lost; %v", c.call, nth, missing, err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			t.Logf("%s %d: stopped %v", c.call, nth, stopped)
		}
	}
}
