package badgerdb

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/sandyq/sandyq/vault/store"
)

// writer is the state of the one goroutine that writes. Nothing else touches it.
type writer struct {
	s       *Store
	version uint64 // of the last group

	backlog []*request // taken from the queue; the first at are done with
	at      int
	last    int // Updates in the last group

	group   []*request // picked, to be answered when their commit is
	pending overlay    // what they wrote
	own     overlay    // what the running f wrote
	view    update     // what the running f is handed
	space   space
	folder  *folder

	keys    []byte         // the prefixed keys of one commit
	entries []badger.Entry // and its entries
}

func newWriter(s *Store) (*writer, error) {
	w := &writer{s: s, version: s.db.MaxVersion()}
	w.view = update{own: &w.own, reader: reader{layers: []*overlay{&w.own, &w.pending}}}
	var err error
	if w.space, err = newSpace(s.db, s.opt); err != nil {
		return nil, err
	}
	if w.folder, err = openFolder(s.opt.Dir); err != nil {
		return nil, err
	}
	return w, nil
}

// run writes groups until the queue is closed and empty, or the store fails.
func (w *writer) run() {
	ended := false
	defer func() {
		if !ended { // f called runtime.Goexit, perhaps by way of testing.T.FailNow
			w.s.fail(errors.New("a function given to Update ended its goroutine"))
		}
		w.refuse()
		_ = w.folder.file.Close() // nothing was written through it
	}()
	for w.gather() {
		w.write()
	}
	ended = true
}

// gather waits until there is a backlog. It returns false when there will never be one again.
func (w *writer) gather() bool {
	if w.at < len(w.backlog) {
		return w.s.Err() == nil
	}
	w.yield()
	for {
		clear(w.backlog)
		var closed error
		w.backlog, closed = w.s.queue.take(w.backlog[:0])
		w.at = 0
		if w.s.Err() != nil {
			return false
		}
		if len(w.backlog) > 0 {
			return true
		}
		if closed != nil {
			return false
		}
		<-w.s.queue.ready
	}
}

// yield lets the clients that were just answered come back, as long as they do and the group is smaller than the last,
// so that they share one sync and not two. With one client it does nothing.
func (w *writer) yield() {
	for n, before := w.s.queue.len(), -1; n > before && n < w.last; n = w.s.queue.len() {
		before = n
		runtime.Gosched()
	}
}

// write forms one group out of the backlog, commits and answers it.
func (w *writer) write() {
	w.space.sample()
	w.view.txn = w.s.db.NewTransactionAt(w.version, false)
	for w.at < len(w.backlog) && w.pending.bytes < groupBytes && w.pending.writes < groupCount {
		r := w.backlog[w.at]
		w.at++
		if !r.state.CompareAndSwap(waiting, picked) {
			continue
		}
		w.group = append(w.group, r)
		w.execute(r)
	}
	w.view.txn.Discard()
	took, err := w.commit()
	if err != nil {
		w.s.fail(err)
		err = w.s.Err()
	}
	for _, r := range w.group {
		if err != nil {
			r.err = err
		}
		r.answer(r.err)
	}
	w.last = len(w.group)
	if w.s.opt.Observer != nil && err == nil && w.last > 0 {
		w.s.opt.Observer.Committed(Group{Updates: w.last, Writes: w.pending.writes, Bytes: w.pending.bytes, Commit: took})
	}
	clear(w.group)
	w.group = w.group[:0]
	w.pending.reset()
}

// execute runs one Update and adds what it wrote to the group, or drops that and keeps the error for the answer.
func (w *writer) execute(r *request) {
	defer w.own.reset()
	w.view.err = nil
	w.view.run(r)
	if r.err == nil {
		r.err = w.view.err
	}
	if r.err == nil && r.panic == nil && w.own.writes > 0 {
		r.err = w.space.check(r.urgency)
	}
	if r.err == nil && r.panic == nil {
		w.pending.absorb(&w.own)
	}
}

// commit makes what the group wrote durable and then visible.
func (w *writer) commit() (time.Duration, error) {
	if len(w.pending.entries) == 0 {
		return 0, w.s.Err()
	}
	w.s.committing.Lock()
	defer w.s.committing.Unlock()
	version := w.version + 1
	txn := w.s.db.NewTransactionAt(w.version, true)
	defer txn.Discard()
	if err := w.fill(txn); err != nil {
		return 0, fmt.Errorf("filling a transaction: %w", err)
	}
	began := w.s.opt.Clock()
	if err := txn.CommitAt(version, nil); err != nil {
		return 0, fmt.Errorf("committing: %w", err)
	}
	if err := w.folder.sync(); err != nil {
		return 0, fmt.Errorf("committing: %w", err)
	}
	took := w.s.opt.Clock().Sub(began)
	if err := w.s.Err(); err != nil { // Badger only logs some failures of a commit
		return 0, err
	}
	w.version = version
	w.s.snapshots.publish(version)
	_, droppable := w.s.snapshots.state()
	w.s.db.SetDiscardTs(droppable)
	return took, nil
}

// fill puts the group into txn. Badger copies keys and values before CommitAt returns, so the buffers are used again.
func (w *writer) fill(txn *badger.Txn) error {
	if err := txn.Set(lastGroup, nil); err != nil {
		return err
	}
	size := 0
	for i := range w.pending.entries {
		size += 1 + len(w.pending.entries[i].key)
	}
	if cap(w.keys) < size {
		w.keys = make([]byte, 0, size)
	}
	if cap(w.entries) < len(w.pending.entries) {
		w.entries = make([]badger.Entry, len(w.pending.entries))
	}
	keys := w.keys[:0]
	for i, e := range w.pending.entries {
		from := len(keys)
		keys = append(append(keys, dataPrefix), e.key...)
		key := keys[from:len(keys):len(keys)]
		var err error
		if e.deleted {
			err = txn.Delete(key)
		} else {
			w.entries[i] = badger.Entry{Key: key, Value: e.value}
			err = txn.SetEntry(&w.entries[i])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// refuse answers what will not be written any more.
func (w *writer) refuse() {
	w.s.queue.close(store.ErrClosed)
	late, closed := w.s.queue.take(nil)
	for _, r := range w.group { // only after Goexit
		r.answer(closed)
	}
	for _, r := range append(w.backlog[w.at:], late...) {
		if r.state.CompareAndSwap(waiting, picked) {
			r.answer(closed)
		}
	}
}

// update is the store.Writer of one Update.
type update struct {
	reader
	own *overlay
	err error // the first refusal, which f cannot undo by ignoring it
}

// run calls f and keeps its error, or the value it panicked with.
func (u *update) run(r *request) {
	returned := false
	defer func() {
		if !returned {
			r.panic = recover()
		}
	}()
	r.err = r.f(u)
	returned = true
}

// Set implements store.Writer.
func (u *update) Set(key, value []byte) error {
	if value == nil {
		value = empty
	}
	return u.put(entry{key: key, value: value})
}

// Delete implements store.Writer.
func (u *update) Delete(key []byte) error { return u.put(entry{key: key, deleted: true}) }

func (u *update) put(e entry) error {
	if u.err != nil {
		return u.err
	}
	size := len(e.key) + len(e.value)
	switch {
	case len(e.key) > store.MaxKey:
		u.err = fmt.Errorf("badgerdb: a key of %d bytes: %w", len(e.key), store.ErrTooLarge)
	case len(e.value) > store.MaxValue:
		u.err = fmt.Errorf("badgerdb: a value of %d bytes: %w", len(e.value), store.ErrTooLarge)
	case u.own.bytes+size > store.MaxUpdate:
		u.err = fmt.Errorf("badgerdb: an Update of more than %d bytes: %w", store.MaxUpdate, store.ErrTooLarge)
	case u.own.writes == store.MaxWrites:
		u.err = fmt.Errorf("badgerdb: an Update of more than %d writes: %w", store.MaxWrites, store.ErrTooLarge)
	}
	if u.err != nil {
		return u.err
	}
	u.own.writes++
	u.own.bytes += size
	u.own.put(e)
	return nil
}
