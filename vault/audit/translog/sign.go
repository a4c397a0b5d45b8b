package translog

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"time"

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

// adopt has the newest version of the provider's key sign from now on.
func (l *Log) adopt(ctx context.Context, state *stateRow, row []byte) error {
	newest, err := l.newest(ctx)
	if err != nil {
		return err
	}
	next := *state
	next.Keys = []keyRow{newest}
	return l.become(ctx, row, &next, nil)
}

func (l *Log) newest(ctx context.Context) (keyRow, error) { return newestOf(ctx, l.Keys) }

func newestOf(ctx context.Context, keys kms.Signer) (keyRow, error) {
	all, err := keys.PublicKeys(ctx)
	if err != nil {
		return keyRow{}, fmt.Errorf("translog: the keys of the log: %w", err)
	}
	if len(all) == 0 {
		return keyRow{}, errors.New("translog: the provider has no key for the log")
	}
	return keyRow{Version: len(all), Public: all[len(all)-1]}, nil
}

// become changes the state, and adds a succession unless it is nil.
func (l *Log) become(ctx context.Context, row []byte, next *stateRow, succession []byte) error {
	if succession != nil {
		next.Successions++
	}
	after, err := encodeRow(next)
	if err != nil {
		return err
	}
	return l.swap(ctx, row, after, func(w store.Writer) error {
		if succession == nil {
			return nil
		}
		return w.Set(l.successionKey(next.Successions-1), slices.Clone(succession))
	})
}

// Renew has the same tree go on under another origin, as a store must that is made the live one and may lack what was signed:
// from its Update on, nothing is signed under the old origin but the word that the new one follows. It is to be called before
// the store is made the live one; the next Flush signs. more may write something in the same Update; it may be nil.
func (l *Log) Renew(ctx context.Context, more func(store.Writer) error) error {
	next := l.newOrigin()
	anchored, err := l.anchored(ctx)
	if err != nil {
		return err
	}
	drawn := ""
	err = l.Store.Update(store.With(ctx, store.Vital), func(w store.Writer) error {
		drawn = ""
		if more != nil {
			if err := more(w); err != nil {
				return err
			}
		}
		state, _, err := l.state(w)
		if err != nil || state == nil {
			return err // a log that was not begun begins under an origin of its own
		}
		state.Next, drawn = next, next
		row, err := encodeRow(state)
		if err != nil {
			return err
		}
		return w.Set(l.key(kindState), row)
	})
	if err == nil {
		l.outdone.Store(&renewal{anchored, drawn})
	}
	return err
}

// goOn takes up the next origin, with the current key's word under the old one.
func (l *Log) goOn(ctx context.Context, state *stateRow, row []byte) error {
	current := state.Keys[len(state.Keys)-1]
	next := *state
	next.Origin, next.Next, next.Keys = state.Next, "", []keyRow{current}
	return l.succeed(ctx, state, row, &next)
}

// Bequeath has the same tree go on under another origin and another provider's newest key, with the current key's word. Nothing is signed
// under the old origin any more. It is for a log that nobody else uses; from then on it is opened with the other provider. A log that was
// never signed needs no word.
func (l *Log) Bequeath(ctx context.Context, to kms.Signer) error {
	state, err := l.stateNow(ctx)
	if err != nil || state == nil || len(state.Keys) == 0 {
		return err
	}
	row, err := encodeRow(state)
	if err != nil {
		return err
	}
	if err := l.swap(ctx, row, row, nil); err != nil { // what is signed is durable: see sign
		return err
	}
	heir, err := newestOf(ctx, to)
	if err != nil {
		return err
	}
	next := *state
	next.Origin, next.Next, next.Keys = l.newOrigin(), "", []keyRow{heir}
	return l.succeed(ctx, state, row, &next)
}

// succeed signs the succession from the current key of a state to that of the next, and makes that the state.
func (l *Log) succeed(ctx context.Context, state *stateRow, row []byte, next *stateRow) error {
	from := signer{l.Keys, state.Origin, state.Keys[len(state.Keys)-1]}
	to := signer{l.Keys, next.Origin, next.Keys[len(next.Keys)-1]}
	note, err := checkpoint.SignSuccession(ctx, checkpoint.Succession{
		From: from.Key(), To: to.Key(), Size: state.Size, Root: state.Root,
	}, from)
	if err != nil {
		return err
	}
	return l.become(ctx, row, next, note)
}

// RotateKey has a new version of the key sign, beside the one until now for the overlap, and returns it. A version that the
// provider has beyond the current one, because an earlier call did not come to its end, is taken up instead.
func (l *Log) RotateKey(ctx context.Context) (checkpoint.Key, error) {
	if _, err := l.Flush(ctx); err != nil { // the log is begun, has a key, and is under the origin it should be
		return checkpoint.Key{}, err
	}
	end, err := l.take(ctx)
	if err != nil {
		return checkpoint.Key{}, err
	}
	defer end()
	newest, err := l.newest(ctx)
	if err != nil {
		return checkpoint.Key{}, err
	}
	var made checkpoint.Key
	for range maxMoved {
		if made, err = l.rotateTo(ctx, newest); !errors.Is(err, errCurrent) && !errors.Is(err, errMoved) {
			break
		}
		if errors.Is(err, errCurrent) {
			if _, err = l.Keys.RotateSigning(ctx); err != nil {
				return checkpoint.Key{}, fmt.Errorf("translog: rotate the key: %w", err)
			}
			if newest, err = l.newest(ctx); err != nil {
				return checkpoint.Key{}, err
			}
		}
	}
	if err != nil {
		return checkpoint.Key{}, err
	}
	return made, l.sign(ctx)
}

// errCurrent reports that a key is the current one already.
var errCurrent = errors.New("translog: this key signs already")

func (l *Log) rotateTo(ctx context.Context, newest keyRow) (checkpoint.Key, error) {
	var state *stateRow
	var row []byte
	err := l.Store.View(ctx, func(r store.Reader) (err error) {
		state, row, err = l.state(r)
		return err
	})
	if err != nil {
		return checkpoint.Key{}, err
	}
	if state == nil || len(state.Keys) == 0 {
		return checkpoint.Key{}, damaged("it has no key")
	}
	current := len(state.Keys) - 1
	if state.Keys[current].Version >= newest.Version {
		return checkpoint.Key{}, errCurrent
	}
	now := l.Clock()
	next := *state
	next.Keys = slices.DeleteFunc(slices.Clone(state.Keys), func(k keyRow) bool { return k.Until != 0 && k.Until <= now.UnixMilli() })
	next.Keys[len(next.Keys)-1].Until = now.Add(l.Overlap).UnixMilli()
	next.Keys = append(next.Keys, newest)
	if err := l.succeed(ctx, state, row, &next); err != nil {
		return checkpoint.Key{}, err
	}
	return signer{l.Keys, next.Origin, newest}.Key(), nil
}

// status reads how the log stands.
func (l *Log) status(ctx context.Context) (s Status, err error) {
	err = l.Store.View(ctx, func(r store.Reader) error {
		state, _, err := l.state(r)
		if err != nil || state == nil {
			return err
		}
		head, err := l.head(r)
		if err != nil {
			return err
		}
		s = Status{Size: state.Size}
		if head != nil {
			s.Signed = time.UnixMilli(head.At).UTC()
		}
		first, waits, err := l.firstStaged(r)
		if err != nil {
			return err
		}
		if signed := head != nil && head.Size == state.Size; !waits && !signed && state.Size > 0 {
			first, err = l.idAt(r, sizeOf(head))
			waits = err == nil
		}
		if waits {
			s.Waiting = max(l.Clock().Sub(first.Time()), 0)
		}
		return err
	})
	return s, err
}

func sizeOf(head *headRow) int64 {
	if head == nil {
		return 0
	}
	return head.Size
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
