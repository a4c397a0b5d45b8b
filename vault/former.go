package vault

import (
	"errors"
	"slices"

	"github.com/sandyq/sandyq/crypto/document"
	"github.com/sandyq/sandyq/crypto/envelope"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/store"
)

// former is what a person's key was at providers that were left: see subjectRow.Former.
type former struct {
	context envelope.Context
	sealed  []byte // under what the key is now; nil when it was never anywhere else
}

// formerOf finds what a person's key was.
func (l layout) formerOf(r store.Reader, id SubjectID, key kms.ID) (was former, err error) {
	rows, err := r.Get(l.subject(id))
	if err != nil || rows[0] == nil {
		return was, err
	}
	who, err := decodeSubject(rows[0])
	if err != nil {
		return was, err
	}
	for slice, k := range who.Keys {
		if k == key {
			was = former{l.context(sealedFormer, id, slice, 1), slices.Clone(who.Former[slice])}
		}
	}
	return was, nil
}

// openFile opens a document's file under the person's key, or else under one that it was when the file was written.
func openFile(b blob.Reader, key secret.Bytes, was former, c envelope.Context, size int64) (*document.Reader, error) {
	file, err := document.Open(b, b.Size(), key, c, size)
	if !errors.Is(err, document.ErrOpen) || was.sealed == nil {
		return file, err
	}
	keys, err := envelope.Open(key, was.context, was.sealed)
	if err != nil {
		return nil, err
	}
	defer clear(keys)
	for one := range slices.Chunk(keys, kms.KeySize) {
		if file, err = document.Open(b, b.Size(), secret.New(one), c, size); !errors.Is(err, document.ErrOpen) {
			break
		}
	}
	return file, err
}
