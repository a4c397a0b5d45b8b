package translog

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/store"
)

// Anchor keeps the last checkpoint outside of what is restored together with the store. It is safe for concurrent use.
type Anchor interface {
	// Last is what was kept last; nil when nothing was. What it returns need not be ours: the log judges it.
	Last(ctx context.Context) ([]byte, error)
	// Keep keeps a checkpoint in the place of was, which Last has told. It is durable when it returns true. False: another has been
	// kept since, and stays, so that who leads no more does not go back behind who does. After an error any of them is kept.
	Keep(ctx context.Context, was, note []byte) (kept bool, err error)
}

var (
	// ErrRestored: the anchor has what the store does not know of, or was lost. The store is not as it was left, so nothing is
	// signed until the log was renewed.
	ErrRestored = errors.New("translog: the store is not what the anchor saw signed")
	// ErrAnchor: the anchor could not be read or written. Nothing is signed meanwhile.
	ErrAnchor = errors.New("translog: the anchor")
)

// Compare holds the log against its anchor, and writes nothing. It fails with ErrRestored, and says why, when the log has to be
// renewed.
func (l *Log) Compare(ctx context.Context) error {
	anchored, err := l.anchored(ctx)
	if err != nil {
		return err
	}
	return l.Store.View(ctx, func(r store.Reader) error {
		state, _, err := l.state(r)
		if err != nil {
			return err
		}
		head, err := l.head(r)
		if err != nil {
			return err
		}
		return l.judge(r, state, head, anchored)
	})
}

// anchored reads the anchor; nil when there is none, or nothing in it.
func (l *Log) anchored(ctx context.Context) ([]byte, error) {
	if l.Anchor == nil {
		return nil, nil
	}
	note, err := l.Anchor.Last(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnchor, err)
	}
	return note, nil
}

// judge says whether what is about to be signed can contradict what was: nil, or ErrRestored and why.
func (l *Log) judge(r store.Reader, state *stateRow, head *headRow, anchored []byte) error {
	if l.Anchor == nil {
		return nil
	}
	if l.outdone.Load().answers(state, head, anchored) {
		return nil
	}
	if anchored == nil {
		if head == nil {
			return nil // nothing was signed yet
		}
		return restored("the anchor is missing, and the store has signed")
	}
	tree, err := treeOf(anchored)
	switch {
	case err != nil:
		return restored("the anchor is no checkpoint")
	case state == nil:
		return restored("the anchor has a checkpoint, and the store knows of no log")
	case tree.Origin == state.Next:
		return restored("the anchor has signed under the origin that the store is only about to take")
	case tree.Origin != state.Origin:
		return l.hadOrigin(r, state, tree.Origin)
	case state.Next != "":
		return nil // nothing more is signed under this origin
	case tree.Size > state.Size:
		return restored(fmt.Sprintf("the anchor has %d entries signed, and the store has %d", tree.Size, state.Size))
	}
	root, err := tlog.TreeHash(tree.Size, l.hashes(r))
	if err != nil {
		return fmt.Errorf("translog: the root at the size of the anchor: %w", err)
	}
	if root != tree.Root {
		return restored(fmt.Sprintf("the anchor has another tree of %d entries signed", tree.Size))
	}
	return nil
}

// renewal is the origin that a Log drew in view of what the anchor held.
type renewal struct {
	anchored []byte
	origin   string // empty: the store knew of no log
}

// answers reports whether the log was renewed in view of this anchor, and the store still is one of after that: it may have been put
// back once more.
func (n *renewal) answers(state *stateRow, head *headRow, anchored []byte) bool {
	switch {
	case n == nil || !bytes.Equal(n.anchored, anchored):
		return false
	case n.origin == "":
		return head == nil
	}
	return state != nil && (state.Next == n.origin || state.Origin == n.origin)
}

func restored(why string) error { return fmt.Errorf("%w: %s", ErrRestored, why) }

// hadOrigin demands that the log was under an origin before: it was left by a renewal, and nothing signed under today's.
func (l *Log) hadOrigin(r store.Reader, state *stateRow, origin string) error {
	for n := range state.Successions {
		values, err := r.Get(l.successionKey(n))
		if err != nil {
			return err
		}
		s, err := checkpoint.OpenSuccession(values[0])
		if err != nil {
			return damaged("a succession")
		}
		if s.From.Name == origin {
			return nil
		}
	}
	return restored("the anchor has signed under an origin that the store does not know of")
}

// keep has a checkpoint that was signed in the anchor, before anybody is given it. It fails with errMoved when what was judged
// there is there no more.
func (l *Log) keep(ctx context.Context, anchored, note []byte) error {
	if l.Anchor == nil {
		return nil
	}
	kept, err := l.Anchor.Keep(ctx, anchored, note)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrAnchor, err)
	case !kept:
		return errMoved
	}
	return nil
}
