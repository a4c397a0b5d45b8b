package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/blob/file"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/memory"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// blinkered is a store that hides rows from the vault: in what Views read, and in what Updates read.
type blinkered struct {
	store.Store
	view, update func(seen *sightOfIndex, key, value []byte) []byte // nil: nothing is hidden
	slow         time.Duration                                      // at most, before each Update
}

// sightOfIndex is what a call was last shown of the row that says which epochs there are.
type sightOfIndex struct {
	mu  sync.Mutex
	row []byte
}

type sightOfIndexKey struct{}

func isIndexRow(key []byte) bool { return bytes.HasSuffix(key, []byte("mindex\x00")) }

func (b *blinkered) View(ctx context.Context, f func(store.Reader) error) error {
	seen, _ := ctx.Value(sightOfIndexKey{}).(*sightOfIndex)
	return b.Store.View(ctx, func(r store.Reader) error {
		return f(blinkeredReader{r, func(key, value []byte) []byte {
			if seen != nil && isIndexRow(key) {
				seen.mu.Lock()
				seen.row = bytes.Clone(value)
				seen.mu.Unlock()
			}
			return hidden(b.view, seen, key, value)
		}})
	})
}

func (b *blinkered) Update(ctx context.Context, f func(store.Writer) error) error {
	seen, _ := ctx.Value(sightOfIndexKey{}).(*sightOfIndex)
	if b.slow > 0 && seen != nil {
		time.Sleep(rand.N(b.slow))
	}
	return b.Store.Update(ctx, func(w store.Writer) error {
		return f(blinkeredWriter{w, blinkeredReader{w, func(key, value []byte) []byte { return hidden(b.update, seen, key, value) }}})
	})
}

// hidden applies a mutation to what the calls of clients read; the vault's own work sees all.
func hidden(by func(*sightOfIndex, []byte, []byte) []byte, seen *sightOfIndex, key, value []byte) []byte {
	if by == nil || seen == nil {
		return value
	}
	return by(seen, key, value)
}

type blinkeredReader struct {
	store.Reader
	show func(key, value []byte) []byte
}

func (r blinkeredReader) Get(keys ...[]byte) ([][]byte, error) {
	values, err := r.Reader.Get(keys...)
	for i := range values {
		values[i] = r.show(keys[i], values[i])
	}
	return values, err
}

type blinkeredWriter struct {
	store.Writer
	reader blinkeredReader
}

func (w blinkeredWriter) Get(keys ...[]byte) ([][]byte, error) { return w.reader.Get(keys...) }

// asShown answers a read of the row of the epochs with what the call was shown before: it is not read again.
func asShown(seen *sightOfIndex, key, value []byte) []byte {
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if isIndexRow(key) && seen.row != nil {
		return seen.row
	}
	return value
}

// onlyTheNew hides the entries of unique values of the epoch that a rotation leaves.
func onlyTheNew(seen *sightOfIndex, key, value []byte) []byte {
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if kindOf(key) == 'u' && value != nil && seen.row[3] != key[len(key)-17] {
		return nil
	}
	return value
}

// nobodyHasIt hides the entries of unique values.
func nobodyHasIt(_ *sightOfIndex, key, value []byte) []byte {
	if kindOf(key) == 'u' {
		return nil
	}
	return value
}

// errTwice: two people have one IIN, or one that has it is not found.
var errTwice = errors.New("a person is there twice, or not at all")

// epochStorm registers, corrects, erases and finds people by two nodes at once, while the index rotates all the time, and tells
// what went wrong.
func epochStorm(t *testing.T, over *blinkered, rounds int) error {
	home := inMemory(t)
	over.Store = memory.New()
	node := func(title []byte, keys kms.Provider) vaulttest.Option {
		return vaulttest.With(func(o *vault.Options) {
			turning(o)
			o.RotateIndexEvery = time.Microsecond
			o.Store, o.Place, o.Keys = &nodeStore{Store: over, title: title}, "test", keys
			o.Blobs = must[*file.Store](t)(file.Open(filepath.Join(home, "documents"), 0))
		})
	}
	one := vaulttest.At(t, home, node(nil, nil))
	shop := app(one)
	nodes := []*vaulttest.Vault{one, vaulttest.At(t, home, node([]byte{1}, &nodeKeys{Provider: one.Keys}))}
	defer nodes[1].Stop()
	for n := range rounds {
		if err := epochRound(nodes, shop, nextIIN(), nextIIN(), fmt.Sprint("client/", n)); err != nil {
			return fmt.Errorf("round %d of %d: %w", n, rounds, err)
		}
	}
	shown, err := one.Index(ctx, administrator(one))
	if err == nil && shown.Epoch < rounds/4 {
		err = fmt.Errorf("%d rotations in %d rounds", shown.Epoch, rounds)
	}
	t.Logf("%d rounds, %d rotations", rounds, shown.Epoch-1)
	return err
}

// epochRound is one person's time in the vault. Whatever is asked is asked of both nodes at once.
func epochRound(nodes []*vaulttest.Vault, shop vault.Call, number, corrected, ref string) error {
	first, err := everywhere(nodes, func(ctx context.Context, v *vaulttest.Vault) (string, error) {
		return registered(ctx, v, shop, api.TokenizeItem{ExternalRef: ref, Fields: fields{"iin": text(number), "phone": texts(phoneA)}})
	})
	if err != nil {
		return err
	}
	if err := found(nodes, shop, number, first); err != nil {
		return err
	}
	again, err := everywhere(nodes, func(ctx context.Context, v *vaulttest.Vault) (string, error) {
		return registered(ctx, v, shop, api.TokenizeItem{ExternalRef: ref, Fields: fields{"iin": text(number)}})
	})
	if err != nil || again != first {
		return errors.Join(err, errTwice)
	}
	_, err = everywhere(nodes, func(ctx context.Context, v *vaulttest.Vault) (string, error) {
		_, err := v.Rectify(ctx, shop, first, &api.RectifyRequest{Purpose: "registration", Evidence: api.Evidence{Kind: "application", Ref: "A-17"}, Fields: fields{"iin": text(corrected)}})
		return "", err
	})
	if err != nil {
		return err
	}
	if err := errors.Join(found(nodes, shop, corrected, first), found(nodes, shop, number)); err != nil {
		return err
	}
	if _, err := nodes[0].RequestErasure(ctx, shop, &api.ErasureRequest{Subject: first, Ground: "request", Reason: "asked"}); err != nil {
		return err
	}
	return found(nodes, shop, corrected)
}

// everywhere asks all nodes at once, again while one is contended, and demands one answer.
func everywhere(nodes []*vaulttest.Vault, ask func(context.Context, *vaulttest.Vault) (string, error)) (string, error) {
	answers := make([]string, 2*len(nodes))
	var all errgroup.Group
	for i := range answers {
		all.Go(func() (err error) {
			for range 20 {
				watched := context.WithValue(ctx, sightOfIndexKey{}, &sightOfIndex{})
				if answers[i], err = ask(watched, nodes[i%len(nodes)]); !errors.Is(err, fault.Unavailable) {
					break
				}
			}
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return "", err
	}
	for _, a := range answers {
		if a != answers[0] {
			return "", errTwice
		}
	}
	return answers[0], nil
}

func registered(ctx context.Context, v *vaulttest.Vault, shop vault.Call, item api.TokenizeItem) (string, error) {
	resp, err := v.Tokenize(ctx, shop, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{item}})
	if err != nil {
		return "", err
	}
	if e := resp.Results[0].Error; e != nil {
		return "", e.Err()
	}
	return resp.Results[0].Subject, nil
}

// found demands that a search on every node finds just these.
func found(nodes []*vaulttest.Vault, shop vault.Call, number string, subjects ...string) error {
	_, err := everywhere(nodes, func(ctx context.Context, v *vaulttest.Vault) (string, error) {
		got, err := v.Search(ctx, shop, &api.SearchRequest{Purpose: "service", Reason: "call", Field: "iin", Value: api.Text(number)})
		if err != nil {
			return "", err
		}
		if len(got.Results) != len(subjects) || len(subjects) == 1 && got.Results[0].Subject != subjects[0] {
			return "", errTwice
		}
		return "", nil
	})
	return err
}

func TestNobodyIsThereTwiceWhileTheIndexRotates(t *testing.T) {
	for _, slow := range []time.Duration{0, 3 * time.Millisecond} {
		if err := epochStorm(t, &blinkered{slow: slow}, scaled(12)); err != nil {
			t.Error(err)
		}
	}
}

// TestTheEpochStormFindsMutants holds the storm to account.
func TestTheEpochStormFindsMutants(t *testing.T) {
	for name, mutant := range map[string]*blinkered{
		"the epochs are not read again":        {slow: 10 * time.Millisecond, update: asShown},
		"only the new epoch is looked into":    {slow: 3 * time.Millisecond, view: onlyTheNew, update: onlyTheNew},
		"values are not expected to be absent": {slow: 3 * time.Millisecond, update: nobodyHasIt},
	} {
		t.Run(name, func(t *testing.T) {
			if err := epochStorm(t, mutant, 400); err == nil {
				t.Error("it is not found")
			} else {
				t.Log(err)
			}
		})
	}
}
