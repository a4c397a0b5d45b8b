package vault_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/blob/file"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/badgerdb"
	"github.com/sandyq/sandyq/vault/store/memory"
	"github.com/sandyq/sandyq/vault/store/storetest"
	"github.com/sandyq/sandyq/vault/vaulttest"
	"github.com/sandyq/sandyq/vault/vaulttest/history"
)

// crowd runs histories on one vault.
type crowd struct {
	*vaulttest.Vault
	shop    vault.Call
	history *history.History
}

// caller is the vault as one caller has it.
type caller struct {
	*vault.Service
	call vault.Call
}

func (c caller) Tokenize(ctx context.Context, in *api.TokenizeRequest) (*api.TokenizeResponse, error) {
	return c.Service.Tokenize(ctx, c.call, in)
}

func (c caller) Detokenize(ctx context.Context, in *api.DetokenizeRequest) (*api.DetokenizeResponse, error) {
	return c.Service.Detokenize(ctx, c.call, in)
}

func (c caller) Rectify(ctx context.Context, subject string, in *api.RectifyRequest) (*api.RectifyResponse, error) {
	return c.Service.Rectify(ctx, c.call, subject, in)
}

func (c caller) Block(ctx context.Context, subject string, in *api.BlockRequest) (*api.Subject, error) {
	return c.Service.Block(ctx, c.call, subject, in)
}

func (c caller) Unblock(ctx context.Context, subject string, in *api.BlockRequest) (*api.Subject, error) {
	return c.Service.Unblock(ctx, c.call, subject, in)
}

func (c caller) RequestErasure(ctx context.Context, in *api.ErasureRequest) (*api.Erasure, error) {
	return c.Service.RequestErasure(ctx, c.call, in)
}

// run has eight clients do random things to a few people, and checks what they were answered.
func (p *crowd) run(seed uint64, each int) error {
	p.history = history.New()
	iins := []string{history.IIN(), history.IIN()}
	var clients sync.WaitGroup
	for client := range 8 {
		clients.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(client)))
			for range each {
				p.one(client, p.history.Draw(rnd, iins[rnd.IntN(len(iins))]))
			}
		})
	}
	clients.Wait()
	return p.history.Check()
}

// one makes a call and records it.
func (p *crowd) one(client int, op history.Op) {
	began := p.history.Now()
	saw := p.sight()
	answer, err := p.do(context.WithValue(ctx, sightKey{}, saw), op)
	p.history.Record(client, op, began, answer, err, saw.updated.Load())
}

func (p *crowd) do(ctx context.Context, op history.Op) (*history.Answer, error) {
	return history.Do(ctx, caller{p.Service, p.shop}, op)
}

func (p *crowd) sight() *sight { return &sight{now: p.history.Now, rows: map[string][]byte{}} }

// sight is what the store showed to one call, carried by the call's context.
type sight struct {
	now     func() int64      // orders what happens
	updated atomic.Int64      // when the last Update began
	rows    map[string][]byte // the rows of people that Views showed, as last shown
}

type sightKey struct{}

// observed is a store that notes what it shows to the calls which carry a sight.
type observed struct{ store.Store }

func (o *observed) View(ctx context.Context, f func(store.Reader) error) error {
	saw, _ := ctx.Value(sightKey{}).(*sight)
	if saw == nil {
		return o.Store.View(ctx, f)
	}
	return o.Store.View(ctx, func(r store.Reader) error { return f(seeing{r, saw}) })
}

func (o *observed) Update(ctx context.Context, f func(store.Writer) error) error {
	if saw, _ := ctx.Value(sightKey{}).(*sight); saw != nil {
		saw.updated.Store(saw.now()) // a call leases from several budgets at once
	}
	err := o.Store.Update(ctx, f)
	if errors.Is(err, storetest.ErrInjected) {
		err = errors.Join(store.ErrClosed, err) // what a store says that has failed
	}
	return err
}

type seeing struct {
	store.Reader
	saw *sight
}

func (s seeing) Get(keys ...[]byte) ([][]byte, error) {
	values, err := s.Reader.Get(keys...)
	for i, v := range values {
		if kindOf(keys[i]) == 's' {
			s.saw.rows[string(keys[i])] = bytes.Clone(v)
		}
	}
	return values, err
}

// kindOf is the letter by which the store's layout tells rows apart: after the tenant and its length.
func kindOf(key []byte) byte { return key[1+int(key[0])] }

func nextName() string { return history.Name() }
func nextIIN() string  { return history.IIN() }

// balky is a provider some of whose calls fail before or after their effect.
type balky struct {
	kms.Provider
	chance float64
	mu     sync.Mutex
	rnd    *rand.Rand
}

func (b *balky) fails() (before, after error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch p := b.rnd.Float64(); {
	case p < b.chance:
		return kms.ErrUnavailable, nil
	case p < 2*b.chance:
		return nil, kms.ErrUnavailable
	}
	return nil, nil
}

func (b *balky) Create(ctx context.Context, ids ...kms.ID) ([]kms.Key, error) {
	before, after := b.fails()
	if before != nil {
		return nil, before
	}
	keys, err := b.Provider.Create(ctx, ids...)
	return keys, errors.Join(err, after)
}

func (b *balky) Open(ctx context.Context, ids ...kms.ID) ([]kms.Key, error) {
	before, after := b.fails()
	if err := errors.Join(before, after); err != nil {
		return nil, err
	}
	return b.Provider.Open(ctx, ids...)
}

func (b *balky) Destroy(ctx context.Context, claim kms.Claim, ids ...kms.ID) error {
	before, after := b.fails()
	if before != nil {
		return before
	}
	return errors.Join(b.Provider.Destroy(ctx, claim, ids...), after)
}

// linearVault is a vault over faulty parts, which mutate has replaced some of. Its keys are cold again after a moment.
func linearVault(t testing.TB, base store.Store, seed uint64, mutate func(*vault.Options)) *crowd {
	t.Helper()
	home := inMemory(t)
	keys := must[kms.Provider](t)(vaulttest.Keyring(filepath.Join(home, "keyring")))
	t.Cleanup(func() { keys.Close() })
	var armed atomic.Bool
	random := storetest.Random(seed, storetest.Chances{Before: 0.01, After: 0.02, Rerun: 0.1})
	faulty := storetest.NewFaulty(base, func(n int) storetest.Fault {
		if !armed.Load() {
			return storetest.None
		}
		return random(n)
	})
	bad := &balky{Provider: keys, rnd: rand.New(rand.NewPCG(seed, 1))}
	v := vaulttest.At(t, home, vaulttest.With(func(o *vault.Options) {
		o.Store, o.Place, o.Keys = &observed{faulty}, "test", bad
		o.Blobs = must[*file.Store](t)(file.Open(filepath.Join(home, "documents"), 0))
		o.Keyring.Lease, o.Keyring.PoolSize = 20*time.Millisecond, 16
		if mutate != nil {
			mutate(o)
		}
	}))
	p := &crowd{Vault: v, shop: app(v), history: history.New()}
	if mutate == nil {
		armed.Store(true)
		bad.mu.Lock()
		bad.chance = 0.01
		bad.mu.Unlock()
	}
	return p
}

func TestLinearizable(t *testing.T) {
	engines := []struct {
		name      string
		histories int
		open      func(t testing.TB) store.Store
	}{
		{"memory", scaled(12), func(testing.TB) store.Store { return memory.New() }},
		{"Badger", scaled(6), func(t testing.TB) store.Store {
			s := must[*badgerdb.Store](t)(badgerdb.Open(badgerdb.Options{Dir: t.TempDir()}))
			t.Cleanup(func() { s.Close() })
			return s
		}},
	}
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			p := linearVault(t, engine.open(t), 1, nil)
			calls, undecided := 0, 0
			for n := range engine.histories {
				err := p.run(uint64(n), 10)
				if errors.Is(err, history.ErrUndecided) {
					undecided++
				} else if err != nil {
					t.Fatalf("history %d: %v", n, err)
				}
				calls += p.history.Calls()
			}
			t.Logf("%d histories, %d calls, %d undecided", engine.histories, calls, undecided)
			if undecided > engine.histories/6 {
				t.Error("too many histories were undecided")
			}
		})
	}
}

// mutant is a store that breaks its word, or hides from the vault what the vault looks at.
type mutant struct {
	store.Store
	slow   time.Duration                                                          // at most, before each Update
	update func(context.Context, store.Store, func(store.Writer) error) error     // in place of Update
	get    func(ctx context.Context, key, value []byte) []byte                    // what an Update reads
	set    func(r store.Reader, key, value []byte) (changed []byte, dropped bool) // what an Update writes
	delete func(key []byte) (dropped bool)
}

func (m *mutant) Update(ctx context.Context, f func(store.Writer) error) error {
	if m.slow > 0 {
		time.Sleep(rand.N(m.slow))
	}
	if m.update != nil {
		return m.update(ctx, m.Store, f)
	}
	return m.Store.Update(ctx, func(w store.Writer) error { return f(mutantWriter{w, ctx, m}) })
}

type mutantWriter struct {
	store.Writer
	ctx context.Context
	*mutant
}

func (w mutantWriter) Get(keys ...[]byte) ([][]byte, error) {
	values, err := w.Writer.Get(keys...)
	if w.get != nil && err == nil {
		for i := range values {
			values[i] = w.get(w.ctx, keys[i], values[i])
		}
	}
	return values, err
}

func (w mutantWriter) Set(key, value []byte) error {
	if w.set != nil {
		changed, dropped := w.set(w.Writer, key, value)
		if dropped {
			return nil
		}
		value = changed
	}
	return w.Writer.Set(key, value)
}

func (w mutantWriter) Delete(key []byte) error {
	if w.delete != nil && w.delete(key) {
		return nil
	}
	return w.Writer.Delete(key)
}

// asExpected answers a read of a person's row with what the call was last shown, which is what it expects.
func asExpected(ctx context.Context, key, value []byte) []byte {
	saw, _ := ctx.Value(sightKey{}).(*sight)
	if saw == nil || kindOf(key) != 's' {
		return value
	}
	if shown, ok := saw.rows[string(key)]; ok && shown != nil {
		return bytes.Clone(shown)
	}
	return value
}

// aside runs f on a snapshot and returns what it would write.
func aside(ctx context.Context, s store.Store, f func(store.Writer) error) (func(store.Writer) error, error) {
	w := &asideWriter{own: map[string][]byte{}}
	err := s.View(ctx, func(r store.Reader) error {
		w.Reader = r
		return f(w)
	})
	return func(to store.Writer) error {
		for key, value := range w.own {
			var err error
			if value == nil {
				err = to.Delete([]byte(key))
			} else {
				err = to.Set([]byte(key), value)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}, err
}

// asideWriter keeps its writes to itself. Its Scan does not show them: no Update of the vault scans what it has written.
type asideWriter struct {
	store.Reader
	own map[string][]byte // nil: deleted
}

func (w *asideWriter) Get(keys ...[]byte) ([][]byte, error) {
	values, err := w.Reader.Get(keys...)
	for i, key := range keys {
		if own, ok := w.own[string(key)]; ok && err == nil {
			values[i] = own
		}
	}
	return values, err
}

func (w *asideWriter) Set(key, value []byte) error {
	w.own[string(key)] = append([]byte{}, value...)
	return nil
}

func (w *asideWriter) Delete(key []byte) error {
	w.own[string(key)] = nil
	return nil
}

// early acknowledges the Updates of some calls before it commits them.
type early struct{ pending sync.WaitGroup }

func (e *early) update(ctx context.Context, s store.Store, f func(store.Writer) error) error {
	if saw, _ := ctx.Value(sightKey{}).(*sight); saw == nil || store.UrgencyOf(ctx) != store.Vital {
		return s.Update(ctx, f)
	}
	write, err := aside(ctx, s, f)
	if err != nil {
		return err
	}
	e.pending.Go(func() {
		time.Sleep(2 * time.Millisecond)
		_ = s.Update(context.WithoutCancel(ctx), write)
	})
	return nil
}

func unserialized(ctx context.Context, s store.Store, f func(store.Writer) error) error {
	write, err := aside(ctx, s, f)
	if err != nil {
		return err
	}
	time.Sleep(rand.N(time.Millisecond))
	return s.Update(ctx, write)
}

// ofClients applies a mutation to the Updates of the clients, and leaves those of the vault's own work alone.
func ofClients(mutate func(context.Context, store.Store, func(store.Writer) error) error) func(context.Context, store.Store, func(store.Writer) error) error {
	return func(ctx context.Context, s store.Store, f func(store.Writer) error) error {
		if ctx.Value(sightKey{}) == nil || rand.IntN(6) != 0 {
			return s.Update(ctx, f)
		}
		return mutate(ctx, s, f)
	}
}

func lost(ctx context.Context, s store.Store, f func(store.Writer) error) error {
	_, err := aside(ctx, s, f)
	return err
}

func torn(ctx context.Context, s store.Store, f func(store.Writer) error) error {
	return s.Update(ctx, func(w store.Writer) error {
		n := 0
		half := &mutant{set: func(_ store.Reader, _, value []byte) ([]byte, bool) { n++; return value, n > 2 }}
		return f(mutantWriter{w, ctx, half})
	})
}

// sameMAC is a provider to which all values are one.
type sameMAC struct{ kms.Provider }

func (s sameMAC) MAC(ctx context.Context, inputs ...[]byte) ([][]byte, error) {
	same := make([][]byte, len(inputs))
	for i := range same {
		same[i] = []byte("one")
	}
	return s.Provider.MAC(ctx, same...)
}

// freshMAC is a provider to which no value is ever the same again.
type freshMAC struct{ kms.Provider }

func (s freshMAC) MAC(ctx context.Context, inputs ...[]byte) ([][]byte, error) {
	fresh := make([][]byte, len(inputs))
	for i := range fresh {
		id := kms.NewID()
		fresh[i] = id[:]
	}
	return s.Provider.MAC(ctx, fresh...)
}

// TestLinearizableFindsMutants holds the checker to account: each way to break the vault from below is found.
func TestLinearizableFindsMutants(t *testing.T) {
	acks := &early{}
	t.Cleanup(acks.pending.Wait)
	only := func(u store.Urgency) func(context.Context, []byte, []byte) []byte {
		return func(ctx context.Context, key, value []byte) []byte {
			if store.UrgencyOf(ctx) != u {
				return value
			}
			return asExpected(ctx, key, value)
		}
	}
	const sound = "none: a slow store that keeps its word"
	const slow = 500 * time.Microsecond
	for _, m := range []struct {
		name  string
		store *mutant
		keys  func(kms.Provider) kms.Provider
	}{
		{sound, &mutant{slow: slow}, nil},
		{"a write's re-check always holds", &mutant{slow: slow, get: only(store.NewData)}, nil},
		{"a block's re-check always holds", &mutant{slow: slow, get: only(store.Vital)}, nil},
		{"a unique value is free", &mutant{slow: slow, get: func(_ context.Context, key, value []byte) []byte {
			if kindOf(key) == 'u' {
				return nil
			}
			return value
		}}, nil},
		{"blocks and erasures answer before they commit", &mutant{update: acks.update}, nil},
		{"Updates do not exclude one another", &mutant{update: unserialized}, nil},
		{"an acknowledged Update is lost", &mutant{update: ofClients(lost)}, nil},
		{"an Update is torn", &mutant{update: ofClients(torn)}, nil},
		{"an erased person stays in the index", &mutant{delete: func(key []byte) bool { return kindOf(key) == 'u' }}, nil},
		{"the state is not written", &mutant{set: func(r store.Reader, key, value []byte) ([]byte, bool) {
			if kindOf(key) == 's' {
				value[0] = 1
			}
			return value, false
		}}, nil},
		{"all values have one MAC", nil, func(p kms.Provider) kms.Provider { return sameMAC{p} }},
		{"no value has its MAC again", nil, func(p kms.Provider) kms.Provider { return freshMAC{p} }},
	} {
		t.Run(m.name, func(t *testing.T) {
			p := linearVault(t, memory.New(), 2, func(o *vault.Options) {
				o.Log = slog.New(slog.DiscardHandler)
				if m.store != nil {
					m.store.Store = o.Store.(*observed).Store
					o.Store = &observed{m.store}
				}
				if m.keys != nil {
					o.Keys = m.keys(o.Keys)
				}
			})
			most := 60
			if m.name == sound {
				most = 3
			}
			for n := range most {
				err := p.run(uint64(n), 10)
				if err != nil && !errors.Is(err, history.ErrUndecided) {
					if m.name == sound {
						t.Errorf("a sound store was found wrong: %v", err)
					}
					t.Logf("found by history %d: %.120s", n+1, err.Error())
					return
				}
			}
			if m.name != sound {
				t.Errorf("not found in %d histories", most)
			}
		})
	}
}

// pausing is a store that holds one reading up before the Update that would permit it.
type pausing struct {
	store.Store
	armed         atomic.Bool
	reached, goOn chan struct{}
}

func (p *pausing) Update(ctx context.Context, f func(store.Writer) error) error {
	if store.UrgencyOf(ctx) == store.Reading && ctx.Value(sightKey{}) != nil && p.armed.CompareAndSwap(true, false) {
		close(p.reached)
		<-p.goOn
	}
	return p.Store.Update(ctx, f)
}

// TestReadingDecidesAnew: between the snapshot on which a reading decides and the Update that would permit it, the token
// is revoked, or the person blocked or erased. The reading decides anew. On a store that hides the change it would have
// shown the value of a revoked token; behind a block and an erasure the purge of the keys stands as well.
func TestReadingDecidesAnew(t *testing.T) {
	type change func(*crowd, history.Op) error
	revoke := func(p *crowd, op history.Op) error {
		_, err := p.RevokeTokens(ctx, p.shop, &api.TokensRequest{Tokens: []string{op.Token}})
		return err
	}
	does := func(kind history.Kind) change {
		return func(p *crowd, op history.Op) error {
			op.Kind = kind
			_, err := p.do(ctx, op)
			return err
		}
	}
	for _, tt := range []struct {
		name   string
		change change
		hidden bool
		want   fault.Code
	}{
		{"revoked", revoke, false, fault.NotFound},
		{"blocked", does(history.Block), false, fault.Blocked},
		{"erased", does(history.Erase), false, fault.Erased},
		{"mutant: revoked and hidden", revoke, true, ""},
		{"mutant: blocked and hidden", does(history.Block), true, fault.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pause := &pausing{reached: make(chan struct{}), goOn: make(chan struct{})}
			p := linearVault(t, memory.New(), 3, func(o *vault.Options) {
				pause.Store = o.Store.(*observed).Store
				if tt.hidden {
					pause.Store = &mutant{Store: pause.Store, get: asExpected}
				}
				o.Store = &observed{pause}
			})
			who := must[*history.Answer](t)(p.do(ctx, history.Op{Kind: history.Tokenize, IIN: nextIIN(), Value: nextName()}))
			op := history.Op{Kind: history.Detokenize, Subject: who.Subject, Token: who.Token}
			pause.armed.Store(true)
			var answer *history.Answer
			var err error
			var reading sync.WaitGroup
			reading.Go(func() {
				answer, err = p.do(context.WithValue(ctx, sightKey{}, p.sight()), op)
			})
			<-pause.reached
			if err := tt.change(p, op); err != nil {
				t.Error(err)
			}
			close(pause.goOn)
			reading.Wait()
			got := fault.Code("")
			if err != nil {
				got = fault.CodeOf(err)
			} else {
				got = answer.Code
			}
			if got != tt.want {
				t.Errorf("the reading came to %q, want %q", got, tt.want)
			}
		})
	}
}
