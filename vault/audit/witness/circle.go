package witness

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/audit/translog"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/webhook"
)

// Options are how a Circle asks. Clock and Log are needed.
type Options struct {
	Clock   clock.Clock
	Log     *slog.Logger
	Observe func(witness string, outcome Outcome) // hears what came of asking one, by its key's name; must not block; may be nil
	Timeout time.Duration                         // of one answer; 5 seconds if zero
	Pause   func(tries int) time.Duration         // after so many failures in a row; 1 to 15 seconds if nil
}

// Circle is the witnesses of one log. It implements [translog.Witnesses].
type Circle struct {
	Options
	seats []*seat
	stop  context.CancelFunc
	work  sync.WaitGroup
	came  chan struct{} // holds one when something was heard

	mu     sync.Mutex // guards what follows, and what seats have heard
	wanted translog.Submission
}

// seat is a witness, and what it said.
type seat struct {
	Witness
	address string
	client  *http.Client
	clock   clock.Clock
	wake    chan struct{} // holds one when another checkpoint is wanted

	// Under Circle.mu, of the checkpoint that is wanted and its origin:
	cosigned *checkpoint.Cosignature
	beyond   int64
	forked   bool

	// Of the seat's goroutine:
	origin string // of the log that the witness has a size of
	size   int64  // that it is taken to have cosigned
}

// New begins to ask witnesses. Close ends it. Those who are at fault hear of it with the first checkpoint.
func New(all []Witness, o Options) (*Circle, error) {
	if err := Check(all); err != nil {
		return nil, err
	}
	if o.Pause == nil {
		o.Pause = func(tries int) time.Duration { return min(webhook.Backoff(tries, rand.Float64), 15*time.Second) }
	}
	if o.Observe == nil {
		o.Observe = func(string, Outcome) {}
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &Circle{Options: o, stop: stop, came: make(chan struct{}, 1)}
	for _, w := range all {
		address, err := w.address()
		if err != nil {
			c.Close()
			return nil, err
		}
		client, err := webhook.NewClient("", webhook.Options{Timeout: o.Timeout})
		if err != nil {
			c.Close()
			return nil, err
		}
		s := &seat{Witness: w, address: address, client: client, clock: o.Clock, wake: make(chan struct{}, 1)}
		c.seats = append(c.seats, s)
		c.work.Go(func() { c.serve(ctx, s) })
	}
	return c, nil
}

// Close ends the asking and waits for it.
func (c *Circle) Close() {
	c.stop()
	c.work.Wait()
	for _, s := range c.seats {
		s.client.CloseIdleConnections()
	}
}

// Came implements translog.Witnesses.
func (c *Circle) Came() <-chan struct{} { return c.came }

// Submit implements translog.Witnesses.
func (c *Circle) Submit(sub translog.Submission) (heard translog.Heard) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if sub.Tree != c.wanted.Tree {
		for _, s := range c.seats {
			s.cosigned = nil
			if sub.Tree.Origin != c.wanted.Tree.Origin {
				s.beyond, s.forked = 0, false
			}
			signal(s.wake)
		}
	}
	c.wanted = sub // the note of the same tree may bear other signatures than before
	for _, s := range c.seats {
		if s.cosigned != nil {
			heard.Cosignatures = append(heard.Cosignatures, *s.cosigned)
		}
		heard.Forked = heard.Forked || s.forked
		if s.beyond > sub.Tree.Size {
			heard.Beyond = max(heard.Beyond, s.beyond)
		}
	}
	return heard
}

// serve asks one witness for every checkpoint that is wanted, until the end.
func (c *Circle) serve(ctx context.Context, s *seat) {
	for tries := 0; ctx.Err() == nil; {
		sub, waits := c.next(s)
		if !waits {
			select {
			case <-s.wake:
			case <-ctx.Done():
			}
			continue
		}
		cosignature, fail := s.ask(ctx, sub)
		if ctx.Err() != nil {
			return
		}
		c.hear(s, sub, cosignature, fail)
		if fail == nil {
			c.Observe(s.Key.Name, Cosigned)
			tries = 0
			continue
		}
		c.Observe(s.Key.Name, fail.outcome)
		tries++
		c.Log.WarnContext(ctx, "a witness has not cosigned the log and will be asked again", "witness", s.Key.Name, "outcome", string(fail.outcome), "tries", tries, "error", fail)
		pause(ctx, c.Pause(tries))
	}
}

// next is the checkpoint that is wanted, while the witness of a seat has not cosigned it.
func (c *Circle) next(s *seat) (translog.Submission, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wanted, c.wanted.Note != nil && s.cosigned == nil
}

// hear keeps what a witness answered to a submission. That it cosigned one takes back what it said before.
func (c *Circle) hear(s *seat, sub translog.Submission, cosignature checkpoint.Cosignature, fail *failure) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case sub.Tree.Origin != c.wanted.Tree.Origin:
		return // nothing of it counts any more
	case fail == nil:
		s.beyond, s.forked = 0, false
		if sub.Tree == c.wanted.Tree {
			s.cosigned = &cosignature
		}
	case fail.outcome == Contradicts:
		s.beyond, s.forked = fail.beyond, fail.beyond == 0
	default:
		return
	}
	signal(c.came)
}

// signal has a channel hold one.
func signal(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
