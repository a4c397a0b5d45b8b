package vault_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// post is a messenger to two receivers: the first is as bad as a test wants, the second takes everything at once.
type post struct {
	mu   sync.Mutex
	bad  func() error // what sending to the first comes to
	told [2]map[string]bool
}

func (p *post) Receivers() int { return len(p.told) }

func (p *post) Backoff(int) time.Duration { return 0 }

func (p *post) Send(_ context.Context, receiver int, _ string, body []byte) error {
	var a api.Alert
	if err := json.Unmarshal(body, &a); err != nil {
		return err
	}
	p.mu.Lock()
	bad := p.bad
	p.mu.Unlock()
	if receiver == 0 {
		if err := bad(); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.told[receiver] == nil {
		p.told[receiver] = map[string]bool{}
	}
	p.told[receiver][a.System] = true
	return nil
}

func (p *post) become(bad func() error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bad = bad
}

// await waits until a receiver was told of a system.
func (p *post) await(t testing.TB, receiver int, system string, patience time.Duration) {
	t.Helper()
	for range patience / (10 * time.Millisecond) {
		p.mu.Lock()
		told := p.told[receiver][system]
		p.mu.Unlock()
		if told {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("receiver %d was not told of %s in %s", receiver, system, patience)
}

// posted is a vault with a post, and what has a system use a canary.
func posted(t testing.TB) (p *post, v *vaulttest.Vault, use func(system string)) {
	t.Helper()
	p = &post{bad: func() error { return errors.New("away") }}
	v = vaulttest.New(t, vaulttest.With(func(o *vault.Options) { o.Messenger = p }))
	bait := register(t, v, v.As("shop", access.Application), aigul()).Tokens["iin"].Items[0]
	must[*api.Canary](t)(v.MarkCanary(ctx, v.As("soc", access.Administrator), &api.MarkCanaryRequest{Token: bait}))
	return p, v, func(system string) {
		t.Helper()
		if _, err := dump(v, v.As(system, access.Application), bait); err != nil {
			t.Fatal(err)
		}
	}
}

// What a receiver has missed, however much, keeps no other from what is new.
func TestBacklogOfAlertsKeepsNobodyWaiting(t *testing.T) {
	p, v, use := posted(t)
	for n := range 600 {
		use(fmt.Sprintf("thief-%d", n))
	}
	v.Clock.Advance(time.Minute)
	use("newcomer")
	p.await(t, 1, "newcomer", 20*time.Second)
}

// A receiver that takes long over each message keeps no other waiting, and gets all in the end.
func TestSlowReceiverKeepsNobodyWaiting(t *testing.T) {
	p, _, use := posted(t)
	const backlog = 60
	for n := range backlog {
		use(fmt.Sprintf("thief-%d", n))
	}
	p.become(func() error { time.Sleep(150 * time.Millisecond); return nil })
	time.Sleep(300 * time.Millisecond) // it has begun
	use("newcomer")
	p.await(t, 1, "newcomer", 5*time.Second)
	p.await(t, 0, "newcomer", 20*time.Second)
	for n := range backlog {
		p.await(t, 0, fmt.Sprintf("thief-%d", n), 20*time.Second)
	}
}

// An alert that is damaged in the store is given up, and the others go on.
func TestDamagedAlertKeepsNobodyWaiting(t *testing.T) {
	p, v, use := posted(t)
	use("thief")
	p.await(t, 1, "thief", 10*time.Second)
	damaged := 0
	err := v.Store.Update(ctx, func(w store.Writer) error {
		damaged = 0
		pairs, err := w.Scan(nil, nil, 10_000)
		for _, pair := range pairs {
			if err == nil && strings.Contains(string(pair.Value), `"kind":"canary"`) {
				damaged++
				err = w.Set(append([]byte(nil), pair.Key...), []byte("damaged"))
			}
		}
		return err
	})
	if err != nil || damaged != 1 {
		t.Fatal(damaged, err)
	}
	v.Clock.Advance(time.Minute)
	p.become(func() error { return nil })
	use("newcomer")
	p.await(t, 0, "newcomer", 10*time.Second)
	p.await(t, 1, "newcomer", 10*time.Second)
}
