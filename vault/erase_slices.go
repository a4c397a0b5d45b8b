package vault

import (
	"bytes"
	"context"
	"maps"
	"slices"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
)

// An erasure of slices goes through the states of any erasure, and destroys the keys of these slices only. The person stays.
//
// The Update that enters erasing takes the keys of the slices out of the person's row and notes them there as fading. What is
// sealed under a fading key is erased to every reader, and nothing is written to a fading slice, so what is to be removed
// can neither grow nor get new tokens; everything else goes on. When all is removed the slice stops fading: it is empty, and
// the next write to it makes a new key. What goes with a slice is told by the key that it was sealed under, never by the
// schema, which may have moved a field to another slice since.

// checkScope refuses what can't be erased by destroying a key.
func (s *Service) checkScope(scope *api.Scope) error {
	if scope == nil {
		return nil
	}
	for what, named := range map[string][]string{"fields": scope.Fields, "documents": scope.Documents} {
		if named != nil {
			return &fault.Error{
				Code: fault.Unprocessable, Detail: "the scope of an erasure is what has a key of its own",
				Fields: []fault.Field{{Field: "scope." + what, Rule: "has no key of its own: erase its slice"}},
			}
		}
	}
	if len(scope.Slices) == 0 {
		return fault.Bad("scope", "at least 1 slice; leave it out to erase the whole person")
	}
	known := s.Schema.Slices()
	for i, slice := range scope.Slices {
		if !slices.Contains(known, slice) || slices.Contains(scope.Slices[:i], slice) {
			return fault.Bad("scope.slices", "each one of the schema's slices, and once")
		}
	}
	return nil
}

// slicesOf are the slices of a request in their order; none for the whole person.
func slicesOf(scope *api.Scope) []string {
	if scope == nil {
		return nil
	}
	return slices.Sorted(slices.Values(scope.Slices))
}

// covers reports whether the erasure takes a slice: that of the whole person takes all.
func (row *erasureRow) covers(slice string) bool {
	return row.Slices == nil || slices.Contains(row.Slices, slice)
}

// objects is what the log says an erasure is about.
func (row *erasureRow) objects(id ErasureID) []string {
	all := []string{id.String()}
	for _, slice := range row.Slices {
		all = append(all, "slices/"+slice)
	}
	return all
}

func errFading() *fault.Error {
	return fault.New(fault.Unavailable, "this slice of the person is being erased: ask again")
}

func errSliceErased() *fault.Error { return fault.New(fault.Erased, "this is erased") }

// fades reports whether what is sealed under the key is being erased while the person stays.
func (row *subjectRow) fades(key kms.ID) bool {
	for _, k := range row.Fading {
		if k == key {
			return true
		}
	}
	return false
}

// fadesSlice reports whether the slice is being erased.
func (row *subjectRow) fadesSlice(slice string) bool {
	_, fading := row.Fading[slice]
	return fading
}

// everyKey is what an erasure of the person destroys: also what an erasure of slices has begun to.
func (row *subjectRow) everyKey() map[string]kms.ID {
	if len(row.Fading) == 0 {
		return row.Keys
	}
	all := maps.Clone(row.Fading)
	maps.Copy(all, row.Keys)
	return all
}

// keysOf are the person's keys of slices.
func (row *subjectRow) keysOf(names []string) map[string]kms.ID {
	keys := map[string]kms.ID{}
	for _, slice := range names {
		if k, ok := row.Keys[slice]; ok {
			keys[slice] = k
		}
	}
	return keys
}

// fading is why a plan can't be written now: it writes to a slice that is being erased, or looks at what is.
func (p *plan) fading() *fault.Error {
	row := p.person.row
	if len(row.Fading) == 0 {
		return nil
	}
	if slices.ContainsFunc(p.slices(), row.fadesSlice) {
		return errFading()
	}
	for _, h := range p.held {
		if slices.ContainsFunc(h.records, func(rec record) bool { return row.fades(rec.Key) }) {
			return errFading()
		}
	}
	return nil
}

// enterErasingSlices is enterErasing of slices. It counts what goes, which costs a scan of the person.
func (s *Service) enterErasingSlices(w store.Writer, c *change, id ErasureID, row erasureRow) error {
	row.Keys = c.row.keysOf(row.Slices)
	d, err := s.doom(w, c.id, row.Keys)
	if err != nil {
		return err
	}
	row.Destroys, row.Gone = d.counts, c.row.sealedUnder(row.Keys)
	c.row.Fading = maps.Clone(c.row.Fading)
	if c.row.Fading == nil {
		c.row.Fading = map[string]kms.ID{}
	}
	c.row.Former = maps.Clone(c.row.Former)
	for slice, key := range row.Keys {
		delete(c.row.Keys, slice)
		delete(c.row.Former, slice)
		c.row.Fading[slice] = key
	}
	c.row.Counts.Fields -= d.counts.Fields
	c.row.Counts.Documents -= d.counts.Documents
	c.row.Counts.Parts -= d.counts.Parts
	for system, tokens := range d.issued {
		c.row.issued(system, -tokens.Fields, -tokens.Documents)
	}
	c.row.Erasure = ErasureID{} // so that the person may be erased meanwhile
	c.row.Blocks = slices.DeleteFunc(c.row.Blocks, func(b block) bool { return b.Kind == blockErasure })
	c.decided()
	c.set(s.rows.open(id), nil)
	c.set(s.rows.erasure(id), encodeRow(row))
	prefix := s.rows.of(kindIndexed, c.id)
	return scanAll(w, prefix, func(p store.Pair) error {
		part := p.Key[len(prefix):]
		if !d.indexed(part) {
			return nil
		}
		_, field, slot := s.rows.indexedParts(p.Key)
		s.unindex(c, store.Pair{Key: bytes.Clone(p.Key), Value: bytes.Clone(p.Value)}, field, slot)
		return nil
	})
}

// cutSlices ends what is read and sent of slices whose keys are to be destroyed.
func (s *Service) cutSlices(ctx context.Context, who *person, names []string) error {
	return s.tell(context.WithoutCancel(ctx), &noticeRow{
		Subject: who.id, Keys: slices.Collect(maps.Values(who.row.keysOf(names))), Streams: slices.Contains(names, schema.DocumentsSlice),
	})
}

// scope is the erasure's scope as callers know it; nil for the whole person.
func (row *erasureRow) scope() *api.Scope {
	if row.Slices == nil {
		return nil
	}
	return &api.Scope{Slices: row.Slices}
}
