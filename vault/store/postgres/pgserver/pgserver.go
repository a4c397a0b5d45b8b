// Package pgserver runs a real PostgreSQL server for tests.
//
//	func TestMain(m *testing.M) { os.Exit(pgserver.Main(m)) }
//
//	func TestRows(t *testing.T) {
//		server := pgserver.Shared(t) // or Start(t, "fsync = off"), for one's own to configure and kill
//		dsn := server.Database(t)
//		…
//	}
//
// A server is a process of its own with a fresh cluster in a temporary folder, listening in the clear on a random port of
// 127.0.0.1, trusting everybody there. It is the installed one, of any version; see Find. Started by root it runs as the user
// postgres, or else nobody, because PostgreSQL refuses root.
//
// A machine without PostgreSQL skips the test, except where SANDYQ_REQUIRE_SERVERS=1 or CI=true: there the test fails.
//
// Invariants: no server outlives the test binary that started it, however that ends (on Linux); no PG* variable of the caller
// reaches a server; only processes started here are ever signalled. The package runs on Unix.
package pgserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// BinaryVariable names the environment variable with the folder of the server to test against, before anything else is
// looked for.
const BinaryVariable = "SANDYQ_POSTGRES_BIN"

// ErrNotFound says that there is no server on this machine.
var ErrNotFound = errors.New("no PostgreSQL server found: install one (Debian: postgresql), or set " + BinaryVariable + " to the folder of its programs")

const (
	startLimit = 60 * time.Second      // from the fork to the first answer
	stopLimit  = 20 * time.Second      // of an orderly stop
	pollEvery  = 20 * time.Millisecond // while waiting for the server
)

// Find returns the folder of the server's programs: $SANDYQ_POSTGRES_BIN, else what pg_config says, else where Debian puts the
// newest. The error is ErrNotFound when there is none.
func Find() (string, error) {
	if dir := os.Getenv(BinaryVariable); dir != "" {
		return dir, complete(dir)
	}
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		if dir := strings.TrimSpace(string(out)); complete(dir) == nil {
			return dir, nil
		}
	}
	dirs, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(dirs) == 0 {
		return "", ErrNotFound
	}
	dir := dirs[len(dirs)-1]
	return dir, complete(dir)
}

// complete reports whether a folder has what a server takes.
func complete(dir string) error {
	for _, program := range []string{"initdb", "postgres"} {
		if _, err := exec.LookPath(filepath.Join(dir, program)); err != nil {
			return ErrNotFound
		}
	}
	return nil
}

// Server is a running server. The methods that change its state are for one goroutine at a time; other goroutines may talk
// to it meanwhile. Methods that take a t end its test when they fail, and may be used in its cleanup.
type Server struct {
	// Port is where it listens on 127.0.0.1, for as long as it lives.
	Port int

	bin     string
	home    string // the cluster and the log; removed by discard
	owner   *syscall.Credential
	process *process
}

// Start runs a fresh server for t, whose configuration ends in lines such as "fsync = off", and discards it when t ends.
func Start(t testing.TB, lines ...string) *Server {
	t.Helper()
	s, err := start(lasting(t), lines)
	if err != nil {
		stopTest(t, err)
	}
	t.Cleanup(s.discard)
	return s
}

func start(ctx context.Context, lines []string) (_ *Server, err error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	s := &Server{}
	if s.bin, err = Find(); err != nil {
		return nil, err
	}
	if s.owner, err = Owner(); err != nil {
		return nil, err
	}
	if s.home, err = os.MkdirTemp("", "sandyq-pgserver-"); err != nil {
		return nil, fmt.Errorf("make the server's folder: %w", err)
	}
	defer func() {
		if err != nil {
			s.discard()
		}
	}()
	if s.owner != nil {
		if err := os.Chown(s.home, int(s.owner.Uid), int(s.owner.Gid)); err != nil {
			return nil, fmt.Errorf("make the server's folder: %w", err)
		}
	}
	initdb := s.command("initdb", "--pgdata", s.data(), "--username", superuser, "--auth", "trust", "--encoding", "UTF8",
		"--locale", "C", "--no-sync", "--no-instructions")
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make the cluster: %w\n%s", err, out)
	}
	if err := s.configure(lines); err != nil {
		return nil, err
	}
	return s, s.launchAnywhere(ctx)
}

// superuser is the one user of a server; there is no other.
const superuser = "sandyq"

func (s *Server) data() string { return filepath.Join(s.home, "data") }

// settings begin every server's configuration: room for the connections of a test, and nothing outside the folder.
var settings = []string{"listen_addresses = '127.0.0.1'", "unix_socket_directories = ''", "max_connections = 300", "shared_buffers = 64MB", "log_statement = none"}

func (s *Server) configure(lines []string) error {
	f, err := os.OpenFile(filepath.Join(s.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("configure the server: %w", err)
	}
	_, err = f.WriteString("\n" + strings.Join(append(settings[:len(settings):len(settings)], lines...), "\n") + "\n")
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("configure the server: %w", err)
	}
	return nil
}

// Configure appends lines to the configuration, has the server, which runs, read it again, and returns when it has.
func (s *Server) Configure(t testing.TB, lines ...string) {
	t.Helper()
	if err := s.configure(lines); err != nil {
		t.Fatal(err)
	}
	configured := rand.Text()
	if err := s.configure([]string{"sandyq.configured = '" + configured + "'"}); err != nil {
		t.Fatal(err)
	}
	s.Exec(t, "select pg_reload_conf()")
	// A new connection has what the postmaster has read.
	s.await(t, s.DSN("postgres"), "select 1 where current_setting('sandyq.configured', true) = '"+configured+"'")
}

// Exec runs a statement as the superuser in the database postgres.
func (s *Server) Exec(t testing.TB, statement string) {
	t.Helper()
	if err := Exec(lasting(t), s.DSN("postgres"), statement); err != nil {
		t.Fatal(err)
	}
}

// Exec runs a statement where dsn points.
func Exec(ctx context.Context, dsn, statement string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}

// DSN is how to connect to a database of the server.
func (s *Server) DSN(database string) string {
	return "postgres://" + superuser + "@" + s.address() + "/" + database + "?sslmode=disable"
}

func (s *Server) address() string { return "127.0.0.1:" + strconv.Itoa(s.Port) }

// Over is a DSN that leads to s over a wire.
func (s *Server) Over(w *Wire, dsn string) string {
	return strings.Replace(dsn, s.address(), w.Address(), 1)
}

// Folder makes a folder that the server may write to, which goes when t ends.
func (s *Server) Folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(s.home, "folder-")
	if err != nil {
		t.Fatal(err)
	}
	s.Give(t, dir)
	return dir
}

// Give makes a folder the server's own.
func (s *Server) Give(t testing.TB, dir string) {
	t.Helper()
	if s.owner == nil {
		return
	}
	if err := os.Chown(dir, int(s.owner.Uid), int(s.owner.Gid)); err != nil {
		t.Fatal(err)
	}
}

// Stop ends the server in the orderly way that cuts connections (fast shutdown), and waits for its end.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	s.Resume(t)
	if err := s.process.signal(syscall.SIGINT); err != nil {
		t.Fatalf("stop the server: %v", err)
	}
	select {
	case <-s.process.done:
	case <-time.After(stopLimit):
		s.process.kill()
		t.Fatalf("the server did not stop within %s", stopLimit)
	}
}

// Kill ends the server and every process of it with SIGKILL and waits for their end: what they had not handed to the
// operating system is lost.
func (s *Server) Kill(testing.TB) { s.process.kill() }

// Restart starts the server again on the same data and port, stopping it first if it still runs.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop(t)
	ctx, cancel := context.WithTimeout(lasting(t), startLimit)
	defer cancel()
	if err := s.launch(ctx); err != nil {
		t.Fatal(err)
	}
}

// Pause freezes the server and every process of it: connections stay open and nothing answers. Resume thaws it.
func (s *Server) Pause(t testing.TB) {
	t.Helper()
	if err := s.process.signalAll(syscall.SIGSTOP); err != nil {
		t.Fatalf("pause the server: %v", err)
	}
}

// Resume undoes Pause.
func (s *Server) Resume(t testing.TB) {
	t.Helper()
	if err := s.process.signalAll(syscall.SIGCONT); err != nil {
		t.Fatalf("resume the server: %v", err)
	}
}

// lasting is t's context without its end, which comes before t's cleanup.
func lasting(t testing.TB) context.Context { return context.WithoutCancel(t.Context()) }

// discard kills the server and removes its data.
func (s *Server) discard() {
	if s.process != nil {
		s.process.kill()
	}
	_ = os.RemoveAll(s.home) // it lies in the temporary folder
}

// stopTest ends a test that cannot have its server: by skipping when there is none on this machine and nobody said there
// must be.
func stopTest(t testing.TB, err error) {
	t.Helper()
	required := os.Getenv("SANDYQ_REQUIRE_SERVERS") == "1" || os.Getenv("CI") == "true"
	if errors.Is(err, ErrNotFound) && !required {
		t.Skipf("NOT TESTED: %v", err)
	}
	t.Fatalf("start PostgreSQL: %v", err)
}
