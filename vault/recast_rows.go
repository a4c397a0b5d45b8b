package vault

import (
	"bytes"
	"slices"
	"strings"

	"github.com/sandyq/sandyq/crypto/envelope"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
)

// sealedRow is a row with what is sealed in it.
type sealedRow struct {
	seals  []seal
	encode func() []byte // the row as it is by now
	person *SubjectID    // whose row it is; only a living person's has seals
}

// seal is one thing that is sealed in a row.
type seal struct {
	key     kms.ID
	context envelope.Context
	sealed  []byte
	set     func([]byte) // puts something else in its place
	keeps   keeping
}

// keeping says what of the key itself is sealed under its successor.
type keeping byte

const (
	keepsNothing keeping = iota
	keepsFormer          // the key, and before it all that came before
	keepsKey             // the key, unless it is sealed itself already
)

// open opens it with the key of one side. At the target what is kept of the old key is sealed, and nothing else is there.
func (s *seal) open(key secret.Bytes, target bool) (plain []byte, err error) {
	if s.sealed != nil {
		plain, err = envelope.Open(key, s.context, s.sealed)
	}
	switch {
	case err != nil:
		return nil, err
	case target && s.sealed == nil:
		return nil, envelope.ErrOpen
	case target, s.keeps == keepsNothing, s.keeps == keepsKey && s.sealed != nil:
		return plain, nil
	}
	defer clear(plain)
	return slices.Concat(key.Expose(), plain), nil
}

// sealedIn reads what is sealed in a row, of either side. The reader shows the state of the source. Index entries are no concern
// of it: their epoch's key stays behind, so the target makes them anew (see index.rebuild).
func (l layout) sealedIn(source store.Reader, p store.Pair) (row sealedRow, err error) {
	switch KindOfRow(p.Key) {
	case kindSubject:
		return l.sealedInSubject(p)
	case kindRecord:
		return l.sealedInRecord(p)
	case kindHolding:
		return l.sealedInHolding(source, p)
	case kindDocument:
		return l.sealedInDocument(p)
	case kindHandle:
		return l.sealedInHandle(p)
	case kindConsent:
		return l.sealedInConsent(p)
	case kindProof:
		return l.sealedInProof(p)
	case kindMeta:
		if bytes.HasPrefix(p.Key, l.key(kindMeta, []byte(onceKeyPrefix))) {
			return l.sealedInName(p)
		}
	}
	return sealedRow{encode: func() []byte { return p.Value }}, nil
}

// sealedUnder are the prefixes of all rows that sealedIn finds something sealed in, people first.
func (l layout) sealedUnder() (prefixes [][]byte) {
	for _, kind := range []byte{kindSubject, kindRecord, kindHolding, kindDocument, kindHandle, kindConsent, kindProof} {
		prefixes = append(prefixes, l.key(kind))
	}
	return append(prefixes, l.key(kindMeta, []byte(onceKeyPrefix)))
}

// sealedInAll is sealedIn of some rows.
func (l layout) sealedInAll(source store.Reader, rows []store.Pair) (read []sealedRow, err error) {
	read = make([]sealedRow, len(rows))
	for i, p := range rows {
		if read[i], err = l.sealedIn(source, p); err != nil {
			return nil, err
		}
	}
	return read, nil
}

// keysOf are the keys that rows are sealed under, each once.
func keysOf(read []sealedRow) (ids []kms.ID) {
	seen := map[kms.ID]bool{}
	for _, one := range read {
		for _, s := range one.seals {
			if !seen[s.key] {
				seen[s.key], ids = true, append(ids, s.key)
			}
		}
	}
	return ids
}

// after is what follows the kind in a key.
func (l layout) after(key []byte) []byte { return key[2+len(l.tenant):] }

func (l layout) sealedInSubject(p store.Pair) (sealedRow, error) {
	who, err := decodeSubject(p.Value)
	if err != nil {
		return sealedRow{}, err
	}
	id := SubjectID(l.after(p.Key))
	one := sealedRow{encode: who.encode, person: &id}
	if who.state != stateActive {
		return one, nil
	}
	if who.Former == nil && len(who.Keys) > 0 {
		who.Former = map[string][]byte{}
	}
	for slice, key := range who.Keys {
		one.seals = append(one.seals, seal{
			key, l.context(sealedFormer, id, slice, 1), who.Former[slice], func(b []byte) { who.Former[slice] = b }, keepsFormer,
		})
	}
	return one, nil
}

func (l layout) sealedInRecord(p store.Pair) (sealedRow, error) {
	row, err := decodeRow[recordRow](p.Value)
	if err != nil {
		return sealedRow{}, err
	}
	id, field, slot := l.indexedParts(p.Key) // a record's key has the same parts
	return sealedRow{
		encode: func() []byte { return encodeRow(row) },
		seals: []seal{{
			row.Key, l.context(sealedField, id, fieldSlot(field, slot), row.Version), row.Sealed, func(b []byte) { row.Sealed = b }, keepsNothing,
		}},
	}, nil
}

// sealedInHolding is sealed under the key of the person's identity, which the holding does not name.
func (l layout) sealedInHolding(source store.Reader, p store.Pair) (sealedRow, error) {
	row, err := decodeRow[holdingRow](p.Value)
	if err != nil || row.Ref == nil {
		return sealedRow{encode: func() []byte { return p.Value }}, err
	}
	rest := l.after(p.Key)
	id := SubjectID(rest)
	system := string(rest[len(id) : len(rest)-1])
	raw, err := source.Get(l.subject(id))
	if err != nil || raw[0] == nil {
		return sealedRow{encode: func() []byte { return p.Value }}, err
	}
	who, err := decodeSubject(raw[0])
	if err != nil {
		return sealedRow{}, err
	}
	key, has := who.everyKey()[schema.IdentitySlice]
	if !has {
		return sealedRow{encode: func() []byte { return p.Value }}, nil
	}
	return sealedRow{
		encode: func() []byte { return encodeRow(row) },
		seals:  []seal{{key, l.context(sealedRef, id, system, 1), row.Ref, func(b []byte) { row.Ref = b }, keepsNothing}},
	}, nil
}

func (l layout) sealedInPart(who SubjectID, d DocumentID, part *partRow) seal {
	return seal{
		part.Key, l.partContext(sealedMeta, who, d, part.Blob), part.Meta, func(b []byte) { part.Meta = b }, keepsNothing,
	}
}

func (l layout) partContext(kind string, who SubjectID, d DocumentID, b blob.ID) envelope.Context {
	return l.context(kind, who, partName(d, b), 1)
}

func (l layout) sealedInDocument(p store.Pair) (sealedRow, error) {
	row, err := decodeRow[documentRow](p.Value)
	if err != nil {
		return sealedRow{}, err
	}
	rest := l.after(p.Key)
	one := sealedRow{encode: func() []byte { return encodeRow(row) }}
	for i := range row.Parts {
		one.seals = append(one.seals, l.sealedInPart(SubjectID(rest), DocumentID(rest[len(SubjectID{}):]), &row.Parts[i]))
	}
	return one, nil
}

func (l layout) sealedInHandle(p store.Pair) (sealedRow, error) {
	row, err := decodeRow[handleRow](p.Value)
	if err != nil {
		return sealedRow{}, err
	}
	return sealedRow{
		encode: func() []byte { return encodeRow(row) },
		seals:  []seal{l.sealedInPart(row.Subject, row.Document, &row.Part)},
	}, nil
}

func (l layout) sealedInConsent(p store.Pair) (sealedRow, error) {
	row, err := decodeRow[consentRow](p.Value)
	if err != nil || row.Evidence == nil {
		return sealedRow{encode: func() []byte { return p.Value }}, err
	}
	rest := l.after(p.Key)
	id, consent := SubjectID(rest), ConsentID(rest[len(SubjectID{}):])
	return sealedRow{
		encode: func() []byte { return encodeRow(row) },
		seals: []seal{{
			row.Key, l.context(sealedEvidence, id, consent.String(), 1), row.Evidence, func(b []byte) { row.Evidence = b }, keepsNothing,
		}},
	}, nil
}

func (l layout) sealedInProof(p store.Pair) (sealedRow, error) {
	row, err := decodeRow[proofRow](p.Value)
	if err != nil {
		return sealedRow{}, err
	}
	receipt := ReceiptID(l.after(p.Key))
	return sealedRow{
		encode: func() []byte { return encodeRow(row) },
		seals:  []seal{{row.Key, l.proofContext(receipt, row.Version), row.Sealed, func(b []byte) { row.Sealed = b }, keepsNothing}},
	}, nil
}

func (l layout) sealedInName(p store.Pair) (sealedRow, error) {
	row, err := decodeRow[namedRow](p.Value)
	if err != nil {
		return sealedRow{}, err
	}
	name := strings.TrimSuffix(string(l.after(p.Key)), "\x00")
	return sealedRow{
		encode: func() []byte { return encodeRow(row) },
		seals:  []seal{{row.Key, l.nameContext(name), row.Sealed, func(b []byte) { row.Sealed = b }, keepsKey}},
	}, nil
}
