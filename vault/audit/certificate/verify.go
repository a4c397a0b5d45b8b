package certificate

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
)

// ErrMismatch reports parts that are each as they were made, and do not belong together.
var ErrMismatch = errors.New("the parts do not belong together")

func mismatch(what string) error { return fmt.Errorf("%w: %s", ErrMismatch, what) }

// The operations of the entries that a certificate rests on, and who the log says did them: the vault by itself.
const (
	operationKeyDestroyed = "erasure.key_destroyed"
	operationErased       = "erasure.erased"
	itself                = "sandyq"
)

// Verified is what a document came to that Verify has held against a key.
type Verified struct {
	Content      Content
	Hash         string          // SHA-256 of the certificate's text, in hexadecimal digits: what names it on paper
	Held         checkpoint.Key  // the one that it was checked with
	Signer       checkpoint.Key  // the one that signed it, which Held is, or led to
	Tree         checkpoint.Tree // of the log, that both entries are in
	Checkpoint   []byte          // of that tree, with whatever cosignatures are under it
	KeyDestroyed int64           // the place of the entry in the log
	Erased       int64
	Removal      *Removal // nil while physical removal is pending
}

// Verify checks a document with any of the keys that its reader holds for true, offline. The error says in plain words what
// is wrong and wraps ErrFormat, ErrMismatch, or checkpoint.ErrUnverified, ErrFormat or ErrForked.
func Verify(d *Document, held ...checkpoint.Key) (*Verified, error) {
	if err := d.valid(); err != nil {
		return nil, err
	}
	if len(held) == 0 {
		return nil, fmt.Errorf("%w: no key to check with", checkpoint.ErrUnverified)
	}
	var last error
	for _, key := range held {
		v, err := verify(d, key)
		if err == nil {
			return v, nil
		}
		if last == nil || !errors.Is(err, checkpoint.ErrUnverified) {
			last = err // what is wrong with the document says more than that one key of several is not its
		}
	}
	return nil, last
}

func verify(d *Document, held checkpoint.Key) (*Verified, error) {
	notes := make([][]byte, len(d.Successions))
	for i, s := range d.Successions {
		notes[i] = []byte(s)
	}
	keys, err := checkpoint.Follow(held, notes...)
	if err != nil {
		return nil, fmt.Errorf("the words by which the log passes on its key: %w", err)
	}
	c, text, signer, err := open[Content]([]byte(d.Certificate), header, keys)
	if err != nil {
		return nil, fmt.Errorf("the certificate's signature or form: %w", err)
	}
	if err := c.valid(); err != nil {
		return nil, fmt.Errorf("the certificate: %w", err)
	}
	if signer.Name != c.Origin {
		return nil, mismatch("the key that signed the certificate is not of the log that it names")
	}
	v := &Verified{Content: *c, Hash: hashOf(text), Held: held, Signer: signer}
	if err := v.checkEntries(d, keys); err != nil {
		return nil, err
	}
	if d.Removal != "" {
		if err := v.checkRemoval([]byte(d.Removal), keys); err != nil {
			return nil, fmt.Errorf("the note on physical removal: %w", err)
		}
	}
	return v, nil
}

// checkEntries holds both entries against their proofs, the proofs against each other, and what the entries say against the
// certificate.
func (v *Verified) checkEntries(d *Document, keys []checkpoint.Key) error {
	digest, err := v.Content.Destroyed.Digest()
	if err != nil {
		return err
	}
	first, err := v.included(operationKeyDestroyed, d.KeyDestroyed, keys)
	if err != nil {
		return err
	}
	if err := v.says(d.KeyDestroyed, operationKeyDestroyed, v.Content.KeyDestroyedAt, digest); err != nil {
		return fmt.Errorf("the entry %s: %w", operationKeyDestroyed, err)
	}
	second, err := v.included(operationErased, d.Erased, keys)
	if err != nil {
		return err
	}
	if err := v.says(d.Erased, operationErased, v.Content.ErasedAt, ""); err != nil {
		return fmt.Errorf("the entry %s: %w", operationErased, err)
	}
	switch {
	case !bytes.Equal(first.Checkpoint, second.Checkpoint):
		return mismatch("the entries are proved against two checkpoints")
	case first.Index >= second.Index:
		return mismatch("the log has the entries in the wrong order")
	}
	v.KeyDestroyed, v.Erased = first.Index, second.Index
	return nil
}

// included verifies that an entry is in the log that the certificate names.
func (v *Verified) included(operation string, e Evidence, keys []checkpoint.Key) (checkpoint.InclusionProof, error) {
	proof, err := checkpoint.ParseInclusionProof([]byte(e.Proof))
	if err != nil {
		return proof, fmt.Errorf("the proof of the entry %s: %w", operation, err)
	}
	if len(proof.Extra) > 0 {
		return proof, fmt.Errorf("the proof of the entry %s: %w", operation, malformed("it has extra data, which nobody signed"))
	}
	tree, err := proof.Verify([]byte(e.Entry), keys...)
	if err != nil {
		return proof, fmt.Errorf("the proof of the entry %s: %w", operation, err)
	}
	if tree.Origin != v.Content.Origin {
		return proof, mismatch("the entries are in another log than the certificate names")
	}
	v.Tree, v.Checkpoint = tree, proof.Checkpoint
	return proof, nil
}

// says reports whether an entry tells of the erasure what the certificate says of it.
func (v *Verified) says(evidence Evidence, operation string, at time.Time, digest string) error {
	var e audit.Entry
	if err := json.Unmarshal([]byte(evidence.Entry), &e, json.RejectUnknownMembers(true)); err != nil {
		return malformed("it is no entry of an audit log")
	}
	c := &v.Content
	switch id, err := audit.ParseID(e.ID); {
	case err != nil || !id.Time().Equal(e.At):
		return malformed("its id is not of its time")
	case e.Operation != operation || e.System != itself || e.Decision != audit.Allow || e.Outcome != "":
		return mismatch("it tells of something else")
	case !slices.Equal(e.Objects, c.objects()):
		return mismatch("it tells of another erasure, or of another scope")
	case e.Subject != c.Subject:
		return mismatch("it tells of another person")
	case e.Kind != c.Ground.Code || e.Reason != c.Reason:
		return mismatch("it gives another ground or reason")
	case !e.At.Equal(at):
		return mismatch("it gives another time")
	case e.Digest != digest:
		return mismatch("it commits to other keys or counts than the certificate lists")
	}
	return nil
}

func (v *Verified) checkRemoval(note []byte, keys []checkpoint.Key) error {
	r, _, signer, err := open[Removal](note, removalHeader, keys)
	if err != nil {
		return err
	}
	if err := r.valid(); err != nil {
		return err
	}
	switch {
	case signer.Name != r.Origin:
		return mismatch("the key that signed it is not of the log that it names")
	case r.Erasure != v.Content.Erasure || r.Certificate != v.Hash:
		return mismatch("it tells of another erasure")
	case r.MeasuredAt.Before(v.Content.ErasedAt):
		return mismatch("it was measured before the erasure ended")
	}
	v.Removal = r
	return nil
}
