package vault

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
)

// onceRow is that a call came under an idempotency key. Its key in the store and the digest of its body are MACs under a
// key of the day that is destroyed after two days, so nothing of the body can be guessed from a backup. What the call came
// to is in rows beside it, written with the effect itself: ids only, and the answer is rebuilt from them.
type onceRow struct {
	Digest []byte `cbor:"1,keyasint"`
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
	before map[int]*done
}

// earlier is what an item came to when the call was made before, or nil.
func (o *once) earlier(at int) *done { return o.before[at] }

// keep has a draft remember what an item came to.
func (o *once) keep(d *draft, at int, what done) {
	if o.prefix != nil {
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

// errRunning asks to come back when the first call has ended.
func errRunning() *fault.Error {
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

// onceWithin is once whose looking up is bounded by a context of its own.
func (s *Service) onceWithin(ctx, lookUp context.Context, call Call, a access.Action, run func(*once) error) error {
	if call.Key == "" {
		return run(&once{})
	}
	scope := lengthPrefixed(s.Tenant, call.Principal.System, string(a), call.Key)
	if !s.inFlight.enter(string(scope)) {
		return errRunning()
	}
	defer s.inFlight.leave(string(scope))

	today := dayOf(s.Clock())
	for _, day := range []uint32{today, today - 1} {
		o, err := s.findOnce(lookUp, day, scope, call.Body, day == today)
		if err != nil {
			return err
		}
		if o != nil {
			return run(o)
		}
	}
	o, err := s.beginOnce(lookUp, today, scope, call.Body)
	if err != nil {
		return err
	}
	return run(o)
}

// onceIfPossible is once for what must work while the keys are away: then it runs unremembered.
func (s *Service) onceIfPossible(ctx context.Context, call Call, a access.Action, run func(*once) error) error {
	began := false
	probe, stop := context.WithTimeout(ctx, 500*time.Millisecond)
	defer stop()
	err := s.onceWithin(ctx, probe, call, a, func(o *once) error {
		began = true
		return run(o)
	})
	if began || !errors.Is(edge(err), fault.Unavailable) {
		return err
	}
	return run(&once{})
}

// findOnce looks for an earlier call under a day's key; nil when there was none. Only today's key is made.
func (s *Service) findOnce(ctx context.Context, day uint32, scope, body []byte, mayMake bool) (*once, error) {
	if !mayMake {
		row, err := s.names.find(ctx, onceKeyName(day))
		if err != nil || row == nil {
			return nil, err
		}
	}
	prefix, digest, err := s.onceMACs(ctx, day, scope, body)
	if err != nil {
		return nil, err
	}
	var o *once
	err = s.Store.View(ctx, func(r store.Reader) error {
		row, err := getRow[onceRow](r, prefix)
		if err != nil || row == nil {
			return err
		}
		if !hmac.Equal(row.Digest, digest) {
			return fault.New(fault.Unprocessable, "this idempotency key came before with another body")
		}
		o = &once{prefix: prefix, before: map[int]*done{}}
		return scanAll(r, prefix, func(p store.Pair) error {
			if len(p.Key) == len(prefix) {
				return nil
			}
			what, err := decodeRow[done](p.Value)
			o.before[int(slotOf(p.Key))] = what
			return err
		})
	})
	return o, err
}

func (s *Service) beginOnce(ctx context.Context, day uint32, scope, body []byte) (*once, error) {
	prefix, digest, err := s.onceMACs(ctx, day, scope, body)
	if err != nil {
		return nil, err
	}
	var d draft
	d.expect(prefix, nil)
	d.set(prefix, encodeRow(onceRow{digest}))
	written, err := commit(ctx, s.Store, &d)
	if err != nil {
		return nil, err
	}
	if !written[0] {
		return nil, errRunning()
	}
	return &once{prefix: prefix}, nil
}

// onceMACs makes the row's key and the body's digest under the key of a day.
func (s *Service) onceMACs(ctx context.Context, day uint32, scope, body []byte) (prefix, digest []byte, err error) {
	err = s.withDayKey(ctx, day, func(key secret.Bytes) error {
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
	return prefix, digest, err
}

func (s *Service) withDayKey(ctx context.Context, day uint32, f func(secret.Bytes) error) error {
	return s.names.use(ctx, onceKeyName(day), f)
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
