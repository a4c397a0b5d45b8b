package store

import (
	"context"
	"time"
)

// Mark is a place in the history of a store that is open. Later marks are greater; 0 is before all Updates. Marks of
// different stores, or of one store that was restored from a copy, do not compare: keep them no longer than the store is open.
type Mark uint64

// Residual is a Store that can say what it still holds of what was deleted or overwritten. It is for engines that write
// anew and clean up later; an engine that cannot measure that does not have these methods, and then nobody knows.
type Residual interface {
	// Mark returns a mark at or after every Update that was acknowledged before the call.
	Mark() (Mark, error)

	// Compact forces out what was deleted or overwritten, as far as the engine can, and then measures what is left of it.
	// It reads or writes everything there is, so it is for once a day and not for each deletion; Updates and Views go on.
	// One runs at a time. After an error nothing new was measured.
	Compact(ctx context.Context) error

	// Residue is what the last measurement found since the store was opened; measured is false before the first.
	Residue() (r Residue, measured bool)
}

// Residue is what a measurement found of values that are not current any more. It is about the files of the store: not about
// what the disk keeps of blocks that files no longer hold, nor about copies.
type Residue struct {
	// Clean: nothing that Updates at or before this mark deleted or overwrote is in any file of the store, neither key nor
	// value. It never falls while the store is open.
	Clean Mark
	// What is left of that of older Updates than the measurement: versions that are not current any more, and deletions
	// that are themselves still on record.
	Versions, Deletions int
	// Files that belong to the store no longer and are still there, because Views read them. What is in them isn't counted
	// in the rest; while there are any, Clean stays as it was.
	Files int
	At    time.Time // when it was measured
}
