package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/store"
)

// Census is what a store holds, of all its tenants, as far as it can be told without keys.
type Census struct {
	Rows      int64 `json:"rows"`
	Tenants   int64 `json:"tenants"`
	People    int64 `json:"people"` // erased ones, too
	Records   int64 `json:"records"`
	Documents int64 `json:"documents"`
	Blobs     int64 `json:"blobs"`   // that documents name
	Missing   int64 `json:"missing"` // of these, not there; also those that an erasure removed while a backup was taken
	Tokens    int64 `json:"tokens"`
	Entries   int64 `json:"entries"` // of the audit log

	Faults int64    `json:"faults"`
	First  []string `json:"first_faults,omitempty"` // what is wrong, some of it, by kind of row and id
}

// shownFaults is how many faults a census tells of.
const shownFaults = 20

// decodes are how rows are read, by kind. Kinds that are not here say all by their key.
var decodes = map[byte]func([]byte) error{
	kindSubject:    func(b []byte) error { _, err := decodeSubject(b); return err },
	kindRecord:     decodesTo[recordRow],
	kindHolding:    decodesTo[holdingRow],
	kindPairwise:   decodesTo[pairwiseRow],
	kindToken:      decodesTo[tokenRow],
	kindDocument:   decodesTo[documentRow],
	kindErasure:    decodesTo[erasureRow],
	kindCredential: decodesTo[credentialRow],
	kindRule:       decodesTo[ruleRow],
	kindRuleOf:     decodesTo[ruleRow],
	kindChange:     decodesTo[changeRow],
	kindTransfer:   decodesTo[transferRow],
	kindBudget:     decodesTo[budgetRow],
	kindEmergency:  decodesTo[emergencyRow],
	kindConsent:    decodesTo[consentRow],
	kindProof:      decodesTo[proofRow],
	kindOutdated:   decodesTo[outdatedRow],
	kindAudit: func(b []byte) error {
		if json.Unmarshal(b, new(audit.Entry)) != nil {
			return errors.New("an entry of the log is damaged")
		}
		return nil
	},
}

func decodesTo[T any](b []byte) error {
	_, err := decodeRow[T](b)
	return err
}

// ofSubject are the kinds of rows whose keys begin with a person, who must be there.
var ofSubject = []byte{kindRecord, kindHolding, kindIssued, kindIndexed, kindDocument, kindTransfer, kindConsent, kindAuditOf}

// Inspect reads every row of a store that nobody else uses: that it can be read, that the people it is of are there, that the
// tokens that were issued are, and how many of the blobs that documents name. has tells whether there is a blob.
func Inspect(ctx context.Context, s store.Store, has func(blob.ID) bool) (*Census, error) {
	i := &inspection{has: has, tenants: map[string]bool{}}
	err := s.View(ctx, func(r store.Reader) error {
		i.r = r
		return scanAll(r, nil, func(p store.Pair) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return i.row(p)
		})
	})
	if err != nil {
		return nil, fmt.Errorf("inspect the store: %w", err)
	}
	i.census.Tenants = int64(len(i.tenants))
	return &i.census, nil
}

// inspection is an Inspect under way.
type inspection struct {
	r       store.Reader
	has     func(blob.ID) bool
	census  Census
	tenants map[string]bool

	last    []byte // key of the subject that was looked for last
	present bool
}

func (i *inspection) fault(kind byte, format string, args ...any) {
	i.census.Faults++
	if len(i.census.First) < shownFaults {
		i.census.First = append(i.census.First, fmt.Sprintf("row of kind %q: %s", kind, fmt.Sprintf(format, args...)))
	}
}

func (i *inspection) row(p store.Pair) error {
	i.census.Rows++
	kind, tenant := kindOfKey(p.Key)
	if kind == 0 {
		i.fault(0, "the key is none of ours")
		return nil
	}
	i.tenants[tenant] = true
	i.count(kind)
	if decode := decodes[kind]; decode != nil {
		if err := decode(p.Value); err != nil {
			i.fault(kind, "%v", err)
			return nil
		}
	}
	rows := layout{tenant}
	if bytes.IndexByte(ofSubject, kind) >= 0 {
		if err := i.belongs(rows, kind, p.Key); err != nil {
			return err
		}
	}
	switch kind {
	case kindDocument:
		i.document(p.Value)
	case kindIssued:
		found, err := i.r.Get(rows.key(kindToken, name(string(p.Value))))
		if err != nil {
			return err
		}
		if found[0] == nil {
			i.fault(kind, "the token that was issued is missing")
		}
	}
	return nil
}

func (i *inspection) count(kind byte) {
	counted := map[byte]*int64{
		kindSubject: &i.census.People, kindRecord: &i.census.Records, kindDocument: &i.census.Documents,
		kindToken: &i.census.Tokens, kindAudit: &i.census.Entries,
	}
	if n := counted[kind]; n != nil {
		*n++
	}
}

// belongs sees that the person of a row is there.
func (i *inspection) belongs(rows layout, kind byte, key []byte) error {
	rest := key[2+len(rows.tenant):]
	if len(rest) < len(SubjectID{}) {
		i.fault(kind, "the key is cut")
		return nil
	}
	subject := rows.subject(SubjectID(rest[:len(SubjectID{})]))
	if !bytes.Equal(subject, i.last) {
		found, err := i.r.Get(subject)
		if err != nil {
			return err
		}
		i.last, i.present = subject, found[0] != nil
	}
	if !i.present {
		i.fault(kind, "the person %s is missing", SubjectID(rest[:len(SubjectID{})]))
	}
	return nil
}

func (i *inspection) document(value []byte) {
	row, err := decodeRow[documentRow](value)
	if err != nil {
		return // it was told of
	}
	for _, part := range row.Parts {
		i.census.Blobs++
		if !i.has(part.Blob) {
			i.census.Missing++
		}
	}
}
