package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/memory"
)

// step is one operation of a random transaction, played on both stores.
type step struct {
	kind       int // of the constants below
	key, value []byte
	limit      int
}

const (
	stepGet = iota
	stepScan
	stepSet
	stepDelete
	kinds
)

// play runs steps and returns what they read.
func play(w store.Writer, steps []step) (read []string, err error) {
	for _, st := range steps {
		switch st.kind {
		case stepGet:
			values, err := w.Get(st.key, st.value)
			if err != nil {
				return nil, err
			}
			read = append(read, show(values[0]), show(values[1]))
		case stepScan:
			var after []byte
			if st.limit%2 == 0 {
				after = st.value
			}
			pairs, err := w.Scan(st.key[:min(len(st.key), st.limit%3)], after, st.limit)
			if err != nil {
				return nil, err
			}
			for _, p := range pairs {
				read = append(read, string(p.Key), show(p.Value))
			}
		case stepSet:
			err = w.Set(bytes.Clone(st.key), bytes.Clone(st.value))
		case stepDelete:
			err = w.Delete(bytes.Clone(st.key))
		}
		if err != nil {
			return nil, err
		}
	}
	return read, nil
}

// againstModel plays random transactions, some of which f refuses, and compares everything read with the model.
func againstModel(s store.Store, seed uint64) error {
	rnd := rand.New(rand.NewPCG(seed, 3))
	model := memory.New()
	for n := range 150 {
		steps := randomSteps(rnd)
		refuse := rnd.IntN(4) == 0
		run := func(s store.Store) (read []string, err error) {
			err = s.Update(background, func(w store.Writer) error {
				var err error
				if read, err = play(w, steps); err == nil && refuse {
					err = errRefused
				}
				return err
			})
			if errors.Is(err, errRefused) {
				err = nil
			}
			return read, err
		}
		want, err1 := run(model)
		got, err2 := run(s)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("transaction %d read %q, the model %q", n, got, want)
		}
		if err := sameContent(s, model); err != nil {
			return fmt.Errorf("after transaction %d: %w", n, err)
		}
	}
	return model.Close()
}

func randomSteps(rnd *rand.Rand) []step {
	alphabet := []byte{0, 'a', 'b', 0xff}
	word := func() []byte {
		b := make([]byte, rnd.IntN(4))
		for i := range b {
			b[i] = alphabet[rnd.IntN(len(alphabet))]
		}
		return b
	}
	steps := make([]step, 1+rnd.IntN(12))
	for i := range steps {
		steps[i] = step{kind: rnd.IntN(kinds), key: word(), value: word(), limit: 1 + rnd.IntN(9)}
	}
	return steps
}

// sameContent compares all of two stores.
func sameContent(s, model store.Store) error {
	dump := func(s store.Store) (all []string, err error) {
		err = s.View(background, func(r store.Reader) error {
			pairs, err := r.Scan(nil, nil, 10_000)
			for _, p := range pairs {
				all = append(all, string(p.Key), string(p.Value))
			}
			return err
		})
		return all, err
	}
	got, err1 := dump(s)
	want, err2 := dump(model)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("holds %q, the model %q", got, want)
	}
	return nil
}
