package anchor

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"go.uber.org/goleak"

	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestTheLastIsKept: whole, in the place of the one before, with nothing left beside it, for its tenant alone.
func TestTheLastIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	f := InFolder(dir, "acme")
	if note, err := f.Last(t.Context()); note != nil || err != nil {
		t.Fatalf("%q %v", note, err)
	}
	for _, note := range []string{"one", "two, which is longer", "3"} {
		if err := f.Keep(t.Context(), []byte(note)); err != nil {
			t.Fatal(err)
		}
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
	if err := InFolder(filepath.Join(dir, "a", "b"), "acme").Keep(t.Context(), []byte("x")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("into a folder whose parent is not there: %v", err)
	}
	taken := filepath.Join(dir, "acme.checkpoint")
	if err := os.Mkdir(taken, 0o700); err != nil {
		t.Fatal(err)
	}
	f := InFolder(dir, "acme")
	if err := f.Keep(t.Context(), []byte("x")); err == nil {
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
	if err := f.Keep(t.Context(), []byte("from before")); err != nil {
		t.Fatal(err)
	}
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
		if err := e.Keep(t.Context(), []byte(note)); err != nil {
			t.Fatal(err)
		}
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
