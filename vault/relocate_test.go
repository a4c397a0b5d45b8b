package vault_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/move"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/memory"
	"github.com/sandyq/sandyq/vault/store/storetest"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// removal is a vault that moves from one store to another, over the keys and the ledger of one home.
type removal struct {
	t        *testing.T
	home     string
	keys     *hazardousKeys
	from, to store.Store
	places   [2]string
	call     vault.Call
	want     map[string]fault.Code // what becomes of a token
}

// hazardousKeys fail a step to another generation when they are told to: before it is taken, or after.
type hazardousKeys struct {
	kms.Provider
	before, after atomic.Bool
}

func (k *hazardousKeys) Advance(ctx context.Context, from, to kms.Generation) error {
	if k.before.Load() {
		return kms.ErrUnavailable
	}
	err := k.Provider.Advance(ctx, from, to)
	if k.after.Load() {
		return kms.ErrUnavailable
	}
	return err
}

func newRemoval(t *testing.T, to store.Store) *removal {
	t.Helper()
	home := t.TempDir()
	r := &removal{
		t: t, home: home, keys: &hazardousKeys{Provider: ownKeys(t, home+"/keyring")},
		from: memory.New(), to: to, places: [2]string{"here", "there"}, want: map[string]fault.Code{},
	}
	v := r.serve(r.from, r.places[0])
	r.call = v.As("crm", access.Administrator)
	r.register(v, "")
	_, subject := r.register(v, fault.Blocked)
	must[*api.Subject](t)(v.Block(ctx, r.call, subject, &api.BlockRequest{Kind: "dispute", Reason: "test"}))
	_, subject = r.register(v, fault.Erased)
	must[*api.Erasure](t)(v.RequestErasure(ctx, r.call, &api.ErasureRequest{Subject: subject, Ground: "request", Reason: "test"}))
	v.Stop()
	return r
}

// serve opens the vault over one of the stores.
func (r *removal) serve(s store.Store, place string) *vaulttest.Vault {
	r.t.Helper()
	v := vaulttest.At(r.t, r.home, vaulttest.With(func(o *vault.Options) {
		o.Store, o.Place, o.Keys = s, place, r.keys
	}))
	return v
}

// register stores somebody of whom a reading is to come to code.
func (r *removal) register(v *vaulttest.Vault, code fault.Code) (token, subject string) {
	r.t.Helper()
	made := tokenize1(r.t, v, r.call, api.TokenizeItem{Fields: fields{"family_name": text("Сәрсенова")}})
	token = made.Tokens["family_name"].Items[0]
	r.want[token] = code
	return token, made.Subject
}

// relocation is the move, begun anew.
func (r *removal) relocation() *vault.Relocation {
	return &vault.Relocation{
		Tenant: "test", From: vault.Side{Store: r.from, Place: r.places[0]}, To: vault.Side{Store: r.to, Place: r.places[1]}, Keys: r.keys,
	}
}

// try moves what is to be moved, up to the first failure, and leaves nothing open.
func (r *removal) try() error {
	m := r.relocation()
	stage, err := m.Stage(ctx)
	if err != nil {
		return err
	}
	if stage == vault.StageSource {
		if err := r.carry(m); err != nil {
			return err
		}
	}
	v := r.serve(r.to, r.places[1])
	defer v.Stop()
	if slices.Contains(v.Ready(ctx).Degraded, "copy") {
		if err := v.Promote(ctx); err != nil {
			return err
		}
	}
	return m.End(ctx)
}

func (r *removal) carry(m *vault.Relocation) error {
	if err := m.Begin(ctx); err != nil {
		return err
	}
	if err := m.Still(ctx); err != nil {
		return err
	}
	rows := &move.Rows{From: r.from, To: r.to, Under: [][]byte{m.Prefix()}, Own: vault.StaysBehind, Kind: vault.KindOfRow}
	if _, err := rows.Copy(ctx); err != nil {
		return err
	}
	if _, err := rows.Verify(ctx); err != nil {
		return err
	}
	return m.HandOver(ctx)
}

// settled sees that the target is the live vault, in which all is as it was acknowledged, and that the source gives nothing out.
func (r *removal) settled() {
	r.t.Helper()
	if stage, err := r.relocation().Stage(ctx); stage != vault.StageTarget || err != nil {
		r.t.Errorf("the move has come to %v: %v", stage, err)
	}
	v := r.serve(r.to, r.places[1])
	r.read(v)
	r.register(v, "") // it is no copy
	v.Stop()
	left := r.serve(r.from, r.places[0])
	defer left.Stop()
	if _, err := left.Detokenize(ctx, r.call, &api.DetokenizeRequest{Purpose: "service", Reason: "test", Tokens: []string{"x"}}); !errors.Is(err, fault.Unavailable) {
		r.t.Errorf("what was left behind answers: %v", err)
	}
}

func (r *removal) read(v *vaulttest.Vault) {
	r.t.Helper()
	var tokens []string
	for token := range r.want {
		tokens = append(tokens, token)
	}
	answer := must[*api.DetokenizeResponse](r.t)(v.Detokenize(ctx, r.call, &api.DetokenizeRequest{Purpose: "service", Reason: "test", Tokens: tokens}))
	for _, result := range answer.Results {
		code := fault.Code("")
		if result.Error != nil {
			code = result.Error.Code
		}
		if code != r.want[result.Token] {
			r.t.Errorf("it reads %q, want %q", code, r.want[result.Token])
		}
	}
}

// fell sees what a move that fell has left: one of the two is the live one, or the target only has to be promoted. What is live goes on.
func (r *removal) fell() {
	r.t.Helper()
	stage := must[vault.Stage](r.t)(r.relocation().Stage(ctx))
	standing := must[vault.Standing](r.t)(vault.StandingOf(ctx, "test", r.from, "here", r.keys))
	if (stage == vault.StageSource) != (standing == vault.StandingLive) || stage != vault.StageSource && standing != vault.StandingSuperseded {
		r.t.Errorf("it has come to %v, and the source is %s", stage, standing)
	}
	if stage == vault.StageSource {
		v := r.serve(r.from, r.places[0])
		r.read(v)
		r.register(v, "")
		v.Stop()
	}
}

// TestRelocation is one that nothing disturbs.
func TestRelocation(t *testing.T) {
	r := newRemoval(t, memory.New())
	before := allRows(t, r.from)
	if err := r.try(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(before, allRows(t, r.from)) {
		t.Error("the source was changed")
	}
	r.settled()
	if err := r.try(); err != nil {
		t.Errorf("once more: %v", err)
	}
	r.settled()
}

// TestRelocationFallsAnywhere fails every Update of the target in turn, before and after it is written, and the step of the keys.
func TestRelocationFallsAnywhere(t *testing.T) {
	for _, kind := range []storetest.Fault{storetest.FailBefore, storetest.FailAfter} {
		for n := 1; ; n++ {
			var armed atomic.Bool
			var count atomic.Int64
			r := newRemoval(t, storetest.NewFaulty(memory.New(), func(int) storetest.Fault {
				if armed.Load() && count.Add(1) == int64(n) {
					return kind
				}
				return storetest.None
			}))
			armed.Store(true)
			err := r.try()
			armed.Store(false)
			if err == nil && count.Load() < int64(n) {
				t.Logf("%d Updates were failed", n-1)
				if n < 6 {
					t.Error("that are too few")
				}
				break
			}
			if err != nil && !errors.Is(err, storetest.ErrInjected) {
				t.Fatal(err)
			}
			r.fell()
			if err := r.try(); err != nil {
				t.Fatalf("after the %d. Update: %v", n, err)
			}
			r.settled()
			if t.Failed() {
				t.Fatalf("fault %v of the %d. Update", kind, n)
			}
		}
	}
}

// TestRelocationWhileTheKeysFall loses the step on the key side, and its answer.
func TestRelocationWhileTheKeysFall(t *testing.T) {
	for _, answered := range []bool{true, false} {
		r := newRemoval(t, memory.New())
		m := r.relocation()
		if err := r.carry(m); err != nil {
			t.Fatal(err)
		}
		v := r.serve(r.to, r.places[1])
		r.keys.before.Store(answered)
		r.keys.after.Store(!answered)
		if err := v.Promote(ctx); !errors.Is(err, kms.ErrUnavailable) {
			t.Errorf("promoted: %v", err)
		}
		v.Stop()
		r.keys.before.Store(false)
		r.keys.after.Store(false)
		if stage := must[vault.Stage](t)(m.Stage(ctx)); (stage == vault.StageSource) != answered || stage == vault.StageTarget {
			t.Errorf("it has come to %v", stage)
		}
		r.fell()
		if err := r.try(); err != nil {
			t.Fatal(err)
		}
		r.settled()
	}
}

// TestRelocationLeavesOthersAlone: a target with other rows, and a source that is not the live one.
func TestRelocationLeavesOthersAlone(t *testing.T) {
	r, other := newRemoval(t, memory.New()), newRemoval(t, memory.New())
	m := r.relocation()
	m.To.Store = other.from
	before := allRows(t, other.from)
	if err := m.Begin(ctx); !errors.Is(err, vault.ErrOccupied) {
		t.Errorf("began over another vault: %v", err)
	}
	if !slices.Equal(before, allRows(t, other.from)) {
		t.Error("another vault's rows were changed")
	}
	if err := r.try(); err != nil {
		t.Fatal(err)
	}
	back := r.relocation()
	back.From, back.To = back.To, back.From
	if stage := must[vault.Stage](t)(back.Stage(ctx)); stage != vault.StageSource {
		t.Errorf("the way back has come to %v", stage)
	}
	if err := back.Begin(ctx); !errors.Is(err, vault.ErrOccupied) {
		t.Errorf("began over what was left behind: %v", err)
	}
	third := r.relocation()
	third.To = vault.Side{Store: memory.New(), Place: "yonder"}
	if _, err := third.Stage(ctx); !errors.Is(err, vault.ErrNotLive) {
		t.Errorf("what was left behind is moved again: %v", err)
	}
	same := r.relocation()
	same.To.Place = "here"
	if _, err := same.Stage(ctx); err == nil {
		t.Error("a store is moved to itself")
	}
}

// TestASourceThatIsUsed while it was to stand still is not handed over.
func TestASourceThatIsUsed(t *testing.T) {
	r := newRemoval(t, memory.New())
	m := r.relocation()
	if err := r.carry(m); err != nil {
		t.Fatal(err)
	}
	if err := m.Begin(ctx); err != nil { // once more, without the title
		t.Fatal(err)
	}
	r.serve(r.from, r.places[0]).Stop()
	if err := m.HandOver(ctx); !errors.Is(err, vault.ErrUsed) {
		t.Errorf("handed over: %v", err)
	}
	if err := r.try(); err != nil {
		t.Fatal(err)
	}
	r.settled()
}

// TestAHalfFilledTargetOpensForNobody, and cannot be promoted.
func TestAHalfFilledTargetOpensForNobody(t *testing.T) {
	r := newRemoval(t, memory.New())
	m := r.relocation()
	if err := m.Begin(ctx); err != nil {
		t.Fatal(err)
	}
	rows := &move.Rows{From: r.from, To: r.to, Under: [][]byte{m.Prefix()}, Own: vault.StaysBehind, Kind: vault.KindOfRow}
	if _, err := rows.Copy(ctx); err != nil {
		t.Fatal(err)
	}
	if standing, err := vault.StandingOf(ctx, "test", r.to, "there", r.keys); !errors.Is(err, vault.ErrForeignKeys) {
		t.Errorf("it is %s: %v", standing, err)
	}
	if tenants := must[[]string](t)(vault.TenantsIn(ctx, r.to)); !slices.Equal(tenants, []string{"test"}) {
		t.Errorf("it has rows of %v", tenants)
	}
	if tenants := must[[]string](t)(vault.TenantsIn(ctx, memory.New())); len(tenants) != 0 {
		t.Errorf("nothing has rows of %v", tenants)
	}
}
