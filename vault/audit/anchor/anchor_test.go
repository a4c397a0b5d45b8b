package anchor

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"go.uber.org/goleak"

	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/audit/translog"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// keep has an anchor keep a note in the place of another.
func keep(t *testing.T, a translog.Anchor, was []byte, note string) {
	t.Helper()
	if kept, err := a.Keep(t.Context(), was, []byte(note)); !kept || err != nil {
		t.Fatalf("%q is not kept: %v", note, err)
	}
}

// neverBack sees that what was kept gives way to nobody who has not seen it, and that of many who keep at once each follows on
// another. open makes an anchor of one place, which holds nothing yet.
func neverBack(t *testing.T, open func() translog.Anchor) {
	t.Helper()
	a := open()
	keep(t, a, nil, "0")
	keep(t, a, []byte("0"), "1")
	for _, was := range []string{"", "0", "01", "2"} {
		seen := []byte(was)
		if was == "" {
			seen = nil
		}
		if kept, err := a.Keep(t.Context(), seen, []byte("back")); kept || err != nil {
			t.Errorf("in the place of %q: %v %v", was, kept, err)
		}
	}
	const many, each = 4, 8
	var all sync.WaitGroup
	for range many {
		all.Go(func() {
			a := open()
			for done := 0; done < each; {
				was, err := a.Last(t.Context())
				n, wrong := strconv.Atoi(string(was))
				if err = errors.Join(err, wrong); err != nil {
					t.Error(err)
					return
				}
				kept, err := a.Keep(t.Context(), was, []byte(strconv.Itoa(n+1)))
				if err != nil {
					t.Error(err)
					return
				}
				if kept {
					done++
				}
			}
		})
	}
	all.Wait()
	if last, err := a.Last(t.Context()); string(last) != strconv.Itoa(1+many*each) || err != nil {
		t.Errorf("%q after %d, %v", last, 1+many*each, err)
	}
}

func TestAnAnchorNeverGoesBack(t *testing.T) {
	dir := t.TempDir()
	neverBack(t, func() translog.Anchor { return InFolder(dir, "acme") })
}

// TestALockThatIsHeldIsAnError: and not waited for without end.
func TestALockThatIsHeldIsAnError(t *testing.T) {
	dir := t.TempDir()
	f := InFolder(dir, "acme")
	held, err := f.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if kept, err := f.Keep(t.Context(), nil, []byte("x")); kept || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v %v", kept, err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	keep(t, f, nil, "x")
}

// TestACopyTakesNothingOlder: of its origin; it follows to another.
func TestACopyTakesNothingOlder(t *testing.T) {
	f := InFolder(t.TempDir(), "acme")
	of := func(origin string, size int64) []byte {
		text, err := checkpoint.Tree{Origin: origin, Size: size}.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return []byte(text + "\n— signed\n")
	}
	for _, step := range []struct{ take, then []byte }{
		{of("one", 5), of("one", 5)},
		{of("one", 4), of("one", 5)},
		{of("one", 6), of("one", 6)},
		{of("two", 3), of("two", 3)},
	} {
		if err := f.Take(t.Context(), step.take); err != nil {
			t.Fatal(err)
		}
		if last, err := f.Last(t.Context()); !bytes.Equal(last, step.then) || err != nil {
			t.Errorf("%q %v, want %q", last, err, step.then)
		}
	}
}

// TestTheLastIsKept: whole, in the place of the one before, with nothing left beside it, for its tenant alone.
func TestTheLastIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	f := InFolder(dir, "acme")
	if note, err := f.Last(t.Context()); note != nil || err != nil {
		t.Fatalf("%q %v", note, err)
	}
	var was []byte
	for _, note := range []string{"one", "two, which is longer", "3"} {
		keep(t, f, was, note)
		was = []byte(note)
		if last, err := InFolder(dir, "acme").Last(t.Context()); string(last) != note || err != nil {
			t.Errorf("%q %v", last, err)
		}
	}
	if note, err := InFolder(dir, "other").Last(t.Context()); note != nil || err != nil {
		t.Errorf("another's: %q %v", note, err)
	}
	for path, mode := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "acme.checkpoint"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", path, info.Mode(), err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v %v", entries, err)
	}
}

// TestWhatCannotBeKeptIsAnError: and what was kept is as it was.
func TestWhatCannotBeKeptIsAnError(t *testing.T) {
	dir := t.TempDir()
	if _, err := InFolder(filepath.Join(dir, "a", "b"), "acme").Keep(t.Context(), nil, []byte("x")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("into a folder whose parent is not there: %v", err)
	}
	taken := filepath.Join(dir, "acme.checkpoint")
	if err := os.Mkdir(taken, 0o700); err != nil {
		t.Fatal(err)
	}
	f := InFolder(dir, "acme")
	if _, err := f.Keep(t.Context(), nil, []byte("x")); err == nil {
		t.Error("kept over a folder")
	}
	if note, err := f.Last(t.Context()); err == nil {
		t.Errorf("read %q of a folder", note)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v %v", entries, err)
	}
}

// TestCopiesGoElsewhere: to a folder and to a receiver that verifies them; what fails is tried again, with the newest, and the log
// waits for none of it.
func TestCopiesGoElsewhere(t *testing.T) {
	key := []byte(strings.Repeat("k", webhook.MinSecret))
	var mu sync.Mutex
	var heard []string
	down := true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = webhook.Verify(key, r.Header, body, clock.System(), time.Minute)
		}
		var e Event
		if err == nil {
			err = json.Unmarshal(body, &e)
		}
		if err != nil || down || e.Kind != "log.checkpoint" || e.Tenant != "acme" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		heard = append(heard, e.Checkpoint)
	}))
	defer server.Close()
	sender, err := webhook.New([]webhook.Target{{URL: server.URL, Secret: secret.New(key)}}, webhook.Options{Now: clock.System})
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	dir, other := t.TempDir(), InFolder(t.TempDir(), "acme")
	places := map[string]Place{"folder": other, "webhook": Receiver{"acme", sender}}
	f := InFolder(dir, "acme")
	keep(t, f, nil, "from before")
	was := []byte("from before")
	e := copyEvery(time.Millisecond, f, slog.New(slog.DiscardHandler), places)
	defer e.Close()
	arrives := func(what string, arrived func() bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !arrived(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s has not arrived", what)
			}
		}
	}
	inFolder := func(want string) func() bool {
		return func() bool { note, _ := other.Last(t.Context()); return string(note) == want }
	}
	arrives("what was kept before", inFolder("from before"))
	for _, note := range []string{"one", "two", "three"} {
		keep(t, e, was, note)
		was = []byte(note)
	}
	arrives("the newest in the folder", inFolder("three"))
	mu.Lock()
	down = false
	mu.Unlock()
	arrives("the newest at the receiver", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(heard) > 0 && heard[len(heard)-1] == "three"
	})
	if last, err := e.Last(t.Context()); string(last) != "three" || err != nil {
		t.Errorf("%q %v", last, err)
	}
}
