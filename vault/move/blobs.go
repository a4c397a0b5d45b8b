package move

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/sandyq/sandyq/vault/blob"
)

// BlobJournal is a blob.Store that notes which blobs come and go. It is safe for concurrent use.
type BlobJournal struct {
	blob.Store

	mu      sync.Mutex // guards touched
	touched map[blob.ID]struct{}
}

// WatchBlobs returns a journal over s, which is to be used in place of s from then on.
func WatchBlobs(s blob.Store) *BlobJournal {
	return &BlobJournal{Store: s, touched: map[blob.ID]struct{}{}}
}

// Create is the store's. The blob is noted when it is committed.
func (j *BlobJournal) Create(ctx context.Context, id blob.ID) (blob.Writer, error) {
	w, err := j.Store.Create(ctx, id)
	if err != nil {
		return nil, err
	}
	return committing{w, func() { j.note(id) }}, nil
}

// Remove is the store's.
func (j *BlobJournal) Remove(ctx context.Context, id blob.ID) error {
	defer j.note(id) // also after a failure: it may be gone
	return j.Store.Remove(ctx, id)
}

// committing is a Writer that tells when it was committed.
type committing struct {
	blob.Writer
	committed func()
}

func (c committing) Commit() error {
	defer c.committed() // also after a failure: it may be there
	return c.Writer.Commit()
}

func (j *BlobJournal) note(id blob.ID) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.touched[id] = struct{}{}
}

// Pending is how many blobs came or went and were not taken yet.
func (j *BlobJournal) Pending() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.touched)
}

func (j *BlobJournal) take() []blob.ID {
	j.mu.Lock()
	defer j.mu.Unlock()
	ids := make([]blob.ID, 0, len(j.touched))
	for id := range j.touched {
		ids = append(ids, id)
	}
	clear(j.touched)
	return ids
}

// Blobs is a move of blobs. It is for one goroutine. It keeps about a hundred bytes in memory for each blob.
type Blobs struct {
	From, To blob.Store
	Journal  *BlobJournal             // of From; nil while nothing comes or goes there, or by others
	Keep     bool                     // what only the target has is somebody else's, and stays
	Progress func(blobs, bytes int64) // is told of what was read of From; may be nil

	same map[blob.ID]content // what both sides hold, as it was read of both since Verify; nil before
}

// content is what a blob holds.
type content struct {
	bytes int64
	hash  Sum // SHA-256
}

// Copy writes what the target lacks, and removes what the source has not, unless it is to be kept. A blob of the target with the id and the size of one of the
// source is taken for that one, until Verify.
func (m *Blobs) Copy(ctx context.Context) error {
	m.same = nil
	there, err := m.listed(ctx)
	if err != nil {
		return fmt.Errorf("move: copy the blobs: %w", err)
	}
	err = m.From.List(ctx, func(i blob.Info) error {
		if i.Partial {
			return nil
		}
		delete(there, i.ID)
		_, err := m.bring(ctx, i.ID)
		return err
	})
	if m.Keep {
		clear(there)
	}
	for id := range there {
		if err == nil {
			err = m.remove(ctx, id)
		}
	}
	if err != nil {
		return fmt.Errorf("move: copy the blobs: %w", err)
	}
	return nil
}

// listed are the blobs of the target, with those that are half there: nobody is writing them.
func (m *Blobs) listed(ctx context.Context) (map[blob.ID]struct{}, error) {
	there := map[blob.ID]struct{}{}
	err := m.To.List(ctx, func(i blob.Info) error {
		if i.Partial && !m.Keep {
			return m.drop(ctx, i.ID)
		}
		there[i.ID] = struct{}{}
		return nil
	})
	return there, err
}

// remove removes a blob of the target that the source, having listed its own, was not seen to have, unless it has it now.
func (m *Blobs) remove(ctx context.Context, id blob.ID) error {
	from, err := m.From.Open(ctx, id)
	if err == nil {
		return from.Close()
	}
	if !errors.Is(err, blob.ErrNotFound) {
		return err
	}
	return m.drop(ctx, id)
}

// drop removes a blob of the target. One that its storage keeps for a time is as good as gone: nobody who asks for it finds it.
func (m *Blobs) drop(ctx context.Context, id blob.ID) error {
	err := m.To.Remove(ctx, id)
	if _, kept := errors.AsType[*blob.Kept](err); kept {
		return nil
	}
	return err
}

// Verify reads every blob of both sides and holds them against each other. ErrDiffers when they are not the same.
func (m *Blobs) Verify(ctx context.Context) error {
	m.same = map[blob.ID]content{}
	err := m.From.List(ctx, func(i blob.Info) error {
		if i.Partial {
			return nil
		}
		return m.verify(ctx, i.ID)
	})
	if err != nil {
		m.same = nil
		return fmt.Errorf("move: verify the blobs: %w", err)
	}
	return nil
}

// CatchUp carries over what came and went since the last step, reads it again, and says how much that was.
func (m *Blobs) CatchUp(ctx context.Context) (n int, err error) {
	if m.Journal == nil {
		return 0, nil
	}
	ids := m.Journal.take()
	for i, id := range ids {
		if err := m.verify(ctx, id); err != nil {
			for _, left := range ids[i:] {
				m.Journal.note(left)
			}
			return i, fmt.Errorf("move: catch up with the blobs: %w", err)
		}
	}
	return len(ids), nil
}

// Tally is that of the blobs that were read of both sides, and found the same, since Verify.
func (m *Blobs) Tally() (t Tally) {
	for id, c := range m.same {
		h := sha256.New()
		_, _ = h.Write(id[:]) // never fails
		_, _ = h.Write(c.hash[:])
		t.plus(c.bytes, Sum(h.Sum(nil)))
	}
	return t
}

// verify brings a blob to the target, or away from there, and reads it on both sides.
func (m *Blobs) verify(ctx context.Context, id blob.ID) error {
	is, err := m.bring(ctx, id)
	if err != nil {
		return err
	}
	if is {
		a, err := read(ctx, m.From, id)
		if err == nil {
			b, err := read(ctx, m.To, id)
			if err == nil && a != b {
				err = ErrDiffers
			}
			if err == nil && m.same != nil {
				m.same[id] = a
			}
			return err
		}
		if !errors.Is(err, blob.ErrNotFound) {
			return err
		}
	}
	delete(m.same, id) // it went
	return m.drop(ctx, id)
}

// bring copies a blob that the target lacks; is tells whether the source has it.
func (m *Blobs) bring(ctx context.Context, id blob.ID) (is bool, err error) {
	from, err := m.From.Open(ctx, id)
	if errors.Is(err, blob.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	if m.Progress != nil {
		m.Progress(1, from.Size())
	}
	size, err := sizeOf(ctx, m.To, id)
	if err != nil || size == from.Size() {
		return true, err
	}
	if size >= 0 {
		if err := m.drop(ctx, id); err != nil {
			return true, err
		}
	}
	return true, m.write(ctx, id, from)
}

// sizeOf is a blob's size; -1 when there is none.
func sizeOf(ctx context.Context, s blob.Store, id blob.ID) (int64, error) {
	r, err := s.Open(ctx, id)
	if errors.Is(err, blob.ErrNotFound) {
		return -1, nil
	}
	if err != nil {
		return -1, err
	}
	return r.Size(), r.Close()
}

func (m *Blobs) write(ctx context.Context, id blob.ID, from blob.Reader) error {
	to, err := m.To.Create(ctx, id)
	if err != nil { // an earlier try may have left half of it
		if err = m.drop(ctx, id); err == nil {
			to, err = m.To.Create(ctx, id)
		}
	}
	if err != nil {
		return err
	}
	defer to.Abort() // after Commit it does nothing
	if _, err := io.Copy(to, io.NewSectionReader(from, 0, from.Size())); err != nil {
		return err
	}
	return to.Commit()
}

// read reads all of a blob.
func read(ctx context.Context, s blob.Store, id blob.ID) (c content, err error) {
	r, err := s.Open(ctx, id)
	if err != nil {
		return content{}, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	h := sha256.New()
	if c.bytes, err = io.Copy(h, io.NewSectionReader(r, 0, r.Size())); err != nil {
		return content{}, err
	}
	h.Sum(c.hash[:0])
	return c, nil
}
