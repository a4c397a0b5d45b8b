package vault_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/blob/file"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/memory"
	"github.com/sandyq/sandyq/vault/store/storetest"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// shutter is something that forbids readings from the acknowledgement of its shutting until it is about to be opened. One
// client moves it. The moments are of the storm's clock.
type shutter struct {
	name       string
	who        int                             // the person it is about; -1: everybody
	shut, open func(ctx context.Context) error // until they are acknowledged
	spares     func(way string) bool           // what it does not forbid
	mu         sync.Mutex
	spans      [][2]int64 // from, to; 0: still
}

// forbids reports whether it was shut before a moment and all the time until another.
func (s *shutter) forbids(from, to int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, span := range s.spans {
		if span[0] < from && (span[1] == 0 || span[1] > to) {
			return true
		}
	}
	return false
}

// calm is how seldom the shutter is moved: what is shut is opened soon, so that something can be read at all.
func (s *shutter) calm() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.spans); n > 0 && s.spans[n-1][1] == 0 {
		return 4
	}
	return 16
}

// storm is eight clients on two nodes, each of whom moves a shutter of its own, and all of whom read.
type storm struct {
	nodes    []*vaulttest.Vault
	shop     vault.Call
	root     vault.Call
	witness  *witness
	clock    atomic.Int64
	serial   atomic.Int64
	people   []stormPerson
	shutters []*shutter

	mu    sync.Mutex
	wrong []error
	tally map[string]int
}

// stormPerson is a person by the system's names for them.
type stormPerson struct{ subject, name, phone, document, number string }

// lagging is a store whose Updates come late, so that what they rest on has changed by then.
type lagging struct {
	store.Store
	most time.Duration
}

func (l *lagging) Update(ctx context.Context, f func(store.Writer) error) error {
	if ctx.Value(sightKey{}) != nil {
		time.Sleep(rand.N(l.most))
	}
	return l.Store.Update(ctx, f)
}

// newStorm opens two nodes over a store with faults, which spoil may break further.
func newStorm(t *testing.T, seed uint64, chances storetest.Chances, spoil func(node int, s store.Store) store.Store) *storm {
	home := inMemory(t)
	keys := must[kms.Provider](t)(vaulttest.Keyring(filepath.Join(home, "keyring")))
	blobs := must[*file.Store](t)(file.Open(filepath.Join(home, "documents"), 0))
	t.Cleanup(func() { keys.Close() })
	s := &storm{witness: newWitness(memory.New()), tally: map[string]int{}}
	var armed atomic.Bool
	random := storetest.Random(seed, chances)
	faulty := storetest.NewFaulty(s.witness, func(n int) storetest.Fault {
		if !armed.Load() {
			return storetest.None
		}
		return random(n)
	})
	for node := range 2 {
		s.nodes = append(s.nodes, vaulttest.At(t, home, vaulttest.With(func(o *vault.Options) {
			own := &nodeStore{Store: faulty}
			o.Keys = keys
			if node > 0 {
				own.title, o.Keys = []byte{byte(node)}, &nodeKeys{Provider: keys}
			}
			o.Store = own
			if spoil != nil {
				o.Store = spoil(node, own)
			}
			o.Store = &lagging{&observed{o.Store}, time.Millisecond}
			o.Place, o.Blobs, o.Consents, o.Log = "test", blobs, vault.ConsentsEnforced, slog.New(slog.DiscardHandler)
			o.SweepEvery, o.Keyring.PoolSize = time.Hour, 16
		})))
	}
	s.shop, s.root = s.nodes[0].As("shop", "application"), s.nodes[0].As("root", "administrator")
	s.settle(t)
	armed.Store(true)
	return s
}

// settle makes the purposes, the people and the shutters.
func (s *storm) settle(t *testing.T) {
	v := s.nodes[0]
	for _, name := range []string{"care", "intake", "report"} {
		must[*api.Change](t)(v.PutPurpose(ctx, s.root, name, basisTemplate(name)))
	}
	must[*api.Change](t)(v.PutRecipient(ctx, s.root, "registry", &api.Recipient{Title: inThreeLanguages, Country: "KZ", Purposes: []string{"report"}}))
	must[*api.Change](t)(v.PutConsentText(ctx, s.root, "t1", &api.ConsentTextRequest{
		Text: api.Languages{Kazakh: "к", Russian: "р", English: "e"}, EffectiveFrom: v.Clock.Now().Add(-time.Hour), Purposes: []string{"care"},
	}))
	for range 3 {
		p := stormPerson{number: nextIIN()}
		resp := must[*api.TokenizeResponse](t)(v.Tokenize(ctx, s.shop, &api.TokenizeRequest{Purpose: "intake", Items: []api.TokenizeItem{{Fields: fields{
			"iin": text(p.number), "given_name": text(nextName()), "phone": text(fmt.Sprintf("+7702%07d", basisPhones.Add(1))),
		}}}}))
		r := resp.Results[0]
		wantItem(t, r.Error, "")
		p.subject, p.name, p.phone = r.Subject, r.Tokens["given_name"].Items[0], r.Tokens["phone"].Items[0]
		u := upload(p.subject, jpeg(2000))
		u.Purpose = "intake"
		p.document = must[*api.Document](t)(v.PutDocument(ctx, s.shop, u)).Token
		s.people = append(s.people, p)
		s.consents(len(s.people) - 1)
		s.blocks(len(s.people) - 1)
	}
	s.purpose("care retired", func(retired bool, on *vaulttest.Vault, call vault.Call, ctx context.Context) error {
		p := basisTemplate("care")
		p.Retired = retired
		_, err := on.PutPurpose(ctx, call, "care", p)
		return err
	})
	s.purpose("care not the system's", func(without bool, on *vaulttest.Vault, call vault.Call, ctx context.Context) error {
		r := &api.System{Purposes: []string{"intake", "report"}}
		if !without {
			r.Purposes = append(r.Purposes, "care")
		}
		_, err := on.PutSystem(ctx, call, "shop", r)
		return err
	})
	for _, shutter := range s.shutters {
		if err := shutter.open(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// on is some node, and a call of its own.
func (s *storm) on(as vault.Call) (*vaulttest.Vault, vault.Call) {
	n := s.serial.Add(1)
	as.RequestID = fmt.Sprint("storm-", n)
	return s.nodes[rand.IntN(len(s.nodes))], as
}

// insist asks until it is acknowledged: what failed may have been done.
func insist(f func() error) error {
	var err error
	for range 200 {
		if err = f(); !errors.Is(err, fault.Unavailable) {
			return err
		}
	}
	return err
}

// consents is the shutter of a person's consents: all withdrawn, or one given anew.
func (s *storm) consents(who int) {
	p := s.people[who]
	s.shutters = append(s.shutters, &shutter{
		name: "withdrawn", who: who, spares: func(way string) bool { return way == "report" },
		open: func(ctx context.Context) error {
			return insist(func() error {
				on, call := s.on(s.shop)
				_, err := on.RecordConsent(ctx, call, p.subject, &api.ConsentRequest{
					Text: "t1", Purposes: []string{"care"}, Channel: "web_form", GivenAt: on.Clock.Now(),
				})
				if errors.Is(err, fault.Blocked) || errors.Is(err, fault.Invalid) {
					err = nil // it stays shut, which is known
				}
				return err
			})
		},
		shut: func(ctx context.Context) error {
			return insist(func() error {
				on, call := s.on(s.shop)
				all, err := on.ListConsents(ctx, call, p.subject)
				if err != nil {
					return err
				}
				for _, c := range all.Items {
					if c.State == api.ConsentWithdrawn {
						continue
					}
					on, call := s.on(s.shop)
					if _, err := on.WithdrawConsent(ctx, call, p.subject, c.Consent, &api.WithdrawRequest{}); err != nil {
						return err
					}
				}
				return nil
			})
		},
	})
}

// blocks is the shutter of a person who is blocked.
func (s *storm) blocks(who int) {
	move := func(block bool) func(context.Context) error {
		return func(ctx context.Context) error {
			return insist(func() error {
				on, call := s.on(s.shop)
				change := on.Unblock
				if block {
					change = on.Block
				}
				_, err := change(ctx, call, s.people[who].subject, &api.BlockRequest{Kind: "dispute", Reason: "claim"})
				if errors.Is(err, fault.Conflict) && !block {
					err = nil // there is none
				}
				return err
			})
		}
	}
	s.shutters = append(s.shutters, &shutter{
		name: "blocked", who: who, shut: move(true), open: move(false), spares: func(way string) bool { return way == "search" },
	})
}

// purpose is a shutter that staff move by what they configure.
func (s *storm) purpose(name string, change func(bool, *vaulttest.Vault, vault.Call, context.Context) error) {
	move := func(shut bool) func(context.Context) error {
		return func(ctx context.Context) error {
			return insist(func() error {
				on, call := s.on(s.root)
				return change(shut, on, call, ctx)
			})
		}
	}
	s.shutters = append(s.shutters, &shutter{
		name: name, who: -1, shut: move(true), open: move(false), spares: func(way string) bool { return way == "report" },
	})
}

// stormWays are the ways to read a person's data. They report whether anything was disclosed.
var stormWays = map[string]func(ctx context.Context, on *vaulttest.Vault, call vault.Call, p stormPerson) (bool, error){
	"detokenize": func(ctx context.Context, on *vaulttest.Vault, call vault.Call, p stormPerson) (bool, error) {
		return stormTokens(ctx, on, call, &api.DetokenizeRequest{Purpose: "care", Reason: "check", Tokens: []string{p.name, p.phone}})
	},
	"report": func(ctx context.Context, on *vaulttest.Vault, call vault.Call, p stormPerson) (bool, error) {
		return stormTokens(ctx, on, call, &api.DetokenizeRequest{Purpose: "report", Recipient: "registry", Reason: "check", Tokens: []string{p.name}})
	},
	"reveal": func(ctx context.Context, on *vaulttest.Vault, call vault.Call, p stormPerson) (bool, error) {
		got, err := on.Reveal(ctx, call, p.subject, &api.RevealRequest{Purpose: "care", Reason: "check", Fields: []string{"phone"}})
		return err == nil && len(got.Fields) > 0, err
	},
	"search": func(ctx context.Context, on *vaulttest.Vault, call vault.Call, p stormPerson) (bool, error) {
		got, err := on.Search(ctx, call, &api.SearchRequest{Purpose: "care", Reason: "check", Field: "iin", Value: api.Text(p.number)})
		return err == nil && len(got.Results) > 0, err
	},
	"open": func(ctx context.Context, on *vaulttest.Vault, call vault.Call, p stormPerson) (bool, error) {
		got, err := on.OpenDocument(ctx, call, &api.OpenDocumentRequest{Purpose: "care", Reason: "check", Token: p.document})
		return err == nil && got.Size > 0, err
	},
}

func stormTokens(ctx context.Context, on *vaulttest.Vault, call vault.Call, req *api.DetokenizeRequest) (bool, error) {
	got, err := on.Detokenize(ctx, call, req)
	if err != nil {
		return false, err
	}
	for _, r := range got.Results {
		if r.Value != nil {
			return true, nil
		}
		err = r.Error.Err()
	}
	return false, err
}

// seeing is a call that carries what the store shows to it.
func (s *storm) seeing() (context.Context, *sight) {
	saw := &sight{now: func() int64 { return s.clock.Add(1) }, rows: map[string][]byte{}}
	return context.WithValue(ctx, sightKey{}, saw), saw
}

// read reads in one way, and tells what is wrong about it: a disclosure that was permitted by an Update which began after
// something that forbids it was acknowledged, or that the log or the transfers do not tell of.
func (s *storm) read(way string, who int) {
	on, call := s.on(s.shop)
	callCtx, saw := s.seeing()
	got, err := stormWays[way](callCtx, on, call, s.people[who])
	end := s.clock.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !got {
		if err != nil {
			s.tally["refused: "+string(fault.CodeOf(err))]++
		}
		if err != nil && !errors.Is(err, fault.Blocked) && !errors.Is(err, fault.Denied) && !errors.Is(err, fault.Unavailable) {
			s.wrong = append(s.wrong, fmt.Errorf("%s: %w", way, err))
		}
	}
	for _, shut := range s.shutters {
		switch {
		case shut.who >= 0 && shut.who != who, shut.spares(way), !shut.forbids(saw.updated.Load(), end):
		case got:
			s.wrong = append(s.wrong, fmt.Errorf("%s discloses although %s", way, shut.name))
		default:
			s.tally["forbidden: "+shut.name]++
		}
	}
	if !got {
		return
	}
	s.tally["disclosed: "+way]++
	entries, transfers := s.witness.of(call.RequestID)
	told := 0
	for _, e := range entries {
		if e.Decision == audit.Allow && e.Subject != "" && e.Basis != "" {
			told++
		}
	}
	if told == 0 || (way == "report") != (len(transfers) > 0) {
		s.wrong = append(s.wrong, fmt.Errorf("%s: %d entries and %d transfers tell of it", way, told, len(transfers)))
	}
}

// stream opens a document and reads it; each reading begins anew.
func (s *storm) stream(who int) {
	on, call := s.on(s.shop)
	callCtx, _ := s.seeing()
	opened, err := on.OpenDocument(callCtx, call, &api.OpenDocumentRequest{Purpose: "care", Reason: "check", Token: s.people[who].document})
	if err != nil {
		return
	}
	for range 6 {
		time.Sleep(rand.N(time.Millisecond))
		begin := s.clock.Add(1)
		c, err := on.Content(callCtx, call, opened.Content[len("/v1/content/"):])
		n := 0
		if err == nil {
			n, _ = c.Read(make([]byte, 100))
			_ = c.Close()
		}
		end := s.clock.Add(1)
		s.streamed(who, n > 0, begin, end)
	}
}

func (s *storm) streamed(who int, got bool, begin, end int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if got {
		s.tally["disclosed: content"]++
	}
	for _, shut := range s.shutters {
		if (shut.who == who || shut.who < 0) && shut.forbids(begin, end) {
			s.tally["forbidden: content"]++
			if got {
				s.wrong = append(s.wrong, fmt.Errorf("content discloses although %s", shut.name))
			}
		}
	}
}

// move shuts what is open and opens what is shut.
func (s *storm) move(shut *shutter) {
	callCtx, _ := s.seeing()
	shut.mu.Lock()
	last := len(shut.spans) - 1
	stands := last >= 0 && shut.spans[last][1] == 0
	if stands {
		shut.spans[last][1] = s.clock.Add(1)
	}
	shut.mu.Unlock()
	var err error
	if stands {
		err = shut.open(callCtx)
	} else if err = shut.shut(callCtx); err == nil {
		shut.mu.Lock()
		shut.spans = append(shut.spans, [2]int64{s.clock.Add(1), 0})
		shut.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tally["moved: "+shut.name]++
	if err != nil && !errors.Is(err, fault.Unavailable) {
		s.wrong = append(s.wrong, fmt.Errorf("move %s: %w", shut.name, err))
	}
}

// rage has every client do so much, and returns what went wrong.
func (s *storm) rage(seed uint64, each int) error {
	ways := []string{"detokenize", "detokenize", "reveal", "search", "open", "report", "stream"}
	var clients sync.WaitGroup
	for client, own := range s.shutters {
		clients.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(client)))
			for range each {
				who := rnd.IntN(len(s.people))
				if own.who >= 0 && rnd.IntN(2) == 0 {
					who = own.who
				}
				switch way := ways[rnd.IntN(len(ways))]; {
				case rnd.IntN(own.calm()) == 0:
					s.move(own)
				case way == "stream":
					s.stream(who)
				default:
					s.read(way, who)
				}
			}
		})
	}
	clients.Wait()
	return errors.Join(s.wrong...)
}

// TestNothingIsDisclosedInAStorm has eight clients shut, open and read at once on two nodes, over a store whose Updates fail.
func TestNothingIsDisclosedInAStorm(t *testing.T) {
	total := map[string]int{}
	for n := range scaled(4) {
		s := newStorm(t, uint64(n), storetest.Chances{Before: 0.01, After: 0.02, Rerun: 0.1}, nil)
		if err := s.rage(uint64(n), 150); err != nil {
			t.Errorf("storm %d: %v", n, err)
		}
		for what, n := range s.tally {
			total[what] += n
		}
		for _, v := range s.nodes {
			v.Stop()
		}
	}
	for _, what := range slices.Sorted(maps.Keys(total)) {
		t.Logf("%6d %s", total[what], what)
	}
	for _, what := range []string{
		"disclosed: detokenize", "disclosed: reveal", "disclosed: search", "disclosed: open", "disclosed: report", "disclosed: content",
		"forbidden: withdrawn", "forbidden: blocked", "forbidden: care retired", "forbidden: care not the system's", "forbidden: content",
		"refused: denied", "refused: blocked",
	} {
		if total[what] < scaled(10) {
			t.Errorf("%s: %d times, too few to tell anything", what, total[what])
		}
	}
}

// TestTheStormFindsMutants holds the storm to account.
func TestTheStormFindsMutants(t *testing.T) {
	acks := &early{}
	t.Cleanup(acks.pending.Wait)
	for name, spoil := range map[string]func(node int, s store.Store) store.Store{
		"a reading's re-check always holds": func(_ int, s store.Store) store.Store {
			return &mutant{Store: s, get: func(ctx context.Context, key, value []byte) []byte {
				if store.UrgencyOf(ctx) != store.Reading {
					return value
				}
				return asExpected(ctx, key, value)
			}}
		},
		"a node's rules always hold": func(node int, s store.Store) store.Store {
			if node == 0 {
				return s
			}
			blind := asRead()
			blind.Store = s
			return blind
		},
		"withdrawals and blocks answer before they commit": func(_ int, s store.Store) store.Store {
			return &mutant{Store: s, update: acks.update}
		},
		"an acknowledged Update is lost": func(_ int, s store.Store) store.Store { return &mutant{Store: s, update: ofClients(lost)} },
	} {
		t.Run(name, func(t *testing.T) {
			const most = 60
			for n := range most {
				s := newStorm(t, uint64(n), storetest.Chances{}, spoil)
				err := s.rage(uint64(n), 100)
				for _, v := range s.nodes {
					v.Stop()
				}
				if err != nil {
					t.Logf("found by storm %d: %.120s", n+1, err.Error())
					return
				}
			}
			t.Errorf("not found in %d storms", most)
		})
	}
}
