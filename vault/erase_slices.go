package vault

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/token"
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

// doomed is what goes when keys of a person are destroyed.
type doomed struct {
	keys   map[string]kms.ID
	parts  map[string]bool // field and slot, or documentsField and document, as in the keys of issued rows
	counts counts
	issued map[string]issuedRow // system → its tokens
}

func (d *doomed) under(key kms.ID) bool {
	for _, k := range d.keys {
		if k == key {
			return true
		}
	}
	return false
}

// indexed reports whether an index entry goes. A system's own key for the person is sealed under the key of the identity.
func (d *doomed) indexed(part []byte) bool {
	field, _, _ := bytes.Cut(part, []byte{0})
	if strings.ContainsRune(string(field), '/') {
		_, identity := d.keys[schema.IdentitySlice]
		return identity
	}
	return d.parts[string(part)]
}

// doom finds what goes with the keys, and counts it, also by the systems that have tokens of it. It costs a scan of the person.
func (s *Service) doom(r store.Reader, who SubjectID, keys map[string]kms.ID) (*doomed, error) {
	d := &doomed{keys: keys, parts: map[string]bool{}, issued: map[string]issuedRow{}}
	if len(keys) == 0 {
		return d, nil
	}
	records := s.rows.records(who, "")
	err := scanAll(r, records, func(p store.Pair) error {
		row, err := decodeRow[recordRow](p.Value)
		if err == nil && d.under(row.Key) {
			d.parts[string(p.Key[len(records):])] = true
			d.counts.Fields++
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	documents := s.rows.of(kindDocument, who)
	err = scanAll(r, documents, func(p store.Pair) error {
		row, err := decodeRow[documentRow](p.Value)
		if err == nil && slices.ContainsFunc(row.Parts, func(part partRow) bool { return d.under(part.Key) }) {
			d.parts[string(issuedDocumentPart(DocumentID(p.Key[len(documents):])))] = true
			d.counts.Documents++
			d.counts.Parts += len(row.Parts)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	err = scanAll(r, s.rows.of(kindIssued, who), func(p store.Pair) error {
		of, part := s.rows.issuedParts(p.Key)
		if !d.parts[string(part)] {
			return nil
		}
		d.counts.Tokens++
		is := d.issued[of]
		if bytes.HasPrefix(part, name(documentsField)) {
			is.Documents++
		} else {
			is.Fields++
		}
		d.issued[of] = is
		return nil
	})
	if err != nil {
		return nil, err
	}
	entries := s.rows.of(kindIndexed, who)
	return d, scanAll(r, entries, func(p store.Pair) error {
		if d.indexed(p.Key[len(entries):]) {
			d.counts.Index++
		}
		return nil
	})
}

// shown is what the caller may know of it.
func (d *doomed) shown(caller access.Principal) api.Counts {
	if caller.VaultWide() {
		return willDestroy(d.counts, len(d.keys))
	}
	return d.issued[caller.System].counts()
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

// removeSlices removes what the destroyed keys sealed, and what points at it: tokens first, for the records tell which.
func (s *Service) removeSlices(ctx context.Context, row *erasureRow) error {
	var d *doomed
	err := s.Store.View(ctx, func(r store.Reader) (err error) {
		d, err = s.doom(r, row.Subject, row.Keys)
		return err
	})
	if err != nil {
		return err
	}
	for _, step := range []struct {
		kind byte
		drop func(*draft, store.Pair) error
	}{
		{kindIssued, func(c *draft, p store.Pair) error {
			system, part := s.rows.issuedParts(p.Key)
			if d.parts[string(part)] {
				c.set(s.rows.token(token.Token(p.Value)), encodeRow(tokenRow{System: system, Erased: true}))
				c.delete(p.Key)
			}
			return nil
		}},
		{kindDocument, func(c *draft, p store.Pair) error {
			document := DocumentID(p.Key[len(s.rows.of(kindDocument, row.Subject)):])
			if !d.parts[string(issuedDocumentPart(document))] {
				return nil
			}
			c.delete(p.Key)
			return s.removeBlobs(ctx, c, row.Subject, p.Value)
		}},
		{kindRecord, func(c *draft, p store.Pair) error {
			if d.parts[string(p.Key[len(s.rows.records(row.Subject, "")):])] {
				c.delete(p.Key)
			}
			return nil
		}},
		{kindConsent, func(c *draft, p store.Pair) error { return dropEvidence(c, p, d) }},
		{kindHolding, func(c *draft, p store.Pair) error { return dropRef(c, p, d) }},
	} {
		if err := s.eachRow(ctx, s.rows.of(step.kind, row.Subject), step.drop); err != nil {
			return err
		}
	}
	return nil
}

// eachRow has drop draft what becomes of each row under a prefix, in pages.
func (s *Service) eachRow(ctx context.Context, prefix []byte, drop func(*draft, store.Pair) error) error {
	var after []byte
	for {
		pairs, err := s.pageAfter(ctx, prefix, after)
		if err != nil || len(pairs) == 0 {
			return err
		}
		var d draft
		for _, p := range pairs {
			if err := drop(&d, p); err != nil {
				return err
			}
		}
		after = pairs[len(pairs)-1].Key
		if len(d.writes) == 0 {
			continue
		}
		written, err := commit(ctx, s.Store, &d)
		if err != nil {
			return err
		}
		if !written[0] {
			return errContended // the sweeper comes again
		}
	}
}

// dropEvidence takes from a consent, which stays, the evidence that a destroyed key sealed.
func dropEvidence(c *draft, p store.Pair, d *doomed) error {
	row, err := decodeRow[consentRow](p.Value)
	if err != nil || row.Evidence == nil || !d.under(row.Key) {
		return err
	}
	c.expect(p.Key, p.Value)
	row.Evidence = nil
	c.set(p.Key, encodeRow(row))
	return nil
}

// dropRef takes from a holding the system's own key for the person, which the key of the identity sealed.
func dropRef(c *draft, p store.Pair, d *doomed) error {
	if _, identity := d.keys[schema.IdentitySlice]; !identity {
		return nil
	}
	row, err := decodeRow[holdingRow](p.Value)
	if err != nil || row.Ref == nil {
		return err
	}
	c.expect(p.Key, p.Value)
	row.Ref = nil
	c.set(p.Key, encodeRow(row))
	return nil
}

// settleSlices drafts that the slices have stopped fading, of a person who is still there.
func (s *Service) settleSlices(ctx context.Context, row *erasureRow) (*draft, error) {
	var who *person
	err := s.Store.View(ctx, func(r store.Reader) (err error) {
		who, err = s.load(r, row.Subject, "")
		return err
	})
	if err != nil {
		return nil, err
	}
	if who == nil || who.row.state != stateActive {
		return &draft{}, nil // the erasure of the person overtook it
	}
	c := s.lateChange(who, func(_ store.Writer, inside *change) error {
		inside.row.Fading = maps.Clone(inside.row.Fading)
		for slice, key := range row.Keys {
			if inside.row.Fading[slice] == key {
				delete(inside.row.Fading, slice)
				delete(inside.row.Sealed, slice)
			}
		}
		inside.decided()
		return nil
	})
	return &c.draft, nil
}

// scope is the erasure's scope as callers know it; nil for the whole person.
func (row *erasureRow) scope() *api.Scope {
	if row.Slices == nil {
		return nil
	}
	return &api.Scope{Slices: row.Slices}
}
