package vault

import (
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/id"
)

// SubjectID names a person across the vault. Systems never see it; they see a PairwiseID.
type SubjectID [16]byte

// PairwiseID is what one system calls a person. Both are written sub_….
type PairwiseID [16]byte

// DocumentID names a document.
type DocumentID [16]byte

// ErasureID names an erasure.
type ErasureID [16]byte

// CredentialID names a service token.
type CredentialID [16]byte

// The prefixes of ids as text.
const (
	subjectPrefix    = "sub_"
	documentPrefix   = "doc_"
	erasurePrefix    = "era_"
	credentialPrefix = "cred_"
)

func (s SubjectID) String() string    { return id.Encode(subjectPrefix, s) }
func (p PairwiseID) String() string   { return id.Encode(subjectPrefix, p) }
func (d DocumentID) String() string   { return id.Encode(documentPrefix, d) }
func (e ErasureID) String() string    { return id.Encode(erasurePrefix, e) }
func (c CredentialID) String() string { return id.Encode(credentialPrefix, c) }

// parseID reads an id that a caller named. A malformed one is nobody's: not_found.
func parseID(prefix, text string) ([16]byte, error) {
	b, err := id.Decode(prefix, text)
	if err != nil {
		return b, fault.New(fault.NotFound, "there is nothing under this id")
	}
	return b, nil
}
