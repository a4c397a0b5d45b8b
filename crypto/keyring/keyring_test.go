package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sandyq/sandyq/crypto/kms"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bubbleTime is the time of a synctest bubble: it moves only when every goroutine waits.
func bubbleTime() time.Time { return time.Now() }

// rig is a keyring over a provider and a store that misbehave when told to.
type rig struct {
	*Keyring
	provider *provider
	rows     *rows
	copied   bool // the store is a copy
	heard    trouble
}

// trouble is an Observer that remembers what it heard.
type trouble struct {
	mu    sync.Mutex
	errs  []error
	calls []string
}

func (o *trouble) Called(op Operation, items int, took time.Duration, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls = append(o.calls, fmt.Sprintf("%s of %d in %v: %t", op, items, took, err == nil))
}

func (o *trouble) Trouble(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.errs = append(o.errs, err)
}

// inBubble runs a test on a keyring whose time the test holds.
func inBubble(t *testing.T, options Options, f func(*testing.T, *rig)) {
	synctest.Test(t, func(t *testing.T) {
		b := newRig(t, options)
		defer b.Close()
		f(t, b)
	})
}

func newRig(t testing.TB, o Options) *rig {
	t.Helper()
	b := &rig{provider: newProvider(1), rows: newRows(1)}
	o.KMS, o.MAC, o.Pool = b.provider, b.provider, process{b.rows, 1}
	o.Claim = func() (kms.Claim, bool) { return b.provider.claim, !b.copied }
	o.Observer = &b.heard
	if o.Now == nil {
		o.Now = bubbleTime
	}
	k, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	b.Keyring = k
	return b
}

// run starts Run and returns what stops it and waits.
func (b *rig) run(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { b.Run(ctx) })
	return func() { cancel(); run.Wait() }
}

// open opens one key, returning its error if either has one.
func (b *rig) open(ctx context.Context, p Permit, id kms.ID) (*Opened, error) {
	o, err := b.Open(ctx, p, id)
	if err != nil {
		return nil, err
	}
	if err := o.Err(); err != nil {
		o.Close()
		return nil, err
	}
	return o, nil
}

// use opens and closes one key under a new permit.
func (b *rig) use(id kms.ID) error {
	o, err := b.open(context.Background(), b.Permit(), id)
	if err == nil {
		o.Close()
	}
	return err
}

func want(t *testing.T, got, want error, doing string) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s = %v, want %v", doing, got, want)
	}
}

func TestACopyOpensAndDoesNothingElse(t *testing.T) {
	inBubble(t, Options{Settle: time.Second}, func(t *testing.T, b *rig) {
		b.copied = true
		id := b.provider.add(1)[0]
		b.rows.rows[id] = row{process: 0} // left by the process this store was copied from
		stop := b.run(t)
		time.Sleep(time.Minute)
		want(t, b.use(id), nil, "Open")
		_, err := b.Fresh(t.Context(), 1)
		want(t, err, ErrCopy, "Fresh")
		want(t, b.Destroy(t.Context(), id), ErrCopy, "Destroy")
		stop()
		if n := b.provider.called(OpCreate) + b.provider.called(OpDestroy); n != 0 || b.rows.rows[id].flipped {
			t.Errorf("the copy made or destroyed keys in %d calls, or flipped rows", n)
		}
		want(t, b.use(id), nil, "Open")
	})
}

func TestDestroyIsSureOrFails(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *rig) {
		ids := b.provider.add(3)
		want(t, b.use(ids[0]), nil, "Open")
		b.provider.down = true
		want(t, b.Destroy(t.Context(), ids...), kms.ErrUnavailable, "Destroy while the provider is away")
		want(t, b.use(ids[0]), kms.ErrUnavailable, "Open of a purged key")
		b.provider.down = false
		want(t, b.Destroy(t.Context(), ids...), nil, "Destroy")
		want(t, b.use(ids[0]), ErrMissing, "Open of a destroyed key")
		b.provider.claim.Generation.Number++
		old := b.claim
		b.claim = func() (kms.Claim, bool) { c, live := old(); c.Generation.Number--; return c, live }
		want(t, b.Destroy(t.Context(), ids...), kms.ErrClaim, "Destroy by a superseded store")
	})
}

func TestAfterCloseEverythingFails(t *testing.T) {
	inBubble(t, Options{PoolSize: 4}, func(t *testing.T, b *rig) {
		stop := b.run(t)
		synctest.Wait()
		id := b.provider.add(1)[0]
		o, err := b.open(t.Context(), b.Permit(), id)
		if err != nil {
			t.Fatal(err)
		}
		stop()
		b.Close()
		b.Close()
		key, err := o.Key(0)
		if stored := b.provider.key(id); err != nil || !bytes.Equal(key.Expose(), stored[:]) {
			t.Errorf("a key held over Close changed (%v)", err)
		}
		if used := b.arena.used; used != 1 {
			t.Errorf("%d slots in use after Close, want the one that is held", used)
		}
		o.Close()
		if b.arena.regions != nil {
			t.Error("memory was not given back when the last key was closed")
		}
		_, err = b.MAC(t.Context(), []byte("x"))
		want(t, err, ErrClosed, "MAC")
		_, err = b.Fresh(t.Context(), 1)
		want(t, err, ErrClosed, "Fresh")
		want(t, b.use(id), ErrClosed, "Open")
	})
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	p := newProvider(1)
	whole := Options{KMS: p, MAC: p, Pool: process{}, Claim: func() (kms.Claim, bool) { return kms.Claim{}, false }, Now: bubbleTime}
	for name, spoil := range map[string]func(*Options){
		"no KMS":          func(o *Options) { o.KMS = nil },
		"no MACer":        func(o *Options) { o.MAC = nil },
		"no Pool":         func(o *Options) { o.Pool = nil },
		"no Claim":        func(o *Options) { o.Claim = nil },
		"no clock":        func(o *Options) { o.Now = nil },
		"negative lease":  func(o *Options) { o.Lease = -1 },
		"negative settle": func(o *Options) { o.Settle = -1 },
		"no patience":     func(o *Options) { o.Timeout = -1 },
		"short permits":   func(o *Options) { o.PermitLife = time.Second },
	} {
		o := whole
		spoil(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := New(whole); err != nil {
		t.Error(err)
	}
}

func TestTheObserverHearsEveryCall(t *testing.T) {
	inBubble(t, Options{PoolSize: -1}, func(t *testing.T, b *rig) {
		ids := b.provider.add(3)
		o, err := b.Open(t.Context(), b.Permit(), ids...)
		want(t, err, nil, "Open")
		o.Close()
		_, err = b.MAC(t.Context(), []byte("a"), []byte("b"))
		want(t, err, nil, "MAC")
		fresh, err := b.Fresh(t.Context(), 4)
		want(t, err, nil, "Fresh")
		for _, o := range fresh {
			o.Close()
		}
		b.provider.down = true
		want(t, b.Destroy(t.Context(), ids[0]), kms.ErrUnavailable, "Destroy")
		b.heard.mu.Lock()
		defer b.heard.mu.Unlock()
		heard := []string{"open of 3 in 0s: true", "mac of 2 in 0s: true", "create of 4 in 0s: true", "destroy of 1 in 0s: false"}
		if !slices.Equal(b.heard.calls, heard) {
			t.Errorf("heard %q, want %q", b.heard.calls, heard)
		}
	})
}
