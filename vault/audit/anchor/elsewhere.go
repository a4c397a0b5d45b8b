package anchor

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/vault/webhook"
)

// Place is where a copy of the last checkpoint goes.
type Place interface {
	// Keep takes a checkpoint, which follows all before it. It may be given the same again.
	Keep(ctx context.Context, note []byte) error
}

// Every is how often a place gets a checkpoint at most.
const Every = 10 * time.Second

// Anchor is where the last checkpoint lies: a [File] or an [Object].
type Anchor interface {
	Place
	Last(ctx context.Context) ([]byte, error)
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
func (e *Elsewhere) Keep(ctx context.Context, note []byte) error {
	if err := e.Anchor.Keep(ctx, note); err != nil {
		return err
	}
	e.offer(note)
	return nil
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
		err := p.Keep(ctx, note)
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

// Keep implements Place. The event's id is the checkpoint's hash, so that a repetition is known as one.
func (r Receiver) Keep(ctx context.Context, note []byte) error {
	body, err := json.Marshal(Event{Kind: "log.checkpoint", Tenant: r.Tenant, Checkpoint: string(note)}, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("anchor: %w", err)
	}
	hash := sha256.Sum256(note)
	return r.Sender.Send(ctx, 0, fmt.Sprintf("chk_%x", hash[:16]), body)
}
