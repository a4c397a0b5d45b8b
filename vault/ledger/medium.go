package ledger

import "context"

// Medium keeps the lines of one ledger and knows nothing of what they say. It is safe for concurrent use, with one Append at a
// time. A [Book] gives it meaning; who implements one passes vault/ledger/ledgertest.
type Medium interface {
	// Last looks at the medium again and returns the last line, without its line feed. Its cost does not grow with the ledger.
	// No line at all is ErrTruncated; a ledger that is not there any more, ErrMissing.
	Last(ctx context.Context) (Last, error)

	// Read calls f with every line from this number on, in order, until f returns an error, which Read returns. A line is valid
	// during the call. Past the end nothing is called.
	Read(ctx context.Context, from uint64, f func(line []byte) error) error

	// Append adds lines, the first of which gets this number, and returns when they are durable. With another number of lines
	// on the medium it adds nothing and fails with ErrBehind. After any other error a beginning of the lines may be there;
	// when nobody can know what is, this and all that follow fail with ErrFailed.
	Append(ctx context.Context, number uint64, lines ...[]byte) error

	// Close lets go of the medium.
	Close() error
}

// Last is the end of a medium.
type Last struct {
	Number uint64 // of the line; the header is 0
	Line   []byte
	// Touched says that the medium was written to by somebody else since Last was called before, so that lines before the last
	// may be others.
	Touched bool
}
