package vault

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/document"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/store"
)

// Content is the plaintext of a document part. It is used by one goroutine. Reading fails once the person is blocked or
// erased, the handle has expired, the rules do not permit it any more, or this node is out of touch with the others; mid-stream too.
type Content struct {
	MediaType string
	Size      int64 // bytes

	service *Service
	section *io.SectionReader
	blob    blob.Reader
	handle  *handleRow
	caller  access.Principal
	ends    time.Time
	cut     atomic.Bool // block, withdrawal, erasure, other rules, or shutdown
}

// open begins the stream, once it is registered and what permits it was looked at.
func (c *Content) open(b blob.Reader, r *document.Reader, ends time.Time) {
	c.section, c.Size, c.blob, c.ends = io.NewSectionReader(r, 0, r.Size()), r.Size(), b, ends
}

// Read reads on, as io.Reader has it.
func (c *Content) Read(p []byte) (int, error) {
	n, err := c.section.Read(p)
	if c.cut.Load() || !c.service.Clock().Before(c.ends) || c.service.fleet.hold() != nil {
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
func (c *Content) Close() error {
	c.service.streams.leave(c)
	return c.blob.Close()
}

// streams are the documents that are read from at the moment.
type streams struct {
	mu sync.Mutex
	of map[SubjectID]map[*Content]struct{}
}

func (s *streams) init() { s.of = map[SubjectID]map[*Content]struct{}{} }

func (s *streams) enter(c *Content) {
	s.mu.Lock()
	defer s.mu.Unlock()
	who := c.handle.Subject
	if s.of[who] == nil {
		s.of[who] = map[*Content]struct{}{}
	}
	s.of[who][c] = struct{}{}
}

func (s *streams) leave(c *Content) {
	s.mu.Lock()
	defer s.mu.Unlock()
	who := c.handle.Subject
	delete(s.of[who], c)
	if len(s.of[who]) == 0 {
		delete(s.of, who)
	}
}

// cut ends all reading of a person's documents.
func (s *streams) cut(who SubjectID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.of[who] {
		c.cut.Store(true)
	}
}

func (s *streams) cutAll() {
	for _, c := range s.all() {
		c.cut.Store(true)
	}
}

func (s *streams) all() (all []*Content) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, of := range s.of {
		for c := range of {
			all = append(all, c)
		}
	}
	return all
}

// breakReadings ends the reading of what would not be opened again under new rules, or not for as long. What can't be told
// ends too. The handles stay: whether they are good is found out at each use.
func (s *Service) breakReadings(ctx context.Context, now *rules) {
	for _, c := range s.streams.all() {
		var until time.Time
		good := false
		err := s.Store.View(ctx, func(r store.Reader) (err error) {
			until, good, err = s.holdsGood(ctx, now, r, c.caller, c.handle)
			return err
		})
		if err != nil || !good || c.handle.ends(until).Before(c.handle.Until.time()) {
			c.cut.Store(true)
		}
	}
}
