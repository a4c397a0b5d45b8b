package vault

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/store"
)

const handlePrefix = "con_"

// handleRow is a document opened for reading: a permission that was recorded, for one credential, for a short time. It is good on
// every node for as long as it would be given again.
type handleRow struct {
	Until      stamp      `cbor:"1,keyasint"`
	Purpose    string     `cbor:"2,keyasint"`
	Reason     string     `cbor:"3,keyasint"`
	Recipient  string     `cbor:"4,keyasint,omitempty"` // that the caller named
	Actor      string     `cbor:"5,keyasint,omitempty"` // on whose behalf
	Verified   bool       `cbor:"6,keyasint,omitempty"`
	Roles      []string   `cbor:"7,keyasint,omitempty"` // of the actor
	Department string     `cbor:"8,keyasint,omitempty"`
	Subject    SubjectID  `cbor:"9,keyasint"`
	Status     []byte     `cbor:"10,keyasint"` // of the person, that the permission rests on
	Document   DocumentID `cbor:"11,keyasint"`
	Part       partRow    `cbor:"12,keyasint"`
}

// handle is where a credential's handle lies. Who reads the store learns no handle from it, and whoever asks for another's asks for a
// row that there is not.
func (l layout) handle(name [16]byte, of access.Principal) []byte {
	sum := sha256.Sum256(slices.Concat(name[:], []byte(of.System), []byte{0}, []byte(of.Credential)))
	return l.key(kindHandle, sum[:])
}

// handleOf makes the row of what was permitted.
func handleOf(r access.Request, recipient string, o *opening) *handleRow {
	row := &handleRow{
		Until: stampOf(o.expires), Purpose: r.Purpose, Reason: r.Reason,
		Recipient: recipient, Actor: r.Behalf.Actor, Verified: r.Behalf.Verified, Department: r.Behalf.Department,
		Subject: o.subject, Status: o.status, Document: o.document, Part: o.row,
	}
	for _, role := range r.Behalf.Roles {
		row.Roles = append(row.Roles, string(role))
	}
	return row
}

// request is what was permitted.
func (row *handleRow) request() access.Request {
	r := access.Request{
		Action: access.OpenDocument, Subject: row.Subject.String(), Fields: []string{documentsField}, Purpose: row.Purpose, Reason: row.Reason,
		Behalf: access.Behalf{Actor: row.Actor, Verified: row.Verified, Department: row.Department},
	}
	for _, role := range row.Roles {
		r.Behalf.Roles = append(r.Behalf.Roles, access.Role(role))
	}
	return r
}

// ends is when a reading ends that rests on what ends at until; zero is never.
func (row *handleRow) ends(until time.Time) time.Time { return earlier(row.Until.time(), until) }

// earlier is the earlier of a moment and another, which is never when it is zero.
func earlier(at, until time.Time) time.Time {
	if until.IsZero() || at.Before(until) {
		return at
	}
	return until
}

// seekHandle finds a caller's handle that has not expired; nil for what is none, or another's.
func (s *Service) seekHandle(ctx context.Context, caller access.Principal, text string) (row *handleRow, err error) {
	name, wrong := id.Decode(handlePrefix, text) // of a mistyped one nothing is found, which takes as long
	err = s.Store.View(ctx, func(r store.Reader) (err error) {
		row, err = getRow[handleRow](r, s.rows.handle(name, caller))
		return err
	})
	if err != nil || wrong != nil || row == nil || !s.Clock().Before(row.Until.time()) {
		return nil, err
	}
	return row, nil
}

// expireHandles removes the handles that have run out.
func (s *Service) expireHandles(ctx context.Context) error {
	const atOnce = 1000
	now := stampOf(s.Clock())
	prefix := s.rows.key(kindHandle)
	var over [][]byte
	err := s.Store.View(ctx, func(r store.Reader) error {
		over = nil
		return scanAll(r, prefix, func(p store.Pair) error {
			row, err := decodeRow[handleRow](p.Value)
			if err == nil && row.Until <= now && len(over) < atOnce {
				over = append(over, bytes.Clone(p.Key))
			}
			return err
		})
	})
	if err != nil || len(over) == 0 {
		return err
	}
	return s.Store.Update(ctx, func(w store.Writer) error {
		for _, key := range over {
			if err := w.Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
}

// errCut ends a stream whose permission has ended. The receiver must not take it for the end of the document.
var errCut = errors.New("the permission to read this document has ended")
