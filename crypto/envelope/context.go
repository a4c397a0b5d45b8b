package envelope

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrContext reports a context that cannot be encoded: one without a kind, or with a part of more than 65,535 bytes.
var ErrContext = errors.New("envelope: unusable context")

// format is the first part of every encoded context; it keeps keys derived for this format apart from all others.
const format = "sandyq/sealed/1"

// Context says what is sealed and where it belongs. A sealed value opens only under the context it was sealed in, so it
// cannot be moved to another person, field or version. Its parts are not secret, and are not stored with the value.
type Context struct {
	Kind    string // what is sealed: "field", "note", "document-key"…; never empty
	Tenant  string // the tenant whose data it is
	Subject string // id of the person, or empty when the value is nobody's
	Name    string // which of the subject's values: field and slot, document and part…
	Version uint64 // version of the record it stands in
}

// encode returns the injective encoding of c: format, kind, tenant, subject and name, each after its length in bytes as a
// big-endian uint16, and then the version as a big-endian uint64.
func (c Context) encode() ([]byte, error) {
	parts := [...]string{format, c.Kind, c.Tenant, c.Subject, c.Name}
	if c.Kind == "" {
		return nil, fmt.Errorf("%w: no kind", ErrContext)
	}
	size := 8
	for _, p := range parts {
		if len(p) > math.MaxUint16 {
			return nil, fmt.Errorf("%w: a part of %d bytes", ErrContext, len(p))
		}
		size += 2 + len(p)
	}
	b := make([]byte, 0, size)
	for _, p := range parts {
		b = binary.BigEndian.AppendUint16(b, uint16(len(p)))
		b = append(b, p...)
	}
	return binary.BigEndian.AppendUint64(b, c.Version), nil
}
