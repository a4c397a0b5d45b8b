package postgres

import "time"

// Cause is why something was tried again.
type Cause string

// Causes.
const (
	Conflict Cause = "conflict" // others were in the way of an Update
	Lost     Cause = "lost"     // the server was away, or another
)

// Observer is told of what a store does. Calls come from many goroutines and hold up what they tell of.
type Observer interface {
	// Connections tells how many more, or fewer, are in use, and how many more callers wait for one.
	Connections(inUse, waiting int)
	// CommittedRows tells of a COMMIT that was answered: how many rows were written, and how long it and what went with it took.
	CommittedRows(rows int, took time.Duration)
	// Retried tells of an attempt that is made again.
	Retried(Cause)
	// TookOver tells that another server has taken over as primary.
	TookOver()
}

// nobody observes.
type nobody struct{}

func (nobody) Connections(int, int)             {}
func (nobody) CommittedRows(int, time.Duration) {}
func (nobody) Retried(Cause)                    {}
func (nobody) TookOver()                        {}
