package vault

import (
	"context"
	"fmt"
	"math/bits"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/store"
)

// The kinds of alerts.
const (
	alertCanary     = "canary"      // somebody used a person or a token that nobody has cause to use
	alertBudget     = "budget"      // a principal has reached a limit
	alertBreakGlass = "break_glass" // somebody has declared an emergency
)

// alertKinds lists them, for the metrics' labels.
var alertKinds = []string{alertCanary, alertBudget, alertBreakGlass}

// AlertKinds lists the kinds of alerts there are.
func AlertKinds() []string { return append([]string(nil), alertKinds...) }

const alertPrefix = "alr_"

// alertRow is an alert that has not reached every receiver. It is written with what gave cause to it, so that no crash
// between the two loses it, and removed when the last receiver has taken it. Receivers may get it twice.
type alertRow struct {
	Alert []byte `cbor:"1,keyasint"` // api.Alert as JSON: what is signed
	Told  uint64 `cbor:"2,keyasint"` // receivers that have it, one bit each
	Tries int    `cbor:"3,keyasint"`
	Next  stamp  `cbor:"4,keyasint"`
}

// maxBackoff bounds how long an alert waits after a try that failed: 2^9 s.
const maxBackoff = 9

// MaxReceivers is how many receivers of alerts there may be.
const MaxReceivers = 64

// Messenger tells receivers of alerts.
type Messenger interface {
	Receivers() int
	// Send tells one receiver, once. What it has got it knows by the id.
	Send(ctx context.Context, receiver int, id string, body []byte) error
}

// alert has a draft keep an alert until it is told, and returns what raises it here and now, once the draft is written.
func (s *Service) alert(d *draft, a api.Alert) (raise func()) {
	raw := id.New()
	a.ID, a.At = id.Encode(alertPrefix, raw), s.Clock().UTC()
	if s.Messenger != nil && s.Messenger.Receivers() > 0 {
		d.set(s.rows.key(kindAlert, raw[:]), encodeRow(alertRow{Alert: must(json.Marshal(a))}))
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

// tellUntil sends what there is to send: on start, on a timer and when something was raised.
func (s *Service) tellUntil(ctx context.Context) {
	timer := time.NewTicker(s.SweepEvery)
	defer timer.Stop()
	for {
		if s.title.standing() == StandingLive {
			if err := s.tell(ctx); err != nil {
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

// tell sends every alert that is due to every receiver that has not got it.
func (s *Service) tell(ctx context.Context) error {
	type due struct {
		key []byte
		row *alertRow
	}
	var all []due
	now := s.Clock()
	err := s.Store.View(ctx, func(r store.Reader) error {
		all = nil
		return scanAll(r, s.rows.key(kindAlert), func(p store.Pair) error {
			row, err := decodeRow[alertRow](p.Value)
			if err == nil && !row.Next.time().After(now) {
				all = append(all, due{p.Key, row})
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	for _, d := range all {
		if err := s.tellOne(ctx, d.key, d.row); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) tellOne(ctx context.Context, key []byte, row *alertRow) error {
	var a api.Alert
	if err := json.Unmarshal(row.Alert, &a); err != nil {
		return fmt.Errorf("an alert in the store is damaged: %w", err)
	}
	receivers := s.Messenger.Receivers()
	for n := range receivers {
		if row.Told&(1<<n) != 0 {
			continue
		}
		if err := s.Messenger.Send(ctx, n, a.ID, row.Alert); err != nil {
			s.complain(ctx, "tell a receiver of an alert", err)
			continue
		}
		row.Told |= 1 << n
	}
	return s.Store.Update(store.With(ctx, store.Vital), func(w store.Writer) error {
		if bits.OnesCount64(row.Told) >= receivers {
			return w.Delete(key)
		}
		row.Tries++
		row.Next = stampOf(s.Clock().Add(time.Second << min(row.Tries, maxBackoff)))
		return w.Set(key, encodeRow(row))
	})
}
