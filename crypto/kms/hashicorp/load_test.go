package hashicorp_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/keyring"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp/vaultserver"
	"github.com/sandyq/sandyq/crypto/kms/kmstest"
)

// holds makes requests of a method and path wait until release is called.
func (w *wire) holds(method, path string) (held *atomic.Int64, release func()) {
	held = &atomic.Int64{}
	free := make(chan struct{})
	w.does(method, path, always, func(rw http.ResponseWriter, forward func() *http.Response) {
		held.Add(1)
		<-free
		pass(rw, forward())
	})
	return held, sync.OnceFunc(func() { w.harm.Store(nil); close(free) })
}

// TestShedding fills the provider with calls that hang. One more is refused at once and has sent nothing; what the vault
// does by itself goes on; and nobody is kept away afterwards.
func TestShedding(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	p.config.Timeout = 20 * time.Second
	w := newWire(t, &p)
	var writes atomic.Int64
	w.sees = func(r *http.Request) {
		if r.Method == http.MethodPut && (strings.Contains(r.URL.Path, "/keys/") || strings.Contains(r.URL.Path, "/encrypt/")) {
			writes.Add(1)
		}
	}
	v := p.open(t)
	claim, id := kmstest.Claim(t, v), create(t, v)
	held, release := w.holds(http.MethodGet, "/keys/")
	defer release()
	var callers sync.WaitGroup
	for range hashicorp.Calls {
		callers.Go(func() {
			if keys, err := v.Open(t.Context(), id); err != nil || keys[0].Missing() {
				t.Errorf("a call that was let in: %v", err)
			}
		})
	}
	eventually(t, 10*time.Second, "the calls to be out", func() error {
		if held.Load() < hashicorp.Lanes {
			return errors.New("not yet")
		}
		return nil
	})
	time.Sleep(100 * time.Millisecond) // the callers beyond the lanes are on their way
	if n := held.Load(); n != hashicorp.Lanes {
		t.Errorf("%d KV requests at once, want %d", n, hashicorp.Lanes)
	}
	before := writes.Load()
	fresh := kms.NewID()
	within(t, 500*time.Millisecond, "three calls beyond those that may be under way", func() {
		_, createErr := v.Create(t.Context(), fresh)
		_, openErr := v.Open(t.Context(), id)
		_, macErr := v.MAC(t.Context(), []byte("input"))
		for what, err := range map[string]error{"create": createErr, "open": openErr, "MAC": macErr} {
			if !errors.Is(err, kms.ErrUnavailable) {
				t.Errorf("%s beyond the calls that may be under way: %v, want ErrUnavailable", what, err)
			}
		}
	})
	within(t, 5*time.Second, "what the vault does by itself", func() {
		_, signErr := v.SignAs(t.Context(), 1, []byte("message"))
		_, sentinelErr := v.Sentinel(t.Context())
		markErr := v.SetMark(t.Context(), kms.Mark{}, kms.Mark{Entries: 1})
		if err := errors.Join(signErr, sentinelErr, markErr); err != nil {
			t.Errorf("what the vault does by itself, under load: %v", err)
		}
	})
	if n := writes.Load(); n != before {
		t.Errorf("a create that was refused sent %d requests", n-before)
	}
	release()
	callers.Wait()
	if keys, err := v.Open(t.Context(), fresh); err != nil || !keys[0].Missing() {
		t.Errorf("a create that was refused made a key (%v)", err)
	}
	if err := v.Destroy(t.Context(), claim, id, fresh); err != nil {
		t.Error(err)
	}
}

// TestQuota sets the server's own quota on Transit. Calls over it fail or wait as long as the server asks, no longer than
// the timeout; other paths go on, and so does Transit a moment later.
func TestQuota(t *testing.T) {
	server := vaultserver.Start(t)
	p := setUp(t, server, false)
	w := newWire(t, &p)
	requests := w.counts("/hmac/")
	v := p.open(t)
	create(t, v)
	write(t, server, "sys/quotas/config", map[string]any{"enable_rate_limit_response_headers": true})
	write(t, server, "sys/quotas/rate-limit/transit", map[string]any{"path": p.config.Mount + "-transit", "rate": 4, "interval": "1s"})
	before := requests.Load()
	var callers sync.WaitGroup
	var refused atomic.Int64
	for range 40 {
		callers.Go(func() {
			within(t, hashicorp.DefaultTimeout+slack, "a call over quota", func() {
				if _, err := v.MAC(t.Context(), []byte("input")); errors.Is(err, kms.ErrUnavailable) {
					refused.Add(1)
				} else if err != nil {
					t.Errorf("MAC over quota: %v, want ErrUnavailable", err)
				}
			})
			if _, err := v.Sentinel(t.Context()); err != nil {
				t.Errorf("a path without a quota: %v", err)
			}
		})
	}
	callers.Wait()
	if refused.Load() == 0 {
		t.Error("the quota refuses nothing: this shows nothing")
	}
	// Each call may be sent at once and again as often as the server's second of Retry-After fits in the timeout.
	if n := requests.Load() - before; n > 3*40 {
		t.Errorf("%d requests for 40 calls over quota", n)
	}
	eventually(t, 3*time.Second, "a MAC when the quota has room", func() error { _, err := v.MAC(t.Context(), nil); return err })
}

// TestNodeThatCannotServe: a performance standby or secondary that cannot answer (472, 473) counts as away, is asked again
// every half second and no more often, and is used again when it can.
func TestNodeThatCannotServe(t *testing.T) {
	for _, status := range []int{472, 473, 503} {
		p := setUp(t, vaultserver.Shared(t), false)
		w := newWire(t, &p)
		requests := w.counts("/hmac/")
		v := p.open(t)
		create(t, v)
		w.does(http.MethodPut, "/hmac/", always, answer(status, `{"errors":["standby"]}`))
		for range 3 {
			if _, err := v.MAC(t.Context(), nil); !errors.Is(err, kms.ErrUnavailable) {
				t.Errorf("status %d: %v, want ErrUnavailable", status, err)
			}
		}
		before := requests.Load()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		for ctx.Err() == nil {
			_, _ = v.MAC(t.Context(), nil)
			time.Sleep(time.Millisecond)
		}
		cancel()
		// Two or three trials in a second, each of three attempts.
		if n := requests.Load() - before; n < 1 || n > 9 {
			t.Errorf("status %d: %d requests in a second to a server that is away", status, n)
		}
		w.harm.Store(nil)
		eventually(t, time.Second+slack, "recovery", func() error { _, err := v.MAC(t.Context(), nil); return err })
	}
}

// TestRetryAfterIsNotHurried: a server that asks to be left alone for longer than there is time is not asked again.
func TestRetryAfterIsNotHurried(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	w := newWire(t, &p)
	requests := w.counts("/hmac/")
	v := p.open(t)
	create(t, v)
	w.does(http.MethodPut, "/hmac/", always, answer(429, `{"errors":["quota"]}`, "Retry-After", "2"))
	within(t, slack, "a call that must wait longer than it has", func() {
		if _, err := v.MAC(t.Context(), nil); !errors.Is(err, kms.ErrUnavailable) {
			t.Errorf("MAC over quota: %v, want ErrUnavailable", err)
		}
	})
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

// nothing is a pool that is never used.
type nothing struct{}

func (nothing) Reserve(context.Context, ...kms.ID) error  { return nil }
func (nothing) Spoil(context.Context, ...kms.ID) error    { return nil }
func (nothing) Reclaim(context.Context) ([]kms.ID, error) { return nil, nil }
func (nothing) Forget(context.Context, ...kms.ID) error   { return nil }

func (nothing) Date(context.Context, time.Time, ...kms.ID) error    { return nil }
func (nothing) Adopt(context.Context, int) ([]keyring.Dated, error) { return nil, nil }

func (nothing) claim() (claim kms.Claim, live bool) { return kms.Claim{}, true }

// TestColdPeopleShareTransitCalls opens the keys of 64 people that nobody has opened yet, all at once, and looks their
// identifiers up. Transit does not batch by itself; the keyring gathers what comes while calls are out.
func TestColdPeopleShareTransitCalls(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	w := newWire(t, &p)
	var unwraps, macs, reads atomic.Int64
	w.sees = func(r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, "/decrypt/"):
			unwraps.Add(1)
		case strings.Contains(r.URL.Path, "/hmac/"):
			macs.Add(1)
		case r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/keys/"):
			reads.Add(1)
		}
	}
	p.config.Timeout = 20 * time.Second // a busy machine is not what this is about
	v := p.open(t)
	const people = 64
	ids := make([]kms.ID, people)
	for i := range ids {
		ids[i] = kms.NewID()
	}
	if _, err := v.Create(t.Context(), ids...); err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.New(keyring.Options{
		KMS: v, MAC: v, Pool: nothing{}, Claim: nothing{}.claim, Now: time.Now, PoolSize: -1, Timeout: 20 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ring.Close()
	permit := ring.Permit()
	var callers sync.WaitGroup
	for i, id := range ids {
		callers.Go(func() {
			if _, err := ring.MAC(t.Context(), []byte{byte(i)}); err != nil {
				t.Errorf("MAC: %v", err)
			}
		})
		callers.Go(func() {
			opened, err := ring.Open(t.Context(), permit, id)
			if err != nil {
				t.Errorf("open: %v", err)
				return
			}
			defer opened.Close()
			if err := opened.Err(); err != nil {
				t.Errorf("open: %v", err)
			}
		})
	}
	callers.Wait()
	t.Logf("%d cold people: %d unwraps, %d MAC requests, %d KV reads", people, unwraps.Load(), macs.Load(), reads.Load())
	if unwraps.Load() > people/4 || macs.Load() > people/4 {
		t.Errorf("%d unwraps and %d MAC requests for %d people at once", unwraps.Load(), macs.Load(), people)
	}
	if reads.Load() != people {
		t.Errorf("%d KV reads for %d people", reads.Load(), people)
	}
}
