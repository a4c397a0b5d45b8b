package vault

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
)

// WithdrawConsent ends a consent, but for the purposes that an obligation keeps: no reading that begins after the answer
// discloses anything on the ground of it. Without a note it needs no keys. Withdrawing again changes nothing and answers the
// same, until an obligation that kept something is gone.
func (s *Service) WithdrawConsent(ctx context.Context, call Call, subject, consent string, req *api.WithdrawRequest) (*api.Consent, error) {
	return underRules(ctx, s, call, func(call Call) (*api.Consent, error) {
		return s.withdrawConsent(ctx, call, subject, consent, req)
	})
}

func (s *Service) withdrawConsent(ctx context.Context, call Call, subject, consent string, req *api.WithdrawRequest) (*api.Consent, error) {
	if req.Reason != "" {
		if err := checkCode("reason", req.Reason); err != nil {
			return nil, err
		}
	}
	if err := checkNote(req.Note); err != nil {
		return nil, err
	}
	ctx = store.With(ctx, store.Vital)
	r := access.Request{Action: access.WithdrawConsent, Reason: req.Reason}
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	w := &withdrawing{Service: s, call: call, request: r, note: req.Note}
	err := s.onceIfPossible(ctx, call, r.Action, func(o *once) (err error) {
		defer func() {
			if w.tried {
				// Whatever the answer: what seems to have failed may have been written.
				if told := s.cut(ctx, w.who); err == nil {
					err = told
				}
				s.wake()
			}
		}()
		_, err = s.act(ctx, call, func() (deed, error) { return w.deed(ctx, subject, consent, o) })
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.consentWire(call.rules, w.consent, w.after), nil
}

// withdrawing is a withdrawal on its way.
type withdrawing struct {
	*Service
	call    Call
	request access.Request
	note    string

	who     *person
	consent ConsentID
	before  *consentRow
	after   *consentRow // as it will be; what it stops is known inside the Update
	tried   bool        // something may have been written
}

// deed prepares the withdrawal.
func (w *withdrawing) deed(ctx context.Context, subject, consent string, o *once) (d deed, err error) {
	permit := w.keyring.Permit()
	w.who, err = w.meet(ctx, w.call, w.request, subject, func(rd store.Reader, who *person) (err error) {
		if who.row.state != stateActive {
			return fault.New(fault.Erased, "this person is erased")
		}
		w.consent, w.before, err = w.consentOf(rd, w.call.Principal, who, consent)
		return err
	})
	if err != nil {
		return d, err
	}
	d = deed{request: w.request}
	d.request.Subject, d.request.State = w.who.id.String(), string(w.who.row.wire())
	d.entry.Kind = w.before.Text
	if e := o.earlier(0); e != nil && (e.Subject != w.who.id || e.Object != w.consent) {
		d.request.Refusal = errAnotherCall()
		return d, nil
	}
	w.after, d.request.Refusal = w.withdrawn()
	d.request.Consent = named(w.consent, w.after.Version)
	if d.request.Refusal != nil {
		return d, nil
	}
	if d.entry.Note, err = w.sealNote(ctx, permit, w.who, w.note); err != nil {
		return d, err
	}
	if w.after != w.before {
		d.effect = w.effect(o)
	}
	w.tried = true // also for one that was made before: not all nodes may have been told
	return d, nil
}

// withdrawn is the consent as it is after the withdrawal, or the one there is when nothing is left to be withdrawn.
func (w *withdrawing) withdrawn() (*consentRow, *fault.Error) {
	stands := w.before.Purposes
	if w.before.Withdrawn != 0 {
		stands = w.before.Kept
	}
	var kept, citations []string
	for _, name := range stands {
		if p, ok := w.call.rules.purposes.Get(name); ok && p.Obligation != "" {
			kept = append(kept, name)
			citations = append(citations, p.Obligation)
		}
	}
	switch {
	case len(kept) < len(stands):
		after := *w.before
		after.Version, after.Withdrawn, after.Kept = w.before.Version+1, stampOf(w.Clock()), kept
		return &after, nil
	case w.before.Withdrawn != 0:
		return w.before, nil
	}
	slices.Sort(citations)
	return w.before, &fault.Error{
		Code: fault.Held, Detail: "an obligation stands against the withdrawal: " + strings.Join(slices.Compact(citations), "; "),
		Fields: []fault.Field{{Field: "consent", Rule: "is for purposes that an obligation keeps"}},
	}
}

// effect writes the withdrawal as the person stands inside the Update, so that no other writer can hold it up.
func (w *withdrawing) effect(o *once) *draft {
	at, before := w.rows.consent(w.who.id, w.consent), encodeRow(w.before)
	c := w.lateChange(w.who, func(writer store.Writer, inside *change) error {
		rows, err := writer.Get(at)
		if err != nil {
			return err
		}
		if !bytes.Equal(rows[0], before) {
			return errStale
		}
		bases, err := w.basesWith(writer, w.who.id, w.consent, w.after)
		if err != nil {
			return err
		}
		w.after.Stopped = w.stopped(bases)
		inside.row.bases = bases
		inside.decided()
		inside.set(at, encodeRow(w.after))
		w.outdate(&inside.draft, w.after)
		return nil
	})
	o.keep(&c.draft, 0, done{Subject: w.who.id, Object: w.consent})
	return &c.draft
}

// stopped lists the purposes of the consent that rest on nothing any more: no other consent carries them.
func (w *withdrawing) stopped(bases []basis) []string {
	now := stampOf(w.Clock())
	var stopped []string
	for _, name := range w.after.Purposes {
		carried := slices.ContainsFunc(bases, func(b basis) bool {
			return b.purpose == name && !b.withdrawn && (b.until == 0 || now < b.until)
		})
		if !carried {
			stopped = append(stopped, name)
		}
	}
	return stopped
}
