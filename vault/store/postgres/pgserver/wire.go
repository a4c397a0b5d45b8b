package pgserver

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Wire passes connections on to a server of this machine until it is cut. Its goroutines end with Close.
type Wire struct {
	to       string
	listener net.Listener
	running  sync.WaitGroup

	mu    sync.Mutex
	isCut bool
	cutAt func(sent []byte, byServer bool) bool
	open  map[net.Conn]bool // both ends of every connection
}

// NewWire makes a wire to an address.
func NewWire(to string) (*Wire, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &Wire{to: to, listener: listener, open: map[net.Conn]bool{}}
	w.running.Go(w.accept)
	return w, nil
}

// Wire makes a wire to s, which is closed when t ends.
func (s *Server) Wire(t testing.TB) *Wire {
	t.Helper()
	w, err := NewWire(s.address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// Address is where the wire begins.
func (w *Wire) Address() string { return w.listener.Addr().String() }

func (w *Wire) accept() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return // closed
		}
		far, err := net.Dial("tcp", w.to)
		if err != nil || !w.enter(near, far) {
			_ = near.Close()
			if err == nil {
				_ = far.Close()
			}
			continue
		}
		w.running.Go(func() { w.pass(near, far, false) })
		w.running.Go(func() { w.pass(far, near, true) })
	}
}

// enter notes a connection, unless the wire is cut.
func (w *Wire) enter(near, far net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.isCut {
		return false
	}
	w.open[near], w.open[far] = true, true
	return true
}

// pass carries one direction, and closes both when that ends.
func (w *Wire) pass(from, to net.Conn, byServer bool) {
	_, _ = io.Copy(writer{w, to, byServer}, from)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, conn := range []net.Conn{from, to} {
		_ = conn.Close()
		delete(w.open, conn)
	}
}

// writer writes to one end of a connection what CutAt lets through.
type writer struct {
	wire     *Wire
	to       net.Conn
	byServer bool
}

func (w writer) Write(b []byte) (int, error) {
	w.wire.mu.Lock()
	cut := w.wire.cutAt != nil && w.wire.cutAt(b, w.byServer)
	w.wire.mu.Unlock()
	if cut {
		return 0, io.ErrClosedPipe
	}
	return w.to.Write(b)
}

// CutAt has f see what is sent; when it returns true, that is swallowed and its connection ends. One call of f at a time; nil lets all
// through.
func (w *Wire) CutAt(f func(sent []byte, byServer bool) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cutAt = f
}

// Cut ends all connections and refuses new ones until Join.
func (w *Wire) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = true
	for conn := range w.open {
		_ = conn.Close()
	}
}

// Join undoes Cut.
func (w *Wire) Join() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = false
}

// Close ends all connections, and the wire.
func (w *Wire) Close() {
	_ = w.listener.Close()
	w.Cut()
	w.running.Wait()
}
