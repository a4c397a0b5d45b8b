package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
)

// guarded is a connection whose writes can be held up between one turn at the socket and the next. A write to a slow reader takes
// many turns, and the process may be stopped for long in between: what was permitted when the write began need not be any more.
type guarded struct {
	net.Conn
	raw     syscall.RawConn
	forbids atomic.Pointer[func() bool] // asked before each turn; nil: nothing does
}

var errGuarded = errors.New("what is being sent may not be sent any more")

// Write sends p unless its being sent is forbidden meanwhile.
func (g *guarded) Write(p []byte) (n int, err error) {
	turns := g.raw.Write(func(socket uintptr) (done bool) {
		for n < len(p) {
			if forbids := g.forbids.Load(); forbids != nil && (*forbids)() {
				err = errGuarded
				return true
			}
			sent, failed := syscall.Write(int(socket), p[n:])
			n += max(sent, 0)
			switch {
			case errors.Is(failed, syscall.EAGAIN):
				return false
			case failed != nil && !errors.Is(failed, syscall.EINTR):
				err = &net.OpError{Op: "write", Net: g.LocalAddr().Network(), Source: g.LocalAddr(), Addr: g.RemoteAddr(), Err: failed}
				return true
			}
		}
		return true
	})
	return n, errors.Join(err, turns)
}

// guarding is a listener whose connections are guarded where they are sockets.
type guarding struct{ net.Listener }

func (l guarding) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if socket, ok := c.(syscall.Conn); ok {
		if raw, err := socket.SyscallConn(); err == nil {
			return &guarded{Conn: c, raw: raw}, nil
		}
	}
	return c, nil
}

type guardedKey struct{}

// withGuard has the requests of a connection find it.
func withGuard(ctx context.Context, c net.Conn) context.Context {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	if g, ok := c.(*guarded); ok {
		return context.WithValue(ctx, guardedKey{}, g)
	}
	return ctx
}

// guard has writes on the exchange's connection fail from the moment on at which they are forbidden, until the next exchange.
// Exchanges that share a connection (HTTP/2) share the guard: what forbids must be as good for all of them. What forbids already stays,
// as what it forbids may still be on its way, and the connection ends with its next write.
func (x *exchange) guard(forbids func() bool) {
	g, ok := x.r.Context().Value(guardedKey{}).(*guarded)
	if !ok {
		return
	}
	if before := g.forbids.Load(); x.r.ProtoMajor == 1 || before == nil || !(*before)() {
		g.forbids.Store(&forbids)
	}
}

// unguard begins an exchange of a connection that has one at a time.
func (x *exchange) unguard() {
	if g, ok := x.r.Context().Value(guardedKey{}).(*guarded); ok && x.r.ProtoMajor == 1 {
		g.forbids.Store(nil)
	}
}
