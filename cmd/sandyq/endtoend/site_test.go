package endtoend

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/crypto/kms/hashicorp/vaultserver"
	"github.com/sandyq/sandyq/vault/blob/s3server"
	"github.com/sandyq/sandyq/vault/client"
	"github.com/sandyq/sandyq/vault/store/postgres/pgserver"
)

// site is what several nodes have in common: rows in PostgreSQL, keys in HashiCorp Vault, documents, ledger and anchor in a bucket, and
// one configuration file with the credentials beside it.
type site struct {
	t      testing.TB
	config string
	token  string // the administrator's, who may do everything there
	dsn    string
	keys   *vaultserver.Server
}

// newSite sets a vault up as docs/operations.md has it. More is added to the configuration.
func newSite(t testing.TB, more string) *site {
	t.Helper()
	s := virginSite(t, pgserver.Shared(t).Database(t), more)
	s.init()
	return s
}

// virginSite is a site whose servers are prepared, and on whose store, in the database of a DSN, nothing has worked yet.
func virginSite(t testing.TB, dsn, more string) *site {
	t.Helper()
	dir := t.TempDir()
	s := &site{t: t, config: filepath.Join(dir, "sandyq.yaml"), dsn: dsn, keys: vaultserver.Start(t)}
	objects := s3server.Start(t)
	bucket := objects.Bucket(t, s3server.Locking)
	check(t, os.Mkdir(filepath.Join(dir, "policies"), 0o700))
	for name, text := range map[string]string{
		"dsn": s.dsn, "access": objects.AccessKey, "secret": objects.SecretKey,
		"policies/all.cedar": "@id(\"all\")\npermit (principal, action, resource);",
	} {
		check(t, os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600))
	}
	in := fmt.Sprintf("endpoint: %s, bucket: %s, region: %s, path_style: true, access_key_file: access, secret_key_file: secret",
		bucket.Endpoint, bucket.Bucket, bucket.Region)
	check(t, os.WriteFile(s.config, fmt.Appendf(nil, `home: home
policies: policies
approvals: {erasure: {needed: 0}}
store: {engine: postgres, postgres: {dsn_file: dsn}}
keys:
  provider: vault
  vault:
    address: %s
    auth: {method: approle, role_id_file: credentials/serve.role_id, secret_id_file: credentials/serve.secret_id}
    erase_auth: {method: approle, role_id_file: credentials/erase.role_id, secret_id_file: credentials/erase.secret_id}
blobs: {engine: s3, s3: {%s, prefix: sandyq/documents/}}
ledger: {s3: {%s, prefix: sandyq/ledger/, retain: 1h}}
%s`, s.keys.Address, in, in, more), 0o600))
	s.command("VAULT_ADDR="+s.keys.Address, "VAULT_TOKEN="+s.keys.RootToken)("keys", "setup", "--config", s.config)
	return s
}

// init makes the administrator's token, and the vault if there is none yet.
func (s *site) init() {
	s.t.Helper()
	var made struct {
		Token string `json:"token"`
	}
	check(s.t, json.Unmarshal(s.command()("init", "--config", s.config, "--json"), &made))
	s.token = made.Token
}

// command runs commands that must succeed, with more environment.
func (s *site) command(environment ...string) func(args ...string) []byte {
	return func(args ...string) []byte {
		s.t.Helper()
		path, err := binary()
		check(s.t, err)
		var errs bytes.Buffer
		cmd := exec.Command(path, args...)
		cmd.Env, cmd.Stderr = append(os.Environ(), environment...), &errs
		out, err := cmd.Output()
		if err != nil {
			s.t.Fatalf("%v: %v\n%s\n%s", args, err, out, errs.String())
		}
		return out
	}
}

// node starts one more process, with a home of its own that is not there yet, and waits until it is ready.
func (s *site) node() *server {
	s.t.Helper()
	n := s.place()
	s.start(n)
	return n
}

// place is where one more process may run.
func (s *site) place() *server {
	s.t.Helper()
	n := &server{home: filepath.Join(s.t.TempDir(), "home"), address: free(s.t), ops: free(s.t)}
	var err error
	n.Client, err = client.New("http://"+n.address, s.token)
	check(s.t, err)
	s.t.Cleanup(func() { n.kill(); n.Close() })
	return n
}

// nodes starts so many.
func (s *site) nodes(count int) (all []*server) {
	for range count {
		all = append(all, s.node())
	}
	return all
}

// start runs a node's process, for the first time or again.
func (s *site) start(n *server) {
	s.t.Helper()
	s.launch(n)
	n.until(s.t, "ready", n.ready)
}

// launch begins to run a node's process.
func (s *site) launch(n *server) {
	s.t.Helper()
	path := n.program
	if path == "" {
		var err error
		path, err = binary()
		check(s.t, err)
	}
	n.output, n.ended = &output{}, make(chan error, 1)
	n.cmd = exec.Command(path, "serve", "--config", s.config, "--home", n.home, "--listen", n.address, "--ops", n.ops)
	n.cmd.Stdout, n.cmd.Stderr = n.output, n.output
	check(s.t, n.cmd.Start())
	ended, cmd := n.ended, n.cmd
	go func() { ended <- cmd.Wait() }()
}

// pause stops a process where it is, as SIGSTOP does; resume lets it go on.
func (s *server) pause(t testing.TB)  { t.Helper(); check(t, s.cmd.Process.Signal(syscall.SIGSTOP)) }
func (s *server) resume(t testing.TB) { t.Helper(); check(t, s.cmd.Process.Signal(syscall.SIGCONT)) }

// leads reports whether a node leads.
func (s *server) leads(t testing.TB) bool {
	t.Helper()
	return strings.Contains(get(t, "http://"+s.ops+"/metrics"), "\nsandyq_leads 1")
}

// leader waits until one of the nodes leads, and says which.
func leader(t testing.TB, nodes ...*server) (at int) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		for i, n := range nodes {
			if n.leads(t) {
				return i
			}
		}
		if time.Since(began) > time.Minute {
			t.Fatal("nobody leads")
		}
	}
}
