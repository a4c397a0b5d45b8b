package anchor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/audit/translog"
	"github.com/sandyq/sandyq/vault/webhook"
)

// Place is where a copy of the last checkpoint goes.
type Place interface {
	// Take takes a checkpoint. It may be given the same again, and by a node that leads no more one that others have outdone.
	Take(ctx context.Context, note []byte) error
}

// Every is how often a place gets a checkpoint at most.
const Every = 10 * time.Second

// Anchor is where the last checkpoint lies: a [File] or an [Object].
type Anchor interface {
	translog.Anchor
	Place
}

// Elsewhere is an Anchor whose checkpoints are copied to other places: the newest, with best effort, again and again until
// one arrives. The log waits for none of them.
type Elsewhere struct {
	Anchor
	log   *slog.Logger
	every time.Duration

	stop   context.CancelFunc
	work   sync.WaitGroup
	newest []chan []byte // for each place; holds at most one
	mu     sync.Mutex    // held while newest are replaced
}

// Copy begins to copy what a keeps, and what it has kept, to places by the names that they have in the log. Close ends it.
func Copy(a Anchor, log *slog.Logger, places map[string]Place) *Elsewhere {
	return copyEvery(Every, a, log, places)
}

func copyEvery(every time.Duration, a Anchor, log *slog.Logger, places map[string]Place) *Elsewhere {
	ctx, stop := context.WithCancel(context.Background())
	e := &Elsewhere{Anchor: a, log: log, every: every, stop: stop}
	for name, p := range places {
		newest := make(chan []byte, 1)
		e.newest = append(e.newest, newest)
		e.work.Go(func() { e.copyTo(ctx, name, p, newest) })
	}
	if len(places) == 0 {
		return e
	}
	if last, err := a.Last(ctx); err == nil && last != nil {
		e.offer(last)
	}
	return e
}

// Close ends the copying and waits for it. What has not arrived is copied by who opens the file next.
func (e *Elsewhere) Close() {
	e.stop()
	e.work.Wait()
}

// Keep implements translog.Anchor.
func (e *Elsewhere) Keep(ctx context.Context, was, note []byte) (kept bool, err error) {
	if kept, err = e.Anchor.Keep(ctx, was, note); kept {
		e.offer(note)
	}
	return kept, err
}

// offer has a checkpoint copied in the place of one that waits.
func (e *Elsewhere) offer(note []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, newest := range e.newest {
		select {
		case <-newest:
		default:
		}
		newest <- note
	}
}

func (e *Elsewhere) copyTo(ctx context.Context, name string, p Place, newest <-chan []byte) {
	for {
		select {
		case <-ctx.Done():
			return
		case note := <-newest:
			e.bring(ctx, name, p, note, newest)
		}
		if !sleep(ctx, e.every) {
			return
		}
	}
}

// bring tries until a checkpoint has arrived, the newest there is at each try.
func (e *Elsewhere) bring(ctx context.Context, name string, p Place, note []byte, newest <-chan []byte) {
	for tries := 1; ; tries++ {
		err := p.Take(ctx, note)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			return
		}
		e.log.WarnContext(ctx, "a checkpoint of the log could not be copied and will be again", "place", name, "tries", tries, "error", err)
		if !sleep(ctx, webhook.Backoff(tries, rand.Float64)) {
			return
		}
		select {
		case note = <-newest:
		default:
		}
	}
}

// take keeps a checkpoint in an anchor that is a copy of another, unless that has one of a larger tree under its origin.
func take(ctx context.Context, a translog.Anchor, note []byte) error {
	for {
		last, err := a.Last(ctx)
		if err != nil || bytes.Equal(last, note) || outdone(note, last) {
			return err
		}
		if kept, err := a.Keep(ctx, last, note); kept || err != nil {
			return err
		}
	}
}

// outdone reports whether a checkpoint is of a smaller tree than another under the same origin.
func outdone(note, by []byte) bool {
	mine, err := checkpoint.ReadTree(note)
	if err != nil {
		return false
	}
	theirs, err := checkpoint.ReadTree(by)
	return err == nil && mine.Origin == theirs.Origin && mine.Size < theirs.Size
}

// sleep reports whether the time has passed.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Receiver is a Place that is told over HTTP, signed as package webhook has it. The body is JSON: kind is log.checkpoint, tenant whose
// log it is, checkpoint the signed note.
type Receiver struct {
	Tenant string
	Sender *webhook.Sender // of one target
}

// Event is what a Receiver is told.
type Event struct {
	Kind       string `json:"kind"` // log.checkpoint
	Tenant     string `json:"tenant"`
	Checkpoint string `json:"checkpoint"`
}

// Take implements Place. The event's id is the checkpoint's hash, so that a repetition is known as one.
func (r Receiver) Take(ctx context.Context, note []byte) error {
	body, err := json.Marshal(Event{Kind: "log.checkpoint", Tenant: r.Tenant, Checkpoint: string(note)}, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("anchor: %w", err)
	}
	hash := sha256.Sum256(note)
	return r.Sender.Send(ctx, 0, fmt.Sprintf("chk_%x", hash[:16]), body)
}
