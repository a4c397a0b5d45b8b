package endtoend

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault/client"
	"github.com/sandyq/sandyq/vault/store/postgres/pgserver"
)

// house is a vault in a home, with configurations that have the same keys and ledger and different stores.
type house struct {
	t            *testing.T
	home         string
	token        string // the administrator's, who may do everything there
	address, ops string
}

// vacant is a house without a vault.
func vacant(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, home: t.TempDir(), address: free(t), ops: free(t)}
	check(t, os.Mkdir(filepath.Join(h.home, "policies"), 0o700))
	h.write("policies/all.cedar", "@id(\"all\")\npermit (principal, action, resource);\n")
	return h
}

func furnished(t *testing.T) *house {
	t.Helper()
	h := vacant(t)
	s := serve(t, h.home)
	token, err := os.ReadFile(filepath.Join(h.home, "dev.token"))
	check(t, err)
	h.token = strings.TrimSpace(string(token))
	s.stop(t)
	h.config("badger", "{engine: badger}", "documents")
	return h
}

func (h *house) write(name, text string) {
	h.t.Helper()
	check(h.t, os.WriteFile(filepath.Join(h.home, name), []byte(text), 0o600))
}

// config writes a configuration with a store and a folder of documents.
func (h *house) config(name, store, documents string) {
	h.t.Helper()
	h.write(name+".yaml", fmt.Sprintf(`home: .
listen: %s
ops: %s
policies: policies
approvals: {erasure: {needed: 0}}
store: %s
blobs: {engine: file, file: {dir: %s}}
`, h.address, h.ops, store, documents))
}

// postgres writes a configuration with an empty database.
func (h *house) postgres(name, documents string) {
	h.t.Helper()
	h.write(name+".dsn", pgserver.Shared(h.t).Database(h.t)+"\n")
	h.config(name, "{engine: postgres, postgres: {dsn_file: "+name+".dsn}}", documents)
}

// begin starts a command that serves at the house's address.
func (h *house) begin(args ...string) *server {
	h.t.Helper()
	path, err := binary()
	check(h.t, err)
	s := &server{home: h.home, address: h.address, ops: h.ops, output: &output{}, ended: make(chan error, 1)}
	s.cmd = exec.Command(path, args...)
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	s.Client, err = client.New("http://"+s.address, h.token)
	check(h.t, err)
	check(h.t, s.cmd.Start())
	go func() { s.ended <- s.cmd.Wait() }()
	h.t.Cleanup(func() { s.kill(); s.Close() })
	return s
}

func (h *house) file(name string) string { return filepath.Join(h.home, name+".yaml") }

// move starts a move that serves.
func (h *house) move(from, to string) *server {
	return h.begin("migrate-store", "--from", h.file(from), "--to", h.file(to), "--serve")
}

func (h *house) serve(name string) *server { return h.begin("serve", "--config", h.file(name)) }

// until waits until something is so, while the process runs.
func (s *server) until(t testing.TB, what string, so func() bool) {
	t.Helper()
	for began := time.Now(); !so(); time.Sleep(5 * time.Millisecond) {
		select {
		case err := <-s.ended:
			s.ended <- err
			t.Fatalf("%s: it ended with %v\n%s", what, err, s.output)
		default:
		}
		if time.Since(began) > 2*time.Minute {
			t.Fatalf("%s: not in two minutes\n%s", what, s.output)
		}
	}
}

var (
	stoodStill = regexp.MustCompile(`nothing was served for (\S+);`)
	rowsMoved  = regexp.MustCompile(`moved (\d+) rows`)
)

// TestMovingHouseUnderLoad moves a vault from Badger to PostgreSQL and back while people are registered, blocked, erased and asked for. All
// that was acknowledged holds afterwards, and what was left behind gives nothing out.
func TestMovingHouseUnderLoad(t *testing.T) {
	h := furnished(t)
	h.postgres("postgres", "elsewhere")
	h.config("back", "{engine: badger, badger: {dir: back}}", "elsewhere")
	l := &ledger{names: map[string]string{}, blocked: map[string]string{}, erased: map[string]bool{}}
	s := h.ready(h.serve("badger"))
	filled(t, s, scaled(500), scaled(5), 30<<10)
	s.stop(t)
	for _, way := range [][2]string{{"badger", "postgres"}, {"postgres", "back"}} {
		s := h.move(way[0], way[1])
		s.until(t, "ready", s.ready)
		loaded, stop := context.WithCancel(ctx)
		var load sync.WaitGroup
		for range 4 {
			load.Go(func() { l.load(loaded, s) })
		}
		s.until(t, "moved", func() bool { return stoodStill.MatchString(s.output.String()) })
		s.until(t, "ready again", s.ready)
		time.Sleep(200 * time.Millisecond) // with load
		stop()
		load.Wait()
		l.verify(t, s)
		s.stop(t)
		t.Logf("from %s to %s: %s rows, stood still for %s; %d names, %d blocked, %d erased", way[0], way[1],
			rowsMoved.FindStringSubmatch(s.output.String())[1],
			stoodStill.FindStringSubmatch(s.output.String())[1], len(l.names), len(l.blocked), len(l.erased))
		h.superseded(way[0])
	}
	l.verify(t, h.ready(h.serve("back")))
}

func (h *house) ready(s *server) *server {
	s.until(h.t, "ready", s.ready)
	return s
}

// superseded sees that what was left behind serves nothing.
func (h *house) superseded(name string) {
	h.t.Helper()
	s := h.serve(name)
	s.until(h.t, "superseded", func() bool {
		resp, err := http.Get("http://" + s.ops + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		var b bytes.Buffer
		_, _ = b.ReadFrom(resp.Body)
		return resp.StatusCode == http.StatusServiceUnavailable && strings.Contains(b.String(), "superseded")
	})
	if _, err := s.Erasure(ctx, "x"); err == nil {
		h.t.Error("it answers")
	}
	s.stop(h.t)
}

// TestAMoveGoesOnAfterKills kills moves at random moments, those that serve and those that don't. Whichever store is the live one then is
// served by the next, and in the end all that was acknowledged is in the new one.
func TestAMoveGoesOnAfterKills(t *testing.T) {
	h := furnished(t)
	l := &ledger{names: map[string]string{}, blocked: map[string]string{}, erased: map[string]bool{}}
	s := h.ready(h.serve("badger"))
	filled(t, s, 1500, 20, 30<<10)
	s.stop(t)
	h.postgres("postgres", "elsewhere")
	kills := 0
	for cycle := 0; ; cycle++ {
		s := h.move("badger", "postgres")
		loaded, stop := context.WithCancel(ctx)
		var load sync.WaitGroup
		for range 2 {
			load.Go(func() { l.load(loaded, s) })
		}
		moved := false
		if kills < scaled(4) {
			// Before it serves, while it copies, and ever closer to the switch.
			time.Sleep(rand.N(time.Duration(kills+1) * 400 * time.Millisecond))
			s.kill()
			kills++
		} else {
			s.until(t, "moved", func() bool { return strings.Contains(s.output.String(), "the live vault") })
			s.until(t, "ready", s.ready)
			moved = true
		}
		stop()
		load.Wait()
		if moved {
			l.verify(t, s)
			s.stop(t)
			break
		}
	}
	h.superseded("badger")
	t.Logf("%d kills; %d names, %d blocked, %d erased", kills, len(l.names), len(l.blocked), len(l.erased))
}
