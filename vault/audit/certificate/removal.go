package certificate

import (
	"context"
	"fmt"
	"time"

	"github.com/sandyq/sandyq/vault/audit/checkpoint"
)

// Removal says that what deleted rows and documents left in files was measured, and that nothing is left.
type Removal struct {
	Erasure     string    `json:"erasure"`
	Certificate string    `json:"certificate"` // its hash: see Verified.Hash
	Origin      string    `json:"origin"`
	MeasuredAt  time.Time `json:"measured_at"`
	Measured    []Measure `json:"measured"` // ascending by what was measured
}

// Measure is one thing that was measured. Left is 0: a removal is signed when everything is.
type Measure struct {
	What string `json:"what"` // a code: store, documents, …
	Left int    `json:"left"` // pieces of ciphertext of the person
}

func (r *Removal) valid() error {
	var is check
	is.that(isID("era_", r.Erasure), "erasure is an id")
	is.that(isHex(r.Certificate, 32), "certificate is a hash")
	is.that(isText(r.Origin), "origin is a name")
	is.that(isTime(r.MeasuredAt, false), "times are in UTC and to the millisecond")
	is.that(len(r.Measured) > 0 && len(r.Measured) <= maxList, "something was measured")
	var what []string
	for _, m := range r.Measured {
		what = append(what, m.What)
		is.that(codePattern.MatchString(m.What), "what was measured is a code")
		is.that(m.Left == 0, "nothing is left")
	}
	is.that(ascend(what), "what was measured ascends")
	return is.err()
}

// SignRemoval makes the signed note of a removal. The signer's key bears the origin as its name.
func SignRemoval(ctx context.Context, r *Removal, by checkpoint.Signer) ([]byte, error) {
	if err := r.valid(); err != nil {
		return nil, fmt.Errorf("certificate: removal: %w", err)
	}
	if by.Key().Name != r.Origin {
		return nil, fmt.Errorf("certificate: removal: %w", malformed("the log's own key signs"))
	}
	return sign(ctx, removalHeader, r, by)
}
