package vault

import (
	"context"
	"fmt"
	"strings"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/ledger"
	"github.com/sandyq/sandyq/vault/store"
)

// The keys of index epochs are listed in the ledger when they are made, before anything is entered under them: a store that is
// restored from an earlier state names none that was made after it, and whoever holds a later backup could match people with it
// who were erased since. A listed key that the live store does not name, and whose end is not listed, is of such an abandoned
// time: it is destroyed like any key in use. Its row is there before its entry, so nobody meets the entry and not the row.

// indexAbandoned is what the log calls the destruction of an epoch's key that the store does not name.
const indexAbandoned = "index.abandoned"

// epochEntry lists the key of an epoch as made.
func epochEntry(name string, k kms.ID) ledger.Entry {
	return ledger.Entry{Kind: ledger.Epoch, Ref: name + "/" + k.String(), Keys: []kms.ID{k}}
}

// listEpoch has the ledger list the key of an epoch.
func (s *Service) listEpoch(ctx context.Context, name string, k kms.ID) error {
	numbers, err := s.list(ctx, epochEntry(name, k))
	if err != nil {
		return fmt.Errorf("list the key of an index epoch: %w", err)
	}
	s.accord.progress.add(numbers...)
	return nil
}

// listEpochs has the ledger list every epoch's key that the store names: one that was made by an earlier build, or listed in a
// ledger that was lost, is not there.
func (s *Service) listEpochs(ctx context.Context) error {
	named, err := s.epochKeys(ctx)
	if err != nil {
		return err
	}
	for k, name := range named {
		if err := s.listEpoch(ctx, name, k); err != nil {
			return err
		}
	}
	return nil
}

// epochKeys are the keys of epochs that the store names, with the names of their rows.
func (s *Service) epochKeys(ctx context.Context) (named map[kms.ID]string, err error) {
	prefix := s.rows.key(kindMeta, []byte(metaEpoch))
	err = s.Store.View(ctx, func(r store.Reader) error {
		named = map[kms.ID]string{}
		return scanAll(r, prefix, func(p store.Pair) error {
			row, err := decodeRow[namedRow](p.Value)
			if err == nil {
				named[row.Key] = metaEpoch + strings.TrimSuffix(string(p.Key[len(prefix):]), "\x00")
			}
			return err
		})
	})
	return named, err
}

// endEpochs destroys the keys of abandoned epochs among those that are listed as made, and returns the numbers of all that need
// nothing more. While the vault is held back nothing can be destroyed: then they wait.
func (a *accord) endEpochs(ctx context.Context, made []ledger.Entry) (done []uint64, err error) {
	if len(made) == 0 {
		return nil, nil
	}
	named, err := a.service.epochKeys(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range made {
		k := e.Keys[0]
		_, living := named[k]
		_, ended, err := a.ledger.Find(ctx, keyEntry(k).Ref) // after the rows were read: the end is listed before a row goes
		if err != nil {
			return nil, err
		}
		if !living && !ended {
			if a.hold() != nil {
				continue
			}
			if err := a.service.abandon(ctx, e); err != nil {
				return nil, fmt.Errorf("entry %d: %w", e.Number, err)
			}
		}
		done = append(done, e.Number)
	}
	return done, nil
}

// abandon destroys the key of an abandoned epoch, and says so in the log first.
func (s *Service) abandon(ctx context.Context, e ledger.Entry) error {
	s.Log.WarnContext(ctx, "the key of an index epoch is destroyed that the store does not name: it was restored from a state before that epoch", "epoch", e.Ref)
	var d draft
	err := s.log(&d, &audit.Entry{System: itself, Operation: indexAbandoned, Objects: []string{e.Ref}, Decision: audit.Allow})
	if err == nil {
		_, err = commit(ctx, s.Store, &d)
	}
	if err != nil {
		return err
	}
	return s.destroy(ctx, keyEntry(e.Keys[0]))
}
