// Package api holds the types of Sandyq's HTTP API, version 1, as they stand on the wire. The service, the server and
// the client SDK share them; openapi.yaml beside them describes them for everybody else and a test holds the two
// together.
//
// Personal data and tokens travel in bodies only. Ids of people, documents and erasures are random and may stand in URLs.
package api

import (
	"time"

	"github.com/sandyq/sandyq/vault/fault"
)

// Limits of a request.
const (
	MaxItems     = 1000     // items, tokens, in one request
	MaxBody      = 8 << 20  // bytes of a JSON body
	MaxDocument  = 64 << 20 // bytes of a document part, by default
	MaxNote      = 2000     // bytes of a note
	DefaultLimit = 100      // entries of a list when the caller does not say
	MaxLimit     = 1000     // entries of a list at most
)

// ItemError is why an item of a batch failed. The items stand alone; the batch itself succeeded.
type ItemError struct {
	Code   fault.Code    `json:"code"`
	Detail string        `json:"detail,omitempty"`
	Errors []fault.Field `json:"errors,omitempty"`
}

// Problem is an error answer (RFC 9457, application/problem+json).
type Problem struct {
	Type      string        `json:"type"`
	Title     string        `json:"title"`
	Status    int           `json:"status"`
	Code      fault.Code    `json:"code"`
	Detail    string        `json:"detail,omitempty"`
	RequestID string        `json:"request_id"`
	Errors    []fault.Field `json:"errors,omitempty"`
}

// Page is one page of a list.
type Page[T any] struct {
	Items      []T    `json:"items"`
	NextCursor string `json:"next_cursor,omitempty"`
}

// Actor is who asked, behind the calling system.
type Actor struct {
	Actor string `json:"actor"`
	Token string `json:"token,omitempty"`
}

// Form is how much of a value a caller asks for or gets.
type Form string

// The forms.
const (
	Plain   Form = "plain"
	Masked  Form = "masked"
	Allowed Form = "allowed" // the fullest that policy permits; only in requests
)

// OnConflict says what becomes of an item whose single-valued field already has another value.
type OnConflict string

// The ways to meet a conflict.
const (
	ConflictError OnConflict = "error" // the item fails with conflict (the default)
	ConflictKeep  OnConflict = "keep"  // existing values stay and the answer lists the fields that differ
)

// TokenizeRequest is the body of POST /v1/tokenize.
type TokenizeRequest struct {
	Purpose    string         `json:"purpose"`
	OnBehalfOf *Actor         `json:"on_behalf_of,omitempty"`
	Items      []TokenizeItem `json:"items"`
}

// TokenizeItem is one person's values. The person is found by subject, external_ref or a unique field, or is created.
type TokenizeItem struct {
	Subject     string                      `json:"subject,omitempty"`
	ExternalRef string                      `json:"external_ref,omitempty"`
	Fields      map[string]OneOrMany[Value] `json:"fields"`
	OnConflict  OnConflict                  `json:"on_conflict,omitempty"`
	ProvidedBy  string                      `json:"provided_by,omitempty"` // the person who gave this data, if another
	Source      string                      `json:"source,omitempty"`      // a short code
	Consent     *ConsentRequest             `json:"consent,omitempty"`     // given with the data
}

// TokenizeResponse answers in the order of the items.
type TokenizeResponse struct {
	Results []TokenizeResult `json:"results"`
}

// TokenizeResult has either Subject and Tokens, or Error.
type TokenizeResult struct {
	Subject  string                       `json:"subject,omitempty"`
	Created  bool                         `json:"created"` // new to the calling system
	Tokens   map[string]OneOrMany[string] `json:"tokens,omitempty"`
	Differs  []string                     `json:"differs,omitempty"`
	Warnings []fault.Field                `json:"warnings,omitempty"` // rules that were broken and forgiven
	Consent  *Consent                     `json:"consent,omitempty"`  // what the item's consent became
	Error    *ItemError                   `json:"error,omitempty"`
}

// DetokenizeRequest is the body of POST /v1/detokenize.
type DetokenizeRequest struct {
	Purpose    string   `json:"purpose"`
	Recipient  string   `json:"recipient,omitempty"` // the third party it is disclosed to; with a purpose that discloses
	Reason     string   `json:"reason"`
	Form       Form     `json:"form,omitempty"` // plain unless said
	OnBehalfOf *Actor   `json:"on_behalf_of,omitempty"`
	Tokens     []string `json:"tokens"`
}

// DetokenizeResponse answers in the order of the tokens.
type DetokenizeResponse struct {
	Results []DetokenizeResult `json:"results"`
}

// DetokenizeResult has either Value or Error.
type DetokenizeResult struct {
	Token   string     `json:"token"`
	Subject string     `json:"subject,omitempty"`
	Field   string     `json:"field,omitempty"`
	Form    Form       `json:"form,omitempty"` // only when "allowed" was asked
	Value   *Value     `json:"value,omitempty"`
	Error   *ItemError `json:"error,omitempty"`
}

// RevealRequest is the body of POST /v1/subjects/{subject}/reveal.
type RevealRequest struct {
	Purpose    string   `json:"purpose"`
	Recipient  string   `json:"recipient,omitempty"` // as in DetokenizeRequest
	Reason     string   `json:"reason"`
	Note       string   `json:"note,omitempty"`
	Form       Form     `json:"form,omitempty"`
	OnBehalfOf *Actor   `json:"on_behalf_of,omitempty"`
	Fields     []string `json:"fields"`
}

// RevealResponse holds the fields that the person has.
type RevealResponse struct {
	Fields map[string]OneOrMany[Value] `json:"fields"`
	Forms  map[string]Form             `json:"forms,omitempty"` // only when "allowed" was asked
}

// TokensRequest is the body of POST /v1/tokens/describe and /v1/tokens/revoke.
type TokensRequest struct {
	Tokens []string `json:"tokens"`
}

// DescribeResponse answers in the order of the tokens.
type DescribeResponse struct {
	Results []TokenDescription `json:"results"`
}

// TokenDescription tells what a token stands for, never the value.
type TokenDescription struct {
	Token   string     `json:"token"`
	Subject string     `json:"subject,omitempty"`
	Field   string     `json:"field,omitempty"`
	Kind    string     `json:"kind,omitempty"`  // "field" or "document"
	State   string     `json:"state,omitempty"` // "active", "blocked"
	Error   *ItemError `json:"error,omitempty"`
}

// RevokeResponse answers in the order of the tokens.
type RevokeResponse struct {
	Results []RevokeResult `json:"results"`
}

// RevokeResult says whether the token is retired.
type RevokeResult struct {
	Token   string     `json:"token"`
	Revoked bool       `json:"revoked"`
	Error   *ItemError `json:"error,omitempty"`
}

// SearchRequest is the body of POST /v1/search: an exact match on a searchable field.
type SearchRequest struct {
	Purpose    string `json:"purpose"`
	Reason     string `json:"reason"`
	OnBehalfOf *Actor `json:"on_behalf_of,omitempty"`
	Field      string `json:"field"`
	Value      Value  `json:"value"`
}

// SearchResponse lists the people found.
type SearchResponse struct {
	Results []SearchResult `json:"results"`
}

// SearchResult is a person and the calling system's tokens.
type SearchResult struct {
	Subject string                       `json:"subject"`
	Tokens  map[string]OneOrMany[string] `json:"tokens"`
}

// Time is how times stand on the wire: RFC 3339 in UTC, with milliseconds.
type Time = time.Time
