package vault

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/keyring"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/secret"
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
	if call.Key == "" {
		return run(&once{})
	}
	scope := lengthPrefixed(s.Tenant, call.Principal.System, string(a), call.Key)
	if !s.inFlight.enter(string(scope)) {
		return errRunning()
	}
	defer s.inFlight.leave(string(scope))
	o, err := s.findOnce(ctx, scope, call.Body)
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
	err := s.once(ctx, call, a, run)
	if !errors.Is(err, errNoDayKey) {
		return err
	}
	s.Log.WarnContext(ctx, "a call is carried out without its idempotency key: the keys are away", "action", string(a), "request_id", call.RequestID)
	return run(&once{})
}

// findOnce makes this try the latest under its key, of today or yesterday, and tells what earlier ones came to.
func (s *Service) findOnce(ctx context.Context, scope, body []byte) (*once, error) {
	today := dayOf(s.Clock())
	o, err := s.findOnceOf(ctx, today-1, scope, body)
	if err != nil || o != nil {
		return o, err
	}
	prefix, digest, err := s.onceMACs(ctx, today, scope, body)
	if err != nil {
		return nil, err
	}
	return s.claimOnce(ctx, prefix, digest)
}

// findOnceOf is findOnce under the key of a day that has gone; nil when there was no such call.
func (s *Service) findOnceOf(ctx context.Context, day uint32, scope, body []byte) (*once, error) {
	name, err := s.names.find(ctx, onceKeyName(day))
	if err != nil || name == nil {
		return nil, err
	}
	prefix, digest, err := s.onceMACs(ctx, day, scope, body)
	if err != nil {
		return nil, err
	}
	var row *onceRow
	err = s.Store.View(ctx, func(r store.Reader) error {
		row, err = getRow[onceRow](r, prefix)
		return err
	})
	if err != nil || row == nil {
		return nil, err
	}
	return s.claimOnce(ctx, prefix, digest)
}

// claimOnce writes that this try is the latest, and reads what earlier ones came to. That is one Update: an earlier try whose own is still
// under way at the server comes before it, and is read, or does not come at all.
func (s *Service) claimOnce(ctx context.Context, prefix, digest []byte) (*once, error) {
	o := &once{prefix: prefix, row: encodeRow(onceRow{digest, id.New()})}
	return o, s.Store.Update(ctx, func(w store.Writer) error {
		o.before = map[int]*done{}
		row, err := getRow[onceRow](w, prefix)
		switch {
		case err != nil:
			return err
		case row == nil:
			return w.Set(prefix, o.row)
		case !hmac.Equal(row.Digest, digest):
			return fault.New(fault.Unprocessable, "this idempotency key came before with another body")
		}
		err = scanAll(w, prefix, func(p store.Pair) error {
			if len(p.Key) == len(prefix) {
				return nil
			}
			what, err := decodeRow[done](p.Value)
			o.before[int(slotOf(p.Key))] = what
			return err
		})
		if err != nil {
			return err
		}
		return w.Set(prefix, o.row)
	})
}

// errNoDayKey is that the key of a day cannot be had. That a node has just forgotten the keys it knew is no reason: in a moment it has this
// one again, and meanwhile nothing is done.
var errNoDayKey = errors.New("the key of idempotency rows is out of reach")

// onceMACs makes the row's key and the body's digest under the key of a day.
func (s *Service) onceMACs(ctx context.Context, day uint32, scope, body []byte) (prefix, digest []byte, err error) {
	const patience = 2 * time.Second
	opening, stop := context.WithTimeoutCause(ctx, patience, kms.ErrUnavailable)
	defer stop()
	err = s.names.use(opening, onceKeyName(day), func(key secret.Bytes) error {
		sum := func(what string, b []byte) []byte {
			h := hmac.New(sha256.New, key.Expose())
			h.Write(lengthPrefixed(what))
			h.Write(b)
			return h.Sum(nil)
		}
		prefix = s.rows.key(kindOnce, binary.BigEndian.AppendUint32(nil, day), sum("key", scope))
		digest = sum("body", body)
		return nil
	})
	if ctx.Err() == nil && !errors.Is(err, keyring.ErrPurged) && (keysAway(err) || errors.Is(err, kms.ErrClaim)) {
		err = fmt.Errorf("%w: %w", errNoDayKey, err)
	}
	return prefix, digest, err
}

const onceKeyPrefix = "once-"

func onceKeyName(day uint32) string { return onceKeyPrefix + strconv.FormatUint(uint64(day), 10) }

// dayOf counts days since 1970 in UTC.
func dayOf(t time.Time) uint32 { return uint32(t.Unix() / 86400) }

// lengthPrefixed joins parts injectively.
func lengthPrefixed(parts ...string) []byte {
	var b []byte
	for _, p := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b
}

// expireOnce removes the rows of the days before yesterday, destroys their keys, and then forgets the days: a day whose key
// could not be destroyed is found again the next time.
func (s *Service) expireOnce(ctx context.Context) error {
	today := dayOf(s.Clock())
	if today < 2 {
		return nil
	}
	days, err := s.onceDays(ctx)
	if err != nil {
		return err
	}
	for _, day := range days {
		if day >= today-1 {
			continue
		}
		prefix := s.rows.key(kindOnce, binary.BigEndian.AppendUint32(nil, day))
		if err := s.removeKind(ctx, prefix, func(*draft, store.Pair) error { return nil }); err != nil {
			return err
		}
		if err := s.names.forget(ctx, onceKeyName(day)); err != nil {
			return err
		}
	}
	return nil
}

// onceDays lists the days that have a key.
func (s *Service) onceDays(ctx context.Context) (days []uint32, err error) {
	all := s.rows.key(kindMeta)
	prefix := append(bytes.Clone(all), onceKeyPrefix...)
	err = s.Store.View(ctx, func(r store.Reader) error {
		days = nil
		return scanAll(r, prefix, func(p store.Pair) error {
			day, err := strconv.ParseUint(string(p.Key[len(prefix):len(p.Key)-1]), 10, 32)
			days = append(days, uint32(day))
			return err
		})
	})
	return days, err
}
