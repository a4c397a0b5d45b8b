package checkpoint_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/sandyq/sandyq/vault/audit/checkpoint"
)

// signer signs with a key that depends on a label only.
type signer struct {
	name string
	key  ed25519.PrivateKey
}

func newSigner(name, label string) signer {
	seed := sha256.Sum256([]byte("sandyq vectors: " + label))
	return signer{name, ed25519.NewKeyFromSeed(seed[:])}
}

func (s signer) Key() checkpoint.Key {
	return checkpoint.Key{Name: s.name, Public: s.key.Public().(ed25519.PublicKey)}
}

func (s signer) Sign(_ context.Context, msg []byte) ([]byte, error) {
	return ed25519.Sign(s.key, msg), nil
}

// plain is the same key for golang.org/x/mod/sumdb/note.
func (s signer) plain(t testing.TB) (note.Signer, note.Verifier) {
	t.Helper()
	vkey, err := note.NewEd25519VerifierKey(s.name, s.Key().Public)
	if err != nil {
		t.Fatal(err)
	}
	hash := strings.Split(vkey, "+")[1]
	private := base64.StdEncoding.EncodeToString(append([]byte{1}, s.key.Seed()...))
	sig, err := note.NewSigner("PRIVATE+KEY+" + s.name + "+" + hash + "+" + private)
	if err != nil {
		t.Fatal(err)
	}
	ver, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return sig, ver
}

const origin = "sandyq/default/00112233445566778899aabbccddeeff"

// forest is a tree of n entries, and the hashes that x/mod's functions ask for.
type forest struct {
	entries [][]byte
	hashes  []tlog.Hash
}

func (f *forest) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = f.hashes[x]
	}
	return out, nil
}

func grow(t testing.TB, n int) *forest {
	t.Helper()
	f := &forest{}
	for i := range n {
		e := fmt.Appendf(nil, "entry %d", i)
		hashes, err := tlog.StoredHashes(int64(i), e, f)
		if err != nil {
			t.Fatal(err)
		}
		f.entries, f.hashes = append(f.entries, e), append(f.hashes, hashes...)
	}
	return f
}

func (f *forest) tree(t testing.TB, origin string) checkpoint.Tree {
	t.Helper()
	root, err := tlog.TreeHash(int64(len(f.entries)), f)
	if err != nil {
		t.Fatal(err)
	}
	return checkpoint.Tree{Origin: origin, Size: int64(len(f.entries)), Root: root}
}

func issue(t testing.TB, tree checkpoint.Tree, by ...checkpoint.Signer) []byte {
	t.Helper()
	text, err := tree.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	msg, err := checkpoint.Sign(t.Context(), text, by...)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func prove(t testing.TB, f *forest, i int, by ...checkpoint.Signer) checkpoint.InclusionProof {
	t.Helper()
	tree := f.tree(t, by[0].Key().Name)
	hashes, err := tlog.ProveRecord(tree.Size, int64(i), f)
	if err != nil {
		t.Fatal(err)
	}
	return checkpoint.InclusionProof{Index: int64(i), Hashes: hashes, Checkpoint: issue(t, tree, by...)}
}

func TestNotesAreThoseOfTheGoChecksumDatabase(t *testing.T) {
	a, b := newSigner(origin, "a"), newSigner(origin, "b")
	msg := issue(t, grow(t, 7).tree(t, origin), a, b)
	plainA, verifierA := a.plain(t)
	plainB, verifierB := b.plain(t)
	opened, err := note.Open(msg, note.VerifierList(verifierA, verifierB))
	if err != nil || len(opened.Sigs) != 2 {
		t.Fatalf("x/mod opens it with %v, %v", opened, err)
	}
	theirs, err := note.Sign(&note.Note{Text: opened.Text}, plainA, plainB)
	if err != nil || !bytes.Equal(theirs, msg) {
		t.Fatalf("x/mod writes\n%s, and we\n%s (%v)", theirs, msg, err)
	}
	vkey, _ := note.NewEd25519VerifierKey(origin, a.Key().Public)
	if a.Key().String() != vkey || a.Key().Hash() != verifierA.KeyHash() {
		t.Errorf("the key is %s, for x/mod %s", a.Key(), vkey)
	}
}

func TestACheckpointCountsOnlyUnderAKeyOfItsOrigin(t *testing.T) {
	ours, other, witness := newSigner(origin, "a"), newSigner("example.com/other", "a"), newSigner("witness.example", "w")
	tree := grow(t, 5).tree(t, origin)
	if got, err := checkpoint.OpenTree(issue(t, tree, ours, witness), ours.Key()); err != nil || got != tree {
		t.Errorf("signed by its key and a witness: %v, %v", got, err)
	}
	for name, c := range map[string]struct {
		msg  []byte
		keys []checkpoint.Key
	}{
		"signed by the key of another log": {issue(t, tree, other), []checkpoint.Key{other.Key()}},
		"signed by a witness alone":        {issue(t, tree, witness), []checkpoint.Key{ours.Key(), witness.Key()}},
		"held to another key":              {issue(t, tree, ours), []checkpoint.Key{newSigner(origin, "b").Key()}},
		"held to no key":                   {issue(t, tree, ours), nil},
	} {
		if got, err := checkpoint.OpenTree(c.msg, c.keys...); !errors.Is(err, checkpoint.ErrUnverified) || got != (checkpoint.Tree{}) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// lying signs under another key than it says.
type lying struct{ signer }

func (l lying) Key() checkpoint.Key { return newSigner(l.name, "another").Key() }

func TestWhatASignerGetsWrongIsNotPublished(t *testing.T) {
	a := newSigner(origin, "a")
	text, _ := grow(t, 3).tree(t, origin).Marshal()
	for name, by := range map[string][]checkpoint.Signer{
		"nobody":                  nil,
		"one who signs twice":     {a, a},
		"one with another key":    {a, lying{a}},
		"one whose name is empty": {newSigner("", "a")},
	} {
		if msg, err := checkpoint.Sign(t.Context(), text, by...); err == nil {
			t.Errorf("%s signed:\n%s", name, msg)
		}
	}
}

// TestNoByteOfANoteMayBeOther flips, drops and doubles every byte of a checkpoint and of a proof: none of it opens.
func TestNoByteOfANoteMayBeOther(t *testing.T) {
	a := newSigner(origin, "a")
	f := grow(t, 11)
	p, err := prove(t, f, 6, a).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	opens := map[string]func([]byte) error{
		"checkpoint": func(b []byte) error { _, err := checkpoint.OpenTree(b, a.Key()); return err },
		"proof": func(b []byte) error {
			p, err := checkpoint.ParseInclusionProof(b)
			if err != nil {
				return err
			}
			_, err = p.Verify(f.entries[6], a.Key())
			return err
		},
	}
	for name, whole := range map[string][]byte{"checkpoint": issue(t, f.tree(t, origin), a), "proof": p} {
		if err := opens[name](whole); err != nil {
			t.Fatalf("a good %s: %v", name, err)
		}
		for i := range whole {
			for bit := range 8 {
				b := bytes.Clone(whole)
				b[i] ^= 1 << bit
				if opens[name](b) == nil {
					t.Errorf("%s with bit %d of byte %d flipped opens:\n%s", name, bit, i, b)
				}
			}
			if b := append(bytes.Clone(whole[:i]), whole[i+1:]...); opens[name](b) == nil {
				t.Errorf("%s without byte %d opens:\n%s", name, i, b)
			}
			if b := append(bytes.Clone(whole[:i+1]), whole[i:]...); opens[name](b) == nil {
				t.Errorf("%s with byte %d doubled opens:\n%s", name, i, b)
			}
		}
	}
}

func TestAProofIsOfOneEntryAtOnePlace(t *testing.T) {
	a := newSigner(origin, "a")
	for _, n := range []int{1, 2, 3, 8, 13} {
		f := grow(t, n)
		for i := range n {
			p := prove(t, f, i, a)
			p.Extra = []byte("where it came from")
			b, err := p.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			back, err := checkpoint.ParseInclusionProof(b)
			if err != nil {
				t.Fatal(err)
			}
			if tree, err := back.Verify(f.entries[i], a.Key()); err != nil || tree != f.tree(t, origin) {
				t.Errorf("%d of %d: %v, %v", i, n, tree, err)
			}
			if again, _ := back.Marshal(); !bytes.Equal(again, b) {
				t.Errorf("%d of %d is written anew as\n%s", i, n, again)
			}
			for j := range n {
				moved := back
				moved.Index = int64(j)
				if _, err := moved.Verify(f.entries[i], a.Key()); j != i && err == nil {
					t.Errorf("entry %d of %d proves to be at %d", i, n, j)
				}
				if _, err := back.Verify(f.entries[j], a.Key()); j != i && err == nil {
					t.Errorf("entry %d of %d proves to be at %d", j, n, i)
				}
			}
		}
	}
}

func succeed(t testing.TB, from, to signer, f *forest) []byte {
	t.Helper()
	tree := f.tree(t, from.name)
	msg, err := checkpoint.SignSuccession(t.Context(), checkpoint.Succession{From: from.Key(), To: to.Key(), Size: tree.Size, Root: tree.Root}, from)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func TestWhoHoldsAnyKeyOfALogFindsTodays(t *testing.T) {
	a, rotated := newSigner(origin, "1"), newSigner(origin, "2")
	promoted, again := newSigner("sandyq/default/ff", "2"), newSigner("sandyq/default/ff", "3")
	all := []signer{a, rotated, promoted, again}
	notes := [][]byte{
		succeed(t, a, rotated, grow(t, 5)), succeed(t, rotated, promoted, grow(t, 3)), succeed(t, promoted, again, grow(t, 9)),
	}
	for i, held := range all {
		keys, err := checkpoint.Follow(held.Key(), notes...)
		if err != nil || len(keys) != len(all)-i || !keys[0].Equal(held.Key()) || !keys[len(keys)-1].Equal(again.Key()) {
			t.Errorf("from key %d: %v, %v", i, keys, err)
		}
	}
	stranger := newSigner(origin, "x")
	if keys, err := checkpoint.Follow(stranger.Key(), notes...); !errors.Is(err, checkpoint.ErrUnverified) {
		t.Errorf("a stranger follows to %v, %v", keys, err)
	}
	if keys, err := checkpoint.Follow(stranger.Key()); err != nil || len(keys) != 1 {
		t.Errorf("without successions: %v, %v", keys, err)
	}
	for name, bad := range map[string][][]byte{
		"one missing":           {notes[0], notes[2]},
		"in another order":      {notes[1], notes[0], notes[2]},
		"one twice":             {notes[0], notes[0], notes[1]},
		"two heirs of one key":  {notes[0], notes[1], succeed(t, rotated, newSigner("sandyq/default/ee", "2"), grow(t, 3))},
		"back to an earlier":    {notes[0], succeed(t, rotated, a, grow(t, 6))},
		"a smaller tree":        {notes[0], succeed(t, rotated, newSigner(origin, "4"), grow(t, 4))},
		"cut":                   {notes[0][:len(notes[0])-3]},
		"with the tree altered": {bytes.Replace(notes[0], []byte("\n5\n"), []byte("\n6\n"), 1)},
	} {
		if keys, err := checkpoint.Follow(a.Key(), bad...); err == nil {
			t.Errorf("%s: %v", name, keys)
		}
	}
}

func TestASuccessionIsNoCheckpointAndNoOtherMaySignIt(t *testing.T) {
	a, b := newSigner(origin, "a"), newSigner(origin, "b")
	msg := succeed(t, a, b, grow(t, 4))
	if tree, err := checkpoint.OpenTree(msg, a.Key()); err == nil {
		t.Errorf("it opens as the checkpoint %v", tree)
	}
	if _, err := checkpoint.OpenSuccession(issue(t, grow(t, 4).tree(t, origin), a)); err == nil {
		t.Error("a checkpoint opens as a succession")
	}
	s := checkpoint.Succession{From: a.Key(), To: b.Key()}
	if msg, err := checkpoint.SignSuccession(t.Context(), s, b); err == nil {
		t.Errorf("the heir signed for itself:\n%s", msg)
	}
	text, _ := s.Marshal()
	if forged, err := checkpoint.Sign(t.Context(), text, b); err != nil {
		t.Fatal(err)
	} else if _, err := checkpoint.OpenSuccession(forged); !errors.Is(err, checkpoint.ErrUnverified) {
		t.Errorf("a succession that the heir signed opens: %v", err)
	}
}

func TestKeysHaveOneText(t *testing.T) {
	good := newSigner(origin, "b").Key() // whose hash has letters
	back, err := checkpoint.ParseKey(good.String())
	if err != nil || !back.Equal(good) {
		t.Fatal(back, err)
	}
	text := good.String()
	parts := strings.SplitN(text, "+", 3)
	for _, bad := range []string{
		"", "+", text + "\n", " " + text, strings.ToUpper(parts[0]) + "+" + parts[1] + "+" + parts[2],
		parts[0] + "+" + strings.ToUpper(parts[1]) + "+" + parts[2], parts[0] + "+00000000+" + parts[2],
		parts[0] + "+" + parts[1] + "+" + parts[2] + "=", "a b+" + parts[1] + "+" + parts[2], text[:len(text)-4],
	} {
		if k, err := checkpoint.ParseKey(bad); !errors.Is(err, checkpoint.ErrFormat) {
			t.Errorf("%q is read as %v (%v)", bad, k, err)
		}
	}
	for range 200 { // whatever the digits of hash and base64
		seed := make([]byte, ed25519.SeedSize)
		for i := range seed {
			seed[i] = byte(rand.Uint32())
		}
		k := checkpoint.Key{Name: "log.example", Public: ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)}
		if back, err := checkpoint.ParseKey(k.String()); err != nil || !back.Equal(k) {
			t.Fatalf("%s: %v", k, err)
		}
	}
}

// TestTiles: the tiles of a log are those that golang.org/x/mod knows, and naming a log of any size takes no memory.
func TestTiles(t *testing.T) {
	for _, size := range []int64{0, 1, 255, 256, 257, 511, 512, 65535, 65536, 65537, 70000, 200000} {
		for _, since := range []int64{0, 1, 255, 256, 300, 65536, 65537, 70000} {
			if since > size {
				continue
			}
			var want, got []checkpoint.Tile
			for _, w := range tlog.NewTiles(checkpoint.Height, since, size) {
				want = append(want, checkpoint.Tile{Level: w.L, Index: w.N, Width: w.W})
			}
			bundles := 0
			for tile := range checkpoint.Tiles(since, size) {
				if tile.Level == checkpoint.Entries {
					bundles++
					continue
				}
				got = append(got, tile)
			}
			if !slices.Equal(got, want) {
				t.Errorf("from %d to %d: %v, want %v", since, size, got, want)
			}
			if most := int(size/checkpoint.Width - since/checkpoint.Width + 1); bundles > most {
				t.Errorf("from %d to %d: %d bundles", since, size, bundles)
			}
		}
	}
	for tile := range checkpoint.Tiles(0, math.MaxInt64) {
		if tile.Index == 3 {
			break
		}
	}
}
