package vault

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/bits"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/sync/errgroup"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/store"
)

// The kinds of alerts.
const (
	alertCanary      = "canary"       // somebody used a person or a token that nobody has cause to use
	alertBudget      = "budget"       // a principal has reached a limit
	alertBreakGlass  = "break_glass"  // somebody has declared an emergency
	alertCredential  = "credential"   // somebody has made a token that staff are let in with
	alertDrill       = "drill"        // a canary drill has failed
	alertMissingKey  = "missing_key"  // a living person's key is not at the key provider
	alertWithheldKey = "withheld_key" // the key provider is set not to open a living person's key
)

const alertPrefix = "alr_"

// alertRow is an alert that has not reached every receiver, of all that gave the same cause in one minute: the same
// system, about the same thing. It is written with what gave cause to it, so that no crash between the two loses it. The
// first cause is told at once, those that came after it in the minute with one more message once the minute is over, so a
// flood of them neither fills the store nor the receivers. Receivers may get a message twice.
type alertRow struct {
	Alert  []byte `cbor:"1,keyasint"` // api.Alert as JSON: what is signed
	Told   uint64 `cbor:"2,keyasint"` // receivers that have it, one bit each
	Tries  int    `cbor:"3,keyasint"`
	Next   stamp  `cbor:"4,keyasint"`
	Causes int    `cbor:"5,keyasint"` // in all
	Said   int    `cbor:"6,keyasint"` // of these, those that the messages so far tell of
	Until  stamp  `cbor:"7,keyasint"` // when the minute ends
}

const (
	alertSpan  = time.Minute        // that one row is about
	alertClaim = 30 * time.Second   // for which one node has an alert to itself
	alertLife  = 7 * 24 * time.Hour // after which an alert that does not reach its receivers is given up
	alertRound = 2 * time.Second    // for which a receiver is sent one message after another before it is looked what is new
)

// MaxReceivers is how many receivers of alerts there may be.
const MaxReceivers = 64

// Messenger tells receivers of alerts. It is safe for concurrent use.
type Messenger interface {
	Receivers() int // at most MaxReceivers; always the same
	// Send tells one receiver, once, and gives up within seconds. What it has got it knows by the id.
	Send(ctx context.Context, receiver int, id string, body []byte) error
	// Backoff is how long to wait after that many tries.
	Backoff(tries int) time.Duration
}

// alertKey is the row of all that give the same cause in a minute.
func (s *Service) alertKey(minute time.Time, a *api.Alert) []byte {
	cause := sha256.Sum256(lengthPrefixed(a.Kind, a.System, a.Subject, a.Object))
	return s.rows.key(kindAlert, binary.BigEndian.AppendUint64(nil, uint64(minute.Unix())), cause[:16])
}

// alert has a draft keep an alert until it is told, and returns what raises it here and now, once the draft is written.
func (s *Service) alert(d *draft, a api.Alert) (raise func()) {
	a.ID, a.At = id.Encode(alertPrefix, id.New()), s.Clock().UTC()
	if s.Messenger != nil && s.Messenger.Receivers() > 0 {
		minute := a.At.Truncate(alertSpan)
		key, fresh := s.alertKey(minute, &a), alertRow{Alert: must(json.Marshal(a)), Until: stampOf(minute.Add(alertSpan))}
		d.after(func(w store.Writer) error {
			row, err := getRow[alertRow](w, key)
			if err != nil {
				return err
			}
			if row == nil {
				one := fresh
				row = &one
			}
			row.Causes++
			return w.Set(key, encodeRow(row))
		})
	}
	return func() {
		s.Observer.Alert(a.Kind)
		s.Log.Warn("alert", "kind", a.Kind, "alert", a.ID, "system", a.System, "operation", a.Operation, "object", a.Object, "request", a.RequestID)
		select {
		case s.told <- struct{}{}:
		default:
		}
	}
}

// distinct drops repetitions.
func distinct(all []api.Alert) []api.Alert {
	seen := make(map[api.Alert]bool, len(all))
	kept := all[:0]
	for _, a := range all {
		if !seen[a] {
			kept = append(kept, a)
		}
		seen[a] = true
	}
	return kept
}

// tellUntil sends what there is to send: on start, on a timer and when something was raised.
func (s *Service) tellUntil(ctx context.Context) {
	timer := time.NewTicker(s.SweepEvery)
	defer timer.Stop()
	for {
		if ctx, leads := s.fleet.lead(ctx); leads && s.title.standing() == StandingLive {
			if err := s.sendAlerts(ctx); err != nil {
				s.complain(ctx, "tell of alerts", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.told:
		}
	}
}

// message is an alert that this node has to itself for a while.
type message struct {
	key  []byte
	row  *alertRow
	id   string
	told []bool // by receiver; each element is its receiver's goroutine's
}

// sendAlerts sends those that are due to the receivers that have not got them. A receiver that fails, or takes long, gets nothing
// more this time, so that it keeps nobody waiting for long.
func (s *Service) sendAlerts(ctx context.Context) error {
	ctx = store.With(ctx, store.Vital)
	keys, err := s.dueAlerts(ctx)
	if err != nil {
		return err
	}
	var all []*message
	var failed error
	for _, key := range keys {
		m, err := s.claimAlert(ctx, key)
		if failed = err; failed != nil {
			break
		}
		if m != nil {
			all = append(all, m)
		}
	}
	round, stop := context.WithTimeout(ctx, alertRound)
	defer stop()
	var sending errgroup.Group
	for n := range s.Messenger.Receivers() {
		sending.Go(func() error {
			for _, m := range all {
				switch {
				case m.row.Told&(1<<n) != 0:
					continue
				case round.Err() != nil:
					return nil
				}
				if err := s.Messenger.Send(ctx, n, m.id, m.row.Alert); err != nil {
					return err
				}
				m.told[n] = true
			}
			return nil
		})
	}
	if err := sending.Wait(); err != nil {
		s.complain(ctx, "tell a receiver of an alert", err)
	}
	kept := context.WithoutCancel(ctx) // what is claimed is let go of, at the end of the process too
	for _, m := range all {
		failed = errors.Join(failed, s.settleAlert(kept, m))
	}
	return failed
}

// dueAlerts lists what is to be looked at now, at most as many as one round of sending can take on: first what nobody was told
// of, so that whatever somebody has missed keeps nobody from what is new.
func (s *Service) dueAlerts(ctx context.Context) (keys [][]byte, err error) {
	const most = 500
	now := stampOf(s.Clock())
	var old [][]byte
	err = s.Store.View(ctx, func(r store.Reader) error {
		keys, old = nil, nil
		return scanAll(r, s.rows.key(kindAlert), func(p store.Pair) error {
			row, err := decodeRow[alertRow](p.Value)
			switch {
			case err == nil && row.Next > now:
			case err == nil && row.Said == 0 && len(keys) < most:
				keys = append(keys, bytes.Clone(p.Key))
			case len(old) < most:
				old = append(old, bytes.Clone(p.Key)) // a damaged one is given up by claimAlert
			}
			return nil
		})
	})
	keys = append(keys, old...)
	return keys[:min(len(keys), most)], err
}

// reached reports whether every receiver has the message.
func (s *Service) reached(row *alertRow) bool {
	return bits.OnesCount64(row.Told) >= s.Messenger.Receivers()
}

// claimAlert takes an alert to be sent for this node; nil when there is nothing to be sent.
func (s *Service) claimAlert(ctx context.Context, key []byte) (m *message, err error) {
	again, givenUp := id.Encode(alertPrefix, id.New()), ""
	err = s.Store.Update(ctx, func(w store.Writer) error {
		m, givenUp = nil, ""
		rows, err := w.Get(key)
		if err != nil || rows[0] == nil {
			return err
		}
		var a api.Alert
		row, err := decodeRow[alertRow](rows[0])
		if err == nil {
			err = json.Unmarshal(row.Alert, &a)
		}
		now := s.Clock()
		switch {
		case err != nil:
			givenUp = "it is damaged in the store"
			return w.Delete(key)
		case row.Next > stampOf(now):
			return nil
		case row.Until.time().Add(alertLife).Before(now):
			givenUp = "it did not reach all its receivers within a week"
			return w.Delete(key)
		case row.Said > 0 && s.reached(row) && row.Said == row.Causes:
			return w.Delete(key)
		}
		if row.Said == 0 || s.reached(row) {
			if row.Said > 0 {
				a.ID, a.At = again, now.UTC()
			}
			a.Count, row.Said, row.Told, row.Tries = row.Causes-row.Said, row.Causes, 0, 0
			row.Alert = must(json.Marshal(a))
		}
		row.Next = stampOf(now.Add(alertClaim))
		m = &message{key, row, a.ID, make([]bool, s.Messenger.Receivers())}
		return w.Set(key, encodeRow(row))
	})
	if err == nil && givenUp != "" {
		s.Log.ErrorContext(ctx, "an alert is given up", "reason", givenUp)
	}
	return m, err
}

// settleAlert writes down who has a message, and when to look at it again.
func (s *Service) settleAlert(ctx context.Context, m *message) error {
	return s.Store.Update(ctx, func(w store.Writer) error {
		row, err := getRow[alertRow](w, m.key) // causes may have come meanwhile
		if err != nil || row == nil {
			return err
		}
		for n, told := range m.told {
			if told {
				row.Told |= 1 << n
			}
		}
		now := s.Clock()
		switch {
		case !s.reached(row):
			row.Tries++
			row.Next = stampOf(now.Add(s.Messenger.Backoff(row.Tries)))
		case row.Until.time().After(now):
			row.Next = row.Until
		case row.Said == row.Causes:
			return w.Delete(m.key)
		default:
			row.Next = stampOf(now)
		}
		return w.Set(m.key, encodeRow(row))
	})
}
