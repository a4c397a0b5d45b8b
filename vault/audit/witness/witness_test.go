package witness_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/audit/translog"
	"github.com/sandyq/sandyq/vault/audit/witness"
)

var quiet = slog.New(slog.DiscardHandler)

// TestCosignaturesAreAddedAsTheyCome: without a quorum, whoever is away holds nothing up, and nobody waits for anybody else.
func TestCosignaturesAreAddedAsTheyCome(t *testing.T) {
	a, b, c := newHouse(t, "a.example"), newHouse(t, "b.example"), newHouse(t, "c.example/w")
	a.does(hangs)
	b.does(away)
	w := newWorld(t, 0, a, b, c)
	w.commit(5)
	w.flush()
	if size, _ := w.cosigned(); size != 5 {
		t.Fatalf("%d entries are published", size)
	}
	is := func(size int64, want ...string) func() bool {
		return func() bool {
			check(t, w.log.Collect(t.Context()))
			got, names := w.cosigned()
			slices.Sort(names)
			return got == size && slices.Equal(names, want)
		}
	}
	eventually(t, "c has cosigned", is(5, "c.example/w"))
	id := w.commit(300)
	w.flush()
	eventually(t, "c has cosigned what has grown", is(305, "c.example/w"))
	b.does(nil)
	eventually(t, "b, which was away, has", is(305, "b.example", "c.example/w"))
	a.does(nil)
	eventually(t, "a, which hung, has", is(305, "a.example", "b.example", "c.example/w"))
	proof, _, err := w.log.Prove(t.Context(), id)
	check(t, err)
	if size, names := w.opened(proof.Checkpoint); size != 305 || len(names) != 3 {
		t.Errorf("a proof is of %d entries, cosigned by %q", size, names)
	}
	before := a.wasAsked() + b.wasAsked() + c.wasAsked()
	for range 5 {
		w.flush()
	}
	time.Sleep(100 * time.Millisecond)
	if after := a.wasAsked() + b.wasAsked() + c.wasAsked(); after != before {
		t.Errorf("asked %d times more for what all have cosigned", after-before)
	}
}

// TestAQuorumHoldsBackWhatTooFewCosigned: it is published when enough have, whoever hangs; until then the one before stays, and no
// entry that it does not cover is proved.
func TestAQuorumHoldsBackWhatTooFewCosigned(t *testing.T) {
	a, b, c := newHouse(t, "a.example"), newHouse(t, "b.example"), newHouse(t, "c.example")
	c.does(hangs)
	w := newWorld(t, 2, a, b, c)
	published := func(size int64) func() bool {
		return func() bool {
			check(t, w.log.Collect(t.Context()))
			got, names := w.cosigned()
			return got == size && len(names) >= 2
		}
	}
	w.commit(3)
	w.flush()
	eventually(t, "two have cosigned", published(3))
	b.does(away)
	id := w.commit(4)
	for more := range int64(3) {
		if s := w.flush(); !s.Held || s.Size != 7+more {
			t.Fatalf("%+v", s)
		}
		w.commit(1)
	}
	time.Sleep(100 * time.Millisecond)
	check(t, w.log.Collect(t.Context()))
	if size, _ := w.cosigned(); size != 3 {
		t.Fatalf("%d entries are published on the word of one", size)
	}
	if _, _, err := w.log.Prove(t.Context(), id); !errors.Is(err, translog.ErrQuorum) {
		t.Errorf("an entry that is not covered yet: %v", err)
	}
	b.does(nil)
	eventually(t, "what was signed then is published", published(7))
	w.flush()
	eventually(t, "and what came since", published(10))
	if s := w.flush(); s.Held || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
	proof, _, err := w.log.Prove(t.Context(), id)
	check(t, err)
	if size, names := w.opened(proof.Checkpoint); size != 10 || len(names) < 2 {
		t.Errorf("a proof is of %d entries, cosigned by %q", size, names)
	}
	made, err := w.log.RotateKey(t.Context())
	check(t, err)
	eventually(t, "the new key's is published", func() bool {
		check(t, w.log.Collect(t.Context()))
		note, err := w.log.Checkpoint(t.Context())
		check(t, err)
		_, err = checkpoint.OpenTree(note, made)
		return err == nil
	})
}

// TestAnotherProcessGoesOn: it learns from the witness what that has, also of a checkpoint that was never published.
func TestAnotherProcessGoesOn(t *testing.T) {
	a, b := newHouse(t, "a.example"), newHouse(t, "b.example")
	w := newWorld(t, 2, a, b)
	b.does(away)
	w.commit(5)
	w.flush()
	eventually(t, "one has cosigned", func() bool { return w.came(a, witness.Cosigned) == 1 })
	w.open()
	b.does(nil)
	w.commit(2)
	w.flush()
	eventually(t, "both have", func() bool {
		check(t, w.log.Collect(t.Context()))
		size, names := w.cosigned()
		return size == 7 && len(names) == 2
	})
	w.open()
	w.flush()
	eventually(t, "it is asked again, and sees that all is well", func() bool { return w.came(a, witness.Cosigned) == 3 })
	if size, names := w.cosigned(); size != 7 || len(names) != 2 {
		t.Errorf("%d, %q", size, names)
	}
}

// TestWhatIsNoCosignatureIsNotTaken: whatever a witness answers, the published checkpoint bears what verifies, and nothing else.
func TestWhatIsNoCosignatureIsNotTaken(t *testing.T) {
	_, strangers, err := ed25519.GenerateKey(nil)
	check(t, err)
	says := func(status int, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { w.WriteHeader(status); _, _ = io.WriteString(w, body) }
	}
	for name, c := range map[string]struct {
		answer func(h *house, tree checkpoint.Tree, text string) func(http.ResponseWriter)
		comes  witness.Outcome
	}{
		"by another key": {func(h *house, _ checkpoint.Tree, text string) func(http.ResponseWriter) {
			return says(200, h.lineBy(strangers, text, time.Now()))
		}, witness.Invalid},
		"of another checkpoint": {func(h *house, tree checkpoint.Tree, _ string) func(http.ResponseWriter) {
			tree.Size++
			return says(200, h.line(tree, time.Now()))
		}, witness.Invalid},
		"of long ago": {func(h *house, tree checkpoint.Tree, _ string) func(http.ResponseWriter) {
			return says(200, h.line(tree, time.Now().Add(-witness.Skew-time.Minute)))
		}, witness.Invalid},
		"of times to come": {func(h *house, tree checkpoint.Tree, _ string) func(http.ResponseWriter) {
			return says(200, h.line(tree, time.Now().Add(witness.Skew+time.Minute)))
		}, witness.Invalid},
		"twice": {func(h *house, tree checkpoint.Tree, _ string) func(http.ResponseWriter) {
			line := h.line(tree, time.Now())
			return says(200, line+line)
		}, witness.Invalid},
		"after a text of its own": {func(h *house, tree checkpoint.Tree, text string) func(http.ResponseWriter) {
			return says(200, "more\n\n"+h.lineBy(h.private, text+"\nmore\n", time.Now()))
		}, witness.Invalid},
		"with text after it": {func(h *house, tree checkpoint.Tree, _ string) func(http.ResponseWriter) {
			return says(200, h.line(tree, time.Now())+"\nmore\n")
		}, witness.Invalid},
		"of an unknown key": {func(h *house, tree checkpoint.Tree, _ string) func(http.ResponseWriter) {
			return says(200, strings.Replace(h.line(tree, time.Now()), h.Key.Name, "other.example", 1))
		}, witness.Invalid},
		"without its time": {func(h *house, _ checkpoint.Tree, text string) func(http.ResponseWriter) {
			line := h.lineBy(h.private, text, time.Now())
			raw, _ := base64.StdEncoding.DecodeString(strings.Fields(line)[2])
			return says(200, "— "+h.Key.Name+" "+base64.StdEncoding.EncodeToString(slices.Delete(raw, 4, 12))+"\n")
		}, witness.Invalid},
		"nothing": {func(*house, checkpoint.Tree, string) func(http.ResponseWriter) { return says(200, "") }, witness.Invalid},
		"endless": {func(h *house, tree checkpoint.Tree, _ string) func(http.ResponseWriter) {
			return func(w http.ResponseWriter) {
				for _, err := io.WriteString(w, h.line(tree, time.Now())); err == nil; {
					_, err = io.WriteString(w, strings.Repeat("x", 8<<10))
				}
			}
		}, witness.Unreachable},
		"a redirect": {func(*house, checkpoint.Tree, string) func(http.ResponseWriter) {
			return func(w http.ResponseWriter) {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(http.StatusTemporaryRedirect)
			}
		}, witness.Refused},
		"that it does not know the log": {func(*house, checkpoint.Tree, string) func(http.ResponseWriter) { return says(404, "") }, witness.Refused},
		"that it does not know the key": {func(*house, checkpoint.Tree, string) func(http.ResponseWriter) { return says(403, "") }, witness.Refused},
		"no consistency, from nothing":  {func(*house, checkpoint.Tree, string) func(http.ResponseWriter) { return says(422, "") }, witness.Refused},
		"a size that is none": {func(*house, checkpoint.Tree, string) func(http.ResponseWriter) {
			return says(409, "99999999999999999999\n")
		}, witness.Invalid},
		"a negative size":            {func(*house, checkpoint.Tree, string) func(http.ResponseWriter) { return says(409, "-1\n") }, witness.Invalid},
		"the size that it was given": {func(*house, checkpoint.Tree, string) func(http.ResponseWriter) { return says(409, "0\n") }, witness.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad, good := newHouse(t, "bad.example"), newHouse(t, "good.example")
			bad.does(func(w http.ResponseWriter, _ *http.Request, tree checkpoint.Tree) {
				text, err := tree.Marshal()
				if err != nil {
					panic(err)
				}
				c.answer(bad, tree, text)(w)
			})
			w := newWorld(t, 0, bad, good)
			w.commit(5)
			w.flush()
			eventually(t, "it has answered so, and the other has cosigned", func() bool {
				check(t, w.log.Collect(t.Context()))
				_, names := w.cosigned()
				return w.came(bad, c.comes) > 1 && slices.Equal(names, []string{"good.example"})
			})
			if n := w.came(bad, witness.Cosigned); n != 0 {
				t.Errorf("%d cosignatures were taken", n)
			}
			w.commit(1)
			w.flush()
			eventually(t, "the log goes on", func() bool {
				check(t, w.log.Collect(t.Context()))
				size, names := w.cosigned()
				return size == 6 && slices.Equal(names, []string{"good.example"})
			})
		})
	}
}

// TestAWitnessThatHasCosignedMoreStopsTheLog: a store that was put back, and the anchor with it, shows by what the witness has; whether it
// is smaller since or has grown beyond. Nothing is signed, until the log goes on under another origin.
func TestAWitnessThatHasCosignedMoreStopsTheLog(t *testing.T) {
	for name, grown := range map[string]int{"smaller": 0, "of the same size": 3, "and has grown beyond": 9} {
		for _, quorum := range []int{0, 1} {
			t.Run(fmt.Sprintf("%s, quorum %d", name, quorum), func(t *testing.T) {
				t.Parallel()
				h := newHouse(t, "w.example")
				w := newWorld(t, quorum, h)
				reaches := func(size int64) {
					t.Helper()
					eventually(t, "it is cosigned", func() bool {
						check(t, w.log.Collect(t.Context()))
						got, names := w.cosigned()
						return got == size && len(names) == 1
					})
				}
				w.commit(5)
				w.flush()
				reaches(5)
				earlier := w.copy()
				w.commit(3)
				w.flush()
				reaches(8)
				w.store = earlier
				w.open()
				w.commit(grown)
				stopped := func() error { _, err := w.log.Flush(t.Context()); return err }
				eventually(t, "the log is stopped", func() bool { return errors.Is(stopped(), translog.ErrWitness) })
				before := w.key.count()
				w.commit(1)
				for range 5 {
					if err := stopped(); !errors.Is(err, translog.ErrWitness) {
						t.Fatal(err)
					}
				}
				if _, err := w.log.RotateKey(t.Context()); !errors.Is(err, translog.ErrWitness) {
					t.Error(err)
				}
				if now := w.key.count(); now != before {
					t.Errorf("signed %d times", now-before)
				}
				check(t, w.log.Renew(t.Context(), nil))
				w.flush()
				reaches(int64(6 + grown))
			})
		}
	}
}

// TestAWitnessThatTakesItBack: what it says of sizes counts for as long as it says so.
func TestAWitnessThatTakesItBack(t *testing.T) {
	h := newHouse(t, "w.example")
	w := newWorld(t, 0, h)
	w.commit(5)
	h.does(func(w http.ResponseWriter, _ *http.Request, _ checkpoint.Tree) {
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, "6\n")
	})
	eventually(t, "the log is stopped", func() bool {
		_, err := w.log.Flush(t.Context())
		return errors.Is(err, translog.ErrWitness)
	})
	h.does(nil)
	eventually(t, "and goes on", func() bool {
		_, err := w.log.Flush(t.Context())
		return err == nil
	})
}

// TestWhoCannotBeAsked: addresses in the clear, and two witnesses that are one.
func TestWhoCannotBeAsked(t *testing.T) {
	key := func(name string, b byte) checkpoint.Cosigner {
		return checkpoint.Cosigner{Name: name, Public: slices.Repeat([]byte{b}, ed25519.PublicKeySize)}
	}
	good := witness.Witness{URL: "https://w.example/x", Key: key("w", 1)}
	many := slices.Repeat([]witness.Witness{good}, witness.MaxWitnesses+1)
	for i := range many {
		many[i].Key = key("w", byte(i))
	}
	for name, all := range map[string][]witness.Witness{
		"in the clear":           {{URL: "http://w.example", Key: key("w", 1)}},
		"a user":                 {{URL: "https://u@w.example", Key: key("w", 1)}},
		"a query":                {{URL: "https://w.example/?a=b", Key: key("w", 1)}},
		"no address":             {{Key: key("w", 1)}},
		"no key":                 {{URL: "https://w.example"}},
		"one key by two names":   {good, {URL: "https://v.example", Key: key("v", 1)}},
		"the same one twice":     {good, good},
		"more than there can be": many,
	} {
		if err := witness.Check(all); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	check(t, witness.Check([]witness.Witness{good, {URL: "http://127.0.0.1:1/w/", Key: key("v", 2)}}))
}
