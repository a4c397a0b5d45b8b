package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/blob/file"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/iin"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/badgerdb"
	"github.com/sandyq/sandyq/vault/store/memory"
	"github.com/sandyq/sandyq/vault/store/storetest"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// What clients of a history ask for, each about the person of one IIN.
const (
	doTokenize = iota
	doDetokenize
	doRectify
	doBlock
	doUnblock
	doErase
	permitted // what a detokenize that shows a value is besides, from the Update on that permits it
)

// personOp is one call. Tokenize finds its person by IIN, the others go by what a tokenize has answered.
type personOp struct {
	kind    int
	iin     string
	value   string // written, of the one field
	keep    bool   // tokenize: on_conflict keep
	subject string
	token   string
}

// personAnswer is what came of it. A code is a known outcome too: nothing was done.
type personAnswer struct {
	code    fault.Code
	subject string
	token   string
	value   string
	differs bool
}

// personState is the person whom an IIN means, and who it meant before. An id or a token that no answer has told yet is
// unknown.
type personState struct {
	there   bool
	subject string // "" while unknown
	token   string // of the field; "" while unknown
	value   string
	blocked bool
	erased  string // ids, joined
}

func (s personState) isErased(subject string) bool {
	return subject != "" && strings.Contains(s.erased, subject)
}

// step says whether the answer is one that this state allows, and what it becomes; a nil answer is an unknown outcome,
// which allows everything and does what it would have done.
func (s personState) step(op personOp, answer *personAnswer) (bool, personState) {
	is := func(a personAnswer) bool { return answer == nil || *answer == a }
	if op.kind == doTokenize {
		return s.tokenize(op, answer)
	}
	switch {
	case s.isErased(op.subject):
		return is(personAnswer{code: fault.Erased}), s
	case !s.there || s.subject != op.subject:
		return answer == nil, s // an id that was never given out
	}
	next := s
	switch op.kind {
	case doDetokenize:
		if s.blocked {
			return is(personAnswer{code: fault.Blocked}), s
		}
		return is(personAnswer{value: s.value}), s
	case permitted:
		return !s.blocked, s
	case doRectify:
		next.value = op.value
		return is(personAnswer{token: s.token}), next
	case doBlock:
		next.blocked = true
		return is(personAnswer{}), next
	case doUnblock:
		if !s.blocked {
			return is(personAnswer{code: fault.Conflict}), s
		}
		next.blocked = false
		return is(personAnswer{}), next
	default: // doErase
		if s.blocked {
			return is(personAnswer{code: fault.Blocked}), s
		}
		return is(personAnswer{}), personState{erased: s.erased + s.subject + " "}
	}
}

func (s personState) tokenize(op personOp, answer *personAnswer) (bool, personState) {
	refused := func(code fault.Code) (bool, personState) { return answer == nil || answer.code == code, s }
	next := s
	switch {
	case s.there && s.blocked:
		return refused(fault.Blocked)
	case !s.there:
		next.there, next.value = true, op.value
	case s.value != op.value && !op.keep:
		return refused(fault.Conflict)
	}
	if answer == nil {
		return true, next
	}
	if next.subject == "" {
		next.subject, next.token = answer.subject, answer.token
	}
	return answer.code == "" && answer.subject == next.subject && answer.token == next.token && answer.token != "" &&
		!s.isErased(answer.subject) && answer.differs == (next.value != op.value), next
}

var personModel = porcupine.Model{
	Partition: func(ops []porcupine.Operation) [][]porcupine.Operation {
		byIIN := map[string][]porcupine.Operation{}
		for _, op := range ops {
			n := op.Input.(personOp).iin
			byIIN[n] = append(byIIN[n], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range byIIN {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return personState{} },
	Step: func(state, input, output any) (bool, any) {
		answer, _ := output.(*personAnswer)
		ok, next := state.(personState).step(input.(personOp), answer)
		return ok, next
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v → %+v", input, output) },
}

// known is what the clients know of a person: the last that a tokenize answered.
type known struct{ subject, token string }

// crowd runs histories on one vault.
type crowd struct {
	*vaulttest.Vault
	shop vault.Call

	clock atomic.Int64 // orders the calls and answers of a history
	mu    sync.Mutex
	ops   []porcupine.Operation
	known map[string]known
	wrong []error // answers that no history allows
}

// history has eight clients do random things to a few people, and checks what they were answered.
func (p *crowd) history(seed uint64, each int) error {
	p.ops, p.known, p.wrong = nil, map[string]known{}, nil
	iins := make([]string, 2)
	for i := range iins {
		iins[i] = nextIIN()
	}
	var clients sync.WaitGroup
	for client := range 8 {
		clients.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(client)))
			for range each {
				p.one(client, p.draw(rnd, iins[rnd.IntN(len(iins))]))
			}
		})
	}
	clients.Wait()
	if p.wrong != nil {
		return errors.Join(p.wrong...)
	}
	switch porcupine.CheckOperationsTimeout(personModel, p.ops, checkTime) {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return errUndecided
	}
	return fmt.Errorf("%d calls have no serial order that keeps real time", len(p.ops))
}

// checkTime bounds the checking of one history, which takes milliseconds unless unknown outcomes multiply.
const checkTime = 15 * time.Second

var errUndecided = errors.New("a history could not be checked in time")

// mix is what clients draw their calls from.
var mix = []int{
	doTokenize, doTokenize, doTokenize, doDetokenize, doDetokenize, doDetokenize, doDetokenize, doRectify, doRectify,
	doBlock, doBlock, doUnblock, doUnblock, doErase,
}

// draw makes up a call.
func (p *crowd) draw(rnd *rand.Rand, number string) personOp {
	op := personOp{kind: mix[rnd.IntN(len(mix))], iin: number, value: nextName(), keep: rnd.IntN(2) == 0}
	p.mu.Lock()
	defer p.mu.Unlock()
	k, ok := p.known[number]
	if !ok {
		op.kind = doTokenize
	}
	op.subject, op.token = k.subject, k.token
	return op
}

// one makes a call and records it. One that failed with an unknown outcome may take effect at any later moment; a reading
// that failed has none.
func (p *crowd) one(client int, op personOp) {
	rec := porcupine.Operation{ClientId: client, Input: op, Call: p.clock.Add(1)}
	saw := &sight{clock: &p.clock, rows: map[string][]byte{}}
	answer, err := p.do(context.WithValue(ctx, sightKey{}, saw), op)
	rec.Output, rec.Return = answer, p.clock.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil && (op.kind == doBlock || op.kind == doUnblock) && answer.code == fault.Erased:
		rec.Output, rec.Return = (*personAnswer)(nil), math.MaxInt64 // it may have been made just before the erasure
	case err == nil:
	case !errors.Is(err, fault.Unavailable):
		p.wrong = append(p.wrong, fmt.Errorf("call %d: %w", op.kind, err))
		return
	case op.kind == doDetokenize:
		return
	default:
		rec.Output, rec.Return = (*personAnswer)(nil), math.MaxInt64
	}
	p.ops = append(p.ops, rec)
	if op.kind == doDetokenize && answer.code == "" {
		op.kind = permitted
		p.ops = append(p.ops, porcupine.Operation{ClientId: client, Input: op, Output: answer, Call: saw.updated.Load(), Return: rec.Return})
	}
	if err == nil && op.kind == doTokenize && answer.code == "" {
		p.known[op.iin] = known{answer.subject, answer.token}
	}
}

// do makes a call. An error is an unknown outcome, or one that must not be.
func (p *crowd) do(callCtx context.Context, op personOp) (*personAnswer, error) {
	answer := &personAnswer{}
	block := &api.BlockRequest{Kind: "dispute", Reason: "claim"}
	var err error
	switch op.kind {
	case doTokenize:
		return p.tokenize(callCtx, op)
	case doDetokenize:
		return p.detokenize(callCtx, op)
	case doRectify:
		var r *api.RectifyResponse
		r, err = p.Rectify(callCtx, p.shop, op.subject, &api.RectifyRequest{
			Purpose: "registration", Evidence: api.Evidence{Kind: "application"}, Fields: fields{"given_name": text(op.value)},
		})
		if err == nil {
			answer.token = r.Tokens["given_name"].Items[0]
		}
	case doBlock:
		_, err = p.Block(callCtx, p.shop, op.subject, block)
	case doUnblock:
		_, err = p.Unblock(callCtx, p.shop, op.subject, block)
	case doErase:
		_, err = p.RequestErasure(callCtx, p.shop, &api.ErasureRequest{Subject: op.subject, Ground: "request", Reason: "asked"})
	}
	for _, code := range []fault.Code{fault.Blocked, fault.Erased, fault.Conflict, fault.NotFound} {
		if errors.Is(err, code) {
			return &personAnswer{code: code}, nil
		}
	}
	return answer, err
}

func (p *crowd) tokenize(ctx context.Context, op personOp) (*personAnswer, error) {
	item := api.TokenizeItem{Fields: fields{"iin": text(op.iin), "given_name": text(op.value)}}
	if op.keep {
		item.OnConflict = api.ConflictKeep
	}
	resp, err := p.Tokenize(ctx, p.shop, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{item}})
	if err != nil {
		return nil, err
	}
	r := resp.Results[0]
	if r.Error != nil {
		return itemAnswer(r.Error)
	}
	return &personAnswer{subject: r.Subject, token: r.Tokens["given_name"].Items[0], differs: len(r.Differs) > 0}, nil
}

func (p *crowd) detokenize(ctx context.Context, op personOp) (*personAnswer, error) {
	resp, err := p.Detokenize(ctx, p.shop, &api.DetokenizeRequest{
		Purpose: "service", Reason: "support_call", Tokens: []string{op.token},
	})
	if err != nil {
		return nil, err
	}
	r := resp.Results[0]
	if r.Error != nil {
		return itemAnswer(r.Error)
	}
	value, _ := r.Value.Text()
	return &personAnswer{value: value}, nil
}

func itemAnswer(e *api.ItemError) (*personAnswer, error) {
	if e.Code == fault.Unavailable || e.Code == fault.Internal {
		return nil, e.Err()
	}
	return &personAnswer{code: e.Code}, nil
}

// sight is what the store showed to one call, carried by the call's context.
type sight struct {
	clock   *atomic.Int64
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
		saw.updated.Store(saw.clock.Add(1)) // a call leases from several budgets at once
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

var names, iinSerial atomic.Int64

// nextName is a given name that nobody had before.
func nextName() string {
	name := []rune("Айгүл ")
	for n := names.Add(1); n > 0; n /= 30 {
		name = append(name, 'а'+rune(n%30))
	}
	return string(name)
}

// nextIIN is the IIN of somebody born on 12 March 1985 (or the days after) who was in no test before.
func nextIIN() string {
	for {
		n := iinSerial.Add(1)
		first := fmt.Sprintf("8503%02d3%04d", 1+n/10_000%28, n%10_000)
		if digit, ok := iin.CheckDigit(first); ok {
			return first + string(digit)
		}
	}
}

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
	p := &crowd{Vault: v, shop: app(v)}
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
				err := p.history(uint64(n), 10)
				if errors.Is(err, errUndecided) {
					undecided++
				} else if err != nil {
					t.Fatalf("history %d: %v", n, err)
				}
				calls += len(p.ops)
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
				err := p.history(uint64(n), 10)
				if err != nil && !errors.Is(err, errUndecided) {
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
	type change func(*crowd, personOp) error
	revoke := func(p *crowd, op personOp) error {
		_, err := p.RevokeTokens(ctx, p.shop, &api.TokensRequest{Tokens: []string{op.token}})
		return err
	}
	does := func(kind int) change {
		return func(p *crowd, op personOp) error {
			op.kind = kind
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
		{"blocked", does(doBlock), false, fault.Blocked},
		{"erased", does(doErase), false, fault.Erased},
		{"mutant: revoked and hidden", revoke, true, ""},
		{"mutant: blocked and hidden", does(doBlock), true, fault.Unavailable},
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
			who := must[*personAnswer](t)(p.do(ctx, personOp{kind: doTokenize, iin: nextIIN(), value: nextName()}))
			op := personOp{kind: doDetokenize, subject: who.subject, token: who.token}
			pause.armed.Store(true)
			var answer *personAnswer
			var err error
			var reading sync.WaitGroup
			reading.Go(func() {
				saw := &sight{clock: &p.clock, rows: map[string][]byte{}}
				answer, err = p.do(context.WithValue(ctx, sightKey{}, saw), op)
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
				got = answer.code
			}
			if got != tt.want {
				t.Errorf("the reading came to %q, want %q", got, tt.want)
			}
		})
	}
}
