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
	kindMeta        = 'm' // name → what the store knows of itself
	kindSubject     = 's' // subject → subjectRow
	kindRecord      = 'r' // subject, field, slot → recordRow
	kindHolding     = 'h' // subject, system → holdingRow
	kindPairwise    = 'p' // pairwise id → pairwiseRow
	kindToken       = 't' // token → tokenRow
	kindIssued      = 'k' // subject, system, field, slot → the token; documents under field documentsField and their id
	kindUnique      = 'u' // field, entry → subject, slot: a value that one person has
	kindLookup      = 'x' // field, entry, subject, slot → nothing: a value that several may have
	kindIndexed     = 'i' // subject, field, slot → entry: what must go with the person
	kindDocument    = 'd' // subject, document → documentRow
	kindErasure     = 'e' // erasure → erasureRow
	kindOpen        = 'o' // erasure → nothing: not yet at its end
	kindCertificate = 'F' // erasure → its certificate, a document as vault/audit/certificate has it
	kindUncertified = 'Q' // erasure → nothing: something of its certificate is wanting
	kindRemoval     = 'G' // erasure → nothing: what it removed is not known to be gone from the engine's files
	kindWaiting     = 'w' // what sort of thing, its id → nothing: it waits for somebody's word
	kindAudit       = 'a' // audit id → entry
	kindAuditOf     = 'b' // subject, audit id → nothing
	kindPool        = 'q' // key id → poolRow
	kindUpload      = 'l' // blob → uploadRow: one that no document names, or not yet
	kindCredential  = 'c' // credential → credentialRow
	kindUsed        = 'v' // credential → stamp: when it was used last
	kindRule        = 'g' // class, name → ruleRow: the one that holds
	kindRuleOf      = 'j' // class, name, version → ruleRow: every one there was
	kindChange      = 'C' // change → changeRow: a change of the rules that others have to approve
	kindAlert       = 'n' // minute, digest of the cause → alertRow: not yet told everybody
	kindHandle      = 'H' // SHA-256 of the handle's id and of whose it is → handleRow: a document that was opened
	kindHandoff     = 'f' // SHA-256 of the handoff's id → handoffRow: not yet redeemed
	kindTransfer    = 'z' // subject, transfer → transferRow: to whom data was disclosed
	kindBudget      = 'L' // window, its start, limit, digest of the system → budgetRow
	kindEmergency   = 'B' // emergency → emergencyRow
	kindInEmergency = 'U' // emergency[, audit id] → nothing: it was used; the entries of what was permitted in it
	kindConsent     = 'K' // subject, consent → consentRow
	kindProof       = 'P' // receipt → proofRow: what outlives the person; nothing leads from it to them
	kindProofDue    = 'D' // day, receipt → nothing: the proof is destroyed on that day
	kindOutdated    = 'O' // receipt → outdatedRow: a withdrawal that the proof lacks
	kindLog         = 'T' // what the transparency log keeps: see vault/audit/translog
	kindFleet       = 'N' // what sort of row, its id → who works on the store: see fleet
	kindOnce        = 'y' // day, MAC of the idempotency key[, item] → onceRow or what an item came to
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

func (l layout) meta(n string) []byte           { return l.key(kindMeta, name(n)) }
func (l layout) subject(s SubjectID) []byte     { return l.key(kindSubject, s[:]) }
func (l layout) pairwise(p PairwiseID) []byte   { return l.key(kindPairwise, p[:]) }
func (l layout) token(t token.Token) []byte     { return l.key(kindToken, name(string(t))) }
func (l layout) erasure(e ErasureID) []byte     { return l.key(kindErasure, e[:]) }
func (l layout) open(e ErasureID) []byte        { return l.key(kindOpen, e[:]) }
func (l layout) removal(e ErasureID) []byte     { return l.key(kindRemoval, e[:]) }
func (l layout) certificate(e ErasureID) []byte { return l.key(kindCertificate, e[:]) }
func (l layout) uncertified(e ErasureID) []byte { return l.key(kindUncertified, e[:]) }
func (l layout) waiting(k waitingKind, thing [16]byte) []byte {
	return l.key(kindWaiting, []byte{byte(k)}, thing[:])
}

func (l layout) emergency(e EmergencyID) []byte { return l.key(kindEmergency, e[:]) }

// emergencyUsed is the row that says so, and the prefix of the rows of each use.
func (l layout) emergencyUsed(e EmergencyID) []byte { return l.key(kindInEmergency, e[:]) }

func (l layout) emergencyUse(e EmergencyID, a audit.ID) []byte {
	return l.key(kindInEmergency, e[:], a[:])
}

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

// ruleVersions is the prefix of every version of a thing.
func (l layout) ruleVersions(c ruleClass, n string) []byte {
	return l.key(kindRuleOf, []byte{byte(c)}, name(n))
}

func (l layout) change(c ChangeID) []byte { return l.key(kindChange, c[:]) }

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

// indexedParts takes apart the key of an indexed row.
func (l layout) indexedParts(key []byte) (s SubjectID, field string, slot uint16) {
	rest := key[2+len(l.tenant):]
	return SubjectID(rest), string(rest[16 : len(rest)-3]), slotOf(key) // before the zero byte and the slot
}

func (l layout) document(s SubjectID, d DocumentID) []byte {
	return l.key(kindDocument, s[:], d[:])
}

func (l layout) consent(s SubjectID, c ConsentID) []byte { return l.key(kindConsent, s[:], c[:]) }
func (l layout) proof(r ReceiptID) []byte                { return l.key(kindProof, r[:]) }
func (l layout) outdated(r ReceiptID) []byte             { return l.key(kindOutdated, r[:]) }

func (l layout) proofDue(day uint32, r ReceiptID) []byte {
	return l.key(kindProofDue, binary.BigEndian.AppendUint32(nil, day), r[:])
}

// of is the prefix of all rows of a kind that belong to a person.
func (l layout) of(kind byte, s SubjectID) []byte { return l.key(kind, s[:]) }
