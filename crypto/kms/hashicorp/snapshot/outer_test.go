package snapshot

import (
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
)

func TestDay(t *testing.T) {
	almaty := time.FixedZone("+05", 5*60*60)
	for _, c := range []struct {
		now  time.Time
		days int
		want string
	}{
		{time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), 30, "2026-12-22"},
		{time.Date(2026, 11, 22, 23, 59, 59, 0, time.UTC), 30, "2026-12-22"},
		{time.Date(2026, 11, 23, 4, 0, 0, 0, almaty), 1, "2026-11-23"},
		{time.Date(2028, 2, 28, 12, 0, 0, 0, time.UTC), 1, "2028-02-29"},
	} {
		got := Day(c.now, c.days)
		if got.Format(time.DateTime) != c.want+" 00:00:00" {
			t.Errorf("%d days after %s: %s, want %s", c.days, c.now, got, c.want)
		}
		if left := got.Sub(c.now); left > time.Duration(c.days)*24*time.Hour {
			t.Errorf("%s is more than %d days after %s", got, c.days, c.now)
		}
	}
}

func FuzzParseName(f *testing.F) {
	f.Add(Key{kms.ID{1}, Day(time.Unix(0, 0), 1)}.name())
	f.Add("00112233445566778899aabbccddeeff.2026-02-30.outer")
	f.Add(".outer")
	f.Fuzz(func(t *testing.T, name string) {
		if k, ok := parseName(name); ok && k.name() != name {
			t.Fatalf("parses %q and writes %q", name, k.name())
		}
	})
}
