package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Options are how a Sender sends. Now is needed.
type Options struct {
	Now     func() time.Time
	Timeout time.Duration // of an attempt, from the dialling to the last byte of the answer; 5 seconds if zero
	Idle    time.Duration // how long a connection is kept for the next event; a minute if zero
}

// Status is an answer's status code other than 2xx, as an error.
type Status int

func (s Status) Error() string { return fmt.Sprintf("it answered with status %d", int(s)) }

// Sender sends events to targets. It is safe for concurrent use.
type Sender struct {
	now       func() time.Time
	receivers []*receiver
}

// New makes a Sender. Close it in the end.
func New(targets []Target, o Options) (*Sender, error) {
	if o.Now == nil {
		return nil, errors.New("webhook: a clock is needed")
	}
	s := &Sender{now: o.Now}
	for i, t := range targets {
		r, err := newReceiver(t, o)
		if err != nil {
			return nil, fmt.Errorf("webhook: target %d: %w", i, err)
		}
		s.receivers = append(s.receivers, r)
	}
	return s, nil
}

// Close closes the connections that are kept. Attempts under way go on.
func (s *Sender) Close() {
	for _, r := range s.receivers {
		r.client.CloseIdleConnections()
	}
}

// maxAnswer is how much of an answer is read, in bytes. Nothing is made of it; a connection whose answer is at an end
// can be kept.
const maxAnswer = 4 << 10

// Send makes one attempt to tell a target, by its place among those that New was given, of an event. Any 2xx is nil; any
// other answer, redirects with them, is a Status. After another error the event may have arrived.
func (s *Sender) Send(ctx context.Context, target int, id string, body []byte) error {
	if target < 0 || target >= len(s.receivers) {
		return fmt.Errorf("webhook: there is no target %d", target)
	}
	if !idPattern.MatchString(id) {
		return errors.New("webhook: an event's id is 1 to 64 letters, digits, _ and -")
	}
	r := s.receivers[target]
	if err := r.post(ctx, timestamp(s.now()), id, body); err != nil {
		return fmt.Errorf("webhook: send event %s to %s: %w", id, r.host, err)
	}
	return nil
}

func (r *receiver) post(ctx context.Context, stamp, id string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		return withoutURL(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "sandyq")
	req.Header.Set(HeaderID, id)
	req.Header.Set(HeaderTimestamp, stamp)
	req.Header.Set(HeaderSignature, sign(r.secret.Expose(), stamp, id, body))
	resp, err := r.client.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	defer func() { _ = resp.Body.Close() }()                         // it was only read
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // the status has been told
	if resp.StatusCode/100 != 2 {
		return Status(resp.StatusCode)
	}
	return nil
}

// withoutURL is the error without the address that net/http and net/url put into theirs.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
