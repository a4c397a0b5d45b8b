package certificate

import (
	"bytes"
	"fmt"
)

// MaxDocument is the largest document in bytes.
const MaxDocument = 1 << 20

// documentFormat is the member "format" of a document.
const documentFormat = "sandyq erasure certificate document v1"

// Document is a certificate with all that is needed to check it. A *Document that Parse returned is well-formed and proves
// nothing yet: that is for Verify to find out.
type Document struct {
	Format       string   `json:"format"`
	Certificate  string   `json:"certificate"`       // a signed note
	KeyDestroyed Evidence `json:"key_destroyed"`     // the entry erasure.key_destroyed
	Erased       Evidence `json:"erased"`            // the entry erasure.erased
	Successions  []string `json:"successions"`       // the log's, in order: signed notes
	Removal      string   `json:"removal,omitempty"` // a signed note, once nothing is left in files
}

// Evidence is an entry of the audit log and the proof that it is in it.
type Evidence struct {
	Entry string `json:"entry"` // the very bytes, which are JSON
	Proof string `json:"proof"` // c2sp.org/tlog-proof, with a checkpoint of the log
}

// NewDocument puts a document together and sees that it is one that Parse reads.
func NewDocument(certificate []byte, keyDestroyed, erased Evidence, successions [][]byte) (*Document, error) {
	d := &Document{
		Format: documentFormat, Certificate: string(certificate), KeyDestroyed: keyDestroyed, Erased: erased,
		Successions: make([]string, len(successions)),
	}
	for i, s := range successions {
		d.Successions[i] = string(s)
	}
	return d, d.valid()
}

// Encode writes the document.
func (d *Document) Encode() ([]byte, error) {
	if err := d.valid(); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	b, err := canonical(d)
	if err != nil {
		return nil, err
	}
	if len(b) >= MaxDocument {
		return nil, fmt.Errorf("certificate: %w", malformed("the document is too large"))
	}
	return append(b, '\n'), nil
}

// Parse reads what Encode writes. It fails with ErrFormat.
func Parse(b []byte) (*Document, error) {
	if len(b) > MaxDocument {
		return nil, malformed("the document is too large")
	}
	text, ok := bytes.CutSuffix(b, []byte("\n"))
	if !ok {
		return nil, malformed("the document is cut short: it ends in a newline")
	}
	d, err := decode[Document](text)
	if err != nil {
		return nil, err
	}
	return d, d.valid()
}

func (d *Document) valid() error {
	var is check
	is.that(d.Format == documentFormat, "this is no \""+documentFormat+"\"")
	is.that(d.Certificate != "" && d.Successions != nil && len(d.Successions) <= maxList, "parts of the document are missing")
	for _, e := range []Evidence{d.KeyDestroyed, d.Erased} {
		is.that(e.Entry != "" && e.Proof != "", "parts of the document are missing")
	}
	return is.err()
}
