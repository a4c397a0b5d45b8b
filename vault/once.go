package vault

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/keyring"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/store"
)

// onceRow is that a call came under an idempotency key. Its key in the store and the digest of its body are MACs under a
// key of the day that is destroyed after two days, so nothing of the body can be guessed from a backup. What the call came
// to is in rows beside it, written with the effect itself: ids only, and the answer is rebuilt from them.
//
// Several tries may be under way, on several nodes: a caller who was not answered asks another. The row names the latest, and an effect
// expects that it still does, so that of all tries one comes to something and none after another was answered.
type onceRow struct {
	Digest []byte   `cbor:"1,keyasint"`
	Try    [16]byte `cbor:"2,keyasint,omitempty"`
}

// done is what an item of a call came to.
type done struct {
	Subject SubjectID           `cbor:"1,keyasint"`
	Created bool                `cbor:"2,keyasint,omitempty"`
	Object  [16]byte            `cbor:"3,keyasint,omitempty"` // the document, erasure, consent or credential that was made
	Part    int                 `cbor:"4,keyasint,omitempty"`
	Tokens  map[string][]string `cbor:"5,keyasint,omitempty"` // field → the tokens of the item's values
	Differs []string            `cbor:"6,keyasint,omitempty"`
	Purpose string              `cbor:"7,keyasint,omitempty"` // of a handoff, which is gone
}

// once is one call under an idempotency key, or without one: then it remembers and keeps nothing.
type once struct {
	prefix []byte // of its rows; nil without a key
	row    []byte // as this try wrote it
	before map[int]*done
}

// earlier is what an item came to when the call was made before, or nil.
func (o *once) earlier(at int) *done { return o.before[at] }

// keep has a draft remember what an item came to, unless a later try has begun.
func (o *once) keep(d *draft, at int, what done) {
	if o.prefix != nil {
		d.expects = append(d.expects, expectation{key: o.prefix, value: o.row, otherwise: errRunning()})
		d.set(binary.BigEndian.AppendUint16(o.prefix[:len(o.prefix):len(o.prefix)], uint16(at)), encodeRow(what))
	}
}

// inFlight are the idempotency keys whose first call still runs in this process.
type inFlight struct {
	mu   sync.Mutex
	keys map[string]bool
}

func (f *inFlight) init() { f.keys = map[string]bool{} }

func (f *inFlight) enter(key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keys[key] {
		return false
	}
	f.keys[key] = true
	return true
}

func (f *inFlight) leave(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.keys, key)
}

// errRunning asks to come back when another call under the key has ended.
func errRunning() error {
	return &fault.Error{
		Code: fault.Conflict, Detail: "a call with this idempotency key is still running", RetryAfter: time.Second,
	}
}

// errAnotherCall is for a key and body that came before about somebody or something else.
func errAnotherCall() *fault.Error {
	return fault.New(fault.Unprocessable, "this idempotency key came before with another call")
}

// once runs a call that changes something, under its idempotency key if it has one. A call that fell before its effect
// was written runs as if it were the first.
func (s *Service) once(ctx context.Context, call Call, a access.Action, run func(*once) error) error {
	return s.onceWithin(ctx, ctx, call, a, run)
}

// onceWithin is once whose keys are opened under a context of its own.
func (s *Service) onceWithin(ctx, opening context.Context, call Call, a access.Action, run func(*once) error) error {
	if call.Key == "" {
		return run(&once{})
	}
	scope := lengthPrefixed(s.Tenant, call.Principal.System, string(a), call.Key)
	if !s.inFlight.enter(string(scope)) {
		return errRunning()
	}
	defer s.inFlight.leave(string(scope))
	o, err := s.findOnce(ctx, opening, scope, call.Body)
	if err != nil {
		return err
	}
	err = run(o)
	if refused, ok := errors.AsType[*fault.Error](err); ok && refused.Code != fault.Unavailable {
		return cmp.Or(s.overtaken(ctx, o), err)
	}
	return err
}

// overtaken is why a refusal is not to be answered, or nil: a later try may have come to something.
func (s *Service) overtaken(ctx context.Context, o *once) error {
	if o.prefix == nil {
		return nil
	}
	return s.Store.View(ctx, func(r store.Reader) error {
		rows, err := r.Get(o.prefix)
		if err == nil && !bytes.Equal(rows[0], o.row) {
			return errRunning()
		}
		return err
	})
}

// onceIfPossible is once for what must work while the keys are away: then it runs unremembered.
func (s *Service) onceIfPossible(ctx context.Context, call Call, a access.Action, run func(*once) error) error {
	// What is vital waits as long as one call to the provider may take, and not for several.
	opening, stop := context.WithTimeoutCause(ctx, cmp.Or(s.Options.Keyring.Timeout, keyring.DefaultTimeout), kms.ErrUnavailable)
	defer stop()
	err := s.onceWithin(ctx, opening, call, a, run)
	if !errors.Is(err, errNoDayKey) || ctx.Err() != nil {
		return err
	}
	s.Log.WarnContext(ctx, "a call is carried out without its idempotency key: the keys are away", "action", string(a), "request_id", call.RequestID)
	return run(&once{})
}

// findOnce makes this try the latest under its key, of today or yesterday, and tells what earlier ones came to. It is tomorrow as soon as
// one node has it so: two tries must not be noted on two days, each where the other does not look.
func (s *Service) findOnce(ctx, opening context.Context, scope, body []byte) (*once, error) {
	for today := dayOf(s.Clock()); ; today++ {
		o, err := s.findOnceOn(ctx, opening, today, scope, body)
		if !errors.Is(err, errStale) {
			return o, err
		}
	}
}

// findOnceOn is findOnce on a day, or errStale when that has gone. The day's key is there before anybody looks for yesterday's: whoever
// still makes that one finds it.
func (s *Service) findOnceOn(ctx, opening context.Context, today uint32, scope, body []byte) (*once, error) {
	now, err := s.onceMACs(opening, today, scope, body)
	if err != nil {
		return nil, err
	}
	name, err := s.names.find(ctx, onceKeyName(today-1))
	if err != nil {
		return nil, err
	}
	if name == nil {
		return s.claimOnce(ctx, today, []onceMACs{now})
	}
	before, err := s.onceMACs(opening, today-1, scope, body)
	if err != nil {
		return nil, err
	}
	return s.claimOnce(ctx, today, []onceMACs{before, now})
}

// claimOnce writes that this try is the latest, on the first of the days on which there was one, or else on the last, and reads what
// earlier ones came to. That is one Update: an earlier try whose own is still under way at the server comes before it, and is read, or
// does not come at all.
func (s *Service) claimOnce(ctx context.Context, today uint32, days []onceMACs) (*once, error) {
	o, try := &once{}, id.New()
	keys := [][]byte{s.rows.meta(onceKeyName(today + 1))}
	for _, day := range days {
		keys = append(keys, day.prefix)
	}
	return o, s.Store.Update(ctx, func(w store.Writer) error {
		rows, err := w.Get(keys...)
		switch {
		case err != nil:
			return err
		case rows[0] != nil:
			return errStale
		}
		at := slices.IndexFunc(rows[1:], func(row []byte) bool { return row != nil })
		if at < 0 {
			at = len(days) - 1
		}
		*o = once{prefix: days[at].prefix, row: encodeRow(onceRow{days[at].digest, try}), before: map[int]*done{}}
		if raw := rows[1+at]; raw != nil {
			if err := o.readEarlier(w, raw, days[at].digest); err != nil {
				return err
			}
		}
		return w.Set(o.prefix, o.row)
	})
}

// readEarlier reads what the tries before came to, whose row is raw, if their body was the same.
func (o *once) readEarlier(r store.Reader, raw, digest []byte) error {
	row, err := decodeRow[onceRow](raw)
	if err != nil {
		return err
	}
	if !hmac.Equal(row.Digest, digest) {
		return fault.New(fault.Unprocessable, "this idempotency key came before with another body")
	}
	return scanAll(r, o.prefix, func(p store.Pair) error {
		if len(p.Key) == len(o.prefix) {
			return nil
		}
		what, err := decodeRow[done](p.Value)
		o.before[int(slotOf(p.Key))] = what
		return err
	})
}

// lengthPrefixed joins parts injectively.
func lengthPrefixed(parts ...string) []byte {
	var b []byte
	for _, p := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b
}
