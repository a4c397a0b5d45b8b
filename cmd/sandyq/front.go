package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sandyq/sandyq/metrics"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/httpapi"
)

// front is what faces the network: the API and the operations address, each on a listener of its own.
type front struct {
	api, ops       *httpapi.Server
	apiURL, opsURL string
	failed         chan error // a listener that ended by itself
	serving        sync.WaitGroup
	calls          sync.WaitGroup // the API's requests that run
	stopping       atomic.Bool
}

// openFront listens on both addresses and serves on them until stop or cut.
func openFront(ctx context.Context, c config, log *slog.Logger, reg *metrics.Registry, n *node) (*front, error) {
	secure, err := c.serverTLS(log)
	if err != nil {
		return nil, err
	}
	apiListener, err := listen(ctx, c.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	opsListener, err := listen(ctx, c.Ops)
	if err != nil {
		return nil, fmt.Errorf("ops: %w", errors.Join(err, apiListener.Close()))
	}
	f := &front{failed: make(chan error, 2)}
	handler := httpapi.Handler(httpapi.Config{Services: n.services(), Log: log, MaxDocument: c.MaxDocument, Observe: reg.Request, Proxied: c.TLS.TerminatedUpstream})
	f.api = httpapi.NewServer(f.counted(reg.InFlight(handler)), secure.api, log)
	f.ops = httpapi.NewServer(httpapi.Ops(f.readiness(n), reg.Handler()), secure.ops, log)
	f.apiURL, f.opsURL = address(apiListener, secure.api != nil), address(opsListener, secure.ops != nil)
	f.serving.Go(func() { f.run(f.api, apiListener) })
	f.serving.Go(func() { f.run(f.ops, opsListener) })
	return f, nil
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, hinted(err, "another address may be given with --listen and --ops; port 0 takes a free one")
	}
	return l, nil
}

func address(l net.Listener, secure bool) string {
	if secure {
		return "https://" + l.Addr().String()
	}
	return "http://" + l.Addr().String()
}

func (f *front) run(s *httpapi.Server, l net.Listener) {
	if err := s.Serve(l); err != nil {
		f.failed <- err
	}
}

// counted counts the requests that run, so that stop knows when the last has left the service.
func (f *front) counted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.calls.Add(1)
		defer f.calls.Done()
		h.ServeHTTP(w, r)
	})
}

// readiness is the node's, until the front stops: then load balancers should look elsewhere.
func (f *front) readiness(n *node) func(context.Context) api.Readiness {
	return func(ctx context.Context) api.Readiness {
		if f.stopping.Load() {
			return api.Readiness{Degraded: []string{"stopping"}}
		}
		return n.Ready(ctx)
	}
}

// errCallsRun reports requests that did not end although they were cut off.
var errCallsRun = errors.New("requests still run after they were cut off")

// cutOff is how long requests may take to notice that they were cut off: above what any part of the vault may take.
const cutOff = 10 * time.Second

// stop takes no more requests, lets those that run end within timeout, and cuts off the rest. The operations address
// answers until then. When it returns nothing runs, unless the error is errCallsRun.
func (f *front) stop(timeout time.Duration) error {
	f.stopping.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	err := f.api.Shutdown(ctx)
	if err != nil && !waitFor(&f.calls, cutOff) {
		err = errors.Join(err, errCallsRun)
	}
	ended, cancelOps := context.WithTimeout(context.Background(), time.Second)
	defer cancelOps()
	err = errors.Join(err, f.ops.Shutdown(ended))
	f.serving.Wait()
	return err
}

// cut ends everything at once. Requests that run get no answer.
func (f *front) cut() {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_ = f.api.Shutdown(ended) // the context has ended: it cuts, and says that it did
	_ = f.ops.Shutdown(ended)
}

// waitFor waits for w, and reports whether it ended in time. If not, a goroutine is left waiting with it.
func waitFor(w *sync.WaitGroup, limit time.Duration) bool {
	done := make(chan struct{})
	go func() {
		w.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-time.After(limit):
		return false
	}
}
