package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/memory"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// stalled is a store in which a pass over the index goes no further than its first step for as long as it is held.
type stalled struct {
	store.Store
	held  atomic.Bool
	steps atomic.Int32
}

var errStalled = errors.New("the pass is held")

func (s *stalled) Update(ctx context.Context, f func(store.Writer) error) error {
	return s.Store.Update(ctx, func(w store.Writer) error { return f(stalledWriter{w, s}) })
}

type stalledWriter struct {
	store.Writer
	s *stalled
}

func (w stalledWriter) Set(key, value []byte) error {
	if w.s.held.Load() && bytes.HasSuffix(key, []byte("mindex-cursor\x00")) && w.s.steps.Add(1) > 1 {
		return errStalled
	}
	return w.Writer.Set(key, value)
}

// TestABackupOfHalfARotation is taken when the index stands in two epochs, and restored while that rotation runs, after its
// end and after the end of another: everybody is found by what they were, and nobody is registered twice meanwhile.
func TestABackupOfHalfARotation(t *testing.T) {
	const people = 1100 // of two entries each: more than one step carries over
	part := &stalled{Store: memory.New()}
	v := vaulttest.New(t, vaulttest.With(func(o *vault.Options) { o.Store, o.Place = part, "live" }))
	s, shop, root := newSafe(t), app(v), administrator(v)
	var items []api.TokenizeItem
	for n := range people {
		items = append(items, api.TokenizeItem{Fields: fields{"iin": text(benchIIN(n)), "phone": texts(fmt.Sprintf("+7701%07d", n))}})
	}
	var subjects []string
	for some := range slices.Chunk(items, 550) {
		for _, r := range must[*api.TokenizeResponse](t)(v.Tokenize(ctx, shop, &api.TokenizeRequest{Purpose: "registration", Items: some})).Results {
			wantItem(t, r.Error, "")
			subjects = append(subjects, r.Subject)
		}
	}
	part.held.Store(true)
	must[*api.Index](t)(v.RotateIndex(ctx, root))
	eventually(t, "the first step", func() bool { return part.steps.Load() > 1 })
	made := s.mustTake(t, v)
	if shown := must[*api.Index](t)(v.Index(ctx, root)); shown.State != api.IndexRotating || shown.EntriesMoved == 0 || shown.EntriesMoved >= 2*people {
		t.Fatalf("the backup is not of half a rotation: %+v", shown)
	}
	back := func(t *testing.T) {
		restored, census := s.restore(t, v, made.ID)
		defer restored.Stop()
		if census.Faults != 0 {
			t.Fatalf("%v", census.First)
		}
		if err := restored.Promote(ctx); err != nil {
			t.Fatal(err)
		}
		var callers sync.WaitGroup
		for from := range 4 { // while it is rebuilt, or carried on
			callers.Go(func() {
				for n := from; n < people; n += 97 {
					registeredOnce(t, restored, shop, items[n], subjects[n])
				}
			})
		}
		callers.Wait()
		eventually(t, "the ledger is compared", func() bool { return len(restored.Ready(ctx).Degraded) == 0 })
		if shown := whole(t, restored, root); shown.EntriesLeft != 0 {
			t.Errorf("%d entries are left", shown.EntriesLeft)
		}
		for n := 0; n < people; n += 53 {
			finds(t, restored, shop, "iin", benchIIN(n), subjects[n])
			finds(t, restored, shop, "phone", fmt.Sprintf("+7701%07d", n), subjects[n])
		}
		if entries := kinds(t, restored)['u']; entries != people {
			t.Errorf("%d people have %d entries of IINs", people, entries)
		}
	}
	live := func() {
		if err := v.Promote(ctx); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the ledger is compared", func() bool { return len(v.Ready(ctx).Degraded) == 0 })
	}
	t.Run("its end is the restored one's", back)
	live()
	part.held.Store(false)
	// The restored one has ended that rotation, and the key of the epoch before with it: this one finds that out.
	registeredOnce(t, v, shop, items[0], subjects[0])
	whole(t, v, root)
	t.Run("after its end", back)
	live()
	registeredOnce(t, v, shop, items[0], subjects[0]) // whoever asks finds out
	whole(t, v, root)
	rotated(t, v, root)
	t.Run("after the end of another", back)
	live()
	registeredOnce(t, v, shop, items[0], subjects[0]) // whoever asks finds out
	whole(t, v, root)
	for n := 0; n < people; n += 53 {
		finds(t, v, shop, "iin", benchIIN(n), subjects[n])
	}
}

// registeredOnce registers somebody who is there, as often as the index asks for.
func registeredOnce(t testing.TB, v *vaulttest.Vault, call vault.Call, item api.TokenizeItem, subject string) {
	for {
		r, err := v.Tokenize(ctx, call, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{item}})
		switch {
		case errors.Is(err, fault.Unavailable):
			time.Sleep(time.Millisecond)
			continue
		case err != nil:
			t.Error(err)
			return
		case r.Results[0].Error != nil && r.Results[0].Error.Code == fault.Unavailable:
			time.Sleep(time.Millisecond)
			continue
		case r.Results[0].Error != nil || r.Results[0].Created || r.Results[0].Subject != subject:
			t.Errorf("somebody who is there was registered: %+v", r.Results[0])
		}
		return
	}
}

// kinds counts the rows of a vault by kind.
func kinds(t testing.TB, v *vaulttest.Vault) map[byte]int {
	t.Helper()
	n := map[byte]int{}
	for _, p := range must[[]store.Pair](t)(rows(v.Store)) {
		n[kindOf(p.Key)]++
	}
	return n
}
