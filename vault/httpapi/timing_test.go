package httpapi_test

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/budget"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/store/memory"
	"github.com/sandyq/sandyq/vault/token"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// How calls are timed: as dudect does (Reparaz, Balasch, Verbauwhede: "Dude, is my code constant time?", 2017). Two classes of
// calls, in random order; the slowest tenth of all is left out, which is the machine's doing; Welch's t of the rest. Where both
// classes take the same time, |t| exceeds the threshold by chance in 7 of a million comparisons.
const (
	samplesEach = 2000 // of each class, multiplied by SANDYQ_TEST_SCALE; 50 makes it 100,000
	keptShare   = 0.9
	maxT        = 4.5
	timedThings = 32 // of each class, taken in turn

	// layout is the nanoseconds that do not count. A lookup in a map takes some more or less by the map's random seed: in one process
	// 10 ns between handles that are there and not, in others none.
	layout = 25

	leakOfTester = 50 * time.Microsecond // that samplesEach find on a busy machine, too
)

// scene is two classes of calls that must not be told apart by the caller. Both fail with not_found.
type scene struct {
	name string
	a, b func(n int) error
}

// timed is a vault in memory, with a caller who knows of nothing, another who has everything, and what either may name.
type timed struct {
	*vaulttest.Vault
	t            *testing.T
	stage        *stage
	caller       vault.Call
	foreign, own []*figure
	strangers    []*figure
}

func newTimed(t *testing.T) *timed {
	t.Helper()
	d := &timed{t: t, stage: &stage{Store: memory.New()}}
	d.Vault = vaulttest.New(t, vaulttest.FourEyes(), vaulttest.With(func(o *vault.Options) {
		o.Store, o.SweepEvery, o.LogEvery = d.stage, time.Hour, time.Hour // nobody else asks of the store
		// What is leased of a budget is written now and then, whatever is asked for.
		o.Budget.Limits = []budget.Limit{{Name: "staff", Roles: []access.Role{access.Staff}, Kind: budget.Read, Hour: 1}}
		began := clock.System()
		o.Clock = func() time.Time { return began } // the log's times are not all of one length
	}))
	d.caller = d.As(asked, access.Application)
	d.foreign, d.own = d.figures(d.As(another, access.Application)), d.figures(d.caller)
	req := &api.TokensRequest{}
	for _, f := range d.own {
		req.Tokens = append(req.Tokens, f.token)
	}
	need(d.RevokeTokens(t.Context(), d.caller, req))(t)
	for range timedThings {
		one := func(prefix string) string { return id.Encode(prefix, id.New()) }
		unknown := func() string { return string(need(token.New(token.Opaque, 'p'))(t)) }
		d.strangers = append(d.strangers, &figure{
			subject: one("sub_"), token: unknown(), document: unknown(), erasure: one("era_"), handoff: one("hnd_"), handle: one("con_"),
		})
	}
	d.stage.up.Store(true)
	return d
}

// figures are people whom a system holds, each with a document that it has opened, a handoff to a third system, and an erasure
// that waits.
func (d *timed) figures(call vault.Call) []*figure {
	d.t.Helper()
	ctx := d.t.Context()
	all := make([]*figure, timedThings)
	for i := range all {
		made := need(d.Tokenize(ctx, call, &api.TokenizeRequest{Purpose: matrixPurpose, Items: []api.TokenizeItem{{
			Fields: map[string]api.OneOrMany[api.Value]{"given_name": api.One(api.Text("Айгүл"))},
		}}}))(d.t).Results[0]
		f := &figure{subject: made.Subject, token: made.Tokens["given_name"].Items[0]}
		f.document = deposit(d.t, d.Vault, call, f.subject)
		f.handoff = need(d.CreateHandoff(ctx, call, &api.CreateHandoffRequest{
			Subject: f.subject, ToSystem: third, Purpose: matrixPurpose, Fields: []string{"given_name"},
		}))(d.t).Handoff
		opened := need(d.OpenDocument(ctx, call, &api.OpenDocumentRequest{Token: f.document, Purpose: matrixPurpose, Reason: "asked"}))(d.t)
		f.handle = opened.Content[len("/v1/content/"):]
		f.erasure = need(d.RequestErasure(ctx, call, &api.ErasureRequest{Subject: f.subject, Ground: "request", Reason: "asked"}))(d.t).Erasure
		all[i] = f
	}
	return all
}

// scenes is what must take the same time whether or not there is what was asked about.
func (d *timed) scenes() []scene {
	ctx := context.WithValue(context.Background(), staged{}, true)
	of := func(all []*figure, call func(f *figure) error) func(int) error {
		return func(n int) error { return call(all[n%len(all)]) }
	}
	detokenize := func(f *figure) error {
		got, err := d.Detokenize(ctx, d.caller, &api.DetokenizeRequest{Purpose: matrixPurpose, Reason: "asked", Tokens: []string{f.token}})
		if err == nil && got.Results[0].Error != nil {
			err = fault.New(got.Results[0].Error.Code, "")
		}
		return err
	}
	pair := func(name string, call func(f *figure) error) scene {
		return scene{name + ": another's, none", of(d.foreign, call), of(d.strangers, call)}
	}
	return []scene{
		pair("detokenize", detokenize),
		{"detokenize: revoked, none", of(d.own, detokenize), of(d.strangers, detokenize)},
		{"detokenize: another's, revoked", of(d.foreign, detokenize), of(d.own, detokenize)},
		pair("subject.show", func(f *figure) error { _, err := d.Subject(ctx, d.caller, f.subject); return err }),
		pair("document.open", func(f *figure) error {
			_, err := d.OpenDocument(ctx, d.caller, &api.OpenDocumentRequest{Token: f.document, Purpose: matrixPurpose, Reason: "asked"})
			return err
		}),
		pair("document.content", func(f *figure) error { _, err := d.Content(ctx, d.caller, f.handle); return err }),
		pair("erasure.show", func(f *figure) error { _, err := d.Erasure(ctx, d.caller, f.erasure); return err }),
		pair("handoff.redeem", func(f *figure) error {
			_, err := d.RedeemHandoff(ctx, d.caller, &api.RedeemHandoffRequest{Handoff: f.handoff})
			return err
		}),
	}
}

// What is another's and what there is not ask the same of the store: as many reads and writes, of the same sizes.
func TestWhatIsAnothersAsksOfTheStoreWhatNothingDoes(t *testing.T) {
	d := newTimed(t)
	for _, s := range d.scenes() {
		var traces [2]string
		for i, call := range []func(int) error{s.a, s.b} {
			traces[i] = d.stage.traced(func() {
				if err := call(0); fault.CodeOf(err) != fault.NotFound {
					t.Errorf("%s: %v", s.name, err)
				}
			})
		}
		if traces[0] != traces[1] {
			t.Errorf("%s:\n%sand\n%s", s.name, traces[0], traces[1])
		}
	}
}

// What is another's and what there is not are answered in the same time.
func TestWhatIsAnothersTakesAsLongAsNothing(t *testing.T) {
	scale, err := strconv.Atoi(cmp.Or(os.Getenv("SANDYQ_TEST_SCALE"), "1"))
	if err != nil {
		t.Fatal(err)
	}
	d := newTimed(t)
	n := samplesEach * scale
	for _, s := range d.scenes() {
		r := s.measure(t, n)
		t.Logf("%-32s t = %+6.2f of 2 × %d calls, %.2f and %.2f µs", s.name, r.t, n, r.mean[0]/1000, r.mean[1]/1000)
		if math.Abs(r.t) > maxT && math.Abs(r.mean[0]-r.mean[1]) > layout {
			t.Errorf("%s: told apart by time, t = %.2f", s.name, r.t)
		}
	}
}

// A difference that is there is found.
func TestATellTaleDifferenceIsFound(t *testing.T) {
	d := newTimed(t)
	d.stage.leaks.Store(int64(leakOfTester))
	for _, s := range d.scenes()[:1] {
		if r := s.measure(t, samplesEach); math.Abs(r.t) <= maxT {
			t.Errorf("%s: a difference of %v was not found, t = %.2f", s.name, leakOfTester, r.t)
		}
	}
}

// measured is what timing came to.
type measured struct {
	t    float64
	mean [2]float64 // nanoseconds
}

// measure times both classes n times each, in random order.
func (s scene) measure(t *testing.T, n int) measured {
	t.Helper()
	order := make([]int, 0, 2*n)
	for i := range 2 * n {
		order = append(order, i%2)
	}
	random := rand.New(rand.NewPCG(1, uint64(n)))
	random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	calls := [2]func(int) error{s.a, s.b}
	took := [2][]float64{}
	for i, class := range order {
		began := clock.System()
		err := calls[class](i)
		took[class] = append(took[class], float64(clock.System().Sub(began)))
		if fault.CodeOf(err) != fault.NotFound {
			t.Fatalf("%s: %v", s.name, err)
		}
	}
	all := slices.Sorted(slices.Values(slices.Concat(took[0], took[1])))
	limit := all[int(keptShare*float64(len(all)))]
	for class := range took {
		took[class] = slices.DeleteFunc(took[class], func(v float64) bool { return v > limit })
	}
	return welch(took)
}

// welch compares two means (Welch, 1947).
func welch(of [2][]float64) (m measured) {
	var errors float64
	for class, values := range of {
		n := float64(len(values))
		for _, v := range values {
			m.mean[class] += v / n
		}
		var squares float64
		for _, v := range values {
			squares += (v - m.mean[class]) * (v - m.mean[class])
		}
		errors += squares / (n - 1) / n
	}
	m.t = (m.mean[0] - m.mean[1]) / math.Sqrt(errors)
	return m
}
