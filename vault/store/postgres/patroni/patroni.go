// Package patroni runs a real cluster for tests: three PostgreSQL servers, each kept by a Patroni, over one etcd.
//
//	cluster := patroni.Start(t)
//	dsn := cluster.Database(t) // names all three
//	cluster.Leader(t).Kill(t)
//	cluster.Await(t, patroni.Whole)
//
// The cluster replicates as an operator of Sandyq is told to: synchronous_mode and synchronous_mode_strict, so that COMMIT waits
// for the one standby that may take over, and blocks when there is none. Each node reaches etcd through a wire of its own, which
// can be cut. Time-outs are the shortest that leave a loaded machine room: a leader that is gone is replaced within ttl.
//
// # Invariants
//
//   - Everything listens on 127.0.0.1 and lies in one temporary folder, and each process of a node has its working directory in
//     that node's folder: by that, and only by that, processes are found and signalled.
//   - No process outlives the test binary, however that ends (on Linux): Patroni and etcd die with their parent. PostgreSQL,
//     which Patroni detaches, is ended by a keeper that notices the end of the pipe it reads from.
//   - Started by root, all of it runs as the user postgres, or else nobody.
//
// A machine without Patroni, etcd or PostgreSQL skips the test, except where SANDYQ_REQUIRE_SERVERS=1 or CI=true: there it fails.
package patroni

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
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

// ErrNotFound says that a program is missing on this machine.
var ErrNotFound = errors.New("no Patroni cluster can be made here: install patroni, etcd-server and postgresql (Debian)")

// Nodes is how many there are.
const Nodes = 3

const (
	startLimit = 180 * time.Second     // from nothing to a cluster with its standbys
	awaitLimit = 120 * time.Second     // for a state of the cluster
	pollEvery  = 50 * time.Millisecond // while waiting for one
	superuser  = "sandyq"
)

// Cluster is a running cluster. Its methods end the test that they are given when they fail, and may be used in its cleanup.
type Cluster struct {
	Node [Nodes]*Node

	bin   string // PostgreSQL's programs
	home  string
	owner *syscall.Credential
	etcd  *exec.Cmd
	ended <-chan struct{} // etcd's

	keeper *exec.Cmd
	leash  io.Closer // the keeper's input
}

// Start makes a cluster, waits until it has its leader and both standbys, and discards it when t ends.
func Start(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{}
	t.Cleanup(c.discard)
	if err := c.start(); errors.Is(err, ErrNotFound) && os.Getenv("SANDYQ_REQUIRE_SERVERS") != "1" && os.Getenv("CI") != "true" {
		t.Skipf("NOT TESTED: %v", err)
	} else if err != nil {
		t.Fatalf("start the cluster: %v", err)
	}
	c.await(t, startLimit, Whole)
	return c
}

func (c *Cluster) start() (err error) {
	if c.bin, err = pgserver.Find(); err != nil {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	for _, program := range []string{"patroni", "etcd", "sh"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%w: %w", ErrNotFound, err)
		}
	}
	if c.owner, err = pgserver.Owner(); err != nil {
		return err
	}
	if c.home, err = os.MkdirTemp("", "sandyq-patroni-"); err != nil {
		return err
	}
	if c.home, err = filepath.EvalSymlinks(c.home); err != nil { // as /proc has it
		return err
	}
	if err := c.keep(); err != nil {
		return err
	}
	ports, err := freePorts(2 + 2*Nodes)
	if err != nil {
		return err
	}
	if err := c.startEtcd(ports[0], ports[1]); err != nil {
		return err
	}
	for i := range c.Node {
		c.Node[i] = &Node{cluster: c, Name: "node" + strconv.Itoa(i+1), Port: ports[2+2*i], rest: ports[3+2*i]}
		if err := c.Node[i].setUp(ports[0]); err != nil {
			return err
		}
	}
	for _, n := range c.Node {
		if err := n.launch(); err != nil {
			return err
		}
	}
	return nil
}

// keeping ends what still runs in the cluster's folder ($1) and removes it, once its input ends, which is when the test binary
// has. A process is known by its working directory.
const keeping = `cat >/dev/null
for p in /proc/[0-9]*; do
  case "$(readlink "$p/cwd")" in "$1"/*) kill -9 "${p#/proc/}" ;; esac
done
rm -rf "$1"`

// keep starts the keeper.
func (c *Cluster) keep() (err error) {
	c.keeper = exec.Command("sh", "-c", keeping, "keeper", c.home) //nolint:gosec // the folder is our own
	c.keeper.Dir = "/"
	c.keeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // so that what interrupts the test leaves it
	if c.leash, err = c.keeper.StdinPipe(); err != nil {
		return err
	}
	return c.keeper.Start()
}

// folder makes a folder of the cluster.
func (c *Cluster) folder(name string) (string, error) {
	dir := filepath.Join(c.home, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	return dir, c.give(dir)
}

// give makes a path the servers' own, as far as it is not.
func (c *Cluster) give(path string) error {
	if c.owner == nil {
		return nil
	}
	return errors.Join(os.Chmod(c.home, 0o755), os.Chown(path, int(c.owner.Uid), int(c.owner.Gid))) //nolint:gosec // of tests
}

// command is a program that runs in dir as the owner.
func (c *Cluster) command(dir, program string, arguments ...string) (*exec.Cmd, error) {
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, arguments...) //nolint:gosec // programs that the package names
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.owner}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C"}
	return cmd, nil
}

// run starts a command, whose log is then its own. The channel is closed when it has ended.
func run(cmd *exec.Cmd) (<-chan struct{}, error) {
	ended, err := pgserver.Spawn(cmd)
	return ended, errors.Join(err, cmd.Stdout.(*os.File).Close())
}

func (c *Cluster) startEtcd(port, peer int) (err error) {
	dir, err := c.folder("etcd")
	if err != nil {
		return err
	}
	client, peers := "http://"+address(port), "http://"+address(peer)
	c.etcd, err = c.command(dir, "etcd", "--data-dir", "data", "--name", "one", "--logger", "zap", "--enable-v2",
		"--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peers,
		"--initial-advertise-peer-urls", peers, "--initial-cluster", "one="+peers)
	if err != nil {
		return err
	}
	c.ended, err = run(c.etcd)
	return err
}

// Database makes a database and returns how to connect to it: a DSN that names all nodes, in their order.
func (c *Cluster) Database(t testing.TB) string {
	t.Helper()
	made, err := url.Parse(pgserver.Create(t, c.Leader(t).dsn("postgres")))
	if err != nil {
		t.Fatal(err)
	}
	hosts := make([]string, Nodes)
	for i, n := range c.Node {
		hosts[i] = address(n.Port)
		c.arrive(t, n.dsn(strings.TrimPrefix(made.Path, "/")))
	}
	made.Host = strings.Join(hosts, ",")
	return made.String()
}

// arrive waits until a node has a database.
func (c *Cluster) arrive(t testing.TB, dsn string) {
	t.Helper()
	for deadline := time.After(awaitLimit); ; {
		err := pgserver.Exec(lasting(t), dsn, "select 1")
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatal(err)
		case <-time.After(pollEvery):
		}
	}
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// freePorts are below those that the system gives to connections, so that nobody takes one while its server is down.
func freePorts(n int) (ports []int, err error) {
	for port := 20_000 + os.Getpid()%4_000; len(ports) < n; port++ {
		if port > 32_000 {
			return nil, errors.New("no free ports")
		}
		listener, err := net.Listen("tcp", address(port))
		if err != nil {
			continue
		}
		defer func() { _ = listener.Close() }()
		ports = append(ports, port)
	}
	return ports, nil
}

// discard ends all processes and removes the folder.
func (c *Cluster) discard() {
	for _, n := range c.Node {
		if n != nil {
			n.stop()
		}
	}
	if c.ended != nil {
		_ = c.etcd.Process.Kill()
		<-c.ended
	}
	if c.leash != nil {
		_ = c.leash.Close()
		_ = c.keeper.Wait() // it removes the folder
	}
}

// lasting is t's context without its end, which comes before t's cleanup.
func lasting(t testing.TB) context.Context { return context.WithoutCancel(t.Context()) }
