package endtoend

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
)

// ledger is what the server acknowledged, kept by another process than the server.
type ledger struct {
	mu      sync.Mutex
	names   map[string]string // token → the value it must give
	blocked map[string]string // token of a blocked person → subject
	erased  map[string]bool   // token of an erased person
	serial  int
}

func (l *ledger) next() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serial++
	return l.serial
}

// TestKillLosesNothing kills the server under load, again and again. Every acknowledged registration, block and erasure
// must hold after the next start, which needs no hand.
func TestKillLosesNothing(t *testing.T) {
	home := t.TempDir()
	l := &ledger{names: map[string]string{}, blocked: map[string]string{}, erased: map[string]bool{}}
	cycles := scaled(4)
	var slowest time.Duration
	for cycle := range cycles {
		began := time.Now()
		s := serve(t, home)
		slowest = max(slowest, time.Since(began))
		l.verify(t, s)
		loaded, stop := context.WithCancel(ctx)
		var load sync.WaitGroup
		for range 8 {
			load.Go(func() { l.load(loaded, s) })
		}
		time.Sleep(100*time.Millisecond + rand.N(500*time.Millisecond))
		s.kill()
		stop()
		load.Wait()
		if t.Failed() {
			t.Fatalf("in cycle %d", cycle)
		}
	}
	l.verify(t, serve(t, home))
	t.Logf("%d kills, %d registrations, %d blocks and %d erasures acknowledged, 0 lost; slowest start to ready %v",
		cycles, len(l.names), len(l.blocked), len(l.erased), slowest.Round(time.Millisecond))
	if len(l.names) < cycles {
		t.Error("there was next to no load")
	}
}

// load registers people until the server is gone; some are then blocked or erased.
func (l *ledger) load(loaded context.Context, s *server) {
	for loaded.Err() == nil {
		n := l.next()
		name := "Адам" + letters(n)
		resp, err := s.Tokenize(loaded, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{{
			ExternalRef: fmt.Sprintf("kill/%d", n),
			Fields:      map[string]api.OneOrMany[api.Value]{"given_name": api.One(api.Text(name))},
		}}})
		if err != nil || resp.Results[0].Error != nil {
			continue // unknown
		}
		r := resp.Results[0]
		token := r.Tokens["given_name"].Items[0]
		switch n % 5 {
		case 0:
			if _, err := s.Block(loaded, r.Subject, &api.BlockRequest{Kind: "dispute", Reason: "claim"}); err == nil {
				l.note(func() { l.blocked[token] = r.Subject })
			}
		case 1:
			if _, err := s.RequestErasure(loaded, &api.ErasureRequest{Subject: r.Subject, Ground: "request", Reason: "asked"}); err == nil {
				l.note(func() { l.erased[token] = true })
			}
		default:
			l.note(func() { l.names[token] = name })
		}
	}
}

func (l *ledger) note(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// letters writes a number in Cyrillic letters: a name has no digits.
func letters(n int) string {
	const alphabet = "абвгдежзик"
	runes := []rune(alphabet)
	s := ""
	for ; n > 0; n /= 10 {
		s = string(runes[n%10]) + s
	}
	return s
}

// verify reads everything back.
func (l *ledger) verify(t *testing.T, s *server) {
	t.Helper()
	want := map[string]fault.Code{}
	for token := range l.names {
		want[token] = ""
	}
	for token := range l.blocked {
		want[token] = fault.Blocked
	}
	for token := range l.erased {
		want[token] = fault.Erased
	}
	var tokens []string
	check := func() {
		resp, err := s.Detokenize(ctx, &api.DetokenizeRequest{Purpose: "service", Reason: "check", Tokens: tokens})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range resp.Results {
			code := fault.Code("")
			if r.Error != nil {
				code = r.Error.Code
			}
			if code != want[r.Token] {
				t.Errorf("an acknowledged write is lost: got %q, want %q (%+v)", code, want[r.Token], r.Error)
				continue
			}
			if name, ok := l.names[r.Token]; ok {
				if got, _ := r.Value.Text(); got != name {
					t.Errorf("got %q, want %q", got, name)
				}
			}
		}
		tokens = tokens[:0]
	}
	for token := range want {
		if tokens = append(tokens, token); len(tokens) == api.MaxItems {
			check()
		}
	}
	if len(tokens) > 0 {
		check()
	}
}
