package badgerdb

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/sandyq/sandyq/vault/store"
)

// The load is a child process, this test binary once more, in which a few clients write until it is killed. Client c
// writes, in its n-th Update, key c/n and its head, and deletes key c/n-window; it tells the parent each n that was
// acknowledged, and when. So from the head of a client follows everything that must be there, and everything that must not.
const (
	loadDir      = "SANDYQ_TEST_LOAD_DIR" // set in the child
	loadUnsynced = "SANDYQ_TEST_LOAD_UNSYNCED"
	loadClients  = 8
	loadWindow   = 200
)

// TestMain runs the tests, or the load when this is the child. Goroutines of Badger must be gone when tests end.
func TestMain(m *testing.M) {
	if dir := os.Getenv(loadDir); dir != "" {
		if err := runLoad(dir, os.Getenv(loadUnsynced) != ""); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m,
		// Badger leaves these two behind when it refuses to open a damaged directory.
		goleak.IgnoreTopFunction("github.com/dgraph-io/badger/v4.(*DB).monitorCache"),
		goleak.IgnoreTopFunction("github.com/dgraph-io/ristretto/v2/z.(*AllocatorPool).freeupAllocators"))
}

// scaled returns a count for a test, which SANDYQ_TEST_SCALE multiplies.
func scaled(n int) int {
	if scale, err := strconv.Atoi(os.Getenv("SANDYQ_TEST_SCALE")); err == nil {
		n *= scale
	}
	return n
}

func loadKey(client, n int) []byte { return fmt.Appendf(nil, "data/%d/%08d", client, n) }
func headKey(client int) []byte    { return fmt.Appendf(nil, "head/%d", client) }

// loadValue is recognisable, and long enough that memtables fill and tables are compacted.
func loadValue(client, n int) []byte {
	rnd := rand.New(rand.NewPCG(uint64(client), uint64(n)))
	b := make([]byte, 8+8*rnd.IntN(1000))
	for i := 0; i < len(b); i += 8 {
		copy(b[i:], strconv.AppendUint(nil, rnd.Uint64(), 36)[:8])
	}
	return b
}

func head(r store.Reader, client int) (int, error) {
	values, err := r.Get(headKey(client))
	if err != nil || values[0] == nil {
		return 0, err
	}
	return strconv.Atoi(string(values[0]))
}

// runLoad writes until it is killed or an Update fails.
func runLoad(dir string, unsynced bool) error {
	s, err := Open(Options{Dir: dir, Logger: quiet, unsynced: unsynced})
	if err != nil {
		return err
	}
	fmt.Println("open")
	var clients sync.WaitGroup
	for c := range loadClients {
		clients.Go(func() {
			for {
				n, err := loadOnce(s, c)
				if err != nil {
					return
				}
				fmt.Printf("%d %d %d\n", c, n, now()) // one write to the pipe
			}
		})
	}
	clients.Wait()
	return s.Err()
}

func loadOnce(s *Store, c int) (n int, err error) {
	err = s.Update(context.Background(), func(w store.Writer) error {
		before, err := head(w, c)
		n = before + 1
		return errors.Join(err,
			w.Set(loadKey(c, n), loadValue(c, n)),
			w.Set(headKey(c), strconv.AppendInt(nil, int64(n), 10)),
			w.Delete(loadKey(c, n-loadWindow)))
	})
	return n, err
}

// now returns nanoseconds of a clock that parent and child share.
func now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err)
	}
	return ts.Nano()
}

// load is the running child.
type load struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	opened chan struct{}
	read   sync.WaitGroup
	until  atomic.Int64 // acknowledgements from this moment on do not count
	acked  map[int]int  // by client; valid after stop
	late   map[int]int  // likewise, those that do not count
}

// startLoad starts the child, under the command that is given, if any.
func startLoad(t *testing.T, dir string, unsynced bool, under ...string) *load {
	t.Helper()
	args := append(under, os.Args[0])
	l := &load{cmd: exec.Command(args[0], args[1:]...), opened: make(chan struct{}), acked: map[int]int{}, late: map[int]int{}}
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	l.cmd.Env = append(os.Environ(), loadDir+"="+dir)
	if unsynced {
		l.cmd.Env = append(l.cmd.Env, loadUnsynced+"=1")
	}
	l.cmd.Stderr = &l.stderr
	l.until.Store(math.MaxInt64)
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.kill)
	l.read.Go(func() { l.listen(out) })
	return l
}

func (l *load) listen(out io.Reader) {
	isOpen := sync.OnceFunc(func() { close(l.opened) })
	defer isOpen()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		isOpen()
		var c, n int
		var at int64
		if _, err := fmt.Sscanf(lines.Text(), "%d %d %d", &c, &n, &at); err != nil {
			continue
		}
		if at < l.until.Load() {
			l.acked[c] = max(l.acked[c], n)
		} else {
			l.late[c] = max(l.late[c], n)
		}
	}
}

// kill kills the child, and what it runs under.
func (l *load) kill() { _ = syscall.Kill(-l.cmd.Process.Pid, syscall.SIGKILL) }

// stop kills the child and returns what it acknowledged, with what came before.
func (l *load) stop(before map[int]int) map[int]int {
	l.kill()
	l.read.Wait()
	_ = l.cmd.Wait()
	acked := maps.Clone(before)
	for c, n := range l.acked {
		acked[c] = max(acked[c], n)
	}
	return acked
}

// lost compares a store with what was acknowledged: how many Updates are missing, and an error when something is there
// that no Update left so.
func lost(s *Store, acked map[int]int) (missing int, err error) {
	err = s.View(context.Background(), func(r store.Reader) error {
		for c := range loadClients {
			n, err := head(r, c)
			if err != nil {
				return err
			}
			missing += max(0, acked[c]-n)
			if err := wantWindow(r, c, n); err != nil {
				return fmt.Errorf("client %d at %d, acknowledged %d: %w", c, n, acked[c], err)
			}
		}
		return nil
	})
	return missing, err
}

// wantWindow checks that a client at n has its last Updates, whole, and nothing else.
func wantWindow(r store.Reader, c, n int) error {
	pairs, err := r.Scan(fmt.Appendf(nil, "data/%d/", c), nil, 10*loadWindow)
	if err != nil {
		return err
	}
	first := max(1, n-loadWindow+1)
	if len(pairs) != n-first+1 {
		return fmt.Errorf("%d keys, want %d", len(pairs), n-first+1)
	}
	for i, p := range pairs {
		if !bytes.Equal(p.Key, loadKey(c, first+i)) {
			return fmt.Errorf("key %s, want %s", p.Key, loadKey(c, first+i))
		}
		if !bytes.Equal(p.Value, loadValue(c, first+i)) {
			return fmt.Errorf("key %s has another value", p.Key)
		}
	}
	return nil
}
