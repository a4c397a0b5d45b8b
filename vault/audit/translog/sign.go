package translog

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/store"
)

// signer signs with a version of the provider's key under an origin.
type signer struct {
	keys   kms.Signer
	origin string
	key    keyRow
}

func (s signer) Key() checkpoint.Key {
	return checkpoint.Key{Name: s.origin, Public: ed25519.PublicKey(s.key.Public)}
}

func (s signer) Sign(ctx context.Context, msg []byte) ([]byte, error) {
	return s.keys.SignAs(ctx, s.key.Version, msg)
}

// signers are those who sign for a tree now, the current key first.
func (l *Log) signers(state *stateRow) []checkpoint.Signer {
	now := l.Clock().UnixMilli()
	var all []checkpoint.Signer
	for _, k := range slices.Backward(state.Keys) {
		if k.Until == 0 || now < k.Until {
			all = append(all, signer{l.Keys, state.Origin, k})
		}
	}
	return all
}

// sign has the tree as it is in the store signed, and the origin renewed first when it is to be.
func (l *Log) sign(ctx context.Context) error {
	for range maxMoved {
		anchored, err := l.anchored(ctx)
		if err != nil {
			return err
		}
		var state *stateRow
		var row []byte
		var head *headRow
		err = l.Store.View(ctx, func(r store.Reader) (err error) {
			if state, row, err = l.state(r); err != nil {
				return err
			}
			if head, err = l.head(r); err != nil {
				return err
			}
			return l.judge(r, state, head, anchored)
		})
		if err != nil {
			return err
		}
		switch {
		case state == nil:
			return damaged("it has no state")
		case !bytes.Equal(row, l.durable):
			// What a View shows may yet be lost with the power, and the tree of this size be another after it. An Update that
			// is acknowledged has all before it durable.
			err = l.swap(ctx, row, row, nil)
		case len(state.Keys) == 0:
			err = l.adopt(ctx, state, row)
		case state.Next != "":
			err = l.goOn(ctx, state, row)
		default:
			if err = l.advance(ctx, state, head, anchored); err == nil {
				return nil
			}
		}
		if err != nil && !errors.Is(err, errMoved) {
			return err
		}
	}
	return errMoved
}

// advance has a tree that is durable under a checkpoint, unless one waits for its witnesses.
func (l *Log) advance(ctx context.Context, state *stateRow, head *headRow, anchored []byte) (err error) {
	if l.Witnesses != nil {
		if head, err = l.hear(ctx, state, head); err != nil {
			return err
		}
		if l.offered != nil && !l.offered.published {
			return nil
		}
	}
	if head != nil && head.Origin == state.Origin && head.Size == state.Size && head.Keys == state.current().Version {
		return nil
	}
	made, err := l.issue(ctx, state, anchored)
	if err != nil {
		return err
	}
	if l.Quorum == 0 {
		if err := l.publish(ctx, made); err != nil {
			return err
		}
	}
	if l.Witnesses != nil {
		l.offered = &offer{made, l.Quorum == 0}
		_, err = l.submit(made)
	}
	return err
}

// issue signs a checkpoint of a tree that is durable, and anchors it.
func (l *Log) issue(ctx context.Context, state *stateRow, anchored []byte) (*headRow, error) {
	text, err := state.tree().Marshal()
	if err != nil {
		return nil, err
	}
	note, err := checkpoint.Sign(ctx, text, l.signers(state)...)
	if err != nil {
		return nil, err
	}
	if err := l.keep(ctx, anchored, note); err != nil {
		return nil, err
	}
	return &headRow{state.Origin, state.Size, note, l.Clock().UnixMilli(), state.current().Version}, nil
}

// publish makes a checkpoint the last one, unless there is one of a larger tree, or by a newer key, already.
func (l *Log) publish(ctx context.Context, made *headRow) error {
	row, err := encodeRow(made)
	if err != nil {
		return err
	}
	return l.Store.Update(store.With(ctx, store.Vital), func(w store.Writer) error {
		now, _, err := l.state(w)
		if err != nil {
			return err
		}
		head, err := l.head(w)
		if err != nil {
			return err
		}
		switch {
		case now == nil || now.Size < made.Size:
			return damaged("it shrank")
		case now.Origin != made.Origin, head != nil && head.Origin == made.Origin && (head.Size > made.Size || head.Keys > made.Keys):
			return nil // another node was faster
		}
		if err := l.stillIn(w, now, made); err != nil {
			return err
		}
		return w.Set(l.key(kindHead), slices.Clone(row))
	})
}

// stillIn demands that a checkpoint is of the beginning of the tree in the store, which may have been put back since it was signed: when
// it waited for witnesses, that may be long ago.
func (l *Log) stillIn(r store.Reader, state *stateRow, made *headRow) error {
	tree, err := treeOf(made.Note)
	if err != nil {
		return err
	}
	root := state.Root
	if made.Size != state.Size {
		if root, err = tlog.TreeHash(made.Size, l.hashes(r)); err != nil {
			return fmt.Errorf("translog: the root at the size of a checkpoint: %w", err)
		}
	}
	if root != tree.Root {
		return restored(fmt.Sprintf("another tree of %d entries was signed", made.Size))
	}
	return nil
}

// Signer signs other notes in the log's name, with its current key. A log that is to go on under another origin does so first. It
// fails with ErrAbsent before there is a key.
func (l *Log) Signer(ctx context.Context) (checkpoint.Signer, error) {
	state, err := l.stateNow(ctx)
	if err == nil && state != nil && state.Next != "" {
		if _, err = l.Flush(ctx); err == nil {
			state, err = l.stateNow(ctx)
		}
	}
	switch {
	case err != nil:
		return nil, err
	case state == nil || len(state.Keys) == 0:
		return nil, ErrAbsent
	case state.Next != "":
		return nil, errMoved
	}
	return l.signers(state)[0], nil
}

func (l *Log) stateNow(ctx context.Context) (state *stateRow, err error) {
	err = l.Store.View(ctx, func(r store.Reader) error {
		state, _, err = l.state(r)
		return err
	})
	return state, err
}
