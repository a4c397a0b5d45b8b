package vault

import (
	"bytes"
	"context"
	"errors"

	"github.com/sandyq/sandyq/vault/audit/translog"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
)

// draft is a change made ready outside the transaction: what must still stand, and what is then written. It may be
// committed with others in one Update, each by itself: a draft whose expectations fail writes nothing and is stale.
type draft struct {
	expects []expectation
	writes  []store.Pair             // a nil value deletes
	leaves  []leaf                   // of the audit entries among the writes
	late    func(store.Writer) error // what is decided inside the Update; it comes first
}

// expectation is that a row is exactly value (nil: absent), or begins with it.
type expectation struct {
	key, value []byte
	prefix     bool
	otherwise  error // what the whole Update ends with when it fails; nil: the draft is stale
}

// expect demands that the row under key is exactly value; nil demands that there is none.
func (d *draft) expect(key, value []byte) {
	d.expects = append(d.expects, expectation{key: key, value: value})
}

// expectPrefix demands that the row under key begins with prefix.
func (d *draft) expectPrefix(key, prefix []byte) {
	d.expects = append(d.expects, expectation{key: key, value: prefix, prefix: true})
}

func (d *draft) set(key, value []byte) {
	if value == nil {
		value = []byte{}
	}
	d.writes = append(d.writes, store.Pair{Key: key, Value: value})
}

func (d *draft) delete(key []byte) { d.writes = append(d.writes, store.Pair{Key: key}) }

// after has the draft do something more inside the Update, after what it does late already.
func (d *draft) after(more func(store.Writer) error) {
	before := d.late
	d.late = func(w store.Writer) error {
		if before != nil {
			if err := before(w); err != nil {
				return err
			}
		}
		return more(w)
	}
}

// errStale is what a late part returns, before it has written anything, when it must be prepared anew.
var errStale = errors.New("stale")

// holds reports whether all that the draft expects still stands.
func (d *draft) holds(r store.Reader) (bool, error) {
	if len(d.expects) == 0 {
		return true, nil
	}
	keys := make([][]byte, len(d.expects))
	for i, e := range d.expects {
		keys[i] = e.key
	}
	rows, err := r.Get(keys...)
	if err != nil {
		return false, err
	}
	holds := true
	for i, e := range d.expects {
		if e.met(rows[i]) {
			continue
		}
		if e.otherwise != nil {
			return false, e.otherwise
		}
		holds = false
	}
	return holds, nil
}

func (e expectation) met(row []byte) bool {
	switch {
	case e.value == nil || row == nil:
		return e.value == nil && row == nil
	case e.prefix:
		return bytes.HasPrefix(row, e.value)
	default:
		return bytes.Equal(row, e.value)
	}
}

func (d *draft) write(w store.Writer) error {
	if d.late != nil {
		if err := d.late(w); err != nil {
			return err
		}
	}
	for _, p := range d.writes {
		var err error
		if p.Value == nil {
			err = w.Delete(p.Key)
		} else {
			err = w.Set(p.Key, p.Value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// size is what the draft writes, roughly: Set and Delete calls, and bytes. What is written late is bounded by the schema.
func (d *draft) size() (writes, bytes int) {
	for _, p := range d.writes {
		bytes += len(p.Key) + len(p.Value)
	}
	return len(d.writes) + 1, bytes + len(d.leaves)*translog.LeafSize
}

// fits refuses a draft that no Update could hold.
func (d *draft) fits() error {
	if writes, bytes := d.size(); writes > store.MaxWrites-10 || bytes > store.MaxUpdate-64<<10 { // room for the entry
		return fault.New(fault.TooLarge, "this is too much for one person at once")
	}
	return nil
}

// commitAll commits drafts in as few Updates as the store's limits allow. What ground expects is expected of every Update:
// one in which it fails writes nothing and ends with errRules.
func commitAll(ctx context.Context, s store.Store, ground *draft, drafts []*draft) ([]bool, error) {
	var written []bool
	for len(drafts) > 0 {
		n, writes, bytes := 0, 0, 0
		for _, d := range drafts {
			w, b := d.size()
			if n > 0 && (writes+w > store.MaxWrites/2 || bytes+b > store.MaxUpdate/2) {
				break
			}
			n, writes, bytes = n+1, writes+w, bytes+b
		}
		some, err := commitOn(ctx, s, ground, drafts[:n]...)
		if err != nil {
			return nil, err
		}
		written, drafts = append(written, some...), drafts[n:]
	}
	return written, nil
}

// commit writes every draft that still holds, in order, in one Update, and reports for each whether it was written. A
// later draft sees what an earlier one wrote. After an error it is unknown what was written.
func commit(ctx context.Context, s store.Store, drafts ...*draft) ([]bool, error) {
	return commitOn(ctx, s, &draft{}, drafts...)
}

func commitOn(ctx context.Context, s store.Store, ground *draft, drafts ...*draft) ([]bool, error) {
	written := make([]bool, len(drafts))
	done := make([]*draft, 0, len(drafts))
	err := s.Update(ctx, func(w store.Writer) error {
		done = done[:0]
		w, err := readAhead(w, append([]*draft{ground}, drafts...))
		if err != nil {
			return err
		}
		if stands, err := ground.holds(w); err != nil || !stands {
			return errors.Join(err, errRules)
		}
		for i, d := range drafts {
			ok, err := d.holds(w)
			if err != nil {
				return err
			}
			written[i] = ok
			if !ok {
				continue
			}
			err = d.write(w)
			if written[i] = !errors.Is(err, errStale); err != nil && written[i] {
				return err
			}
			if written[i] {
				done = append(done, d)
			}
		}
		return stage(w, done...)
	})
	if err != nil {
		return nil, err
	}
	return written, nil
}

// ahead is a Writer that has read some rows already, all at once: to ask for them again, as long as they are not written, takes
// no more round trips.
type ahead struct {
	store.Writer
	rows map[string][]byte
}

// readAhead reads whatever drafts expect something of.
func readAhead(w store.Writer, drafts []*draft) (*ahead, error) {
	a := &ahead{w, map[string][]byte{}}
	var keys [][]byte
	for _, d := range drafts {
		for _, e := range d.expects {
			if _, ok := a.rows[string(e.key)]; !ok {
				a.rows[string(e.key)] = nil
				keys = append(keys, e.key)
			}
		}
	}
	if len(keys) == 0 {
		return a, nil
	}
	rows, err := w.Get(keys...)
	if err != nil {
		return nil, err
	}
	for i, key := range keys {
		a.rows[string(key)] = rows[i]
	}
	return a, nil
}

func (a *ahead) Get(keys ...[]byte) ([][]byte, error) {
	values := make([][]byte, len(keys))
	for i, key := range keys {
		value, ok := a.rows[string(key)]
		if !ok {
			return a.Writer.Get(keys...)
		}
		values[i] = value
	}
	return values, nil
}

func (a *ahead) Set(key, value []byte) error {
	delete(a.rows, string(key))
	return a.Writer.Set(key, value)
}

func (a *ahead) Delete(key []byte) error {
	delete(a.rows, string(key))
	return a.Writer.Delete(key)
}

// stage leaves the entries that drafts wrote for the transparency log to take up: one row for the whole Update.
func stage(w store.Writer, drafts ...*draft) error {
	var key, leaves []byte
	for _, d := range drafts {
		for _, l := range d.leaves {
			if key == nil {
				key = bytes.Clone(l.key)
			}
			leaves = l.Append(leaves)
		}
	}
	if key == nil {
		return nil
	}
	return w.Set(key, leaves)
}
