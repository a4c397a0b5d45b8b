package vault_test

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// nodeTerm is short, so that nodes lapse while a test waits, and long enough for a busy machine.
const nodeTerm = 1500 * time.Millisecond

// link is one node's way to the store that all share. It can be stopped: what the node asks, and what it is answered, waits.
type link struct {
	store.Store
	stopped sync.RWMutex
	asked   atomic.Int64 // Updates that were carried out
	dead    atomic.Bool  // the node is answered nothing any more
}

// lastWord marks the context of a call with how many of its Updates (*atomic.Int64) are the last things that the node has of the store.
type lastWord struct{}

// stop stops the node, until it is told to go on or the test ends.
func (l *link) stop(t *testing.T) (goOn func()) {
	l.stopped.Lock()
	goOn = sync.OnceFunc(l.stopped.Unlock)
	t.Cleanup(goOn)
	return goOn
}

func (l *link) wait() { l.stopped.RLock(); l.stopped.RUnlock() } //nolint:staticcheck // it waits while somebody writes

func (l *link) View(ctx context.Context, f func(store.Reader) error) error {
	l.wait()
	defer l.wait()
	if l.dead.Load() {
		return store.ErrUnavailable
	}
	return l.Store.View(ctx, f)
}

func (l *link) Update(ctx context.Context, f func(store.Writer) error) error {
	l.wait()
	defer l.wait()
	defer l.asked.Add(1)
	if l.dead.Load() {
		return store.ErrUnavailable
	}
	err := l.Store.Update(ctx, f)
	if then, ok := ctx.Value(afterwards{}).(func()); ok {
		then()
	}
	if left, ok := ctx.Value(lastWord{}).(*atomic.Int64); ok && left.Add(-1) == 0 {
		l.dead.Store(true)
		return store.ErrUnavailable
	}
	return err
}

// leads tells which nodes lead.
type leads struct {
	countsNoBasis
	mine  atomic.Bool
	taken atomic.Int64 // how often it has taken the lead
	count atomic.Int64
}

// NoBasis is heard from many goroutines at once here, and not counted.
func (*leads) NoBasis() {}

func (l *leads) Nodes(count int, mine bool) {
	l.count.Store(int64(count))
	if !l.mine.Swap(mine) && mine {
		l.taken.Add(1)
	}
}

// Alert is not counted.
func (*leads) Alert(string) {}

// node is one of several on one store.
type node struct {
	*vaulttest.Vault
	link  *link
	leads *leads
}

// nodes starts some on one store.
func nodes(t *testing.T, count int) []*node {
	t.Helper()
	return nodesOf(t, count, func(int, *vault.Options) {})
}

// nodesOf starts some on one store, each with something of its own.
func nodesOf(t *testing.T, count int, own func(i int, o *vault.Options)) []*node {
	t.Helper()
	home := t.TempDir()
	disk, place := vaulttest.Engine(t, home)
	keys := must[kms.Provider](t)(vaulttest.Keyring(filepath.Join(home, "keyring")))
	t.Cleanup(func() { keys.Close() })
	var all []*node
	for i := range count {
		n := &node{link: &link{Store: disk}, leads: &leads{}}
		n.Vault = vaulttest.At(t, home, vaulttest.With(func(o *vault.Options) {
			o.Store, o.Place, o.Keys, o.Observer = n.link, place, keys, n.leads
			o.Nodes = &vault.Nodes{Name: string(rune('a' + i)), Term: nodeTerm}
			o.Keyring.Timeout = vaulttest.SlowDisk
			own(i, o)
		}))
		all = append(all, n)
	}
	return all
}

// leader waits for the one that leads.
func leader(t *testing.T, all []*node) (at int) {
	t.Helper()
	eventually(t, "one node leads", func() bool {
		at = slices.IndexFunc(all, func(n *node) bool { return n.leads.mine.Load() })
		return at >= 0 && !slices.ContainsFunc(all[at+1:], func(n *node) bool { return n.leads.mine.Load() })
	})
	return at
}

func TestNodesAreOneVault(t *testing.T) {
	all := nodes(t, 3)
	shop := app(all[0].Vault)
	var people []api.TokenizeResult
	for i := range 60 {
		who := register(t, all[i%3].Vault, shop, fields{"given_name": text("Айгүл")})
		people = append(people, who)
	}
	for range 3 {
		for i, who := range people {
			for _, n := range all {
				wantText(t, detokenize(t, n.Vault, shop, api.Plain, who.Tokens["given_name"].Items[0])[0].Value, "Айгүл")
			}
			if i%20 == 0 {
				time.Sleep(100 * time.Millisecond) // two sweeps
			}
		}
	}
	leader(t, all)
	for _, n := range all {
		eventually(t, "each is ready and sees all three", func() bool {
			got := n.Ready(ctx)
			return got.Ready && len(got.Degraded) == 0 && n.leads.count.Load() == 3
		})
	}
	for i, who := range people[:6] {
		n := all[i%3]
		erasure := erase(t, n.Vault, shop, who.Subject)
		eventually(t, "it is erased, whoever was asked", func() bool {
			return erasureOf(t, all[(i+1)%3].Vault, shop, erasure.Erasure).State == api.ErasureErased
		})
		third := all[(i+2)%3]
		patiently(t, third.Vault, func() (*vault.IssuedCertificate, error) { return third.Certificate(ctx, shop, erasure.Erasure) })
	}
	for _, who := range people[6:] {
		wantText(t, detokenize(t, all[1].Vault, shop, api.Plain, who.Tokens["given_name"].Items[0])[0].Value, "Айгүл")
	}
}

// stream reads the beginning of a document on a node.
func stream(t *testing.T, n *node, call vault.Call, token string) *vault.Content {
	t.Helper()
	return patiently(t, n.Vault, func() (*vault.Content, error) {
		opened := openDocument(t, n.Vault, call, token, 0)
		c, err := n.Content(ctx, call, opened.Content[len("/v1/content/"):])
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { c.Close() })
		_, err = io.ReadFull(c, make([]byte, 1000))
		return c, err
	})
}

// put has a node take a document of somebody, and block has it block somebody.
func put(t *testing.T, n *node, call vault.Call, subject string) *api.Document {
	t.Helper()
	return patiently(t, n.Vault, func() (*api.Document, error) { return n.PutDocument(ctx, call, upload(subject, jpeg(200_000))) })
}

func block(t *testing.T, n *node, call vault.Call, subject string) {
	t.Helper()
	call = keyed(call, "block "+subject) // so that it may be asked again
	patiently(t, n.Vault, func() (*api.Subject, error) {
		return n.Block(ctx, call, subject, &api.BlockRequest{Kind: "dispute", Reason: "asked"})
	})
}

func TestABlockIsFeltOnEveryNodeBeforeItsAnswer(t *testing.T) {
	all := nodes(t, 3)
	shop := app(all[0].Vault)
	for i := range 6 {
		who := register(t, all[0].Vault, shop, fields{"given_name": text("Айгүл")})
		scan := put(t, all[0], shop, who.Subject)
		var streams []*vault.Content
		for _, n := range all {
			streams = append(streams, stream(t, n, shop, scan.Token))
		}
		n := all[i%3]
		if i%2 == 0 {
			block(t, n, shop, who.Subject)
		} else {
			erase(t, n.Vault, shop, who.Subject)
		}
		for k, c := range streams {
			if _, err := c.Read(make([]byte, 1000)); err == nil {
				t.Fatalf("round %d: node %d streams on after node %d has answered", i, k, i%3)
			}
		}
	}
}

// A node that is stopped in the middle of an answer, for longer than the others wait for it, does not give that answer.
func TestAStoppedNodeGivesNothingOut(t *testing.T) {
	all := nodes(t, 2)
	one, other := all[0], all[1]
	shop := app(one.Vault)
	who := register(t, one.Vault, shop, fields{"given_name": text("Айгүл")})
	stays := register(t, one.Vault, shop, fields{"given_name": text("Данияр")})
	streamed := stream(t, other, shop, put(t, one, shop, who.Subject).Token)
	token := who.Tokens["given_name"].Items[0]
	detokenize(t, other.Vault, shop, api.Plain, token) // the key is open

	type answer struct {
		resp *api.DetokenizeResponse
		err  error
		late bool // it came after the block was acknowledged
	}
	answered := make(chan answer, 200)
	began := other.link.asked.Load()
	stop := make(chan struct{})
	var acknowledged atomic.Bool
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := other.Detokenize(ctx, shop, &api.DetokenizeRequest{Purpose: "service", Reason: "support_call", Tokens: []string{token}})
				select {
				case <-stop:
					answered <- answer{resp, err, acknowledged.Load()}
				default:
				}
			}
		})
	}
	eventually(t, "readings are under way", func() bool { return other.link.asked.Load() > began+20 })
	goOn := other.link.stop(t)
	close(stop)
	from := time.Now()
	block(t, one, shop, who.Subject)
	acknowledged.Store(true)
	if took := time.Since(from); took < nodeTerm {
		t.Errorf("the block was acknowledged after %v, while the other node could stream", took)
	}
	if _, err := streamed.Read(make([]byte, 1000)); err == nil {
		t.Error("the stopped node streams on")
	}
	goOn()
	asking.Wait()
	close(answered)
	count := 0
	for a := range answered {
		if !a.late { // it had all that it needed of the store when the node was stopped
			continue
		}
		count++
		if a.err == nil && a.resp.Results[0].Error == nil {
			t.Error("the stopped node gave out what was blocked meanwhile")
		}
	}
	if count == 0 {
		t.Error("nothing was under way when it was stopped: this shows nothing")
	}
	eventually(t, "the node is back", func() bool {
		resp, err := other.Detokenize(ctx, shop, &api.DetokenizeRequest{Purpose: "service", Reason: "support_call", Tokens: []string{token, stays.Tokens["given_name"].Items[0]}})
		if errors.Is(err, fault.Unavailable) {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		wantItem(t, resp.Results[0].Error, fault.Blocked)
		return resp.Results[1].Error == nil
	})
}

// A leader that is stopped is followed by another; when it goes on it writes nothing as one, and its keys made ahead have been
// accounted for.
func TestAStoppedLeaderIsFollowed(t *testing.T) {
	all := nodes(t, 3)
	shop := app(all[0].Vault)
	for round := range 3 {
		who := register(t, all[0].Vault, shop, fields{"given_name": text("Айгүл")})
		at := leader(t, all)
		was, next := all[at], all[(at+1)%3]
		goOn := was.link.stop(t)
		erasure := erase(t, next.Vault, shop, who.Subject)
		eventually(t, "another node carries on", func() bool {
			return erasureOf(t, next.Vault, shop, erasure.Erasure).State == api.ErasureErased
		})
		goOn()
		eventually(t, "the old leader follows", func() bool { return !was.leads.mine.Load() })
		if got := leader(t, all); got == at {
			t.Fatalf("round %d: the stopped node leads on", round)
		}
		eventually(t, "the old leader is one of them again", func() bool {
			_, err := was.Tokenize(ctx, shop, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{{Fields: fields{"given_name": text("Дана")}}}})
			return err == nil
		})
	}
	eventually(t, "the log goes on", func() bool { return len(all[0].Ready(ctx).Degraded) == 0 })
}
