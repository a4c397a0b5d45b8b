package patroni

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault/store/postgres/pgserver"
)

// Node is a PostgreSQL server with its Patroni.
type Node struct {
	Name string
	Port int // of PostgreSQL, on 127.0.0.1

	cluster *Cluster
	rest    int // the port of Patroni's REST interface
	dir     string
	wire    *pgserver.Wire // to etcd

	patroni *exec.Cmd
	ended   <-chan struct{} // Patroni's
}

// dsn is how to connect to a database on this node alone.
func (n *Node) dsn(database string) string {
	return "postgres://" + superuser + "@" + address(n.Port) + "/" + database + "?sslmode=disable"
}

// Only takes a DSN of the cluster and returns one that names this node alone.
func (n *Node) Only(dsn string) string {
	scheme, rest, _ := strings.Cut(dsn, "@")
	_, database, _ := strings.Cut(rest, "/")
	return scheme + "@" + address(n.Port) + "/" + database
}

// settings are Patroni's. The first node up makes the cluster by bootstrap; the others copy it. They talk to etcd by its v2 API: over
// v3 a Patroni before 3.0.3, such as Debian 12's, that was asleep for longer than ttl may take the lead back from its successor
// (patroni/patroni#2689), and throws away what that one has acknowledged.
const settings = `scope: sandyq
name: %[1]s
restapi: {listen: "%[2]s", connect_address: "%[2]s"}
etcd: {hosts: ["%[3]s"], use_proxies: true}
bootstrap:
  dcs:
    ttl: 10
    loop_wait: 1
    retry_timeout: 3
    primary_start_timeout: 0
    synchronous_mode: true
    synchronous_mode_strict: true
    postgresql:
      use_pg_rewind: true
      use_slots: true
      parameters: {max_connections: 200, max_pred_locks_per_transaction: 1024, wal_log_hints: "on", wal_keep_size: 512MB}
  initdb: [{encoding: UTF8}, {locale: C}, data-checksums]
postgresql:
  listen: "%[4]s"
  connect_address: "%[4]s"
  bin_dir: %[5]s
  data_dir: %[6]s/data
  pgpass: %[6]s/pgpass
  remove_data_directory_on_rewind_failure: true
  remove_data_directory_on_diverged_timelines: true
  authentication:
    superuser: {username: ` + superuser + `}
    replication: {username: ` + superuser + `}
    rewind: {username: ` + superuser + `}
  parameters: {unix_socket_directories: "", shared_buffers: 32MB, wal_receiver_timeout: 5s, wal_sender_timeout: 5s, wal_retrieve_retry_interval: 500ms}
  pg_hba: ["host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"]
`

func (n *Node) setUp(etcd int) (err error) {
	if n.dir, err = n.cluster.folder(n.Name); err != nil {
		return err
	}
	if n.wire, err = pgserver.NewWire(address(etcd)); err != nil {
		return err
	}
	file := filepath.Join(n.dir, "patroni.yml")
	text := fmt.Sprintf(settings, n.Name, address(n.rest), n.wire.Address(), address(n.Port), n.cluster.bin, n.dir)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	return n.cluster.give(file)
}

// launch starts Patroni, which starts PostgreSQL.
func (n *Node) launch() (err error) {
	if n.patroni, err = n.cluster.command(n.dir, "patroni", "patroni.yml"); err != nil {
		return err
	}
	n.ended, err = run(n.patroni)
	return err
}

// Kill ends Patroni, PostgreSQL and all their processes with SIGKILL: the machine is gone.
func (n *Node) Kill(t testing.TB) {
	t.Helper()
	n.kill()
}

// KillPostgres ends PostgreSQL's processes with SIGKILL. Patroni lives.
func (n *Node) KillPostgres(t testing.TB) {
	t.Helper()
	signalAll(n.data(), syscall.SIGKILL)
}

// Start starts Patroni again after Kill: the machine is back, with the disk it had.
func (n *Node) Start(t testing.TB) {
	t.Helper()
	if err := n.launch(); err != nil {
		t.Fatal(err)
	}
}

// Pause freezes Patroni, PostgreSQL and all their processes: connections stay open and nothing answers.
func (n *Node) Pause(t testing.TB) {
	t.Helper()
	signalAll(n.dir, syscall.SIGSTOP)
}

// PausePatroni freezes Patroni alone: nobody tells PostgreSQL that the cluster has another leader.
func (n *Node) PausePatroni(t testing.TB) {
	t.Helper()
	if err := n.patroni.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}

// ResumePostgres thaws PostgreSQL and leaves Patroni as it is: a primary that has slept through its own succession.
func (n *Node) ResumePostgres(t testing.TB) {
	t.Helper()
	signalAll(n.data(), syscall.SIGCONT)
}

// Resume thaws everything.
func (n *Node) Resume(t testing.TB) {
	t.Helper()
	signalAll(n.dir, syscall.SIGCONT)
}

// CutOff cuts the node's connections to etcd. Join lets it connect again.
func (n *Node) CutOff(testing.TB) { n.wire.Cut() }

// Join undoes CutOff.
func (n *Node) Join(testing.TB) { n.wire.Join() }

func (n *Node) data() string { return filepath.Join(n.dir, "data") }

func (n *Node) kill() {
	if n.ended == nil {
		return
	}
	_ = n.patroni.Process.Kill() // fails when it has ended
	signalAll(n.dir, syscall.SIGKILL)
	<-n.ended
}

func (n *Node) stop() {
	n.kill()
	if n.wire != nil {
		n.wire.Close()
	}
}

// signalAll sends a signal to every process that works in dir or below. Those are stopped first, again and again until no new
// one appears, so that none starts another meanwhile; what gets SIGKILL is waited for.
func signalAll(dir string, signal syscall.Signal) {
	seen := map[int]bool{}
	for fresh := true; fresh && signal != syscall.SIGCONT; {
		fresh = false
		for _, pid := range within(dir) {
			if !seen[pid] {
				_ = syscall.Kill(pid, syscall.SIGSTOP) // fails on one that has ended
				seen[pid], fresh = true, true
			}
		}
	}
	if signal == syscall.SIGSTOP {
		return
	}
	for _, pid := range within(dir) {
		_ = syscall.Kill(pid, signal)
	}
	for signal == syscall.SIGKILL && len(within(dir)) > 0 {
		time.Sleep(time.Millisecond)
	}
}

// within lists the processes that work in dir or below.
func within(dir string) (pids []int) {
	list, _ := os.ReadDir("/proc")
	for _, entry := range list {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		at, err := os.Readlink(filepath.Join("/proc", entry.Name(), "cwd")) // an error of a process that has ended
		at = strings.TrimSuffix(at, " (deleted)")
		if err == nil && (at == dir || strings.HasPrefix(at, dir+"/")) {
			pids = append(pids, pid)
		}
	}
	return pids
}
