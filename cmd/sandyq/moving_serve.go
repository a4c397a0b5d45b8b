package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/sandyq/sandyq/vault/move"
)

// How a move goes while the source is served.
const (
	littleLeft = 256              // rows that may be left to the switch
	maxRounds  = 100              // rounds before the switch, however much is written meanwhile
	copyAgain  = 10 * time.Second // after a failure
)

var errNotMoved = errors.New("it was stopped before the switch: the source is the live vault")

// serve serves the source while it is copied, and then the target.
func (m *moving) serve(ctx context.Context) (err error) {
	// After the first signal the default returns, so that a second one ends the process at once.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	abandoned := false
	defer func() {
		if !abandoned {
			err = errors.Join(err, m.Close())
		}
	}()
	if err := m.open(ctx); err != nil {
		return err
	}
	began := time.Now()
	if len(m.left) > 0 {
		m.watch()
		if began, abandoned, err = m.serveSource(ctx); err != nil {
			return err
		}
	}
	if err := m.catchUp(ctx); err != nil {
		return err
	}
	if err := m.handOver(ctx); err != nil {
		return err
	}
	f, err := openFront(ctx, m.to, m.log, m.reg, m.target)
	if err != nil {
		return err
	}
	out := m.answer()
	out.Still = time.Since(began).Milliseconds()
	if err := errors.Join(m.env.answer(out, out.tell), m.env.announce(m.to, f, false, "")); err != nil {
		return errors.Join(err, f.stop(m.to.ShutdownTimeout))
	}
	retiring, stopRetiring := context.WithCancel(ctx)
	var retired sync.WaitGroup
	retired.Go(func() { m.keepRetiring(retiring) })
	abandoned, err = m.target.serveUntil(ctx, m.to, m.log, f)
	stopRetiring()
	retired.Wait()
	return errors.Join(err, os.Remove(m.to.addressFile()))
}

// watch has everything that the source's tenants write noted. Of a store that other processes write to as well that would not be all.
func (m *moving) watch() {
	if m.from.Store.Engine != engineBadger {
		return
	}
	m.rows.Journal, m.source.rows = move.Watch(m.source.Store)
	if m.blobs != nil {
		m.blobs.Journal = move.WatchBlobs(m.source.Blobs)
		m.source.blobs = m.blobs.Journal
	}
}

// serveSource serves the source until next to nothing is left to copy, and stops it: began tells when. After an error the source is
// the live one still, and abandoned says that it must not be closed.
func (m *moving) serveSource(ctx context.Context) (began time.Time, abandoned bool, err error) {
	if err := m.source.openTenants(ctx, m.from, m.log, m.reg); err != nil {
		return began, false, err
	}
	f, err := openFront(ctx, m.from, m.log, m.reg, m.source)
	if err != nil {
		return began, false, err
	}
	if err := m.env.announce(m.from, f, false, ""); err != nil {
		return began, false, errors.Join(err, f.stop(m.from.ShutdownTimeout))
	}
	serving, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	var copying error
	go func() {
		defer close(ended)
		copying = m.keepCopying(serving)
		began = time.Now()
		stop()
	}()
	abandoned, err = m.source.serveUntil(serving, m.from, m.log, f)
	stop()
	<-ended
	if errors.Is(err, context.DeadlineExceeded) && !abandoned {
		m.log.Warn("requests that took too long were cut off", "error", err)
		err = nil
	}
	err = errors.Join(err, copying, os.Remove(m.from.addressFile()))
	if err == nil && ctx.Err() != nil {
		err = hinted(errNotMoved, "the same command goes on where it ended; sandyq serve serves the source")
	}
	if err != nil {
		return began, abandoned, err
	}
	return began, false, m.source.closeTenants()
}

// keepCopying copies until next to nothing is left. What fails does not end the serving: it is tried again, unless another try goes on with
// the move, which is the error.
func (m *moving) keepCopying(ctx context.Context) error {
	for ctx.Err() == nil {
		switch err := m.approach(ctx); {
		case err == nil || ctx.Err() != nil:
			return nil
		case lostToAnother(err):
			return err
		default:
			m.log.Error("copying failed; the source is served all the same, and it is tried again", "error", err, "in", copyAgain)
		}
		select {
		case <-ctx.Done():
		case <-time.After(copyAgain):
		}
	}
	return nil
}

// approach copies and verifies everything, and then what is written meanwhile, until a round would have little to do.
func (m *moving) approach(ctx context.Context) error {
	if m.rows.Journal == nil {
		for range 2 { // the second has less to write, and is closer to the end
			if err := m.step(ctx, "copying", m.copyOnce); err != nil {
				return err
			}
		}
		return m.alone(ctx) // as long as it is not, the source goes on
	}
	if err := m.copyAll(ctx); err != nil {
		return err
	}
	if err := m.recasts.Look(ctx); err != nil { // of what is new in the rounds it is done in the switch
		return supplanted(err)
	}
	for n := 0; n < maxRounds && m.pending() > littleLeft; n++ {
		if err := m.round(ctx); err != nil {
			return err
		}
	}
	return nil
}

// pending is how many rows and documents were written and are not copied.
func (m *moving) pending() int {
	n := m.rows.Journal.Pending()
	if m.blobs != nil {
		n += m.blobs.Journal.Pending()
	}
	return n
}

func (m *moving) round(ctx context.Context) error {
	changes, err := m.rows.CatchUp(ctx)
	if err != nil {
		return err
	}
	if err := m.ahead(ctx); err != nil {
		return err
	}
	blobs := 0
	if m.blobs != nil {
		if blobs, err = m.blobs.CatchUp(ctx); err != nil {
			return err
		}
	}
	m.log.Info("caught up", "written", changes.Written, "deleted", changes.Deleted, "documents", blobs)
	return nil
}

// catchUp copies the rest, when nobody writes any more.
func (m *moving) catchUp(ctx context.Context) error {
	if err := m.still(ctx); err != nil {
		return err
	}
	switch {
	case len(m.left) == 0:
		return nil
	case m.rows.Journal == nil:
		return m.copyAll(ctx)
	}
	if err := m.round(ctx); err != nil {
		return supplanted(err)
	}
	if n := m.pending(); n > 0 {
		return fmt.Errorf("%d rows were written after the source was stopped", n)
	}
	return nil
}
