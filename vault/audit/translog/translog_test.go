package translog_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/audit/translog"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/memory"
)

// keys are signing keys in memory, which remember what they were asked to sign.
type keys struct {
	mu     sync.Mutex
	all    []ed25519.PrivateKey
	signed []string
	fail   func() error // when set: before each call
}

func newKeys() *keys {
	k := &keys{}
	_, _ = k.RotateSigning(context.Background())
	return k
}

func (k *keys) PublicKeys(context.Context) ([]ed25519.PublicKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var public []ed25519.PublicKey
	for _, p := range k.all {
		public = append(public, p.Public().(ed25519.PublicKey))
	}
	return public, k.failing()
}

func (k *keys) SignAs(_ context.Context, version int, msg []byte) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if version < 1 || version > len(k.all) {
		return nil, kms.ErrVersion
	}
	k.signed = append(k.signed, string(msg))
	return ed25519.Sign(k.all[version-1], msg), k.failing()
}

func (k *keys) RotateSigning(context.Context) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, private, err := ed25519.GenerateKey(nil)
	k.all = append(k.all, private)
	return len(k.all), errors.Join(err, k.failing())
}

func (k *keys) failing() error {
	if k.fail == nil {
		return nil
	}
	return k.fail()
}

// rows keep entries under "e", and a row "b" beside each.
type rows struct{}

func (rows) Entry(id audit.ID) []byte { return append([]byte("e"), id[:]...) }
func (rows) Beside(id audit.ID, _ []byte) ([][]byte, error) {
	return [][]byte{append([]byte("b"), id[:]...)}, nil
}

// world is a store with a log, and what was acknowledged.
type world struct {
	t     testing.TB
	store store.Store
	keys  *keys
	log   *translog.Log

	anchor translog.Anchor // nil: none

	mu      sync.Mutex
	now     time.Time
	entries map[audit.ID][]byte
	serial  int
}

func newWorld(t testing.TB, s store.Store) *world {
	w := &world{t: t, store: s, keys: newKeys(), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), entries: map[audit.ID][]byte{}}
	w.log = w.open(s)
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) open(s store.Store) *translog.Log {
	w.t.Helper()
	log, err := translog.New(translog.Options{
		Store: s, Prefix: []byte("log"), Rows: rows{}, Keys: w.keys, Clock: w.clock, Origin: "sandyq/test", Anchor: w.anchor,
	})
	check(w.t, err)
	return log
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// commit writes n entries in one Update, as the vault does.
func (w *world) commit(n int) []audit.ID {
	w.t.Helper()
	var ids []audit.ID
	var row []byte
	made := map[audit.ID][]byte{}
	for range n {
		id := audit.NewID(w.clock())
		w.mu.Lock()
		w.serial++
		entry := fmt.Appendf(nil, `{"id":"%s","n":%d}`, id, w.serial)
		w.mu.Unlock()
		made[id], ids = entry, append(ids, id)
		row = translog.Leaf{ID: id, Hash: tlog.RecordHash(entry), Placed: len(ids)%2 == 1}.Append(row)
	}
	check(w.t, w.store.Update(context.Background(), func(tx store.Writer) error {
		for id, entry := range made {
			if err := errors.Join(tx.Set(rows{}.Entry(id), entry), tx.Set(append([]byte("b"), id[:]...), []byte{})); err != nil {
				return err
			}
		}
		return tx.Set(w.log.StagedKey(ids[0]), bytes.Clone(row))
	}))
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, entry := range made {
		w.entries[id] = entry
	}
	return ids
}

// tree is the log as an outsider rebuilds it, from the bundles of entries alone.
type tree struct {
	entries [][]byte
	hashes  []tlog.Hash
}

func (f *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = f.hashes[x]
	}
	return out, nil
}

// rebuilt reads every entry of the log and demands that each that was acknowledged is there once, that every tile is what
// x/mod makes of the entries, and that the last checkpoint is of them, signed by a key that a chain leads to from held.
func (w *world) rebuilt(held checkpoint.Key) *tree {
	w.t.Helper()
	ctx := context.Background()
	note, err := w.log.Checkpoint(ctx)
	check(w.t, err)
	successions, err := w.log.Successions(ctx)
	check(w.t, err)
	chain, err := checkpoint.Follow(held, successions...)
	check(w.t, err)
	head, err := checkpoint.OpenTree(note, chain[len(chain)-1])
	check(w.t, err)
	f := &tree{}
	var tiles []checkpoint.Tile
	for t := range checkpoint.Tiles(0, head.Size) {
		if t.Level != checkpoint.Entries {
			tiles = append(tiles, t)
			continue
		}
		data, err := w.log.Tile(ctx, t)
		check(w.t, err)
		entries, err := checkpoint.ParseBundle(data, t.Width)
		check(w.t, err)
		for _, e := range entries {
			hashes, err := tlog.StoredHashes(int64(len(f.entries)), e, f)
			check(w.t, err)
			f.entries, f.hashes = append(f.entries, e), append(f.hashes, hashes...)
		}
	}
	root, err := tlog.TreeHash(head.Size, f)
	check(w.t, err)
	if root != head.Root {
		w.t.Fatalf("the root at %d is not of the entries", head.Size)
	}
	for _, t := range tiles {
		want, err := tlog.ReadTileData(tlog.Tile{H: checkpoint.Height, L: t.Level, N: t.Index, W: t.Width}, f)
		check(w.t, err)
		if got, err := w.log.Tile(ctx, t); err != nil || !bytes.Equal(got, want) {
			w.t.Fatalf("%s is not what x/mod makes of it (%v)", t.Path(), err)
		}
	}
	seen := map[string]int{}
	for _, e := range f.entries {
		seen[string(e)]++
	}
	for id, e := range w.entries {
		if seen[string(e)] != 1 {
			w.t.Errorf("%s is in the log %d times", id, seen[string(e)])
		}
	}
	if len(f.entries) != len(w.entries) {
		w.t.Errorf("%d entries were committed, and %d are in the log", len(w.entries), len(f.entries))
	}
	return f
}

// faithful demands that nothing that was ever signed contradicts the tree: whatever was signed of a size, under whatever
// origin, is the tree's root at that size.
func (w *world) faithful(f *tree) {
	w.t.Helper()
	for _, text := range w.keys.signed {
		var at checkpoint.Tree
		if s, err := checkpoint.ParseSuccession(text); err == nil {
			at = checkpoint.Tree{Size: s.Size, Root: s.Root}
		} else {
			at, err = checkpoint.ParseTree(text)
			check(w.t, err)
		}
		root, err := tlog.TreeHash(at.Size, f)
		check(w.t, err)
		if root != at.Root {
			w.t.Errorf("another root was signed for size %d of %q", at.Size, at.Origin)
		}
	}
}

func (w *world) flush() translog.Status {
	w.t.Helper()
	s, err := w.log.Flush(context.Background())
	check(w.t, err)
	return s
}

func (w *world) key() checkpoint.Key {
	w.t.Helper()
	all, err := w.log.PublicKeys(context.Background())
	check(w.t, err)
	return all[0]
}

func TestTheLogIsTheTreeOfItsEntries(t *testing.T) {
	w := newWorld(t, memory.New())
	ctx := t.Context()
	w.flush()
	held := w.key()
	random := rand.New(rand.NewPCG(1, 2))
	var heads []checkpoint.Tree
	var placed []audit.ID
	for round := range 40 {
		for range random.IntN(6) {
			for i, id := range w.commit(1 + random.IntN(40)) {
				if i%2 == 0 {
					placed = append(placed, id)
				}
			}
		}
		if random.IntN(4) == 0 {
			w.log = w.open(w.store) // a new process
		}
		w.advance(time.Duration(random.IntN(90)) * time.Second)
		if s := w.flush(); s.Waiting != 0 || s.Size != int64(len(w.entries)) {
			t.Fatalf("round %d: after a flush: %+v of %d", round, s, len(w.entries))
		}
		head, err := w.log.Head(ctx)
		check(t, err)
		heads = append(heads, head)
	}
	f := w.rebuilt(held)
	w.faithful(f)
	last := heads[len(heads)-1]
	for _, id := range placed {
		p, entry, err := w.log.Prove(ctx, id)
		check(t, err)
		if !bytes.Equal(entry, w.entries[id]) {
			t.Errorf("%s is proved as another entry", id)
		}
		if at, err := p.Verify(entry, held); err != nil || at != last {
			t.Errorf("%s: %v, %v", id, at, err)
		}
	}
	for i, old := range heads {
		for _, later := range heads[i:] {
			if old.Size == 0 {
				continue
			}
			p, err := w.log.Consistency(ctx, old.Size, later.Size)
			check(t, err)
			check(t, tlog.CheckTree(p, later.Size, later.Root, old.Size, old.Root))
		}
	}
	for _, bad := range [][2]int64{{0, 5}, {5, last.Size + 1}, {6, 5}} {
		if _, err := w.log.Consistency(ctx, bad[0], bad[1]); !errors.Is(err, translog.ErrAbsent) {
			t.Errorf("from %d to %d: %v", bad[0], bad[1], err)
		}
	}
}

func TestALateEntryIsProvedAtOnce(t *testing.T) {
	w := newWorld(t, memory.New())
	w.commit(3)
	w.flush()
	w.advance(time.Hour)
	w.commit(1)
	w.flush()
	early := w.now
	w.now = early.Add(-30 * time.Minute) // an Update that hung for half an hour
	id := w.commit(1)[0]
	w.now = early
	p, entry, err := w.log.Prove(t.Context(), id)
	check(t, err)
	if _, err := p.Verify(entry, w.key()); err != nil {
		t.Error(err)
	}
	if _, _, err := w.log.Prove(t.Context(), audit.NewID(early)); !errors.Is(err, translog.ErrUnknown) {
		t.Errorf("what nobody wrote: %v", err)
	}
}

func TestManyNodesMakeOneTree(t *testing.T) {
	w := newWorld(t, memory.New())
	w.flush()
	held := w.key()
	var nodes, writers sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		log := w.open(w.store)
		nodes.Go(func() {
			for {
				if _, err := log.Flush(t.Context()); err != nil {
					t.Error(err)
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for range 4 {
		writers.Go(func() {
			for i := range 60 {
				w.commit(1 + i%7)
			}
		})
	}
	writers.Wait()
	close(done)
	nodes.Wait()
	w.flush()
	w.faithful(w.rebuilt(held))
}

// broken is a store whose Updates fail, before or after they are written, when fails says so.
type broken struct {
	store.Store
	fails func() (before, after bool)
}

var errBroken = errors.New("a fault of the test")

func (b broken) Update(ctx context.Context, f func(store.Writer) error) error {
	before, after := b.fails()
	if before {
		return errBroken
	}
	err := b.Store.Update(ctx, f)
	if after && err == nil {
		return errBroken
	}
	return err
}

// TestNoFaultForksTheLog lets the n-th step of a log's life fail, for every n, before and after its effect, with the same
// process going on and with a new one: rotations and renewals of the origin included.
func TestNoFaultForksTheLog(t *testing.T) {
	for _, how := range []string{"before", "after"} {
		for _, restart := range []bool{false, true} {
			for n := 1; ; n++ {
				if !lifeWithFault(t, how, restart, n) {
					if n < 15 {
						t.Fatalf("a life has only %d steps", n)
					}
					break
				}
			}
		}
	}
}

// lifeWithFault reports whether there was an n-th step.
func lifeWithFault(t *testing.T, how string, restart bool, n int) bool {
	t.Helper()
	under := memory.New()
	w := newWorld(t, under)
	steps, armed := 0, false
	step := func() bool {
		if armed {
			steps++
		}
		return armed && steps == n
	}
	faulty := broken{under, func() (bool, bool) {
		hit := step()
		return hit && how == "before", hit && how == "after"
	}}
	w.keys.fail = func() error {
		if step() {
			return kms.ErrUnavailable
		}
		return nil
	}
	w.log = w.open(faulty)
	retried := func(what string, do func() error) {
		t.Helper()
		for range 3 {
			armed = true
			err := do()
			armed = false
			if err == nil {
				return
			}
			if !errors.Is(err, errBroken) && !errors.Is(err, kms.ErrUnavailable) {
				t.Fatalf("%s, fault %s step %d: %v", what, how, n, err)
			}
			if restart {
				w.log = w.open(faulty)
			}
		}
		t.Fatalf("%s, fault %s step %d: does not recover", what, how, n)
	}
	flush := func() error { _, err := w.log.Flush(t.Context()); return err }
	w.commit(300)
	retried("begin", flush)
	held := w.key()
	w.commit(300)
	retried("flush", flush)
	retried("rotate", func() error { _, err := w.log.RotateKey(t.Context()); return err })
	w.commit(5)
	retried("renew", func() error { return w.log.Renew(t.Context(), nil) })
	retried("flush", flush)
	w.commit(5)
	retried("rotate", func() error { _, err := w.log.RotateKey(t.Context()); return err })
	retried("flush", flush)
	w.faithful(w.rebuilt(held))
	if head, err := w.log.Head(t.Context()); err != nil || head.Origin == held.Name {
		t.Errorf("fault %s step %d: renewed, and still %v (%v)", how, n, head, err)
	}
	return steps >= n
}

func TestARotatedKeySignsBesideTheNewForAWhile(t *testing.T) {
	w := newWorld(t, memory.New())
	w.flush()
	old := w.key()
	made, err := w.log.RotateKey(t.Context())
	check(t, err)
	opens := func(k checkpoint.Key) error {
		w.commit(1)
		w.flush()
		note, err := w.log.Checkpoint(t.Context())
		check(t, err)
		_, err = checkpoint.OpenTree(note, k)
		return err
	}
	check(t, opens(old))
	check(t, opens(made))
	w.advance(31 * 24 * time.Hour)
	check(t, opens(made))
	if err := opens(old); !errors.Is(err, checkpoint.ErrUnverified) {
		t.Errorf("after the overlap the old key: %v", err)
	}
	w.faithful(w.rebuilt(old))
}

// TestAStoreThatWasPutBackGoesOnUnderAnotherOrigin: what two stores of one past sign can never be held against each other.
func TestAStoreThatWasPutBackGoesOnUnderAnotherOrigin(t *testing.T) {
	w := newWorld(t, memory.New())
	w.commit(10)
	w.flush()
	held := w.key()
	backup := copyOf(t, w.store)
	lost := w.commit(20)
	w.flush()
	before, err := w.log.Head(t.Context())
	check(t, err)
	for _, id := range lost {
		delete(w.entries, id)
	}
	w.store = backup
	w.log = w.open(backup)
	check(t, w.log.Renew(t.Context(), nil))
	w.commit(20)
	w.flush()
	after, err := w.log.Head(t.Context())
	check(t, err)
	if after.Size != before.Size || after.Root == before.Root || after.Origin == before.Origin {
		t.Errorf("before %v, after %v", before, after)
	}
	w.rebuilt(held)
	w.neverForked()
}

// neverForked demands that no two roots were ever signed for one size of one origin.
func (w *world) neverForked() {
	w.t.Helper()
	signed := map[string]checkpoint.Tree{}
	for _, text := range w.keys.signed {
		at, err := checkpoint.ParseTree(text)
		if err != nil {
			continue
		}
		key := fmt.Sprintf("%s %d", at.Origin, at.Size)
		if other, ok := signed[key]; ok && other != at {
			w.t.Errorf("two roots were signed of %s", key)
		}
		signed[key] = at
	}
}

func copyOf(t testing.TB, from store.Store) store.Store {
	t.Helper()
	to := memory.New()
	check(t, from.View(t.Context(), func(r store.Reader) error {
		pairs, err := r.Scan(nil, nil, 1<<20)
		if err != nil {
			return err
		}
		return to.Update(t.Context(), func(w store.Writer) error {
			for _, p := range pairs {
				if err := w.Set(bytes.Clone(p.Key), bytes.Clone(p.Value)); err != nil {
					return err
				}
			}
			return nil
		})
	}))
	return to
}

func TestPruningKeepsTheTree(t *testing.T) {
	w := newWorld(t, memory.New())
	old := w.commit(600)
	w.advance(time.Hour)
	cut := w.clock()
	w.commit(300)
	if n, err := w.log.Prune(t.Context(), cut.Add(time.Hour), 9); n != 0 || err != nil {
		t.Errorf("before anything is signed: %d, %v", n, err)
	}
	w.flush()
	ctx := t.Context()
	n, err := w.log.Prune(ctx, cut, 9)
	if n != 512 || err != nil {
		t.Fatalf("pruned %d of 600 in bundles of 256 (%v)", n, err)
	}
	for i := range int64(2) {
		if _, err := w.log.Tile(ctx, checkpoint.Tile{Level: checkpoint.Entries, Index: i, Width: 256}); !errors.Is(err, translog.ErrAbsent) {
			t.Errorf("pruned bundle %d: %v", i, err)
		}
	}
	if _, err := w.log.Tile(ctx, checkpoint.Tile{Level: checkpoint.Entries, Index: 2, Width: 256}); err != nil {
		t.Errorf("a bundle that stays: %v", err)
	}
	gone := 0
	for _, id := range slices.Concat(old[:0], old) {
		p, entry, err := w.log.Prove(ctx, id)
		if errors.Is(err, translog.ErrUnknown) {
			continue // not placed
		}
		check(t, err)
		if entry == nil {
			gone++
		}
		if _, err := p.Verify(w.entries[id], w.key()); err != nil {
			t.Errorf("%s is no longer proved: %v", id, err)
		}
	}
	if gone != 256 {
		t.Errorf("of 256 placed entries that were pruned %d are gone", gone)
	}
	left := 0
	check(t, w.store.View(ctx, func(r store.Reader) error {
		for _, kind := range []string{"e", "b"} {
			pairs, err := r.Scan([]byte(kind), nil, 1<<20)
			if err != nil {
				return err
			}
			left += len(pairs)
		}
		return nil
	}))
	if left != 2*(900-512) {
		t.Errorf("%d rows of entries are left", left)
	}
}

func TestADamagedLogIsNotGoneOnFrom(t *testing.T) {
	for _, kind := range []string{"t", "i", "s"} {
		w := newWorld(t, memory.New())
		w.commit(10)
		w.flush()
		w.commit(10)
		check(t, w.store.Update(t.Context(), func(tx store.Writer) error {
			pairs, err := tx.Scan([]byte("log"+kind), nil, 1)
			if err != nil || len(pairs) == 0 {
				return errors.Join(err, errors.New("no such row"))
			}
			return tx.Set(bytes.Clone(pairs[0].Key), bytes.Clone(pairs[0].Value[:len(pairs[0].Value)-1]))
		}))
		w.log = w.open(w.store)
		if s, err := w.log.Flush(t.Context()); !errors.Is(err, translog.ErrDamaged) {
			t.Errorf("rows of kind %s are damaged: %+v, %v", kind, s, err)
		}
	}
}

// TestNothingElseIsSignedUnderAnOriginThatIsLeft: who signs other notes in the log's name does so under its next origin, from
// the Update on in which the store became the live one.
func TestNothingElseIsSignedUnderAnOriginThatIsLeft(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, memory.New())
	w.commit(3)
	_, err := w.log.Flush(ctx)
	check(t, err)
	left, err := w.log.Signer(ctx)
	check(t, err)
	check(t, w.log.Renew(ctx, nil))
	by, err := w.log.Signer(ctx)
	check(t, err)
	head, err := w.log.Head(ctx)
	check(t, err)
	if by.Key().Name == left.Key().Name || by.Key().Name != head.Origin {
		t.Errorf("signs as %s after %s; the head is of %s", by.Key().Name, left.Key().Name, head.Origin)
	}
}

// TestAClockThatWasAhead: what a paused node commits late is found though the clock was once far ahead and set back.
func TestAClockThatWasAhead(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, memory.New())
	flush := func(size int64) {
		t.Helper()
		if s, err := w.log.Flush(ctx); err != nil || s.Size != size {
			t.Fatalf("%+v, %v; want %d entries", s, err, size)
		}
	}
	w.commit(1)
	w.advance(365 * 24 * time.Hour)
	flush(1)
	w.advance(-365 * 24 * time.Hour)
	w.commit(1)
	flush(2)
	w.advance(5 * time.Minute)
	flush(2)
	w.advance(-4 * time.Minute)
	w.commit(1) // drawn then, and committed now
	w.advance(4*time.Minute + 61*time.Second)
	flush(3)
}

// TestAKeyThatIsGone: while the key provider lacks the version that signs, as after it was rolled back, entries go on into the
// tree and nothing is signed, not by another key under the same number either; when it is back, all is.
func TestAKeyThatIsGone(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, memory.New())
	w.commit(3)
	_, err := w.log.Flush(ctx)
	check(t, err)
	_, err = w.log.RotateKey(ctx)
	check(t, err)
	second := w.keys.all[1]
	before, err := w.log.Checkpoint(ctx)
	check(t, err)
	held := w.key()
	w.keys.all = w.keys.all[:1]
	w.commit(2)
	if s, err := w.log.Flush(ctx); !errors.Is(err, kms.ErrVersion) || s.Size != 5 {
		t.Errorf("%+v, %v", s, err)
	}
	_, err = w.keys.RotateSigning(ctx)
	check(t, err)
	if s, err := w.log.Flush(ctx); !errors.Is(err, checkpoint.ErrUnverified) || s.Size != 5 {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := w.log.RotateKey(ctx); err == nil {
		t.Error("the log goes on under a key that nobody led to")
	}
	if now, err := w.log.Checkpoint(ctx); err != nil || !bytes.Equal(now, before) {
		t.Errorf("another checkpoint: %s, %v", now, err)
	}
	w.keys.all[1] = second
	_, err = w.log.Flush(ctx)
	check(t, err)
	w.rebuilt(held)
}
