package httpapi

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
)

// problemType is what a problem's type (RFC 9457 §3.1.1) begins with; the code follows. It identifies and is not a place.
const problemType = "urn:sandyq:problem:"

// class is how a code looks over HTTP.
type class struct {
	status int
	title  string
}

// classes is the one table from codes to HTTP.
var classes = map[fault.Code]class{
	fault.Invalid:             {http.StatusBadRequest, "The request breaks a rule"},
	fault.Unauthenticated:     {http.StatusUnauthorized, "Nobody known is asking"},
	fault.Denied:              {http.StatusForbidden, "This is not permitted"},
	fault.NotFound:            {http.StatusNotFound, "There is no such thing"},
	fault.Conflict:            {http.StatusConflict, "This contradicts what is there"},
	fault.Held:                {http.StatusConflict, "A hold forbids this"},
	fault.Erased:              {http.StatusGone, "The data is erased"},
	fault.TooLarge:            {http.StatusRequestEntityTooLarge, "The request is too large"},
	fault.Unsupported:         {http.StatusUnsupportedMediaType, "The media type is not supported"},
	fault.Unprocessable:       {http.StatusUnprocessableEntity, "The request cannot be carried out as it stands"},
	fault.Blocked:             {http.StatusLocked, "Processing of this person is blocked"},
	fault.Limited:             {http.StatusTooManyRequests, "A budget is spent"},
	fault.Internal:            {http.StatusInternalServerError, "Something went wrong on our side"},
	fault.Unavailable:         {http.StatusServiceUnavailable, "A part of the service is away"},
	fault.InsufficientStorage: {http.StatusInsufficientStorage, "Too little storage is left"},
}

// Status is the HTTP status of a code; one that is not in the table is a defect of ours and internal.
func Status(code fault.Code) int { return classOf(code).status }

func classOf(code fault.Code) class {
	if c, ok := classes[code]; ok {
		return c
	}
	return classes[fault.Internal]
}

// minRetry is the Retry-After of a limited or unavailable answer that does not say when.
const minRetry = time.Second

// seconds writes a Retry-After, rounded up.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

// refuse answers with err as a problem.
func (x *exchange) refuse(err error) {
	e := fault.From(err)
	if gone := x.r.Context().Err(); gone != nil && e.Code == fault.Internal && errors.Is(err, gone) {
		e = fault.Wrap(fault.Unavailable, err, "the request ended before its answer")
	} else if errors.Is(err, context.DeadlineExceeded) && e.Code == fault.Internal {
		e = fault.Wrap(fault.Unavailable, err, "this took too long")
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) { // a body that came too slowly is not waited for again
		x.drain()
	}
	x.problem(Status(e.Code), e)
}

// problem answers with e under a status that is its code's, or for 405 and 416 the one HTTP has for the occasion.
func (x *exchange) problem(status int, e *fault.Error) {
	x.fault = e
	x.foreign = 0
	h := x.Header()
	retry := e.RetryAfter
	if retry <= 0 && (e.Code == fault.Limited || e.Code == fault.Unavailable) {
		retry = minRetry
	}
	if retry > 0 {
		h.Set("Retry-After", seconds(retry))
	}
	if e.Code == fault.Unauthenticated {
		h.Set("WWW-Authenticate", "Bearer")
	}
	if err := x.write(status, typeProblem, x.problemOf(status, e)); err != nil {
		x.fault = fault.Wrap(fault.Internal, err, "")
	}
}

// problemOf is what the client is told of e.
func (x *exchange) problemOf(status int, e *fault.Error) *api.Problem {
	p := &api.Problem{
		Type: problemType + string(e.Code), Title: classOf(e.Code).title, Status: status, Code: e.Code,
		Detail: e.Detail, RequestID: x.id, Errors: e.Fields,
	}
	if _, known := classes[e.Code]; !known || e.Code == fault.Internal {
		p.Type, p.Code, p.Detail = problemType+string(fault.Internal), fault.Internal, ""
	}
	return p
}

// translate answers a request that the mux or the standard library refused in its own way.
func (x *exchange) translate() {
	h := x.Header()
	h.Del("Location") // the mux redirects to a cleaned path; an API has one path for a thing
	h.Del("Content-Length")
	switch status := x.foreign; status {
	case http.StatusMethodNotAllowed:
		x.drain()
		x.problem(status, fault.New(fault.Invalid, "this path does not have that method"))
	case http.StatusRequestedRangeNotSatisfiable:
		x.problem(status, fault.New(fault.Invalid, "the range lies outside the content"))
	case http.StatusBadRequest:
		x.refuse(fault.New(fault.Invalid, "the request is not one the server understands"))
	case http.StatusInternalServerError:
		x.refuse(fault.New(fault.Internal, ""))
	default:
		x.refuse(fault.New(fault.NotFound, "there is nothing at this path"))
	}
}
