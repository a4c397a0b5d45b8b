package hashicorp

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"
)

// lease is a logged-in client and how long its token lives.
type lease struct {
	client    *api.Client
	ttl       time.Duration // 0: for ever
	renewable bool
}

// session keeps one identity logged in: it renews the token after two thirds of its life, and logs in again when that
// fails or does not help. A caller whose token was refused has it replaced at once. However many callers need it, there is
// one login at a time and all of them take what comes of it, so that a revoked token or wrong credentials make no storm.
type session struct {
	life    context.Context // of logins
	timeout time.Duration   // of each
	login   func(context.Context) (lease, error)
	changed chan struct{}  // tells keep that a caller replaced the lease
	work    sync.WaitGroup // keep, and logins, which keep or a caller of the connection starts

	mu    sync.Mutex
	now   lease
	entry *attempt // the login under way; nil when there is none
}

// attempt is a login that everybody who needs one waits for.
type attempt struct {
	done chan struct{} // closed when it is over; err is constant then
	err  error
}

func startSession(ctx context.Context, timeout time.Duration, login func(context.Context) (lease, error)) *session {
	s := &session{life: ctx, timeout: timeout, login: login, changed: make(chan struct{}, 1)}
	s.work.Go(func() { s.keep(ctx) })
	return s
}

// wait returns when the session has ended; nobody may ask it for a client any more.
func (s *session) wait() { s.work.Wait() }

func (s *session) current() lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// client returns the logged-in client, logging in when there is none yet.
func (s *session) client(ctx context.Context) (*api.Client, error) {
	if l := s.current(); l.client != nil {
		return l.client, nil
	}
	return s.replace(ctx, nil)
}

// replace logs in, unless old has been replaced meanwhile. It joins a login that is under way.
func (s *session) replace(ctx context.Context, old *api.Client) (*api.Client, error) {
	a := s.enter(old)
	if a == nil {
		return s.current().client, nil
	}
	select {
	case <-a.done:
	case <-ctx.Done():
		return nil, ended(ctx)
	}
	if a.err != nil {
		return nil, a.err
	}
	return s.current().client, nil
}

// enter returns the login under way, or starts one; nil when old is not the client of now. The login does not end with the
// caller that started it: others wait for it.
func (s *session) enter(old *api.Client) *attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.client != old {
		return nil
	}
	if s.entry == nil {
		a := &attempt{done: make(chan struct{})}
		s.entry = a
		s.work.Go(func() { s.try(a) })
	}
	return s.entry
}

// try carries a login out.
func (s *session) try(a *attempt) {
	ctx, cancel := context.WithTimeoutCause(s.life, s.timeout, errSlow)
	defer cancel()
	l, err := s.login(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.now = l
		select {
		case s.changed <- struct{}{}:
		default:
		}
	}
	a.err, s.entry = public(err), nil
	close(a.done)
}

// keep runs until ctx ends.
func (s *session) keep(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		if err := s.keepOnce(ctx, failures > 0); err != nil {
			failures++
			pause(ctx, time.Second/2+rand.N(time.Second)) //nolint:gosec // jitter
			continue
		}
		failures = 0
	}
}

// keepOnce makes sure that there is a lease, waits until it is due or was replaced, and prolongs it. When it is overdue
// (an earlier attempt failed) it does not wait.
func (s *session) keepOnce(ctx context.Context, overdue bool) error {
	within, cancel := context.WithTimeout(ctx, s.timeout)
	_, err := s.client(within)
	cancel()
	if err != nil {
		return err
	}
	l := s.current()
	if !overdue && !s.due(ctx, l) {
		return nil
	}
	within, cancel = context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if l.renewable && s.renew(within, l) {
		return nil
	}
	_, err = s.replace(within, l.client)
	return err
}

// due waits for two thirds of the lease. It reports false when ctx ended or the lease was replaced.
func (s *session) due(ctx context.Context, l lease) bool {
	var timer <-chan time.Time // of a token that lives for ever: none
	if l.ttl > 0 {
		t := time.NewTimer(l.ttl * 2 / 3)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-timer:
		return true
	case <-s.changed:
	case <-ctx.Done():
	}
	return false
}

// renew prolongs the lease and reports whether that gained anything: near its maximal life a token gains less and less.
func (s *session) renew(ctx context.Context, l lease) bool {
	var answer tokenAnswer
	_, err := send(ctx, l.client, request{method: "PUT", path: "auth/token/renew-self"}, []byte("{}"), &answer)
	renewed := answer.lease(l.client)
	if err != nil || renewed.ttl < l.ttl*2/3 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.client == l.client { // else a caller has replaced it meanwhile
		s.now = renewed
	}
	return true
}
