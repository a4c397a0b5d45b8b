package vault

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/sandyq/sandyq/crypto/envelope"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/token"
)

// documentsField is the name that documents go by where fields have names: in purposes, tokens and audit entries.
const documentsField = "documents"

// The kinds of sealed values (envelope.Context.Kind).
const (
	sealedField    = "field"
	sealedRef      = "external-ref"
	sealedNote     = "note"
	sealedDocument = "document-key"
	sealedMeta     = "document-meta"
	sealedEvidence = "consent-evidence"
	sealedProof    = "consent-proof"
	sealedFormer   = "former-keys"
	sealedNamed    = "named-key"
)

// recordRow is one value of one field of one person.
type recordRow struct {
	Key        kms.ID `cbor:"1,keyasint"` // the slice's key
	Version    uint64 `cbor:"2,keyasint"` // the person's revision that wrote it: it never comes again
	Sealed     []byte `cbor:"3,keyasint"`
	Updated    stamp  `cbor:"5,keyasint"`
	Source     string `cbor:"6,keyasint,omitempty"` // how it came: a short code
	ProvidedBy string `cbor:"7,keyasint,omitempty"` // the person who gave it, if another (vault-wide id)
}

// record is a row with the slot it stands in.
type record struct {
	slot uint16
	*recordRow
}

// loadRecords reads a person's records of a field, in the order of slots.
func (s *Service) loadRecords(r store.Reader, id SubjectID, field string) ([]record, error) {
	var records []record
	err := scanAll(r, s.rows.records(id, field), func(p store.Pair) error {
		row, err := decodeRow[recordRow](p.Value)
		if err != nil {
			return err
		}
		records = append(records, record{slotOf(p.Key), row})
		return nil
	})
	return records, err
}

func fieldSlot(field string, slot uint16) string { return field + "/" + strconv.Itoa(int(slot)) }

// context is where something that is sealed under a person's key belongs.
func (l layout) context(kind string, id SubjectID, name string, version uint64) envelope.Context {
	return envelope.Context{Kind: kind, Tenant: l.tenant, Subject: id.String(), Name: name, Version: version}
}

// context is where a field's value belongs.
func (s *Service) context(kind string, id SubjectID, name string, version uint64) envelope.Context {
	return s.rows.context(kind, id, name, version)
}

func (s *Service) sealValue(key secret.Bytes, id SubjectID, field string, slot uint16, version uint64, v schema.Value) ([]byte, error) {
	plain := v.Encode()
	defer clear(plain)
	return envelope.Seal(key, s.context(sealedField, id, fieldSlot(field, slot), version), plain)
}

func (s *Service) openValue(key secret.Bytes, id SubjectID, field string, r record) (schema.Value, error) {
	plain, err := envelope.Open(key, s.context(sealedField, id, fieldSlot(field, r.slot), r.Version), r.Sealed)
	if err != nil {
		return schema.Value{}, fmt.Errorf("open %s of a person: %w", field, err)
	}
	defer clear(plain)
	return schema.Decode(plain)
}

// tokenRow is what a token stands for. Of an erased person only the system remains.
type tokenRow struct {
	System   string     `cbor:"1,keyasint"`
	Subject  SubjectID  `cbor:"2,keyasint,omitempty"`
	Pairwise PairwiseID `cbor:"3,keyasint,omitempty"`
	Field    string     `cbor:"4,keyasint,omitempty"`
	Slot     uint16     `cbor:"5,keyasint,omitempty"`
	Document DocumentID `cbor:"6,keyasint,omitempty"` // when Field is documentsField
	Erased   bool       `cbor:"7,keyasint,omitempty"`
	Revoked  bool       `cbor:"8,keyasint,omitempty"` // retired; the row stays so that the token is never issued again
}

// likeToken is such a row as there could be, for seekRow.
var likeToken = encodeRow(tokenRow{System: "crm", Subject: SubjectID{1}, Pairwise: PairwiseID{1}, Field: "given_name"})

// loadIssued reads the tokens that a system has of the values of a field.
func (s *Service) loadIssued(r store.Reader, id SubjectID, system, field string) (map[uint16]token.Token, error) {
	tokens := map[uint16]token.Token{}
	prefix := append(s.rows.issuedTo(id, system), name(field)...)
	err := scanAll(r, prefix, func(p store.Pair) error {
		tokens[slotOf(p.Key)] = token.Token(p.Value)
		return nil
	})
	return tokens, err
}

// retire has the change take a token from a system. Of the token there remains whose it was.
func (s *Service) retire(c *change, t token.Token, system string, issued []byte) {
	c.set(s.rows.token(t), encodeRow(tokenRow{System: system, Revoked: true}))
	c.delete(issued)
	fields, documents := -1, 0
	if _, of := s.rows.issuedParts(issued); bytes.HasPrefix(of, name(documentsField)) {
		fields, documents = 0, -1
	}
	c.row.issued(system, fields, documents)
	c.decided() // a reading under way must ask again
}

// issue has the change give a system a token for a value.
func (s *Service) issue(c *change, h *holdingRow, system string, f *schema.Field, slot uint16) (token.Token, error) {
	t, err := token.New(f.Token, s.Environment)
	if err != nil {
		return "", err
	}
	c.expect(s.rows.token(t), nil) // short formats may collide; then the change is stale and draws anew
	c.set(s.rows.token(t), encodeRow(tokenRow{
		System: system, Subject: c.id, Pairwise: h.Pairwise, Field: f.Name, Slot: slot,
	}))
	c.set(s.rows.issued(c.id, system, f.Name, slot), []byte(t))
	c.row.issued(system, 1, 0)
	return t, nil
}
