package badgerdb

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestKill kills the process that writes, at any moment, opening included, again and again on one directory. Every
// second time or so the next child recovers it, else we look ourselves.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	acked := map[int]int{}
	checks := 0
	cycles := scaled(10)
	for cycle := range cycles {
		l := startLoad(t, dir, false)
		if rand.IntN(8) > 0 {
			<-l.opened
		}
		time.Sleep(rand.N(400 * time.Millisecond))
		acked = l.stop(acked)
		if l.stderr.Len() > 0 {
			t.Fatalf("cycle %d: the child says %s", cycle, l.stderr.String())
		}
		if cycle < cycles-1 && rand.IntN(2) == 0 {
			continue
		}
		s := open(t, Options{Dir: dir})
		missing, err := lost(s, acked)
		if missing > 0 || err != nil {
			t.Fatalf("cycle %d: %d acknowledged Updates are lost; %v", cycle, missing, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		checks++
	}
	total := sum(acked)
	if total == 0 {
		t.Fatal("nothing was acknowledged")
	}
	t.Logf("%d kills, %d checks, %d Updates acknowledged, 0 lost", cycles, checks, total)
}
