package main

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// pace tells how far a move is. It is safe for concurrent use.
type pace struct{ items, bytes atomic.Int64 }

const tellEvery = 5 * time.Second

func (p *pace) add(items, bytes int64) {
	p.items.Add(items)
	p.bytes.Add(bytes)
}

// tell begins to count anew, and tells the log now and then until stop is called.
func (p *pace) tell(log *slog.Logger, step string) (stop func()) {
	p.items.Store(0)
	p.bytes.Store(0)
	ended := make(chan struct{})
	var telling sync.WaitGroup
	telling.Go(func() {
		every := time.NewTicker(tellEvery)
		defer every.Stop()
		for {
			select {
			case <-ended:
				return
			case <-every.C:
				log.Info(step, "items", p.items.Load(), "bytes", p.bytes.Load())
			}
		}
	})
	return func() {
		close(ended)
		telling.Wait()
	}
}
