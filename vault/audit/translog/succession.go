package translog

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/store"
)

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
