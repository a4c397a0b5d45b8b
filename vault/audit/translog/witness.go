package translog

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/store"
)

// Witnesses cosign checkpoints, each when it comes to it. They are safe for concurrent use.
type Witnesses interface {
	// Submit has a checkpoint cosigned, in the place of another that was submitted before, and returns at once with what was heard
	// of it until now. It may be given the same again.
	Submit(Submission) Heard
	// Came receives after something was heard that Submit did not return yet.
	Came() <-chan struct{}
}

// Submission is a checkpoint that is to be cosigned.
type Submission struct {
	Note []byte // signed
	Tree checkpoint.Tree
	// Prove shows that the tree of size from, 1 to that of Tree, is the beginning of Tree.
	Prove func(ctx context.Context, from int64) (tlog.TreeProof, error)
}

// Heard is what witnesses have said of a checkpoint, and of its origin.
type Heard struct {
	Cosignatures []checkpoint.Cosignature // verified, each of another witness
	Beyond       int64                    // the largest tree that one says to have cosigned which is larger than the checkpoint's; else 0
	Forked       bool                     // one has cosigned a tree that is not the beginning of the checkpoint's
}

var (
	// ErrWitness: a witness says that it has cosigned what is not in the tree, as when the store and the anchor were put back, or the
	// witness is wrong. Nothing is signed meanwhile.
	ErrWitness = errors.New("translog: a witness has cosigned what is not in the log")
	// ErrQuorum: the checkpoint waits for its witnesses.
	ErrQuorum = errors.New("translog: too few witnesses have cosigned yet")
)

// offer is a checkpoint that witnesses are to cosign.
type offer struct {
	row       *headRow
	published bool
}

// Collect takes up what witnesses have said since the last pass, and nothing else.
func (l *Log) Collect(ctx context.Context) error {
	if l.Witnesses == nil {
		return nil
	}
	end, err := l.take(ctx)
	if err != nil {
		return err
	}
	defer end()
	var state *stateRow
	var head *headRow
	err = l.Store.View(ctx, func(r store.Reader) (err error) {
		if state, _, err = l.state(r); err != nil {
			return err
		}
		head, err = l.head(r)
		return err
	})
	if err != nil || state == nil || state.Next != "" || len(state.Keys) == 0 {
		return err
	}
	_, err = l.hear(ctx, state, head)
	return err
}

// hear takes up what witnesses have said of the newest checkpoint, and returns the one that is now the last published. It fails with
// ErrWitness when one contradicts the log.
func (l *Log) hear(ctx context.Context, state *stateRow, head *headRow) (*headRow, error) {
	o := l.toCosign(state, head)
	if o == nil {
		return head, nil
	}
	heard, err := l.submit(o.row)
	switch {
	case err != nil:
		return head, err
	case heard.Forked:
		return head, fmt.Errorf("%w: another tree than that of %d entries", ErrWitness, o.row.Size)
	case heard.Beyond > state.Size:
		return head, fmt.Errorf("%w: %d entries, and the store has %d", ErrWitness, heard.Beyond, state.Size)
	case !o.published && len(heard.Cosignatures) < l.Quorum:
		if heard.Beyond > o.row.Size {
			l.offered = nil // a process before this one had more cosigned: of this one it will never be
		}
		return head, nil
	}
	row := *o.row
	if row.Note, err = checkpoint.AddCosignatures(o.row.Note, heard.Cosignatures...); err != nil {
		return head, err
	}
	if o.published && len(row.Note) == len(o.row.Note) {
		return head, nil
	}
	if err := l.publish(ctx, &row); err != nil {
		return head, err
	}
	l.offered = &offer{&row, true}
	return &row, nil
}

// toCosign is what witnesses are to cosign now: what this Log signed last, unless the log has gone on from it, or else the last
// checkpoint in the store; nil when there is none.
func (l *Log) toCosign(state *stateRow, head *headRow) *offer {
	published := head != nil && head.Origin == state.Origin
	o := l.offered
	switch {
	case o == nil, o.row.Origin != state.Origin, !o.published && o.row.Keys != state.current().Version, published && head.Size > o.row.Size:
		l.offered = nil
		if published {
			l.offered = &offer{head, true}
		}
	}
	return l.offered
}

// submit has a checkpoint cosigned.
func (l *Log) submit(row *headRow) (Heard, error) {
	tree, err := treeOf(row.Note)
	if err != nil {
		return Heard{}, err
	}
	return l.Witnesses.Submit(Submission{Note: row.Note, Tree: tree, Prove: func(ctx context.Context, from int64) (proof tlog.TreeProof, err error) {
		err = l.Store.View(ctx, func(r store.Reader) error {
			proof, err = tlog.ProveTree(tree.Size, from, l.hashes(r))
			return err
		})
		return proof, err
	}}), nil
}
