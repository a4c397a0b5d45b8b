package hashicorp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/sandyq/sandyq/crypto/kms"
)

// lookEvery is after how many requests to a node that is not the active one it is asked whether another is.
const lookEvery = 256

var errHung = fmt.Errorf("%w: the node does not answer", kms.ErrUnavailable)

// cluster is where the nodes of one Vault cluster are, and the one that is asked: the active node, else one that stands by
// and hands on what it is asked. It stays with a node until a request fails there or takes long; then every node is asked
// how it is, as a load balancer would (GET sys/health). It never sends a request again: the next attempt goes elsewhere, if
// there is one (see [conn.do]).
type cluster struct {
	nodes    []*url.URL
	patience time.Duration // with a node that does not answer, and with one that does not say how it is
	looks    singleflight.Group

	mu      sync.Mutex
	current int  // of nodes
	active  bool // current said that it is the active one
	since   int  // requests since the nodes were asked, while not active
}

// newCluster is of several addresses, which have been checked.
func newCluster(addresses []string, timeout time.Duration) (*cluster, error) {
	c := &cluster{nodes: make([]*url.URL, len(addresses)), patience: timeout / 4}
	for i, address := range addresses {
		var err error
		if c.nodes[i], err = url.Parse(address); err != nil {
			return nil, errors.New("an address is not a URL")
		}
		if c.nodes[i].Scheme != c.nodes[0].Scheme {
			return nil, errors.New("addresses are https and http")
		}
	}
	return c, nil
}

// over sends what a client asks the first node to the node of the moment. A nil cluster has one node.
func (c *cluster) over(t *http.Transport) http.RoundTripper {
	if c == nil {
		return t
	}
	return route{c, t}
}

// route is a transport to a cluster.
type route struct {
	cluster *cluster
	over    *http.Transport
}

// RoundTrip implements [http.RoundTripper].
func (r route) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx := request.Context()
	at := r.node(ctx)
	within, cancel := context.WithCancelCause(ctx)
	watch := r.watch(within, cancel, at)
	response, err := r.over.RoundTrip(r.to(at, request.WithContext(within)))
	watch()
	if err != nil {
		cancel(nil)
		if ctx.Err() == nil {
			r.leave(ctx, at)
		}
		return nil, err
	}
	if unfit(response.StatusCode) {
		r.leave(ctx, at)
	}
	response.Body = body{response.Body, cancel}
	return response, nil
}

// unfit reports a status that another node might not answer: a standby that cannot hand on (307, 500, 503) or is behind
// (412), a node that is sealed (503) or fails.
func unfit(status int) bool {
	return status == http.StatusTemporaryRedirect || status == http.StatusPreconditionFailed || status >= http.StatusInternalServerError
}

// body keeps a request's context until its answer has been read.
type body struct {
	io.ReadCloser
	release context.CancelCauseFunc
}

func (b body) Close() error {
	defer b.release(nil)
	return b.ReadCloser.Close()
}

// watch cuts a request off that takes long, if its node does not say either how it is and another does. A node that is
// merely slow is left to its work. What it returns ends the watch and waits for it.
func (r route) watch(ctx context.Context, cut context.CancelCauseFunc, at int) (end func()) {
	within, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	timer := time.AfterFunc(r.cluster.patience, func() {
		defer close(done)
		if r.leave(within, at) != at {
			cut(errHung)
		}
	})
	return func() {
		cancel()
		if !timer.Stop() {
			<-done
		}
	}
}

// to is the request, addressed to a node.
func (r route) to(node int, request *http.Request) *http.Request {
	there := *request.URL
	there.Scheme, there.Host = r.cluster.nodes[node].Scheme, r.cluster.nodes[node].Host
	request.URL, request.Host = &there, there.Host
	return request
}

// node is where the next request goes.
func (r route) node(ctx context.Context) int {
	c := r.cluster
	c.mu.Lock()
	at, ask := c.current, !c.active && c.since%lookEvery == 0
	c.since++
	c.mu.Unlock()
	if ask {
		return r.leave(ctx, at)
	}
	return at
}

// leave looks for a better node than one that has failed, unless that was done since, and returns the node of the moment.
// Of callers at the same time one looks.
func (r route) leave(ctx context.Context, failed int) int {
	c := r.cluster
	_, _, _ = c.looks.Do("", func() (any, error) { // a look comes to nothing but another current node
		if c.is(failed) {
			r.look(ctx, failed)
		}
		return nil, nil
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current
}

func (c *cluster) is(node int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current == node
}

// standing is what a node says of itself; more is better.
type standing int

const (
	down     standing = iota // or sealed, or of another cluster, or silent
	standsBy                 // and hands on
	leads
)

// look asks every node how it is and settles for the best; of equals, for another than the one that failed.
func (r route) look(ctx context.Context, failed int) {
	c := r.cluster
	within, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	type answer struct {
		node int
		standing
	}
	answers := make(chan answer, len(c.nodes))
	for node := range c.nodes {
		go func() { answers <- answer{node, r.ask(within, node)} }()
	}
	best := answer{node: failed}
	for range c.nodes {
		a := <-answers
		if a.standing > best.standing || a.standing == best.standing && best.node == failed && a.standing > down {
			best = a
		}
		if best.standing == leads && best.node != failed {
			cancel() // the others need not answer any more
		}
	}
	if ctx.Err() != nil && best.standing < leads {
		return // they had not the time to answer
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current, c.active, c.since = best.node, best.standing == leads, 1
}

// ask asks one node how it is, over a connection of its own: those that there are may all be waiting for it.
func (r route) ask(ctx context.Context, node int) standing {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "/v1/sys/health", nil)
	if err != nil {
		return down
	}
	own := r.over.Clone()
	own.DisableKeepAlives = true
	response, err := own.RoundTrip(r.to(node, request))
	if err != nil {
		return down
	}
	_ = response.Body.Close() // which says no more than the status
	switch response.StatusCode {
	case http.StatusOK:
		return leads
	case http.StatusTooManyRequests, 473: // 473: a performance standby, which reads by itself
		return standsBy
	}
	return down
}
