package vault

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
)

// uploadRow is a blob that no document names, or not yet: of an upload under way, which until its time is not abandoned; or one that
// was removed and that the storage keeps, until its time at least. While there is a row, ciphertext of the person may be there.
type uploadRow struct {
	Until   stamp     `cbor:"1,keyasint"`
	Taken   bool      `cbor:"2,keyasint,omitempty"` // by the sweeper, which removes the blob
	Subject SubjectID `cbor:"3,keyasint"`           // zero when nobody knows
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

// sweepUploads removes the blobs of uploads that were abandoned, and once a day looks for such as no row knows of.
func (s *Service) sweepUploads(ctx context.Context) error {
	lost := s.sweepOrphans(ctx)
	return errors.Join(s.dropUploads(ctx), lost)
}

// dropUploads removes what has lapsed. One blob that cannot be removed keeps no other.
func (s *Service) dropUploads(ctx context.Context) error {
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
	var failed error
	for _, id := range lapsed {
		if err := s.dropUpload(ctx, id); err != nil && failed == nil {
			failed = err
		}
	}
	return failed
}

// keepAgain is when a removal is tried again of what the storage keeps, when it says no time.
const keepAgain = 24 * time.Hour

// keptRow is the row of a blob that was removed and that the storage keeps.
func (s *Service) keptRow(ctx context.Context, id blob.ID, kept *blob.Kept, whose SubjectID) uploadRow {
	until := kept.Until
	if now := s.Clock(); until.Before(now) {
		until = now.Add(keepAgain)
	}
	s.Log.WarnContext(ctx, "the storage keeps a document that was removed: its key is destroyed, and its ciphertext stays for the time being",
		"blob", id.String(), "until", until)
	return uploadRow{Until: stampOf(until), Taken: true, Subject: whose}
}

// dropUpload marks an upload as taken, so that it can't be committed any more, removes its blob, and then the row, unless the
// storage keeps the blob.
func (s *Service) dropUpload(ctx context.Context, id blob.ID) error {
	key := s.rows.upload(id)
	taken, whose := false, SubjectID{}
	err := s.Store.Update(ctx, func(w store.Writer) error {
		row, err := getRow[uploadRow](w, key)
		taken = err == nil && row != nil && row.Until < stampOf(s.Clock())
		if !taken {
			return err
		}
		whose = row.Subject
		return w.Set(key, encodeRow(uploadRow{Taken: true, Subject: row.Subject}))
	})
	if err != nil || !taken {
		return err
	}
	err = s.Blobs.Remove(ctx, id)
	if kept, ok := errors.AsType[*blob.Kept](err); ok {
		row := encodeRow(s.keptRow(ctx, id, kept, whose))
		return s.Store.Update(ctx, func(w store.Writer) error { return w.Set(key, row) })
	}
	if err != nil {
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

// cutAll ends every upload.
func (u *uploads) cutAll() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, of := range u.of {
		for _, cancel := range of {
			cancel(errUploadCut)
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
