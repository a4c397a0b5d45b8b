package vault

import (
	"context"
	"sync"
	"time"

	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
)

// uploadRow is an upload under way: until its time its blob is not abandoned. While there is one, files of the person may be.
type uploadRow struct {
	Until   stamp     `cbor:"1,keyasint"`
	Taken   bool      `cbor:"2,keyasint,omitempty"` // by the sweeper, which removes the blob
	Subject SubjectID `cbor:"3,keyasint"`
}

// uploadHeld is what a row begins with that was not taken: a map of two members.
var uploadHeld = encodeRow(uploadRow{Until: 1})[:1]

// lease writes the upload's row and renews it until stop is called, which waits for the last renewal.
func (up *upload) lease(ctx context.Context) (stop func(), err error) {
	if err := up.renew(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var renewing sync.WaitGroup
	renewing.Go(func() {
		tick := time.NewTicker(up.UploadLife / 4)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if err := up.renewLeased(ctx); err != nil {
					return // the commit will find the row lapsed, or the store stopped
				}
			}
		}
	})
	return func() { cancel(); renewing.Wait() }, nil
}

// leased is the row of an upload that moves.
func (up *upload) leased() []byte {
	return encodeRow(uploadRow{Until: stampOf(up.Clock().Add(up.UploadLife)), Subject: up.who.id})
}

func (up *upload) renew(ctx context.Context) error {
	return up.Store.Update(ctx, func(w store.Writer) error {
		return w.Set(up.rows.upload(up.blob), up.leased())
	})
}

// renewLeased renews a row that is still there: one that the sweeper took is never brought back.
func (up *upload) renewLeased(ctx context.Context) error {
	key := up.rows.upload(up.blob)
	return up.Store.Update(ctx, func(w store.Writer) error {
		row, err := getRow[uploadRow](w, key)
		if err != nil || row == nil || row.Taken {
			return err
		}
		return w.Set(key, up.leased())
	})
}

// sweepUploads removes the blobs of uploads that were abandoned.
func (s *Service) sweepUploads(ctx context.Context) error {
	prefix := s.rows.key(kindUpload)
	now := stampOf(s.Clock())
	var lapsed []blob.ID
	err := s.Store.View(ctx, func(r store.Reader) error {
		lapsed = nil
		return scanAll(r, prefix, func(p store.Pair) error {
			row, err := decodeRow[uploadRow](p.Value)
			if err == nil && row.Until < now {
				lapsed = append(lapsed, blob.ID(p.Key[len(prefix):]))
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	for _, id := range lapsed {
		if err := s.dropUpload(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// dropUpload marks an upload as taken, so that it can't be committed any more, removes its blob, and then the row.
func (s *Service) dropUpload(ctx context.Context, id blob.ID) error {
	key := s.rows.upload(id)
	taken := false
	err := s.Store.Update(ctx, func(w store.Writer) error {
		row, err := getRow[uploadRow](w, key)
		taken = err == nil && row != nil && row.Until < stampOf(s.Clock())
		if !taken {
			return err
		}
		return w.Set(key, encodeRow(uploadRow{Taken: true, Subject: row.Subject}))
	})
	if err != nil || !taken {
		return err
	}
	if err := s.Blobs.Remove(ctx, id); err != nil {
		return err
	}
	return s.Store.Update(ctx, func(w store.Writer) error { return w.Delete(key) })
}

// errUploadCut ends an upload whose person was blocked or erased meanwhile.
var errUploadCut = fault.New(fault.Blocked, "the person was blocked or erased while the document came in")

// uploads are the uploads under way, so that a block or an erasure ends them.
type uploads struct {
	mu sync.Mutex
	of map[SubjectID]map[*upload]context.CancelCauseFunc
}

func (u *uploads) init() { u.of = map[SubjectID]map[*upload]context.CancelCauseFunc{} }

// enter registers an upload; its context ends when it is cut. leave must be called.
func (u *uploads) enter(ctx context.Context, up *upload) (cut context.Context, leave func()) {
	cut, cancel := context.WithCancelCause(ctx)
	who := up.who.id
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.of[who] == nil {
		u.of[who] = map[*upload]context.CancelCauseFunc{}
	}
	u.of[who][up] = cancel
	return cut, func() {
		cancel(nil)
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.of[who], up)
		if len(u.of[who]) == 0 {
			delete(u.of, who)
		}
	}
}

// cut ends the uploads of a person's documents: what is still sent is neither read nor sealed.
func (u *uploads) cut(who SubjectID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, cancel := range u.of[who] {
		cancel(errUploadCut)
	}
}
