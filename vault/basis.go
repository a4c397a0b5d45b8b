package vault

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/purpose"
)

// ConsentMode says what becomes of a use whose purpose rests on consent when no consent is on record. A consent that was
// withdrawn or has expired refuses in either mode.
type ConsentMode string

// The modes.
const (
	ConsentsObserved ConsentMode = "observe" // it is permitted, counted and marked in the log
	ConsentsEnforced ConsentMode = "enforce" // it is refused
)

// basisNone is what a permitted use rests on that rests on nothing on record.
const basisNone = "none"

// ConsentID names a consent.
type ConsentID [16]byte

const consentPrefix = "cns_"

func (c ConsentID) String() string { return id.Encode(consentPrefix, c) }

// basis is how a person's consent to one purpose stands: the one of all they gave that reaches furthest, or the last that
// ended. It lies in the person's row between the status and the rest, so that a reading learns it with the status, and
// changes with the person's epoch only.
type basis struct {
	purpose   string
	withdrawn bool
	until     stamp // when it ends; zero: it has no term
	consent   ConsentID
	version   uint8 // of the consent's record, for the log
}

const basisSize = 1 + 8 + 16 + 1 + 1 // bytes, and the purpose's name

// encodeBases writes them: how many, in one byte; of each the flags (1: withdrawn), the end in milliseconds since 1970, the
// consent, the version of its record, and the purpose with its length in one byte.
func encodeBases(b []byte, all []basis) []byte {
	b = append(b, uint8(len(all)))
	for _, one := range all {
		var flags uint8
		if one.withdrawn {
			flags = 1
		}
		b = binary.BigEndian.AppendUint64(append(b, flags), uint64(one.until))
		b = append(append(b, one.consent[:]...), one.version, uint8(len(one.purpose)))
		b = append(b, one.purpose...)
	}
	return b
}

// errDamagedBases does not tell what was read.
var errDamagedBases = errors.New("a subject in the store is damaged")

// nextBasis reads one basis and returns what follows it.
func nextBasis(b []byte) (one basis, rest []byte, err error) {
	if len(b) < basisSize || len(b) < basisSize+int(b[basisSize-1]) || b[0] > 1 {
		return one, nil, errDamagedBases
	}
	n := basisSize + int(b[basisSize-1])
	return basis{
		purpose: string(b[basisSize:n]), withdrawn: b[0] == 1, until: stamp(binary.BigEndian.Uint64(b[1:])),
		consent: ConsentID(b[9:25]), version: b[25],
	}, b[n:], nil
}

// decodeBases reads what encodeBases wrote, and returns what follows.
func decodeBases(b []byte) (all []basis, rest []byte, err error) {
	if len(b) == 0 {
		return nil, nil, errDamagedBases
	}
	n, rest := int(b[0]), b[1:]
	for range n {
		var one basis
		if one, rest, err = nextBasis(rest); err != nil {
			return nil, nil, err
		}
		all = append(all, one)
	}
	return all, rest, nil
}

// maxBases is how many purposes a person's consents may stand for.
const maxBases = math.MaxUint8

// footing is what a use of a person's data rests on.
type footing struct {
	basis   string    // for the policies and the log
	consent string    // which, and which version of its record, when it is one
	until   time.Time // when it ends; zero: not by itself
}

// footing tells what a use of a person's data for a purpose rests on, or why it rests on nothing.
func (s *Service) footing(p *purpose.Purpose, bases []basis) (footing, *fault.Error) {
	if !p.Basis.Consent {
		return footing{basis: p.Basis.Name}, nil
	}
	at := slices.IndexFunc(bases, func(b basis) bool { return b.purpose == p.Name })
	if at < 0 {
		if s.Consents == ConsentsEnforced {
			return footing{}, noConsent("no consent to this purpose is on record")
		}
		return footing{basis: basisNone}, nil
	}
	b := bases[at]
	switch {
	case b.withdrawn:
		return footing{}, noConsent("the consent to this purpose was withdrawn")
	case b.until != 0 && !s.Clock().Before(b.until.time()):
		return footing{}, noConsent("the consent to this purpose has expired")
	}
	return footing{p.Basis.Name, fmt.Sprintf("%s@%d", b.consent, b.version), b.until.time()}, nil
}

// stands has a request say what a use of a person's data for its purpose rests on, and returns what forbids the use: the
// person's state, or that it rests on nothing.
func (s *Service) stands(now *rules, r *access.Request, who *subject) *fault.Error {
	r.State, r.Basis, r.Consent = string(who.wire()), "", ""
	if refusal := who.refusal(); refusal != nil {
		return refusal
	}
	p, ok := now.purposes.Get(r.Purpose)
	if !ok {
		return fault.New(fault.Denied, "there is no such purpose")
	}
	f, refusal := s.footing(p, who.bases)
	r.Basis, r.Consent = f.basis, f.consent
	return refusal
}

func noConsent(detail string) *fault.Error {
	return &fault.Error{Code: fault.Denied, Detail: detail, Fields: []fault.Field{{Field: "purpose", Rule: "rests on a consent that does not stand"}}}
}
