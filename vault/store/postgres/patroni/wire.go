package patroni

import (
	"io"
	"net"
	"sync"
)

// wire passes connections on to a server until it is cut. Its goroutines end with close.
type wire struct {
	to       string
	listener net.Listener
	running  sync.WaitGroup

	mu    sync.Mutex
	isCut bool
	open  map[net.Conn]bool // both ends of every connection
}

func newWire(to string) (*wire, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &wire{to: to, listener: listener, open: map[net.Conn]bool{}}
	w.running.Go(w.accept)
	return w, nil
}

func (w *wire) address() string { return w.listener.Addr().String() }

func (w *wire) accept() {
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
		w.running.Go(func() { w.pass(near, far) })
		w.running.Go(func() { w.pass(far, near) })
	}
}

// enter notes a connection, unless the wire is cut.
func (w *wire) enter(near, far net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.isCut {
		return false
	}
	w.open[near], w.open[far] = true, true
	return true
}

// pass copies one direction, and closes both when that ends.
func (w *wire) pass(from, to net.Conn) {
	_, _ = io.Copy(to, from)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, conn := range []net.Conn{from, to} {
		_ = conn.Close()
		delete(w.open, conn)
	}
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = true
	for conn := range w.open {
		_ = conn.Close()
	}
}

func (w *wire) join() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = false
}

func (w *wire) close() {
	_ = w.listener.Close()
	w.cut()
	w.running.Wait()
}
