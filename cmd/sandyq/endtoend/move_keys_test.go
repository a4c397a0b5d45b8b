package endtoend

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/crypto/kms"
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

// vaultKeys has a configuration name keys in a HashiCorp Vault that is set up for them.
func (h *house) vaultKeys(name string) *vaultserver.Server {
	h.t.Helper()
	keys := vaultserver.Start(h.t)
	h.keys(name, fmt.Sprintf(`keys:
  provider: vault
  pool: 16
  vault:
    address: %s
    auth: {method: approle, role_id_file: %[2]s/serve.role_id, secret_id_file: %[2]s/serve.secret_id}
    erase_auth: {method: approle, role_id_file: %[2]s/erase.role_id, secret_id_file: %[2]s/erase.secret_id}
`, keys.Address, "credentials-of-"+name))
	h.run("VAULT_ADDR="+keys.Address, "VAULT_TOKEN="+keys.RootToken)("keys", "setup", "--config", h.file(name))
	return keys
}

// run runs commands that must succeed, with more environment.
func (h *house) run(environment ...string) func(args ...string) []byte {
	return (&site{t: h.t}).command(environment...)
}

// keysIn counts the people's keys, and the like, that a HashiCorp Vault lists.
func keysIn(t *testing.T, keys *vaultserver.Server) int {
	t.Helper()
	var listed struct {
		Data struct {
			Keys []string `json:"keys"`
		} `json:"data"`
	}
	status, answer := keys.Request(t, http.MethodGet, "sandyq/keys?list=true", nil)
	if status == http.StatusNotFound {
		return 0 // as an empty folder is answered
	}
	check(t, json.Unmarshal(answer, &listed))
	if len(listed.Data.Keys) == 0 {
		t.Fatalf("the keys are not listed: %d", status)
	}
	return len(listed.Data.Keys)
}

// keyFiles counts them in a keyring of the house.
func (h *house) keyFiles(keyring string) (n int) {
	h.t.Helper()
	check(h.t, filepath.WalkDir(filepath.Join(h.home, keyring), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && len(d.Name()) == 32 { // the id of a key
			n++
		}
		return err
	}))
	return n
}

// movingKeys is a move that serves, and is killed now and then.
type movingKeys struct {
	*house
	*ledger
	from, to  string
	erasures  []string
	following sync.WaitGroup
}

func (m *movingKeys) begins(more ...string) *server {
	return m.begin(append([]string{"migrate-store", "--from", m.file(m.from), "--to", m.file(m.to), "--serve"}, more...)...)
}

// isKilled begins the move under load, and kills it a while after it was started, or serves.
func (m *movingKeys) isKilled(serving bool) {
	s := m.begins()
	stop := m.loads(s, 1)
	if serving {
		s.until(m.t, "ready", s.ready)
		m.erases(s)
	}
	time.Sleep(rand.N(time.Second))
	s.kill()
	stop()
}

// loads has a server used until stop is called.
func (m *movingKeys) loads(s *server, clients int) (stop func()) {
	loaded, end := context.WithCancel(ctx)
	for range clients {
		m.following.Go(func() { m.load(loaded, s) })
	}
	return func() {
		end()
		m.following.Wait()
	}
}

// erases has somebody registered and erased, if the server answers.
func (m *movingKeys) erases(s *server) {
	made, err := s.Tokenize(ctx, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{{
		Fields: map[string]api.OneOrMany[api.Value]{"given_name": api.One(api.Text("Дәурен"))},
	}}})
	if err != nil {
		return
	}
	e, err := s.RequestErasure(ctx, &api.ErasureRequest{Subject: made.Results[0].Subject, Ground: "request", Reason: "asked"})
	if err == nil {
		m.erasures = append(m.erasures, e.Erasure)
	}
}

// TestMovingKeysUnderLoad moves a vault from Badger and a HashiCorp Vault to PostgreSQL and a local keyring while people are registered,
// blocked, erased and asked for, and is killed a few times; and back, with nobody there. All that was acknowledged holds; the old keys are
// gone in the end, and who was erased meanwhile is. With SANDYQ_TEST_SCALE it is killed on the way back, too: then the old keys stay for the two
// minutes in which HashiCorp Vault may still make keys that it was asked for.
func TestMovingKeysUnderLoad(t *testing.T) {
	h := vacant(t)
	h.config("vault", "{engine: badger, badger: {dir: vault}}", "documents")
	old := h.vaultKeys("vault")
	h.postgres("new", "elsewhere")
	h.keys("new", "keys: {pool: 16, local: {dir: new-keys}}\n")
	h.config("back", "{engine: badger, badger: {dir: back}}", "elsewhere")
	next := h.vaultKeys("back")
	var made struct {
		Token string `json:"token"`
	}
	check(t, json.Unmarshal(h.run()("init", "--config", h.file("vault"), "--json"), &made))
	h.token = made.Token
	s := h.ready(h.serve("vault"))
	filled(t, s, scaled(60), 5, 30<<10)
	s.stop(t)
	before := keysIn(t, old)

	m := &movingKeys{house: h, from: "vault", to: "new"}
	m.ledger = &ledger{names: map[string]string{}, blocked: map[string]string{}, erased: map[string]bool{}}
	for kills := range scaled(2) {
		m.isKilled(kills > 0)
	}
	s = m.begins("--retire")
	stop := m.loads(s, 2)
	s.until(t, "moved", func() bool { // now, or before the last kill
		said := s.output.String()
		return stoodStill.MatchString(said) || strings.Contains(said, "is the live vault already")
	})
	s.until(t, "retired", func() bool { return strings.Contains(s.output.String(), "the old keys are destroyed") })
	s.until(t, "ready again", s.ready)
	m.erases(s)
	stop()
	m.verify(t, s)
	m.ended(s)
	if n := keysIn(t, old); before == 0 || n != 0 {
		t.Errorf("%d of %d old keys are left", n, before)
	}
	m.finds(s)
	t.Logf("%q; %d names, %d blocked, %d erased", stoodStill.FindString(s.output.String()),
		len(m.names), len(m.blocked), len(m.erased))
	s.stop(t)
	h.superseded("vault")

	m.from, m.to = "new", "back"
	kills := scaled(1) - 1
	for range kills {
		m.isKilled(false)
	}
	began := time.Now()
	t.Logf("%s", h.run()("migrate-store", "--from", h.file("new"), "--to", h.file("back"), "--retire"))
	if took := time.Since(began); kills > 0 && took < kms.Settle {
		t.Errorf("it took %s after %d kills", took, kills)
	}
	if n, there := h.keyFiles("new-keys"), keysIn(t, next); n != 0 || there == 0 {
		t.Errorf("%d old keys are left, %d new ones there", n, there)
	}
	s = h.ready(h.serve("back"))
	m.verify(t, s)
	s.stop(t)
	h.superseded("new")
}

// ended waits until everybody is erased who was to be.
func (m *movingKeys) ended(s *server) {
	t := m.t
	t.Helper()
	if len(m.erasures) == 0 {
		t.Error("nobody was erased")
	}
	for _, e := range m.erasures {
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
}

// finds waits until somebody is found who was registered before the move.
func (m *movingKeys) finds(s *server) {
	t := m.t
	t.Helper()
	s.until(t, "found", func() bool {
		resp, err := s.Tokenize(ctx, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{{
			ExternalRef: "backup/7", Fields: map[string]api.OneOrMany[api.Value]{"given_name": api.One(api.Text("Адам" + letters(8)))},
		}}})
		if err == nil && (resp.Results[0].Error != nil || resp.Results[0].Created) {
			t.Errorf("somebody is not found: %+v", resp.Results[0])
		}
		return err == nil
	})
}
