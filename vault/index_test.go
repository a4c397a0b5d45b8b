package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/blind"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/memory"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// turning has the index rotate all the time.
func turning(o *vault.Options) {
	o.RotateIndexEvery, o.SweepEvery = 5*time.Millisecond, 5*time.Millisecond
}

// TestLikeTheModelWhileTheIndexRotates does everything in every order while epochs come and go, and the vault with them: the
// model knows of no epochs, and they must not show.
func TestLikeTheModelWhileTheIndexRotates(t *testing.T) {
	v := vaulttest.At(t, inMemory(t), vaulttest.With(turning))
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		m := newModel(t, v, runs)
		for range rapid.IntRange(10, 60).Draw(rt, "calls") {
			if rapid.IntRange(0, 100).Draw(rt, "restart") == 100 {
				v.Restart()
			}
			modelActions[rapid.IntRange(0, len(modelActions)-1).Draw(rt, "action")](m, rt)
		}
	})
	root := administrator(v)
	shown := must[*api.Index](t)(v.Index(ctx, root))
	if shown.Epoch < runs {
		t.Errorf("%d rotations in %d runs", shown.Epoch, runs)
	}
	t.Logf("%d runs, %d rotations", runs, shown.Epoch-1)
}

// overtaken is a store in which rotations of the index outrun the calls that are marked: whatever such a call reads or writes
// waits until another one has begun, as long as one still begins.
type overtaken struct{ store.Store }

type overtakenKey struct{}

func (o overtaken) wait(ctx context.Context) {
	if ctx.Value(overtakenKey{}) == nil {
		return
	}
	epoch := func() (e []byte) {
		_ = o.Store.View(ctx, func(r store.Reader) error {
			rows, err := r.Get([]byte("\x04testmindex\x00"))
			if err == nil && rows[0] != nil {
				e = bytes.Clone(rows[0][:4])
			}
			return err
		})
		return e
	}
	for was, end := epoch(), time.Now().Add(15*time.Millisecond); bytes.Equal(was, epoch()) && time.Now().Before(end); {
		time.Sleep(100 * time.Microsecond)
	}
}

func (o overtaken) View(ctx context.Context, f func(store.Reader) error) error {
	o.wait(ctx)
	return o.Store.View(ctx, f)
}

func (o overtaken) Update(ctx context.Context, f func(store.Writer) error) error {
	o.wait(ctx)
	return o.Store.Update(ctx, f)
}

// TestRotationsLetCallsThrough: a rotation may cost a call a round, and then no other begins until it has ended.
func TestRotationsLetCallsThrough(t *testing.T) {
	v := vaulttest.At(t, inMemory(t), vaulttest.With(func(o *vault.Options) {
		turning(o)
		o.RotateIndexEvery, o.SweepEvery = time.Microsecond, time.Millisecond
		o.Store, o.Place, o.Backups = overtaken{memory.New()}, "test", nil
	}))
	shop, root := app(v), administrator(v)
	first := register(t, v, shop, aigul())
	began := must[*api.Index](t)(v.Index(ctx, root)).Epoch
	slow := context.WithValue(ctx, overtakenKey{}, true)
	resp := must[*api.TokenizeResponse](t)(v.Tokenize(slow, shop, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{
		{Fields: fields{"iin": text(iinB), "phone": texts(phoneA)}},
	}}))
	wantItem(t, resp.Results[0].Error, "")
	must[*api.RectifyResponse](t)(v.Rectify(slow, shop, first.Subject, &api.RectifyRequest{
		Purpose: "registration", Evidence: api.Evidence{Kind: "application", Ref: "A-17"}, Fields: fields{"iin": text(nextIIN())},
	}))
	found := must[*api.SearchResponse](t)(v.Search(slow, shop, &api.SearchRequest{Purpose: "service", Reason: "call", Field: "phone", Value: api.Text(phoneA)}))
	if len(found.Results) != 2 {
		t.Errorf("%d people are found", len(found.Results))
	}
	if now := must[*api.Index](t)(v.Index(ctx, root)).Epoch; now < began+3 {
		t.Errorf("of the rotations only %d overtook the calls", now-began)
	}
}

func administrator(v *vaulttest.Vault) vault.Call { return v.As("admin", access.Administrator) }

// rotated rotates the index and waits until it is done.
func rotated(t testing.TB, v *vaulttest.Vault, root vault.Call) *api.Index {
	t.Helper()
	before := must[*api.Index](t)(v.Index(ctx, root))
	if began := must[*api.Index](t)(v.RotateIndex(ctx, root)); began.Epoch != before.Epoch+1 {
		t.Fatalf("epoch %d after %d", began.Epoch, before.Epoch)
	}
	return whole(t, v, root)
}

// whole waits until the index is whole.
func whole(t testing.TB, v *vaulttest.Vault, root vault.Call) (shown *api.Index) {
	t.Helper()
	eventually(t, "the index to be whole", func() bool {
		shown = must[*api.Index](t)(v.Index(ctx, root))
		return shown.State == api.IndexReady
	})
	return shown
}

func searched(v *vaulttest.Vault, call vault.Call, field, value string) ([]api.SearchResult, error) {
	found, err := v.Search(ctx, call, &api.SearchRequest{Purpose: "service", Reason: "call", Field: field, Value: api.Text(value)})
	if err != nil {
		return nil, err
	}
	return found.Results, nil
}

func finds(t testing.TB, v *vaulttest.Vault, call vault.Call, field, value string, subjects ...string) {
	t.Helper()
	found := must[[]api.SearchResult](t)(searched(v, call, field, value))
	var got []string
	for _, f := range found {
		got = append(got, f.Subject)
	}
	slices.Sort(got)
	slices.Sort(subjects)
	if !slices.Equal(got, subjects) {
		t.Errorf("by %s %d people are found, want %d", field, len(got), len(subjects))
	}
}

func TestRotateIndex(t *testing.T) {
	v := vaulttest.New(t)
	shop, root := app(v), administrator(v)
	if shown := must[*api.Index](t)(v.Index(ctx, root)); shown.Epoch != 0 || shown.State != api.IndexReady {
		t.Errorf("before anything was entered: %+v", shown)
	}
	a := tokenize1(t, v, shop, api.TokenizeItem{ExternalRef: "client/1", Fields: aigul()})
	for n := range 3 {
		shown := rotated(t, v, root)
		if shown.Epoch != n+2 || !shown.NextRotation.IsZero() || shown.EntriesLeft != 0 {
			t.Errorf("%+v", shown)
		}
		finds(t, v, shop, "iin", iinA, a.Subject)
		finds(t, v, shop, "phone", phoneA, a.Subject)
		for _, item := range []api.TokenizeItem{{Fields: fields{"iin": text(iinA)}}, {ExternalRef: "client/1", Fields: fields{"given_name": text("Айгүл")}}} {
			if again := tokenize1(t, v, shop, item); again.Subject != a.Subject {
				t.Error("the same person was registered twice")
			}
		}
	}
	if all := trail(t, v, "index.rotated"); len(all) != 3 || all[2].Items == 0 || all[2].System != "sandyq" || !slices.Equal(all[2].Objects, []string{"index-epoch-3", "index-epoch-4"}) {
		t.Errorf("%+v", all)
	}
	if all := trail(t, v, "index.rotate"); len(all) != 3 || all[0].System != "admin" {
		t.Errorf("%+v", all)
	}
	_, err := v.RotateIndex(ctx, shop)
	wantCode(t, err, fault.Denied)
}

func TestRotationUnderOneKeyIsOne(t *testing.T) {
	v := vaulttest.New(t)
	register(t, v, app(v), aigul())
	root := administrator(v)
	root.Key, root.Body = "once", []byte("POST /v1/index/rotate\n")
	must[*api.Index](t)(v.RotateIndex(ctx, root))
	must[*api.Index](t)(v.RotateIndex(ctx, root))
	if shown := whole(t, v, root); shown.Epoch != 2 {
		t.Errorf("epoch %d", shown.Epoch)
	}
}

func TestIndexRotatesByItself(t *testing.T) {
	const month = 720 * time.Hour
	v := vaulttest.New(t, vaulttest.With(func(o *vault.Options) { o.RotateIndexEvery = month }))
	root := administrator(v)
	register(t, v, app(v), aigul())
	first := must[*api.Index](t)(v.Index(ctx, root))
	if first.NextRotation.Sub(first.Since) != month {
		t.Errorf("%+v", first)
	}
	v.Clock.Advance(month + time.Minute)
	root = administrator(v)
	eventually(t, "a rotation", func() bool { return must[*api.Index](t)(v.Index(ctx, root)).Epoch == 2 })
	whole(t, v, root)
	if all := trail(t, v, "index.rotate"); len(all) != 1 || all[0].System != "sandyq" {
		t.Errorf("%+v", all)
	}
}

// copied is a copy of a store.
func copied(t testing.TB, s store.Store) store.Store {
	t.Helper()
	to := memory.New()
	if err := copyRows(s, to); err != nil {
		t.Fatal(err)
	}
	return to
}

func copyRows(from, to store.Store) error {
	all, err := rows(from)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(all, 1000) {
		err := to.Update(ctx, func(w store.Writer) error {
			for _, p := range some {
				if err := w.Set(bytes.Clone(p.Key), bytes.Clone(p.Value)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// matches counts the entries of a store that a value's are, under any key that the provider still has.
func matches(t testing.TB, s store.Store, keys kms.Provider, home, field, value string) (n int) {
	t.Helper()
	mac := must[[][]byte](t)(keys.MAC(ctx, blind.Input("test", field, value)))[0]
	all := must[[]store.Pair](t)(rows(s))
	for id := range must[map[kms.ID]bool](t)((&site{home: home}).keyIDs()) {
		opened := must[[]kms.Key](t)(keys.Open(ctx, id))
		if opened[0].Missing() {
			continue
		}
		entry := must[blind.Entry](t)(must[*blind.Epoch](t)(blind.NewEpoch(1, opened[0].Secret)).Entry(mac))
		for _, p := range all {
			if k := kindOf(p.Key); (k == 'u' || k == 'x') && bytes.Contains(p.Key, entry[4:]) || bytes.Contains(p.Value, entry[4:]) {
				n++
			}
		}
	}
	return n
}

// After a rotation nobody is found in what was copied before, with all the keys there are: neither by asking a vault on the
// copy nor by comparing entries.
func TestACopyOfBeforeTheRotationFindsNobody(t *testing.T) {
	v := vaulttest.New(t)
	shop, root := app(v), administrator(v)
	who := tokenize1(t, v, shop, api.TokenizeItem{ExternalRef: "client/1", Fields: aigul()})
	before := copied(t, v.Store)
	values := map[string]string{"iin": iinA, "phone": phoneA, "external_ref/shop": "client/1"}
	for field, value := range values {
		if n := matches(t, before, v.Keys, v.Home, field, value); n != 2 { // the entry, and the list of what goes with the person
			t.Fatalf("%d matches of %s in the copy before: the test cannot see them", n, field)
		}
	}
	rotated(t, v, root)
	for field, value := range values {
		if n := matches(t, before, v.Keys, v.Home, field, value); n != 0 {
			t.Errorf("%d matches of %s in the copy", n, field)
		}
		if n := matches(t, v.Store, v.Keys, v.Home, field, value); n != 2 {
			t.Errorf("%d matches of %s in the store", n, field)
		}
	}
	elsewhere := vaulttest.At(t, t.TempDir(), v.SameLedger(), vaulttest.With(func(o *vault.Options) { o.Store, o.Place, o.Keys = before, "elsewhere", v.Keys }))
	_, err := searched(elsewhere, shop, "iin", iinA)
	wantCode(t, err, fault.Unavailable)
	finds(t, v, shop, "iin", iinA, who.Subject)
}

// restored is a vault over an older copy of the store, made the live one. Its keys are those that v's are now.
func restored(t *testing.T, v *vaulttest.Vault, before store.Store, lost []kms.ID, hold chan struct{}) *vaulttest.Vault {
	t.Helper()
	again := vaulttest.At(t, t.TempDir(), v.SameLedger(), vaulttest.With(func(o *vault.Options) {
		o.Store, o.Place, o.Keys = before, "restored", heldMAC{v.Keys, lost, hold}
	}))
	if err := again.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	return again
}

// heldMAC holds MACs up until hold is closed, and has lost some keys.
type heldMAC struct {
	kms.Provider
	lost []kms.ID
	hold chan struct{}
}

func (h heldMAC) Open(ctx context.Context, ids ...kms.ID) ([]kms.Key, error) {
	keys, err := h.Provider.Open(ctx, ids...)
	for i, k := range keys {
		if slices.Contains(h.lost, k.ID) {
			k.Secret.Wipe()
			keys[i] = kms.Key{ID: k.ID}
		}
	}
	return keys, err
}

func (h heldMAC) MAC(ctx context.Context, inputs ...[]byte) ([][]byte, error) {
	select {
	case <-h.hold:
		return h.Provider.MAC(ctx, inputs...)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestAnOlderStoreHasItsIndexRebuilt(t *testing.T) {
	v := vaulttest.New(t)
	shop, root := app(v), administrator(v)
	var people []string
	var lost []kms.ID // of the first of them
	for n := range 450 {
		r := tokenize1(t, v, shop, api.TokenizeItem{ExternalRef: fmt.Sprint("client/", n), Fields: fields{"iin": text(benchIIN(n)), "phone": texts(phoneA)}})
		people = append(people, r.Subject)
		if n == 0 {
			lost = keysOfTenant(t, v)
		}
	}
	before := copied(t, v.Store)
	rotated(t, v, root)
	e := must[*api.Erasure](t)(v.RequestErasure(ctx, shop, &api.ErasureRequest{Subject: people[7], Ground: "request", Reason: "asked"}))
	erased(t, v, shop, e.Erasure) // in the copy they are there; the ledger says that they are not
	hold := make(chan struct{})
	again := restored(t, v, before, lost, hold)
	_, err := searched(again, shop, "iin", benchIIN(1))
	wantCode(t, err, fault.Unavailable)
	r := must[*api.TokenizeResponse](t)(again.Tokenize(ctx, shop, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{{Fields: fields{"iin": text(benchIIN(1))}}}})).Results[0]
	wantItem(t, r.Error, fault.Unavailable)
	eventually(t, "the rebuilding", func() bool { return must[*api.Index](t)(again.Index(ctx, root)).State == api.IndexRebuilding })
	close(hold)
	shown := whole(t, again, root)
	if shown.EntriesLeft != 3 { // the IIN, the phone and the external_ref of the one whose key is gone
		t.Errorf("%d entries are left", shown.EntriesLeft)
	}
	for n, who := range people {
		if n == 0 || n == 7 {
			continue
		}
		for _, item := range []api.TokenizeItem{{Fields: fields{"iin": text(benchIIN(n))}}, {ExternalRef: fmt.Sprint("client/", n), Fields: fields{"phone": texts(phoneA)}}} {
			if n%50 == 0 && tokenize1(t, again, shop, item).Subject != who {
				t.Fatalf("person %d was registered twice", n)
			}
		}
	}
	for _, n := range []int{0, 7} {
		if matches(t, before, v.Keys, v.Home, "iin", benchIIN(n)) != 0 {
			t.Errorf("person %d, whose key is gone, is found", n)
		}
	}
	if again := rotated(t, again, root); again.EntriesLeft != 3 {
		t.Errorf("%d entries are left after a rotation", again.EntriesLeft)
	}
}

// ordealOfIndex is a rotation, or with older the rebuilding of a store of before one, with a mishap at one step.
func ordealOfIndex(home string, at int, m mishap, older bool) (sprung bool, err error) {
	s, err := newSite(home, memory.New())
	if err != nil {
		return false, err
	}
	defer s.keys.Close()
	defer s.end()
	if err := s.start(&trap{}); err != nil {
		return false, err
	}
	shop, err := s.credential()
	if err != nil {
		return false, err
	}
	one, err := s.register(shop, iinA, "one")
	if err != nil {
		return false, err
	}
	if older {
		before := memory.New()
		if err := copyRows(s.store, before); err != nil {
			return false, err
		}
		if err := errors.Join(s.rotate(), s.turnedTo(2)); err != nil {
			return false, err
		}
		s.store = before
	}
	s.end()
	tr := &trap{at: at, mishap: m}
	if err := s.start(tr); err != nil && !errors.Is(err, errMishap) {
		return false, err
	}
	if older {
		err = s.retried("promote", func() error { return s.Promote(ctx) })
	} else {
		err = s.rotate()
	}
	err = errors.Join(err, s.turnedTo(2))
	tr.mu.Lock()
	sprung = tr.sprung
	tr.mu.Unlock()
	if err != nil {
		return sprung, err
	}
	shop.Key = ""
	err = s.retried("find", func() error {
		found, err := s.Search(ctx, shop, &api.SearchRequest{Purpose: "service", Reason: "call", Field: "iin", Value: api.Text(iinA)})
		if err == nil && (len(found.Results) != 1 || found.Results[0].Subject != one.subject) {
			err = errors.New("the person is not found")
		}
		return err
	})
	if err != nil {
		return sprung, err
	}
	s.clock.Advance(10 * time.Minute)
	for range s.patience {
		if err = errors.Join(s.revive(), s.epochs(2)); err == nil && !older { // an older store does not know of the keys made after it
			err = s.account()
		}
		if err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return sprung, err
}

var indexRoot = vault.Call{Principal: access.Principal{Tenant: "test", System: "test", Roles: []access.Role{access.Administrator}}}

func (s *site) rotate() error {
	once := indexRoot
	once.Key, once.Body = "rotate", []byte("POST /v1/index/rotate\n")
	return s.retried("rotate", func() error { _, err := s.RotateIndex(ctx, once); return err })
}

// turnedTo waits until the index is whole in an epoch.
func (s *site) turnedTo(epoch int) error {
	return s.retried("finish", func() error {
		shown, err := s.Index(ctx, indexRoot)
		if err == nil && (shown.State != api.IndexReady || shown.Epoch != epoch || shown.EntriesLeft > 0) {
			return fault.New(fault.Unavailable, "not yet")
		}
		return err
	})
}

// epochs demands that all entries are of one epoch, each beside its row, and that only its key is there.
func (s *site) epochs(number byte) error {
	all, err := rows(s.store)
	if err != nil {
		return err
	}
	var entries, listed int
	for _, p := range all {
		switch kindOf(p.Key) {
		case 'i':
			listed++
			if p.Value[4] != number {
				return fmt.Errorf("an entry of epoch %d is left", p.Value[4])
			}
		case 'u', 'x':
			entries++
		case 'm':
			if name := string(p.Key[bytes.IndexByte(p.Key, 'm')+1:]); strings.HasPrefix(name, "index-epoch-") && !strings.HasPrefix(name, fmt.Sprint("index-epoch-", number)) {
				return errors.New("the key of another epoch is left")
			}
		}
	}
	if entries != listed {
		return fmt.Errorf("%d entries, %d listed", entries, listed)
	}
	return nil
}

func TestEveryStepOfARotationMayFail(t *testing.T) { everyStepOfIndex(t, false) }

func TestEveryStepOfARebuildingMayFail(t *testing.T) { everyStepOfIndex(t, true) }

func everyStepOfIndex(t *testing.T, older bool) {
	dir := inMemory(t)
	reached := 0
	for at := 1; at <= reached+2*int(mishaps); at++ {
		for m := range mishaps {
			if scaled(1) == 1 && int(m) != at%int(mishaps) {
				continue // at every step one of them, unless there is time for all
			}
			home := filepath.Join(dir, fmt.Sprintf("%d-%d", at, m))
			if err := os.Mkdir(home, 0o700); err != nil {
				t.Fatal(err)
			}
			sprung, err := ordealOfIndex(home, at, m, older)
			if err != nil {
				t.Errorf("step %d %s: %v", at, m, err)
			}
			if sprung {
				reached = at
			}
		}
	}
	t.Logf("a mishap at each of %d steps", reached)
	if reached < 6 {
		t.Error("it has hardly begun")
	}
}

// withholding is a provider that is set not to open some keys.
type withholding struct {
	kms.Provider
	ids atomic.Pointer[[]kms.ID]
}

func (w *withholding) Open(ctx context.Context, ids ...kms.ID) ([]kms.Key, error) {
	if not := w.ids.Load(); not != nil && slices.ContainsFunc(ids, func(id kms.ID) bool { return slices.Contains(*not, id) }) {
		return nil, kms.ErrWithheld
	}
	return w.Provider.Open(ctx, ids...)
}

// One whose key is withheld does not keep the others from being found, is alarmed, and is found after the rotation that follows
// on the key's being opened again.
func TestAWithheldKeyDoesNotHoldUpARebuilding(t *testing.T) {
	v := vaulttest.New(t)
	shop, root := app(v), administrator(v)
	whose := tokenize1(t, v, shop, api.TokenizeItem{Fields: fields{"iin": text(benchIIN(0))}})
	theirs := keysOfTenant(t, v)
	other := tokenize1(t, v, shop, api.TokenizeItem{Fields: fields{"iin": text(benchIIN(1))}})
	before := copied(t, v.Store)
	rotated(t, v, root)
	keys := &withholding{Provider: v.Keys}
	keys.ids.Store(&theirs)
	var heard kindsHeard
	again := vaulttest.At(t, t.TempDir(), v.SameLedger(), vaulttest.With(func(o *vault.Options) {
		o.Store, o.Place, o.Keys, o.Observer = before, "restored", keys, &heard
	}))
	if err := again.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the index is rebuilt", func() bool {
		_, err := searched(again, shop, "iin", benchIIN(1))
		return err == nil
	})
	if shown := whole(t, again, root); shown.EntriesLeft != 1 {
		t.Errorf("%d entries are left, want the one", shown.EntriesLeft)
	}
	finds(t, again, shop, "iin", benchIIN(1), other.Subject)
	eventually(t, "it is alarmed", func() bool { return heard.count("withheld_key") > 0 })
	if heard.count("missing_key") > 0 {
		t.Error("a key that is there counts as missing")
	}
	keys.ids.Store(nil)
	if shown := rotated(t, again, root); shown.EntriesLeft != 0 {
		t.Errorf("%d entries are left after a rotation", shown.EntriesLeft)
	}
	finds(t, again, shop, "iin", benchIIN(0), whose.Subject)
}
