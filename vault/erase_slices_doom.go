package vault

import (
	"bytes"
	"slices"
	"strings"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
)

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
