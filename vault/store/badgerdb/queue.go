package badgerdb

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/sandyq/sandyq/vault/store"
)

// The states of a request. Whoever changes it from waiting owns what happens next.
const (
	waiting int32 = iota
	picked
	abandoned
)

// request is an Update on its way through the writer.
type request struct {
	f       func(store.Writer) error
	urgency store.Urgency
	state   atomic.Int32
	done    chan struct{} // one token: outcome is set

	err   error // the outcome
	panic any   // f panicked with this
}

var requests = sync.Pool{New: func() any { return &request{done: make(chan struct{}, 1)} }}

func (r *request) answer(err error) {
	r.err = err
	r.done <- struct{}{}
}

// queue holds requests in the order of their arrival.
type queue struct {
	mu      sync.Mutex
	waiting []*request
	closed  error         // set when nothing more is taken
	ready   chan struct{} // one token: something waits, or the queue was closed
}

func newQueue() *queue { return &queue{ready: make(chan struct{}, 1)} }

// do passes f through the writer and returns its outcome.
func (q *queue) do(ctx context.Context, f func(store.Writer) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := requests.Get().(*request)
	r.f, r.urgency, r.err, r.panic = f, store.UrgencyOf(ctx), nil, nil
	r.state.Store(waiting)
	if err := q.add(r); err != nil {
		return err
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		if r.state.CompareAndSwap(waiting, abandoned) {
			return ctx.Err() // the writer will come across it and must not find it reused
		}
		<-r.done
	}
	err, panicked := r.err, r.panic
	r.f, r.err, r.panic = nil, nil, nil
	requests.Put(r)
	if panicked != nil {
		panic(panicked)
	}
	return err
}

func (q *queue) add(r *request) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed != nil {
		return q.closed
	}
	q.waiting = append(q.waiting, r)
	q.wake()
	return nil
}

// close takes no further requests, which get err. The first err is kept.
func (q *queue) close(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed == nil {
		q.closed = err
	}
	q.wake()
}

func (q *queue) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// take returns everything that waits, leaving empty (whose length must be 0) in its place, and whether the queue is
// closed. It does not block.
func (q *queue) take(empty []*request) (all []*request, closed error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	all, q.waiting = q.waiting, empty
	return all, q.closed
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}
