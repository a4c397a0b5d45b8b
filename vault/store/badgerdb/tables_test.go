package badgerdb

import (
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/sandyq/sandyq/vault/store"
)

// TestTablesStayAsLargeAsTheyAre fills a store until it has levels: tables may be no larger on the further ones, where most of what there is comes
// to lie, for a compaction holds several of them in memory.
func TestTablesStayAsLargeAsTheyAre(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	value := make([]byte, 128<<10)
	_, _ = rand.Read(value)
	for n := range 160 { // 20 MB: two of the levels have something to do
		if err := write(s, store.NewData, fmt.Sprint(n), value); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	base := 0
	for _, l := range s.db.Levels() {
		if l.IsBaseLevel {
			base = l.Level
		}
		if l.Level > 0 && l.TargetFileSize != tableSize {
			t.Errorf("tables of level %d are made %d MiB large", l.Level, l.TargetFileSize>>20)
		}
	}
	if base == 0 || base == len(s.db.Levels())-1 {
		t.Fatalf("the base is level %d: the store is too small to show anything", base)
	}
}
