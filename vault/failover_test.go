package vault_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp/vaultserver"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/ledger"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// upheaval befalls a cluster; what it returns puts things right again.
type upheaval struct {
	name string
	do   func(t testing.TB, c *vaultserver.Cluster) (undo func())
}

// leaderIs takes the leader away for a while.
func leaderIs(away, back func(*vaultserver.Server, testing.TB)) func(testing.TB, *vaultserver.Cluster) func() {
	return func(t testing.TB, c *vaultserver.Cluster) func() {
		leader := c.Leader(t)
		away(leader, t)
		return func() { back(leader, t) }
	}
}

var upheavals = []upheaval{
	{"leader killed", leaderIs((*vaultserver.Server).Kill, (*vaultserver.Server).Restart)},
	{"leader paused", leaderIs((*vaultserver.Server).Pause, (*vaultserver.Server).Resume)},
	{"leader sealed", leaderIs((*vaultserver.Server).Seal, (*vaultserver.Server).Unseal)},
	{"two of three killed", func(t testing.TB, c *vaultserver.Cluster) func() {
		gone := []*vaultserver.Server{c.Leader(t)}
		for _, node := range c.Nodes {
			if node != gone[0] {
				gone = append(gone, node)
				break
			}
		}
		for _, node := range gone {
			node.Kill(t)
		}
		return func() {
			for _, node := range gone {
				node.Restart(t)
			}
		}
	}},
	{"leader steps down", func(t testing.TB, c *vaultserver.Cluster) func() {
		c.StepDown(t)
		return func() {}
	}},
	{"leader restarted", leaderIs((*vaultserver.Server).Stop, (*vaultserver.Server).Restart)},
}

// TestFailover has clients register, read and erase people while the cluster that keeps the keys loses its leader over and
// over. Nobody is half written, nothing is said to be erased before its keys are gone from the cluster for good, and
// everything goes on by itself. SANDYQ_TEST_SCALE multiplies the upheavals.
func TestFailover(t *testing.T) {
	t.Parallel()
	cluster := vaultserver.StartCluster(t)
	f := newFailover(t, cluster)
	var clients sync.WaitGroup
	working, stop := context.WithCancel(ctx)
	for range 8 {
		clients.Go(func() { f.client(working) })
	}
	clients.Go(func() { f.watch(t, working) })
	for n := range scaled(3) {
		u := upheavals[n%len(upheavals)]
		undo := u.do(t, cluster)
		time.Sleep(time.Second + rand.N(2*time.Second))
		undo()
		began := time.Now()
		cluster.Leader(t)
		time.Sleep(500*time.Millisecond + rand.N(time.Second))
		t.Logf("%s; a leader %s after", u.name, time.Since(began).Round(10*time.Millisecond))
	}
	began := time.Now()
	eventually(t, "somebody is registered", func() bool { return f.register() != nil })
	t.Logf("people are registered %s after the last", time.Since(began).Round(10*time.Millisecond))
	stop()
	clients.Wait()
	f.finish(t, began)
	f.report(t)
}

// failover is the vault under test and what its clients were told.
type failover struct {
	*vaulttest.Vault
	cluster *vaultserver.Cluster
	shop    vault.Call
	ledger  func() ledger.Ledger
	settle  time.Duration

	seen missed // alarms of living people's missing keys

	mu         sync.Mutex
	lastErased time.Time
	people     []*enrolled
	erasures   map[string]api.ErasureState // by id: as it was seen last
	failures   []time.Duration             // how long the answers took that were errors
	answers    int
	wrong      []error
}

// enrolled is somebody whose registration was acknowledged.
type enrolled struct {
	subject string
	values  map[string]string // by token
	leaves  atomic.Bool       // is about to be erased
}

func newFailover(t *testing.T, cluster *vaultserver.Cluster) *failover {
	f := &failover{cluster: cluster, erasures: map[string]api.ErasureState{}, settle: 8 * time.Second}
	keys := keysInCluster(t, cluster.Leader(t), cluster.Addresses()...)
	home := t.TempDir()
	open := vaulttest.Ledger(filepath.Join(home, "ledger"), "test", keys)
	var opened atomic.Value
	f.ledger = func() ledger.Ledger { return opened.Load().(ledger.Ledger) }
	f.Vault = vaulttest.At(t, home, withKeys(keys), vaulttest.With(func(o *vault.Options) {
		o.Keyring.PoolSize, o.Keyring.Settle, o.SweepEvery = 64, f.settle, 200*time.Millisecond
		o.Observer = &f.seen
		o.Ledger = func(ctx context.Context, use ledger.Use) (ledger.Ledger, error) {
			l, err := open(ctx, use)
			if err == nil {
				opened.Store(l)
			}
			return l, err
		}
	}))
	ready(t, f.Vault)
	f.shop = app(f.Vault)
	return f
}

// answered notes how a call went and how long it took. Nothing but unavailable may go wrong.
func (f *failover) answered(what string, began time.Time, err error) {
	took := time.Since(began)
	if err != nil {
		defer time.Sleep(20 * time.Millisecond) // its caller does not hammer
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers++
	if err == nil {
		return
	}
	f.failures = append(f.failures, took)
	if !errors.Is(err, fault.Unavailable) {
		f.wrong = append(f.wrong, errors.Join(errors.New(what), err))
	}
}

func (f *failover) client(ctx context.Context) {
	for ctx.Err() == nil {
		switch n := rand.N(10); {
		case n < 5:
			f.register()
		case n < 8:
			if who := f.anybody(); who != nil {
				f.read(who)
			}
		default:
			f.erase()
		}
	}
}

func (f *failover) register() *enrolled {
	values := map[string]string{"iin": nextIIN(), "given_name": nextName()}
	item := api.TokenizeItem{Fields: fields{}}
	for field, value := range values {
		item.Fields[field] = text(value)
	}
	began := time.Now()
	resp, err := f.Tokenize(ctx, f.shop, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{item}})
	if err == nil && resp.Results[0].Error != nil {
		err = resp.Results[0].Error.Err()
	}
	f.answered("register", began, err)
	if err != nil {
		return nil
	}
	who := &enrolled{subject: resp.Results[0].Subject, values: map[string]string{}}
	for field, value := range values {
		who.values[resp.Results[0].Tokens[field].Items[0]] = value
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.people = append(f.people, who)
	return who
}

// anybody is one of the people who are registered.
func (f *failover) anybody() *enrolled {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.people) == 0 {
		return nil
	}
	return f.people[rand.N(len(f.people))]
}

// read demands that every value of somebody comes back as it was, if anything does.
func (f *failover) read(who *enrolled) error {
	req := &api.DetokenizeRequest{Purpose: "service", Reason: "check", Form: api.Plain}
	for token := range who.values {
		req.Tokens = append(req.Tokens, token)
	}
	began := time.Now()
	resp, err := f.Detokenize(ctx, f.shop, req)
	if err != nil {
		f.answered("read", began, err)
		return err
	}
	for i, r := range resp.Results {
		if r.Error != nil && r.Error.Code == fault.Erased && who.leaves.Load() {
			continue
		}
		if r.Error != nil {
			err = errors.Join(err, r.Error.Err())
			continue
		}
		if got, _ := r.Value.Text(); got != who.values[req.Tokens[i]] {
			err = errors.Join(err, errors.New("another value came back than the one acknowledged"))
		}
	}
	f.answered("read", began, err)
	return err
}

// erase takes somebody out of the people and has them erased, until that is acknowledged.
func (f *failover) erase() {
	f.mu.Lock()
	if len(f.people) == 0 {
		f.mu.Unlock()
		return
	}
	i := rand.N(len(f.people))
	who := f.people[i]
	f.people = slices.Delete(f.people, i, i+1)
	who.leaves.Store(true)
	f.mu.Unlock()
	for {
		began := time.Now()
		e, err := f.RequestErasure(ctx, f.shop, &api.ErasureRequest{Subject: who.subject, Ground: "request", Reason: "asked"})
		f.answered("erase", began, err)
		if err == nil {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.erasures[e.Erasure] = api.ErasureErasing
			return
		}
	}
}

// watch looks at every erasure; when it says that its keys are gone, the cluster is asked at once.
func (f *failover) watch(t *testing.T, ctx context.Context) {
	for ctx.Err() == nil {
		f.look(t)
		time.Sleep(20 * time.Millisecond)
	}
}

// look looks at each erasure once and returns how many have not ended.
func (f *failover) look(t *testing.T) (pending int) {
	var claim []*api.Erasure
	for id, was := range f.unended() {
		e := must[*api.Erasure](t)(f.Erasure(ctx, f.shop, id))
		if was == api.ErasureErasing && e.State != was {
			claim = append(claim, e)
		}
		if e.State != api.ErasureErased {
			pending++
		}
		f.mu.Lock()
		f.erasures[id] = e.State
		if e.ErasedAt.After(f.lastErased) {
			f.lastErased = e.ErasedAt
		}
		f.mu.Unlock()
	}
	if len(claim) == 0 {
		return pending
	}
	kept := f.kept(t)
	for _, e := range claim {
		for _, key := range f.listed(t, e.Erasure) {
			if kept[key] {
				t.Errorf("an erasure is %s and its key is there", e.State)
			}
		}
	}
	return pending
}

func (f *failover) unended() map[string]api.ErasureState {
	f.mu.Lock()
	defer f.mu.Unlock()
	unended := map[string]api.ErasureState{}
	for id, state := range f.erasures {
		if state != api.ErasureErased {
			unended[id] = state
		}
	}
	return unended
}

// listed are the keys of an erasure, as the erasure ledger has them.
func (f *failover) listed(t *testing.T, erasure string) []kms.ID {
	number, found, err := f.ledger().Find(ctx, erasure)
	if err != nil || !found {
		t.Errorf("an erasure that says its keys are gone is in the ledger: %v, %v", found, err)
		return nil
	}
	var keys []kms.ID
	enough := errors.New("found")
	err = f.ledger().Scan(ctx, number-1, func(e ledger.Entry) error {
		keys = e.Keys
		return enough
	})
	if !errors.Is(err, enough) || len(keys) == 0 {
		t.Errorf("an erasure's entry in the ledger lists %d keys: %v", len(keys), err)
	}
	return keys
}

// finish waits for everything to end, and sees what has become of people and keys; then the leader is killed once more.
func (f *failover) finish(t *testing.T, recovered time.Time) {
	for f.look(t) > 0 {
		if time.Since(recovered) > time.Minute {
			t.Fatalf("erasures have not ended a minute after the recovery: %+v", f.Ready(ctx))
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("the last of %d erasures ended %s after the recovery", len(f.erasures), f.lastErased.Sub(recovered).Round(10*time.Millisecond))
	for _, who := range f.people {
		if err := f.read(who); err != nil {
			t.Errorf("somebody who was registered does not read back: %v", err)
		}
	}
	f.sweep(t)
	f.account(t)
	f.cluster.Leader(t).Kill(t)
	f.account(t)
}

// sweep waits until the keys that nobody uses are gone.
func (f *failover) sweep(t *testing.T) {
	deadline := time.Now().Add(f.settle + 20*time.Second)
	for f.Service.Keyring().Doomed > 0 || len(f.Ready(ctx).Degraded) > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("unused keys are left: %+v, %+v", f.Service.Keyring(), f.Ready(ctx))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// kept are the keys that the cluster has, as its leader says.
func (f *failover) kept(t *testing.T) map[kms.ID]bool {
	var there struct {
		Data struct {
			Keys []string `json:"keys"`
		} `json:"data"`
	}
	_, answer := f.cluster.Request(t, "LIST", "sandyq/keys", nil)
	if err := json.Unmarshal(answer, &there); err != nil {
		t.Fatal(err)
	}
	kept := map[kms.ID]bool{}
	for _, name := range there.Data.Keys {
		kept[must[kms.ID](t)(kms.ParseID(name))] = true
	}
	return kept
}

// account demands that the cluster has every key of everybody in the store, none of those that were destroyed, and none
// that is nobody's.
func (f *failover) account(t *testing.T) {
	kept := f.kept(t)
	for _, id := range keysOf(t, f.Store) {
		if !kept[id] {
			t.Errorf("somebody's key %s is gone", id)
		}
	}
	err := f.ledger().Scan(ctx, 0, func(e ledger.Entry) error {
		for _, id := range e.Keys {
			if kept[id] && e.Kind != ledger.Epoch { // which was made
				t.Errorf("key %s, which was destroyed, is there", id)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	all := must[[]store.Pair](t)(rows(f.Store))
	for id := range kept {
		if !slices.ContainsFunc(all, func(p store.Pair) bool {
			return kindOf(p.Key) == 'q' && bytes.HasSuffix(p.Key, id[:]) ||
				bytes.IndexByte([]byte("srdePm"), kindOf(p.Key)) >= 0 && bytes.Contains(p.Value, id[:])
		}) {
			t.Errorf("key %s is nobody's", id)
		}
	}
}

// report says what it came to.
func (f *failover) report(t *testing.T) {
	for _, err := range f.wrong {
		t.Error(err)
	}
	slices.Sort(f.failures)
	if len(f.failures) == 0 {
		t.Error("the cluster's troubles did not show")
		return
	}
	at := func(share float64) time.Duration {
		return f.failures[int(share*float64(len(f.failures)-1))].Round(time.Millisecond)
	}
	t.Logf("%d answers, %d of them errors after %s (median), %s (p99), %s (most); %d people stay, %d are erased; %d alarms of missing keys",
		f.answers, len(f.failures), at(0.5), at(0.99), at(1), len(f.people), len(f.erasures), f.seen.keys.Load())
	if at(0.99) > bound {
		t.Errorf("errors take %s (p99)", at(0.99))
	}
}
