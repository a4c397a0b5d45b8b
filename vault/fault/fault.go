// Package fault is the one vocabulary of failure that crosses Sandyq's edges: the service, the wire and the client SDK
// speak the same [Code]s, so errors.Is(err, fault.Blocked) holds on both sides of the network.
//
// A fault carries only what its reader may see: a code, a sentence, and for bad input the names of fields and the rules
// they broke. It never carries a value that somebody sent or that the vault holds. The cause that led to it stays
// reachable through errors.Unwrap for the operator's log and is never put on the wire.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Code says what kind of failure happened. The zero value is not a valid code.
type Code string

// The codes, and the HTTP status each becomes.
const (
	Invalid             Code = "invalid"              // 400: the request breaks a rule that its sender can read
	Unauthenticated     Code = "unauthenticated"      // 401: nobody known is asking
	Denied              Code = "denied"               // 403: somebody known is asking for what they may not
	NotFound            Code = "not_found"            // 404: absent, or not for the caller to know of
	Conflict            Code = "conflict"             // 409: it contradicts what is there
	Held                Code = "held"                 // 409: a hold forbids the destruction
	Erased              Code = "erased"               // 410: the person's keys are destroyed or about to be
	TooLarge            Code = "too_large"            // 413
	Unsupported         Code = "unsupported"          // 415: not a media type the vault keeps, or not what it claims
	Unprocessable       Code = "unprocessable"        // 422: an idempotency key came back with another body
	Blocked             Code = "blocked"              // 423: processing of this person is stopped for a time
	Limited             Code = "limited"              // 429: a budget is spent; see Error.RetryAfter
	Internal            Code = "internal"             // 500: a defect of ours
	Unavailable         Code = "unavailable"          // 503: a part is away; the outcome of a write is unknown
	InsufficientStorage Code = "insufficient_storage" // 507: too little disk is left for new data
)

// Error makes a bare code usable as an error and as the target of errors.Is.
func (c Code) Error() string { return string(c) }

// Error is a failure as its receiver may see it.
type Error struct {
	Code   Code
	Detail string  // one sentence for a person; never a value
	Fields []Field // the fields at fault, in the order given
	// RetryAfter is how long the caller should wait, rounded up to whole seconds on the wire; zero says nothing.
	RetryAfter time.Duration
	cause      error
}

// Field names a field and the rule it broke, never the value that broke it.
type Field struct {
	Field string `json:"field"`
	Rule  string `json:"rule"`
}

// New makes an error of this code.
func New(code Code, detail string) *Error { return &Error{Code: code, Detail: detail} }

// Newf is New with a format. The arguments must not be personal data.
func Newf(code Code, format string, args ...any) *Error {
	return New(code, fmt.Sprintf(format, args...))
}

// Wrap gives a failure of ours its code and keeps the cause for the log.
func Wrap(code Code, cause error, detail string) *Error {
	return &Error{Code: code, Detail: detail, cause: cause}
}

// Bad is Invalid for one field.
func Bad(field, rule string) *Error {
	return &Error{Code: Invalid, Detail: "the request breaks a rule", Fields: []Field{{field, rule}}}
}

func (e *Error) Error() string {
	s := string(e.Code)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	for _, f := range e.Fields {
		s += fmt.Sprintf(" [%s: %s]", f.Field, f.Rule)
	}
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

// Is reports whether target is this error's code.
func (e *Error) Is(target error) bool {
	code, ok := target.(Code)
	return ok && e.Code == code
}

// Unwrap returns the cause, which is for the operator only.
func (e *Error) Unwrap() error { return e.cause }

// From returns err as its receiver may see it. An error that nobody gave a code is a defect of ours: Internal.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if code, ok := errors.AsType[Code](err); ok {
		return Wrap(code, err, "")
	}
	return Wrap(Internal, err, "something went wrong on our side")
}

// CodeOf returns the code of err, or "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	return From(err).Code
}
