// Package move carries the rows and the blobs of a vault over to another store while the vault is in use.
//
// # Model
//
// What is moved is read from one side and written to the other as it is, byte for byte: under the same keys, with the same
// values. Three steps follow one another, and each may be repeated:
//
//   - Copy walks both sides in the order of the keys and makes the target what one state of the source was. What the target has
//     already is not written again, so a Copy that fell is gone on with by another one.
//   - Verify reads every row of both sides anew and holds them against each other. It counts them and sums their hashes, for
//     each side by itself (Tally).
//   - CatchUp carries over what a Journal says was written since, and keeps both tallies up to date with it.
//
// While the source is written, a Journal over it notes which keys were. Once nobody writes to it any more, and a last CatchUp found
// nothing left, the target has every row of the source, which Equal confirms. Without a Journal the source stands still, or others
// write to it: then a Copy and a Verify after the last of them has stopped say the same.
//
// # Invariants
//
//   - The target is written by nobody else: a Fence ends a move that was left behind.
//   - A key is noted in the Journal before whoever wrote it is answered, and a round takes the noted keys and the state that it reads
//     between two Updates. So what a round does not see, the next one does.
//   - Nothing that is carried is decoded here, and no key or value is in an error.
//
// Where the target is to hold rows in another form, a Recast makes it and tells what both forms say.
package move

import "errors"

// ErrDiffers reports that the target does not hold what the source holds, although it was written there.
var ErrDiffers = errors.New("move: the target does not hold what the source holds")

// page is how many rows are read at once, and limit how many bytes are written in one Update.
const (
	page  = 256
	limit = 1 << 20
)
