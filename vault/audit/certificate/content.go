package certificate

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Content is what a certificate says.
type Content struct {
	Erasure        string     `json:"erasure"`             // era_…
	Tenant         string     `json:"tenant"`              // of the vault
	Operator       string     `json:"operator,omitempty"`  // the name it shows, when it has one
	Origin         string     `json:"origin"`              // of the log, which is the name of the key that signs
	Subject        string     `json:"subject"`             // the person's vault-wide random id, sub_…
	Requester      *Requester `json:"requester,omitempty"` // absent when it was none of the systems but staff
	Ground         Ground     `json:"ground"`
	Reason         string     `json:"reason"` // a code
	Scope          Scope      `json:"scope"`
	RequestedAt    time.Time  `json:"requested_at"`
	ErasingAt      time.Time  `json:"erasing_at"`       // unreadable since
	KeyDestroyedAt time.Time  `json:"key_destroyed_at"` // every key shown to be gone by whoever held it
	ErasedAt       time.Time  `json:"erased_at"`        // rows and documents deleted too
	Destroyed      Destroyed  `json:"destroyed"`
	Kept           []Kept     `json:"kept"`
	Ledger         *Ledger    `json:"ledger,omitempty"` // where the erasure stands in the ledger of erasures
	Residue        Residue    `json:"residue"`
}

// objects is how the entries of the log name the erasure and its scope.
func (c *Content) objects() []string {
	all := []string{c.Erasure}
	for _, slice := range c.Scope.Slices {
		all = append(all, "slices/"+slice)
	}
	return all
}

// Requester is the system that asked for the erasure.
type Requester struct {
	System  string `json:"system"`
	Subject string `json:"subject,omitempty"` // what the system called the person: its own sub_…
}

// Ground is why the person was erased: a code, with the articles of a law or a citation in the operator's words.
type Ground struct {
	Code     string   `json:"code"`               // request, withdrawal, purpose_reached, unlawful, court, other
	Law      string   `json:"law,omitempty"`      // its number: 94-V
	Articles []string `json:"articles,omitempty"` // of that law
	Citation string   `json:"citation,omitempty"` // instead of both
}

// Scope is what of the person was erased: exactly one of these.
type Scope struct {
	Person bool     `json:"person,omitzero"`  // everything
	Slices []string `json:"slices,omitempty"` // these slices, ascending
}

// Destroyed is what went.
type Destroyed struct {
	Slices       []Slice `json:"slices"` // ascending by name
	Tokens       int     `json:"tokens"`
	IndexEntries int     `json:"index_entries"`
}

// Slice is what one of the person's keys sealed.
type Slice struct {
	Slice  string `json:"slice"`
	Key    string `json:"key"` // the random id of the destroyed key, 32 hexadecimal digits
	Values Values `json:"values"`
	Parts  int    `json:"parts,omitzero"` // files, of the documents
}

// Values counts values of fields, and documents, by the category of the fields.
type Values struct {
	Identity int `json:"identity,omitzero"`
	Contact  int `json:"contact,omitzero"`
	Address  int `json:"address,omitzero"`
	Document int `json:"document,omitzero"` // documents too
	Other    int `json:"other,omitzero"`
}

// Add counts the values of another.
func (v *Values) Add(o Values) {
	v.Identity += o.Identity
	v.Contact += o.Contact
	v.Address += o.Address
	v.Document += o.Document
	v.Other += o.Other
}

// Total is the sum over the categories.
func (v Values) Total() int { return v.Identity + v.Contact + v.Address + v.Document + v.Other }

// Kept is what stays of the person, and why.
type Kept struct {
	Citation string    `json:"citation"`
	Count    int       `json:"count,omitzero"`
	Until    time.Time `json:"until,omitzero"`
}

// Ledger is a place in the ledger of erasures, which lies outside of both backup domains.
type Ledger struct {
	Entry uint64 `json:"entry"` // its number, from 1
	Head  string `json:"head"`  // the hash of the chain up to it, 64 hexadecimal digits
}

// Residue bounds what may still lie somewhere.
type Residue struct {
	Keys     KeyResidue    `json:"keys"`
	Index    *IndexResidue `json:"index,omitempty"` // absent when the person was in no index
	Physical string        `json:"physical"`        // PhysicalPending; a Removal tells when it has ended
}

// PhysicalPending says that deleted ciphertext lies in the store's files until they are rewritten.
const PhysicalPending = "pending"

// The providers of keys whose residue differs.
const (
	ProviderVault = "vault" // HashiCorp Vault: its snapshots hold destroyed keys until they are as old as the operator keeps them
	ProviderLocal = "local" // files that are overwritten and unlinked: flash and copy-on-write disks may keep what was overwritten
)

// KeyResidue bounds what remains of the destroyed keys.
type KeyResidue struct {
	Provider     string    `json:"provider"`
	SnapshotDays int       `json:"snapshot_days,omitzero"` // of ProviderVault: how long the operator keeps snapshots
	Until        time.Time `json:"until,omitzero"`         // of ProviderVault: from then on there is no snapshot with the keys
}

// IndexResidue bounds how long index entries in old backups can be matched.
type IndexResidue struct {
	Epoch       uint64    `json:"epoch"`
	DestroyedBy time.Time `json:"destroyed_by,omitzero"` // when the key of the epoch is gone at the latest; zero: no rotation is planned
}

// Digest is the SHA-256 of the member "destroyed" of a certificate in its canonical form, as hexadecimal digits: what the
// entry erasure.key_destroyed commits to.
func (d Destroyed) Digest() (string, error) {
	b, err := canonical(d)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}
