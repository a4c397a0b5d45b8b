package move_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/sandyq/sandyq/vault/move"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/badgerdb"
	"github.com/sandyq/sandyq/vault/store/memory"
	"github.com/sandyq/sandyq/vault/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func badger(t testing.TB) *badgerdb.Store {
	t.Helper()
	s, err := badgerdb.Open(badgerdb.Options{Dir: t.TempDir()})
	check(t, err)
	t.Cleanup(func() { check(t, s.Close()) })
	return s
}

// put writes rows; a nil value deletes one.
func put(t testing.TB, s store.Store, rows ...store.Pair) {
	t.Helper()
	check(t, s.Update(ctx, func(w store.Writer) (err error) {
		for _, p := range rows {
			if p.Value == nil {
				err = errors.Join(err, w.Delete(p.Key))
				continue
			}
			err = errors.Join(err, w.Set(p.Key, p.Value))
		}
		return err
	}))
}

func row(key, value string) store.Pair { return store.Pair{Key: []byte(key), Value: []byte(value)} }

// rows are so many of three kinds.
func rows(n int, value string) (all []store.Pair) {
	for i := range n {
		all = append(all, row(fmt.Sprintf("a%c%04d", 'k'+i%3, i), value))
	}
	return all
}

func gone(key string) store.Pair { return store.Pair{Key: []byte(key)} }

// all is what a store holds.
func all(t testing.TB, s store.Store) map[string]string {
	t.Helper()
	rows := map[string]string{}
	check(t, s.View(ctx, func(r store.Reader) error {
		var after []byte
		for {
			pairs, err := r.Scan(nil, after, 1000)
			if err != nil || len(pairs) == 0 {
				return err
			}
			for _, p := range pairs {
				rows[string(p.Key)] = string(p.Value)
				after = bytes.Clone(p.Key)
			}
		}
	}))
	return rows
}

// moving is a move of what begins with a and b; what ends in ! is each store's own, and the second letter is the kind.
func moving(from, to store.Store) *move.Rows {
	return &move.Rows{
		From: from, To: to, Under: [][]byte{[]byte("a"), []byte("b")},
		Own:  func(key []byte) bool { return bytes.HasSuffix(key, []byte("!")) },
		Kind: func(key []byte) byte { return append(key, 0, 0)[1] },
	}
}

func carried(key string) bool { return (key[0] == 'a' || key[0] == 'b') && key[len(key)-1] != '!' }

// agree sees that the target has what it should: the source's rows, and its own.
func agree(t *testing.T, m *move.Rows, own map[string]string) {
	t.Helper()
	want := map[string]string{}
	maps.Copy(want, own)
	tallies := map[byte]move.Tally{}
	sums := map[byte]*big.Int{}
	for k, v := range all(t, m.From) {
		if !carried(k) {
			continue
		}
		want[k] = v
		kind := m.Kind([]byte(k))
		of := tallies[kind]
		of.Count, of.Bytes = of.Count+1, of.Bytes+int64(len(k)+len(v))
		tallies[kind] = of
		if sums[kind] == nil {
			sums[kind] = new(big.Int)
		}
		h := sha256.Sum256(append(binary.BigEndian.AppendUint16(nil, uint16(len(k))), k+v...))
		sums[kind].Add(sums[kind], new(big.Int).SetBytes(h[:]))
	}
	for kind, of := range tallies {
		new(big.Int).Mod(sums[kind], new(big.Int).Lsh(big.NewInt(1), 256)).FillBytes(of.Sum[:])
		tallies[kind] = of
	}
	if got := all(t, m.To); !maps.Equal(got, want) {
		t.Errorf("the target has %d rows, want %d", len(got), len(want))
	}
	from, to := m.Tallies()
	if !maps.Equal(from, tallies) || !maps.Equal(to, tallies) {
		t.Errorf("the tallies are %v and %v, want %v", from, to, tallies)
	}
	if err := m.Equal(); err != nil {
		t.Error(err)
	}
}

func TestAStillSource(t *testing.T) {
	from, to := memory.New(), memory.New()
	put(t, from, row("a", ""), row("ax1", "one"), row("ay2", ""), row("bx", "two"), row("c", "another's"), row("am!", "mine"))
	put(t, to, row("ax1", "old"), row("ax0", "too much"), row("bz", "too much"), row("d", "another's"), row("am!", "its own"))
	m := moving(from, to)
	if err := m.Equal(); !errors.Is(err, move.ErrDiffers) {
		t.Errorf("equal before anything was verified: %v", err)
	}
	if _, err := m.Verify(ctx); !errors.Is(err, move.ErrDiffers) {
		t.Errorf("other rows are verified: %v", err)
	}
	c, err := m.Copy(ctx)
	check(t, err)
	if want := (move.Changes{Rows: 4, Bytes: 15, Written: 4, Deleted: 2}); c != want {
		t.Errorf("it did %+v, want %+v", c, want)
	}
	if err := m.Equal(); !errors.Is(err, move.ErrDiffers) {
		t.Errorf("equal before it was verified: %v", err)
	}
	_, err = m.Verify(ctx)
	check(t, err)
	agree(t, m, map[string]string{"d": "another's", "am!": "its own"})
	if c, err = m.Copy(ctx); err != nil || c.Written+c.Deleted != 0 {
		t.Errorf("the second time it did %+v: %v", c, err)
	}
}

// TestASourceInUse has several clients write all the while: nothing that was acknowledged is missing at the end.
func TestASourceInUse(t *testing.T) {
	const writers, each = 4, 150
	under := badger(t)
	journal, from := move.Watch(under)
	if _, ok := from.(store.Residual); !ok {
		t.Error("the journal hides that the store measures its residue")
	}
	put(t, from, rows(2000, "before")...)
	to := badger(t)
	m := moving(under, to)
	m.Journal = journal
	_, err := m.Copy(ctx)
	check(t, err)

	var load sync.WaitGroup
	for w := range writers {
		load.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 1))
			for n := range each {
				key := fmt.Sprintf("%c%c%04d", 'a'+rnd.IntN(3), 'k'+rnd.IntN(3), rnd.IntN(2500))
				if rnd.IntN(4) == 0 {
					put(t, from, gone(key), row(key+"!", "mine"))
				} else {
					put(t, from, row(key, fmt.Sprint(w, n)))
				}
			}
		})
	}
	_, err = m.Verify(ctx)
	check(t, err)
	for range 5 {
		_, err = m.CatchUp(ctx)
		check(t, err)
	}
	load.Wait()
	_, err = m.CatchUp(ctx)
	check(t, err)
	if n := journal.Pending(); n != 0 {
		t.Errorf("%d keys are left", n)
	}
	agree(t, m, nil)
}

// TestFaultsOfTheTarget fails every Update of the target, one after another, before and after it is written. What fell is gone on with.
func TestFaultsOfTheTarget(t *testing.T) {
	for _, fault := range []storetest.Fault{storetest.FailBefore, storetest.FailAfter, storetest.Rerun} {
		for n := 1; ; n++ {
			journal, from := move.Watch(memory.New())
			put(t, from, rows(3000, "first")...)
			to := storetest.NewFaulty(memory.New(), storetest.Nth(n, fault))
			m := moving(journal.Store, to)
			m.Journal = journal
			steps := []func() error{
				func() error { _, err := m.Copy(ctx); return err },
				func() error {
					put(t, from, row("ak0000", "second"), gone("al0001"))
					_, err := m.Verify(ctx)
					return err
				},
				func() error { put(t, from, row("al0001", "third"), gone("am0002")); return nil },
				func() error {
					_, err := m.CatchUp(ctx)
					if err == nil && m.Equal() != nil { // it fell before
						_, err = m.Verify(ctx)
					}
					return err
				},
			}
			failed := 0
			for _, step := range steps {
				if err := step(); err != nil {
					if !errors.Is(err, storetest.ErrInjected) {
						t.Fatal(err)
					}
					failed++
					if err := step(); err != nil {
						t.Fatalf("not even the second time: %v", err)
					}
				}
			}
			agree(t, m, nil)
			if failed == 0 && fault != storetest.Rerun || n > 10 {
				if n < 5 {
					t.Errorf("only %d Updates were failed", n-1)
				}
				break
			}
		}
	}
}

// forgetful is a store that acknowledges what it does not write, once it has been told to.
type forgetful struct {
	store.Store
	forgets string // the key whose writes it drops
}

func (f *forgetful) Update(ctx context.Context, g func(store.Writer) error) error {
	return f.Store.Update(ctx, func(w store.Writer) error { return g(forgetting{w, f.forgets}) })
}

type forgetting struct {
	store.Writer
	key string
}

func (f forgetting) Set(key, value []byte) error {
	if string(key) == f.key {
		return nil
	}
	return f.Writer.Set(key, value)
}

// TestATargetThatForgets is found out, by what is read of it.
func TestATargetThatForgets(t *testing.T) {
	journal, from := move.Watch(memory.New())
	put(t, from, row("ax", "1"), row("ay", "2"))
	to := &forgetful{memory.New(), "ay"}
	m := moving(journal.Store, to)
	m.Journal = journal
	_, err := m.Copy(ctx)
	check(t, err)
	if _, err := m.Verify(ctx); !errors.Is(err, move.ErrDiffers) {
		t.Errorf("verified what is not there: %v", err)
	}
	if err := m.Equal(); !errors.Is(err, move.ErrDiffers) {
		t.Errorf("equal: %v", err)
	}
	to.forgets = ""
	_, err = m.Copy(ctx)
	check(t, err)
	_, err = m.Verify(ctx)
	check(t, err)
	to.forgets = "az"
	put(t, from, row("az", "3"))
	if _, err := m.CatchUp(ctx); !errors.Is(err, move.ErrDiffers) {
		t.Errorf("caught up with what is not there: %v", err)
	}
	if journal.Pending() != 1 {
		t.Error("what could not be carried is forgotten")
	}
	put(t, journal.Store, row("ax", "behind the journal's back"))
	to.forgets = ""
	if _, err := m.Verify(ctx); !errors.Is(err, move.ErrDiffers) {
		t.Errorf("verified what was written elsewhere: %v", err)
	}
}

// TestAnUnknownOutcome: what an Update may have written is noted, also when it is not acknowledged.
func TestAnUnknownOutcome(t *testing.T) {
	journal, from := move.Watch(storetest.NewFaulty(memory.New(), storetest.Nth(1, storetest.FailAfter)))
	err := from.Update(ctx, func(w store.Writer) error { return w.Set([]byte("ax"), []byte("1")) })
	if !errors.Is(err, storetest.ErrInjected) || journal.Pending() != 1 {
		t.Errorf("%d keys after %v", journal.Pending(), err)
	}
}

// TestTalliesDoNotDependOnTheOrder, and find every change.
func TestTalliesDoNotDependOnTheOrder(t *testing.T) {
	tally := func(rows ...store.Pair) move.Tally {
		s := memory.New()
		for _, r := range rows {
			put(t, s, r)
		}
		m := moving(s, s)
		_, err := m.Verify(ctx)
		check(t, err)
		from, _ := m.Tallies()
		return from.All()
	}
	rows := []store.Pair{row("ax", "1"), row("ay", "2"), row("bx", "3"), row("by", "")}
	whole := tally(rows...)
	slices.Reverse(rows)
	if tally(rows...) != whole || whole.Count != 4 || whole.Bytes != 11 {
		t.Errorf("%+v", whole)
	}
	for i := range rows {
		if tally(slices.Concat(rows[:i], rows[i+1:])...).Sum == whole.Sum {
			t.Error("a row less has the same sum")
		}
	}
	if tally(row("ax1", ""), row("ay", "2"), row("bx", "3"), row("by", "")).Sum == whole.Sum {
		t.Error("a key that takes a byte of the value has the same sum")
	}
}
