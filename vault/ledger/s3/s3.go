// Package s3 keeps an erasure ledger in a bucket of an S3 server that has object lock, one object for each line:
//
//	<prefix><tenant>/<number, sixteen digits>
//
// # Nothing is overwritten
//
// A line is put with If-None-Match: *, so that of two processes that append the same number one fails, reads on and appends after it.
// It is put under compliance retention, which nobody shortens, not even the account's owner: until it is over, no version
// of it can be removed. Whoever may write to the bucket can still lay another version or a delete marker over it, so of
// each object the oldest version counts, and no other is read.
//
// The retention is at most as good as its length: past it, an administrator of the bucket can remove lines, and the marks that the
// store and the key side keep tell of it.
//
// # Cost
//
// An append puts one object for each entry. A look at the end is one listing from the last known line on. Opening and
// scanning get each object, sixteen at a time.
package s3

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sandyq/sandyq/vault/bucket"
	"github.com/sandyq/sandyq/vault/ledger"
)

// Config names the bucket, which was made beforehand with object lock.
type Config struct {
	bucket.Config
	// Retain is how long a line cannot be removed after it was written. Zero leaves it to the bucket's default retention,
	// without which Open refuses.
	Retain time.Duration
}

// For opens the ledger of a tenant in the bucket for a use.
func For(ctx context.Context, use ledger.Use, c Config, o ledger.Options) (*ledger.Book, error) {
	if use == ledger.Look {
		return open(ctx, c, o, true)
	}
	b, err := Open(ctx, c, o)
	if use == ledger.Create && errors.Is(err, ledger.ErrMissing) {
		return Create(ctx, c, o)
	}
	return b, err
}

// Create makes the ledger of a tenant in the bucket, and opens it. It fails with ledger.ErrExists when there is one.
func Create(ctx context.Context, c Config, o ledger.Options) (*ledger.Book, error) {
	m, err := connect(ctx, c, o)
	if err != nil {
		return nil, fmt.Errorf("ledger/s3: create: %w", err)
	}
	h := ledger.Header{Tenant: o.Tenant, At: o.Clock()}
	_, _ = rand.Read(h.ID[:]) // never fails (crypto/rand)
	line, err := ledger.SealHeader(ctx, o.Signer, h)
	if err == nil {
		err = m.put(ctx, 0, line)
	}
	if errors.Is(err, ledger.ErrBehind) {
		err = ledger.ErrExists
	}
	if err = errors.Join(err, m.Close()); err != nil {
		return nil, fmt.Errorf("ledger/s3: create: %w", err)
	}
	return Open(ctx, c, o)
}

// Open opens the ledger of a tenant and reads all of it. It fails with ledger.ErrMissing when there is none.
func Open(ctx context.Context, c Config, o ledger.Options) (*ledger.Book, error) {
	return open(ctx, c, o, false)
}

// open opens a ledger to write to it, or to look at it alone.
func open(ctx context.Context, c Config, o ledger.Options, look bool) (*ledger.Book, error) {
	m, err := connect(ctx, c, o)
	if err != nil {
		return nil, fmt.Errorf("ledger/s3: open: %w", err)
	}
	m.look = look
	if err := m.probe(ctx); err != nil {
		return nil, fmt.Errorf("ledger/s3: open: %w", errors.Join(err, m.Close()))
	}
	b, err := ledger.Open(ctx, m, o)
	if err != nil {
		return nil, fmt.Errorf("ledger/s3: open: %w", err)
	}
	return b, nil
}

// medium is a ledger.Medium over a bucket.
type medium struct {
	bucket *bucket.Bucket
	folder string // prefix of all keys
	retain time.Duration
	now    func() time.Time
	look   bool // nothing is appended

	mu   sync.Mutex
	last object // the last line seen; what is behind it is not listed again
	line []byte // of last
}

var _ ledger.Medium = (*medium)(nil)

// object is the oldest version of a line's object.
type object struct {
	number  uint64
	version string // empty: not known
}

// connect opens the bucket and sees that it locks what is put there.
func connect(ctx context.Context, c Config, o ledger.Options) (*medium, error) {
	b, err := bucket.New(c.Config)
	if err != nil {
		return nil, err
	}
	f, err := b.Features(ctx)
	if err != nil {
		b.Close()
		return nil, told(err)
	}
	if !f.Lock || c.Retain <= 0 && !f.Compliance {
		b.Close()
		return nil, fmt.Errorf("bucket %s does not keep what is put there: it needs object lock, and a retention in compliance mode", c.Bucket)
	}
	return &medium{bucket: b, folder: o.Tenant + "/", retain: c.Retain, now: o.Clock}, nil
}

// told says of a bucket that is out of reach that the ledger is.
func told(err error) error {
	if errors.Is(err, bucket.ErrUnavailable) {
		return fmt.Errorf("%w: %w", ledger.ErrUnavailable, err)
	}
	return err
}

// probe sees that there is a ledger, and that the server refuses to put its header a second time: on one that does not know
// If-None-Match, two processes would write over each other.
func (m *medium) probe(ctx context.Context) error {
	last, err := m.Last(ctx)
	if err != nil || m.look {
		return err
	}
	header := last.Line
	if last.Number != 0 {
		if header, err = m.get(ctx, object{}); err != nil {
			return err
		}
	}
	switch err := m.put(ctx, 0, header); {
	case err == nil:
		return errors.New("the server puts an object over another in spite of If-None-Match, without which no two processes can share a ledger")
	case errors.Is(err, ledger.ErrBehind):
		return nil
	default:
		return err
	}
}

func (m *medium) key(number uint64) string { return fmt.Sprintf("%s%016d", m.folder, number) }

// number reads a key; what key would not have written is no line.
func (m *medium) number(key string) (uint64, bool) {
	digits, ok := strings.CutPrefix(key, m.folder)
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, ok && err == nil && m.key(n) == key
}

// put writes one line, durably, unless there is one.
func (m *medium) put(ctx context.Context, number uint64, line []byte) error {
	how := bucket.Put{New: true}
	if m.retain > 0 {
		how.Retain = m.now().Add(m.retain)
	}
	err := m.bucket.Put(ctx, m.key(number), line, how)
	if errors.Is(err, bucket.ErrExists) {
		return ledger.ErrBehind
	}
	if err != nil {
		return fmt.Errorf("put line %d: %w", number, told(err))
	}
	return nil
}

// Append implements [ledger.Medium].
func (m *medium) Append(ctx context.Context, number uint64, lines ...[]byte) error {
	if m.look {
		return ledger.ErrInUse
	}
	for i, line := range lines {
		if err := m.put(ctx, number+uint64(i), line); err != nil {
			return err
		}
	}
	return nil
}

// Last implements [ledger.Medium].
func (m *medium) Last(ctx context.Context) (ledger.Last, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	end := object{}
	found := false
	for o, err := range m.list(ctx, m.last.number) {
		if err != nil {
			return ledger.Last{}, err
		}
		end, found = o, true
	}
	switch {
	case !found && m.last.version == "":
		return ledger.Last{}, ledger.ErrMissing
	case !found:
		return ledger.Last{}, fmt.Errorf("line %d is not there any more: %w", m.last.number, ledger.ErrTruncated)
	case end != m.last || m.line == nil:
		line, err := m.get(ctx, end)
		if err != nil {
			return ledger.Last{}, err
		}
		m.last, m.line = end, line
	}
	return ledger.Last{Number: m.last.number, Line: m.line}, nil
}

// get reads one line.
func (m *medium) get(ctx context.Context, o object) ([]byte, error) {
	line, err := m.bucket.Get(ctx, m.key(o.number), o.version, ledger.MaxLine)
	if errors.Is(err, bucket.ErrTooLong) {
		err = ledger.ErrDamaged
	}
	if err != nil {
		return nil, fmt.Errorf("get line %d: %w", o.number, told(err))
	}
	return line, nil
}

// atOnce is how many objects are got at the same time.
const atOnce = 16

// Read implements [ledger.Medium].
func (m *medium) Read(ctx context.Context, from uint64, f func(line []byte) error) error {
	want, size := from, 1 // the first alone: many readers want no more
	var batch []object
	for o, err := range m.list(ctx, from) {
		if err != nil {
			return err
		}
		if o.number != want {
			return fmt.Errorf("line %d is not there, and line %d is: %w", want, o.number, ledger.ErrDamaged)
		}
		want++
		if batch = append(batch, o); len(batch) < size {
			continue
		}
		if err := m.deliver(ctx, batch, f); err != nil {
			return err
		}
		batch, size = batch[:0], 4*atOnce
	}
	return m.deliver(ctx, batch, f)
}

// deliver gets lines and calls f with them in order.
func (m *medium) deliver(ctx context.Context, batch []object, f func(line []byte) error) error {
	lines := make([][]byte, len(batch))
	group, getting := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, o := range batch {
		group.Go(func() (err error) {
			lines[i], err = m.get(getting, o)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, line := range lines {
		if err := f(line); err != nil {
			return err
		}
	}
	return nil
}

// Close implements [ledger.Medium].
func (m *medium) Close() error {
	m.bucket.Close()
	return nil
}
