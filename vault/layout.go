package vault

import (
	"bytes"
	"encoding/binary"

	"github.com/sandyq/sandyq/crypto/blind"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/token"
)

// The kinds of rows. A key is the tenant (its length in one byte, its name), the kind, and what the kind says. Ids are 16
// raw bytes; names end in a zero byte, which no name holds; slots are two bytes, big-endian. No key holds personal data.
const (
	kindMeta       = 'm' // name → what the store knows of itself
	kindSubject    = 's' // subject → subjectRow
	kindRecord     = 'r' // subject, field, slot → recordRow
	kindHolding    = 'h' // subject, system → holdingRow
	kindPairwise   = 'p' // pairwise id → pairwiseRow
	kindToken      = 't' // token → tokenRow
	kindIssued     = 'k' // subject, system, field, slot → the token; documents under field documentsField and their id
	kindUnique     = 'u' // field, entry → subject, slot: a value that one person has
	kindLookup     = 'x' // field, entry, subject, slot → nothing: a value that several may have
	kindIndexed    = 'i' // subject, field, slot → entry: what must go with the person
	kindDocument   = 'd' // subject, document → documentRow
	kindErasure    = 'e' // erasure → erasureRow
	kindOpen       = 'o' // erasure → nothing: not yet at its end
	kindAudit      = 'a' // audit id → entry
	kindAuditOf    = 'b' // subject, audit id → nothing
	kindPool       = 'q' // key id → poolRow
	kindUpload     = 'l' // blob → uploadRow
	kindCredential = 'c' // credential → credentialRow
	kindUsed       = 'v' // credential → stamp: when it was used last
	kindRule       = 'g' // class, name → ruleRow: the one that holds
	kindRuleOf     = 'j' // class, name, version → ruleRow: every one there was
	kindAlert      = 'n' // minute, digest of the cause → alertRow: not yet told everybody
	kindBudget     = 'w' // window, its start, limit, digest of the system → budgetRow
	kindOnce       = 'y' // day, MAC of the idempotency key[, item] → onceRow or what an item came to
)

// layout makes the keys of one tenant.
type layout struct{ tenant string }

func (l layout) key(kind byte, parts ...[]byte) []byte {
	n := 2 + len(l.tenant)
	for _, p := range parts {
		n += len(p)
	}
	k := make([]byte, 0, n)
	k = append(k, byte(len(l.tenant)))
	k = append(k, l.tenant...)
	k = append(k, kind)
	for _, p := range parts {
		k = append(k, p...)
	}
	return k
}

func name(s string) []byte { return append([]byte(s), 0) }

func slotBytes(slot uint16) []byte { return binary.BigEndian.AppendUint16(nil, slot) }

// slotOf reads the slot that a key ends in.
func slotOf(key []byte) uint16 { return binary.BigEndian.Uint16(key[len(key)-2:]) }

func (l layout) meta(n string) []byte             { return l.key(kindMeta, name(n)) }
func (l layout) subject(s SubjectID) []byte       { return l.key(kindSubject, s[:]) }
func (l layout) pairwise(p PairwiseID) []byte     { return l.key(kindPairwise, p[:]) }
func (l layout) token(t token.Token) []byte       { return l.key(kindToken, name(string(t))) }
func (l layout) erasure(e ErasureID) []byte       { return l.key(kindErasure, e[:]) }
func (l layout) open(e ErasureID) []byte          { return l.key(kindOpen, e[:]) }
func (l layout) audit(a audit.ID) []byte          { return l.key(kindAudit, a[:]) }
func (l layout) pool(k kms.ID) []byte             { return l.key(kindPool, k[:]) }
func (l layout) upload(b blob.ID) []byte          { return l.key(kindUpload, b[:]) }
func (l layout) credential(c CredentialID) []byte { return l.key(kindCredential, c[:]) }

func (l layout) rule(c ruleClass, n string) []byte {
	return l.key(kindRule, []byte{byte(c)}, name(n))
}

func (l layout) ruleVersion(c ruleClass, n string, version uint32) []byte {
	return l.key(kindRuleOf, []byte{byte(c)}, name(n), binary.BigEndian.AppendUint32(nil, version))
}

func (l layout) auditOf(s SubjectID, a audit.ID) []byte { return l.key(kindAuditOf, s[:], a[:]) }

func (l layout) holding(s SubjectID, system string) []byte {
	return l.key(kindHolding, s[:], name(system))
}

func (l layout) record(s SubjectID, field string, slot uint16) []byte {
	return l.key(kindRecord, s[:], name(field), slotBytes(slot))
}

// records is the prefix of a person's records of a field, or of all fields when field is empty.
func (l layout) records(s SubjectID, field string) []byte {
	if field == "" {
		return l.key(kindRecord, s[:])
	}
	return l.key(kindRecord, s[:], name(field))
}

func (l layout) issued(s SubjectID, system, field string, slot uint16) []byte {
	return l.key(kindIssued, s[:], name(system), name(field), slotBytes(slot))
}

func (l layout) issuedDocument(s SubjectID, system string, d DocumentID) []byte {
	return l.key(kindIssued, s[:], name(system), name(documentsField), d[:])
}

// issuedPart is what follows the system in the key of an issued row of a field.
func issuedPart(field string, slot uint16) []byte { return append(name(field), slotBytes(slot)...) }

func issuedDocumentPart(d DocumentID) []byte { return append(name(documentsField), d[:]...) }

// issuedTo is the prefix of the tokens that a system has of a person.
func (l layout) issuedTo(s SubjectID, system string) []byte {
	return l.key(kindIssued, s[:], name(system))
}

// issuedParts takes apart the key of an issued row: the system, and field and slot (or document) as in a record's key.
func (l layout) issuedParts(key []byte) (system string, of []byte) {
	rest := key[2+len(l.tenant)+len(SubjectID{}):]
	sys, of, _ := bytes.Cut(rest, []byte{0})
	return string(sys), of
}

func (l layout) unique(field string, e blind.Entry) []byte {
	return l.key(kindUnique, name(field), e[:])
}

// lookups is the prefix of everybody who has a value.
func (l layout) lookups(field string, e blind.Entry) []byte {
	return l.key(kindLookup, name(field), e[:])
}

func (l layout) lookup(field string, e blind.Entry, s SubjectID, slot uint16) []byte {
	return l.key(kindLookup, name(field), e[:], s[:], slotBytes(slot))
}

func (l layout) indexed(s SubjectID, field string, slot uint16) []byte {
	return l.key(kindIndexed, s[:], name(field), slotBytes(slot))
}

func (l layout) document(s SubjectID, d DocumentID) []byte {
	return l.key(kindDocument, s[:], d[:])
}

// of is the prefix of all rows of a kind that belong to a person.
func (l layout) of(kind byte, s SubjectID) []byte { return l.key(kind, s[:]) }
