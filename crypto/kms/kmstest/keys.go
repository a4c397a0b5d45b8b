package kmstest

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
)

func createOpen(t *testing.T, o Opener) {
	p := open(t, o)
	id := ids(2)
	made := create(t, p, id...)
	if bytes.Equal(made[0].Secret.Expose(), made[1].Secret.Expose()) {
		t.Fatal("two keys are the same")
	}
	opened := openKeys(t, p, id...)
	wantKeys(t, opened, id)
	for i := range made {
		wantSame(t, opened[i], made[i])
	}
}

func wantSame(t *testing.T, got, want kms.Key) {
	t.Helper()
	if got.ID != want.ID || !bytes.Equal(got.Secret.Expose(), want.Secret.Expose()) {
		t.Fatalf("key %s is not the one that was made", want.ID)
	}
}

func order(t *testing.T, o Opener) {
	p := open(t, o)
	id := ids(40)
	made := create(t, p, id...)
	backwards := make([]kms.ID, len(id))
	for i := range id {
		backwards[len(id)-1-i] = id[i]
	}
	opened := openKeys(t, p, backwards...)
	wantKeys(t, opened, backwards)
	for i := range made {
		wantSame(t, opened[len(id)-1-i], made[i])
	}
}

func nothingAsked(t *testing.T, o Opener) {
	p := open(t, o)
	claim := Claim(t, p)
	if keys, err := p.Create(bounded(t)); err != nil || len(keys) != 0 {
		t.Errorf("create nothing: %d keys, %v", len(keys), err)
	}
	if keys, err := p.Open(bounded(t)); err != nil || len(keys) != 0 {
		t.Errorf("open nothing: %d keys, %v", len(keys), err)
	}
	if err := p.Destroy(bounded(t), claim); err != nil {
		t.Errorf("destroy nothing: %v", err)
	}
	if sums, err := p.MAC(bounded(t)); err != nil || len(sums) != 0 {
		t.Errorf("MAC nothing: %d sums, %v", len(sums), err)
	}
}

func missing(t *testing.T, o Opener) {
	p := open(t, o)
	there, absent := kms.NewID(), kms.NewID()
	made := create(t, p, there)
	keys := openKeys(t, p, absent, there, absent)
	if !keys[0].Missing() || !keys[2].Missing() || keys[0].ID != absent {
		t.Error("a key that was never made is not missing")
	}
	wantSame(t, keys[1], made[0])
}

func writeOnce(t *testing.T, o Opener) {
	p := open(t, o)
	id := kms.NewID()
	made := create(t, p, id)
	if _, err := p.Create(bounded(t), id); !errors.Is(err, kms.ErrExists) {
		t.Fatalf("create again: %v, want ErrExists", err)
	}
	if _, err := p.Create(bounded(t), kms.NewID(), id, kms.NewID()); !errors.Is(err, kms.ErrExists) {
		t.Fatalf("create again among new ones: %v, want ErrExists", err)
	}
	wantSame(t, openKeys(t, p, id)[0], made[0])
}

func writeOnceRace(t *testing.T, o Opener) {
	p := open(t, o)
	for range 10 {
		id := kms.NewID()
		keys, errs := race(8, func() ([]kms.Key, error) { return p.Create(bounded(t), id) })
		winner := onlyWinner(t, errs, kms.ErrExists)
		wantSame(t, openKeys(t, p, id)[0], keys[winner][0])
	}
}

func sameIDTwice(t *testing.T, o Opener) {
	p := open(t, o)
	id := kms.NewID()
	if _, err := p.Create(bounded(t), id, id); !errors.Is(err, kms.ErrExists) {
		t.Fatalf("create of one id twice: %v, want ErrExists", err)
	}
}

// race calls f n times at once.
func race[T any](n int, f func() (T, error)) ([]T, []error) {
	values, errs := make([]T, n), make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			values[i], errs[i] = f()
		})
	}
	close(start)
	wg.Wait()
	return values, errs
}

// onlyWinner returns the index of the one nil in errs; all others must be lost.
func onlyWinner(t *testing.T, errs []error, lost error) int {
	t.Helper()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Fatal("two of the racing calls won")
		case err == nil:
			winner = i
		case !errors.Is(err, lost):
			t.Fatalf("a losing call answers %v, want %v", err, lost)
		}
	}
	if winner < 0 {
		t.Fatal("none of the racing calls won")
	}
	return winner
}

func reopen(t *testing.T, o Opener) {
	first := o(t)
	id := ids(3)
	made := create(t, first, id...)
	claim := Claim(t, first)
	if err := first.Destroy(bounded(t), claim, id[2]); err != nil {
		t.Fatalf("destroy: %v", err)
	}
	sums, err := first.MAC(bounded(t), []byte("input"))
	if err != nil {
		t.Fatalf("MAC: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}

	second := open(t, o)
	for i, k := range openKeys(t, second, id[:2]...) {
		wantSame(t, k, made[i])
	}
	wantMissing(t, second, id[2])
	if s, err := second.Sentinel(bounded(t)); err != nil || s != claim.Sentinel {
		t.Errorf("the sentinel changed over a reopen (%v)", err)
	}
	if g, err := second.Generation(bounded(t)); err != nil || g != claim.Generation {
		t.Errorf("generation %s after a reopen, want %s (%v)", g, claim.Generation, err)
	}
	again, err := second.MAC(bounded(t), []byte("input"))
	if err != nil || !bytes.Equal(again[0], sums[0]) {
		t.Errorf("the MAC changed over a reopen (%v)", err)
	}
	if err := second.Destroy(bounded(t), claim, id...); err != nil {
		t.Errorf("destroy after a reopen: %v", err)
	}
}

func largeBatch(t *testing.T, o Opener) {
	p := open(t, o)
	id := ids(1000)
	made := create(t, p, id...)
	for i, k := range openKeys(t, p, id...) {
		wantSame(t, k, made[i])
	}
	if err := p.Destroy(bounded(t), Claim(t, p), id...); err != nil {
		t.Fatalf("destroy: %v", err)
	}
	wantMissing(t, p, id...)
}

func endedContext(t *testing.T, o Opener) {
	p := open(t, o)
	claim := Claim(t, p)
	id := kms.NewID()
	create(t, p, id)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	for _, ctx := range []context.Context{cancelled, expired} {
		for name, err := range everyCall(ctx, p, claim, id) {
			if err == nil {
				t.Errorf("%s succeeds although its context has ended", name)
			}
		}
	}
	if openKeys(t, p, id)[0].Missing() {
		t.Error("a destroy whose context had ended destroyed the key")
	}
	wantMark(t, p, kms.Mark{})
	publicKeys(t, p, 1)
}

func closed(t *testing.T, o Opener) {
	p := o(t)
	claim := Claim(t, p)
	id := kms.NewID()
	create(t, p, id)
	if err := p.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	for name, err := range everyCall(bounded(t), p, claim, id) {
		if !errors.Is(err, kms.ErrUnavailable) {
			t.Errorf("%s on a closed provider: %v, want ErrUnavailable", name, err)
		}
	}
	if err := p.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
	if openKeys(t, open(t, o), id)[0].Missing() {
		t.Error("a closed provider destroyed a key")
	}
}

// everyCall makes each call once and returns the errors by name.
func everyCall(ctx context.Context, p kms.Provider, claim kms.Claim, id kms.ID) map[string]error {
	errs := map[string]error{}
	_, errs["create"] = p.Create(ctx, kms.NewID())
	_, errs["open"] = p.Open(ctx, id)
	_, errs["MAC"] = p.MAC(ctx, []byte("input"))
	_, errs["sentinel"] = p.Sentinel(ctx)
	_, errs["generation"] = p.Generation(ctx)
	errs["advance"] = p.Advance(ctx, claim.Generation, after(claim.Generation))
	_, errs["mark"] = p.Mark(ctx)
	errs["set mark"] = p.SetMark(ctx, kms.Mark{}, kms.Mark{Entries: 1})
	_, errs["public keys"] = p.PublicKeys(ctx)
	_, errs["sign"] = p.SignAs(ctx, 1, []byte("message"))
	_, errs["rotate"] = p.RotateSigning(ctx)
	errs["destroy"] = p.Destroy(ctx, claim, id)
	return errs
}
