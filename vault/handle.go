package vault

import (
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/document"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/token"
)

const handlePrefix = "con_"

// handle is a document opened for reading: a permission that was recorded, for one caller, for a short time. It is good for
// as long as it would be given again.
type handle struct {
	caller    access.Principal
	request   access.Request // that was permitted
	recipient string         // that it named
	subject   SubjectID
	status    []byte // of the person, that the permission rests on
	document  DocumentID
	token     token.Token // that it was opened with
	part      int
	row       partRow
	key       kms.ID
	meta      partMeta
	expires   time.Time
	cut       atomic.Bool  // block, withdrawal, erasure, expiry or shutdown
	breaks    atomic.Int64 // grows when the rules end what is being read
}

// ends is when a reading ends that rests on what ends at until; zero is never.
func (o *handle) ends(until time.Time) time.Time {
	if until.IsZero() || o.expires.Before(until) {
		return o.expires
	}
	return until
}

// handles are the open documents. They live in memory: a restart closes them all.
type handles struct {
	life time.Duration
	mu   sync.Mutex
	byID map[string]*handle
	of   map[SubjectID]map[string]*handle
}

func (h *handles) init(life time.Duration) {
	h.life = life
	h.byID, h.of = map[string]*handle{}, map[SubjectID]map[string]*handle{}
}

// add registers a handle and returns its random name.
func (h *handles) add(o *handle) string {
	name := id.Encode(handlePrefix, id.New())
	h.mu.Lock()
	defer h.mu.Unlock()
	h.byID[name] = o
	if h.of[o.subject] == nil {
		h.of[o.subject] = map[string]*handle{}
	}
	h.of[o.subject][name] = o
	return name
}

// get finds a caller's handle that has not expired.
func (h *handles) get(name string, caller access.Principal, now time.Time) *handle {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.byID[name]
	if o == nil || !o.caller.Same(caller) || !now.Before(o.expires) || o.cut.Load() {
		return nil
	}
	return o
}

// cut ends all reading of a person's documents.
func (h *handles) cut(s SubjectID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, o := range h.of[s] {
		h.drop(name, o)
	}
}

// expire ends what has run out.
func (h *handles) expire(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, o := range h.byID {
		if !now.Before(o.expires) {
			h.drop(name, o)
		}
	}
}

// all are the open documents.
func (h *handles) all() []*handle {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Values(h.byID))
}

func (h *handles) closeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, o := range h.byID {
		h.drop(name, o)
	}
}

// drop is called with the lock held.
func (h *handles) drop(name string, o *handle) {
	o.cut.Store(true)
	delete(h.byID, name)
	delete(h.of[o.subject], name)
	if len(h.of[o.subject]) == 0 {
		delete(h.of, o.subject)
	}
}

// errCut ends a stream whose permission has ended. The receiver must not take it for the end of the document.
var errCut = errors.New("the permission to read this document has ended")

// Content is the plaintext of a document part. It is used by one goroutine. Reading fails once the person is blocked or
// erased, the handle has expired or the rules do not permit it any more, mid-stream too.
type Content struct {
	MediaType string
	Size      int64 // bytes

	section *io.SectionReader
	blob    blob.Reader
	handle  *handle
	breaks  int64 // of the handle, when the rules were looked at
	ends    time.Time
	now     func() time.Time
}

func newContent(o *handle, breaks int64, ends time.Time, b blob.Reader, r *document.Reader, now func() time.Time) *Content {
	return &Content{
		breaks: breaks, ends: ends,
		MediaType: o.meta.MediaType, Size: r.Size(),
		section: io.NewSectionReader(r, 0, r.Size()), blob: b, handle: o, now: now,
	}
}

// Read reads on, as io.Reader has it.
func (c *Content) Read(p []byte) (int, error) {
	n, err := c.section.Read(p)
	if c.handle.cut.Load() || c.handle.breaks.Load() != c.breaks || !c.now().Before(c.ends) {
		clear(p[:n])
		return 0, errCut
	}
	return n, err
}

// Seek moves, as io.Seeker has it.
func (c *Content) Seek(offset int64, whence int) (int64, error) {
	return c.section.Seek(offset, whence)
}

// Close ends the reading.
func (c *Content) Close() error { return c.blob.Close() }
