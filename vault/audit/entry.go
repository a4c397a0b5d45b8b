// Package audit holds the entries of the audit log: what was asked, by whom, about whom, and what was decided.
//
// An entry is JSON of at most MaxSize bytes, written in the same transaction as the effect it tells of. It speaks of
// people by their random vault-wide id and of credentials by theirs; it never holds a value or a token. A free-text note
// is sealed under the person's key, so it dies with the person.
package audit

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/id"
)

// MaxSize is the largest entry in bytes.
const MaxSize = 8 << 10

// idPrefix begins the text of every entry's id.
const idPrefix = "aud_"

// ID names an entry: eight bytes of time in microseconds since 1970, big-endian, and eight random ones. Ids ascend with
// the time that was read when the entry was made, which is near the order of the transactions but is not that order.
type ID [16]byte

// NewID draws an id for an entry made at t.
func NewID(t time.Time) ID {
	e := ID(id.New())
	binary.BigEndian.PutUint64(e[:], uint64(max(t.UnixMicro(), 0)))
	return e
}

// FirstID is below every id of entries made at t or later.
func FirstID(t time.Time) ID {
	var e ID
	binary.BigEndian.PutUint64(e[:], uint64(max(t.UnixMicro(), 0)))
	return e
}

// ParseID reads the text that String writes.
func ParseID(s string) (ID, error) {
	b, err := id.Decode(idPrefix, s)
	return ID(b), err
}

// Time is when the entry was made, to the microsecond.
func (e ID) Time() time.Time { return time.UnixMicro(int64(binary.BigEndian.Uint64(e[:]))).UTC() }

// String is the id as text.
func (e ID) String() string { return id.Encode(idPrefix, e) }

// Decision is how an entry says what was decided.
type Decision string

// The decisions.
const (
	Allow Decision = "allow"
	Deny  Decision = "deny"
)

// Entry is one entry: one request about one person, or about nobody.
type Entry struct {
	ID         string     `json:"id"`
	At         time.Time  `json:"at"`
	RequestID  string     `json:"request_id,omitempty"`
	System     string     `json:"system"` // who asked: the calling system, or "sandyq" for the vault's own work
	Credential string     `json:"credential,omitempty"`
	Role       string     `json:"role,omitempty"`
	OnBehalfOf string     `json:"on_behalf_of,omitempty"` // who stands behind the system, as it says
	Verified   bool       `json:"verified,omitzero"`      // a token proved who it is
	Operation  string     `json:"operation"`
	Subject    string     `json:"subject,omitempty"` // the vault-wide id
	Fields     []string   `json:"fields,omitempty"`
	Objects    []string   `json:"objects,omitempty"` // random ids: documents, erasures, credentials
	Items      int        `json:"items,omitzero"`    // how many values or tokens of this person
	Purpose    string     `json:"purpose,omitempty"`
	Basis      string     `json:"basis,omitempty"`   // what the use rests on: consent, law, …; "none" when it is nothing on record
	Consent    string     `json:"consent,omitempty"` // which, and the version of its record
	Recipient  string     `json:"recipient,omitempty"`
	Reason     string     `json:"reason,omitempty"`
	Form       string     `json:"form,omitempty"`
	Kind       string     `json:"kind,omitempty"`        // of a block, an erasure's ground, a correction's evidence, the other system of a handoff
	Digest     string     `json:"digest,omitempty"`      // SHA-256 of what an approver is shown, in hexadecimal digits
	BreakGlass string     `json:"break_glass,omitempty"` // the emergency that the principal had declared
	Decision   Decision   `json:"decision"`
	Policies   []string   `json:"policies,omitempty"`
	Outcome    fault.Code `json:"outcome,omitempty"` // what the caller was told, when refused
	Note       []byte     `json:"note,omitempty"`    // sealed under the person's key
}

// Encode writes the entry.
func (e *Entry) Encode() ([]byte, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("audit: encode an entry: %w", err)
	}
	if len(b) > MaxSize {
		return nil, fmt.Errorf("audit: an entry of %d bytes, over %d", len(b), MaxSize)
	}
	return b, nil
}
