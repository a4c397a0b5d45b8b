package endtoend

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms/hashicorp/vaultserver"
	"github.com/sandyq/sandyq/vault/api"
)

// keys adds a section to a configuration.
func (h *house) keys(name, section string) {
	h.t.Helper()
	text, err := os.ReadFile(h.file(name))
	check(h.t, err)
	h.write(name+".yaml", string(text)+section)
}

// vaultKeys writes a configuration with an empty database, over keys in a HashiCorp Vault that is set up for it.
func (h *house) vaultKeys(name string) {
	h.t.Helper()
	keys := vaultserver.Start(h.t)
	h.postgres(name, "elsewhere")
	h.keys(name, fmt.Sprintf(`keys:
  provider: vault
  vault:
    address: %s
    auth: {method: approle, role_id_file: credentials/serve.role_id, secret_id_file: credentials/serve.secret_id}
    erase_auth: {method: approle, role_id_file: credentials/erase.role_id, secret_id_file: credentials/erase.secret_id}
`, keys.Address))
	h.run("VAULT_ADDR="+keys.Address, "VAULT_TOKEN="+keys.RootToken)("keys", "setup", "--config", h.file(name))
}

// run runs commands that must succeed, with more environment.
func (h *house) run(environment ...string) func(args ...string) []byte {
	return (&site{t: h.t}).command(environment...)
}

// keyFiles counts the people's keys, and the like, in the house's own keyring.
func (h *house) keyFiles() (n int) {
	h.t.Helper()
	check(h.t, filepath.WalkDir(filepath.Join(h.home, "keyring"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && len(d.Name()) == 32 { // the id of a key
			n++
		}
		return err
	}))
	return n
}

// TestMovingKeysUnderLoad moves a vault from Badger and a local keyring to PostgreSQL and a HashiCorp Vault while people are registered,
// blocked, erased and asked for, and is killed a few times; and back, with nobody there. All that was acknowledged holds; the old keys are
// gone in the end, and who was erased meanwhile is.
func TestMovingKeysUnderLoad(t *testing.T) {
	h := furnished(t)
	h.vaultKeys("vault")
	l := &ledger{names: map[string]string{}, blocked: map[string]string{}, erased: map[string]bool{}}
	s := h.ready(h.serve("badger"))
	filled(t, s, 500, 5, 30<<10)
	s.stop(t)
	before := h.keyFiles()
	var erasures []string
	began := time.Now()
	move := func(more ...string) *server {
		return h.begin(append([]string{"migrate-store", "--from", h.file("badger"), "--to", h.file("vault"), "--serve"}, more...)...)
	}
	for kills := range scaled(2) {
		s := move()
		loaded, stop := context.WithCancel(ctx)
		var load sync.WaitGroup
		load.Go(func() { l.load(loaded, s) })
		if kills > 0 {
			s.until(t, "ready", s.ready)
			if e := erased(loaded, s); e != "" {
				erasures = append(erasures, e)
			}
		}
		time.Sleep(rand.N(time.Second))
		s.kill()
		stop()
		load.Wait()
	}
	s = move("--retire")
	loaded, stop := context.WithCancel(ctx)
	var load sync.WaitGroup
	for range 2 {
		load.Go(func() { l.load(loaded, s) })
	}
	s.until(t, "moved", func() bool { return stoodStill.MatchString(s.output.String()) })
	s.until(t, "retired", func() bool { return strings.Contains(s.output.String(), "the old keys are destroyed") })
	s.until(t, "ready again", s.ready)
	if e := erased(loaded, s); e != "" {
		erasures = append(erasures, e)
	}
	stop()
	load.Wait()
	l.verify(t, s)
	for _, e := range erasures {
		s.until(t, "carried out", func() bool {
			row, err := s.Erasure(ctx, e)
			check(t, err)
			return row.State == api.ErasureErased
		})
		s.until(t, "certified", func() bool {
			_, err := s.Certificate(ctx, e)
			return err == nil
		})
	}
	if len(erasures) == 0 {
		t.Error("nobody was erased")
	}
	if n := h.keyFiles(); before == 0 || n != 0 {
		t.Errorf("%d of %d old keys are left", n, before)
	}
	s.until(t, "found", func() bool {
		resp, err := s.Tokenize(ctx, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{{
			ExternalRef: "backup/7", Fields: map[string]api.OneOrMany[api.Value]{"given_name": api.One(api.Text("Адам" + letters(8)))},
		}}})
		if err == nil && (resp.Results[0].Error != nil || resp.Results[0].Created) {
			t.Errorf("somebody is not found: %+v", resp.Results[0])
		}
		return err == nil
	})
	t.Logf("in %s, with kills; stood still for %s; %d names, %d blocked, %d erased", time.Since(began).Round(time.Second), stoodStill.FindStringSubmatch(s.output.String())[1],
		len(l.names), len(l.blocked), len(l.erased))
	s.stop(t)
	h.superseded("badger")
	h.config("back", "{engine: badger, badger: {dir: back}}", "elsewhere")
	h.keys("back", "keys: {local: {dir: back-keys}}\n")
	t.Logf("%s", h.run()("migrate-store", "--from", h.file("vault"), "--to", h.file("back"), "--retire"))
	s = h.ready(h.serve("back"))
	l.verify(t, s)
	s.stop(t)
	h.superseded("vault")
}

// erased has somebody registered and erased, and returns the erasure; empty when the server could not be asked.
func erased(ctx context.Context, s *server) string {
	made, err := s.Tokenize(ctx, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{{
		Fields: map[string]api.OneOrMany[api.Value]{"given_name": api.One(api.Text("Дәурен"))},
	}}})
	if err != nil {
		return ""
	}
	e, err := s.RequestErasure(ctx, &api.ErasureRequest{Subject: made.Results[0].Subject, Ground: "request", Reason: "asked"})
	if err != nil {
		return ""
	}
	return e.Erasure
}
