package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/id"
)

// Values of headers that answers share; net/http reads and never changes them.
var (
	typeJSON    = []string{"application/json"}
	typeProblem = []string{"application/problem+json"}
	noStore     = []string{"no-store"}
	noSniff     = []string{"nosniff"}
	noReferrer  = []string{"no-referrer"}
	noContent   = []string{"default-src 'none'; frame-ancestors 'none'; sandbox"}
	overTLS     = []string{"max-age=31536000"}
)

// exchange is one request and its answer. It is the ResponseWriter that the mux and the handlers see: it counts, and it
// swallows error pages that are not ours so that ServeHTTP can answer them as problems. One goroutine uses it.
type exchange struct {
	http.ResponseWriter
	r     *http.Request
	front *front
	id    string
	start time.Time

	route     *Route // nil until the mux has chosen
	principal access.Principal
	query     query
	in        *bytes.Buffer // the body, pooled; nil when none was read

	status  int          // as sent; zero before
	bytes   int64        // of the answer's body
	ours    bool         // what is being written is an answer of ours
	foreign int          // the status somebody else answered with, until it is translated
	cut     bool         // the answer was begun and not finished
	fault   *fault.Error // what the answer says went wrong
}

func newExchange(f *front, w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{ResponseWriter: w, r: r, front: f, id: id.Encode("req_", id.New()), start: clock.System()}
	h := w.Header()
	h[api.HeaderRequestID] = []string{x.id}
	h["Cache-Control"] = noStore
	h["X-Content-Type-Options"] = noSniff
	h["Referrer-Policy"] = noReferrer
	h["Content-Security-Policy"] = noContent
	if r.TLS != nil {
		h["Strict-Transport-Security"] = overTLS
	}
	return x
}

// serve answers over a route: who asks, with which key and parameters, and then the handler.
func (x *exchange) serve(route *Route) {
	x.route = route
	call, err := x.call()
	if err == nil {
		err = route.handle(x, call)
	}
	if err != nil {
		x.refuse(err)
	}
}

// call authenticates and reads the headers and parameters. No body has been read when it fails.
func (x *exchange) call() (vault.Call, error) {
	bearer, err := bearer(x.r.Header)
	if err != nil {
		return vault.Call{}, err
	}
	if x.principal, err = x.front.Service.Authenticate(x.r.Context(), bearer); err != nil {
		return vault.Call{}, err
	}
	call := vault.Call{Principal: x.principal, RequestID: x.id}
	if x.query, err = readQuery(x.r.URL.RawQuery, x.route.Query); err != nil {
		return vault.Call{}, err
	}
	if x.route.Idempotent {
		call.Key, err = idempotencyKey(x.r.Header)
	}
	return call, err
}

// bearer returns the bearer token of RFC 6750 §2.1.
func bearer(h http.Header) (string, error) {
	values := h["Authorization"]
	if len(values) == 1 {
		scheme, token, ok := strings.Cut(values[0], " ")
		if ok && strings.EqualFold(scheme, "Bearer") && visible(token) {
			return token, nil
		}
	}
	return "", fault.New(fault.Unauthenticated, "one Authorization header with a Bearer token is required")
}

func idempotencyKey(h http.Header) (string, error) {
	values := h[api.HeaderIdempotencyKey]
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1 || len(values[0]) > 255 || !visible(values[0]):
		return "", fault.Bad(api.HeaderIdempotencyKey, "one header of 1 to 255 visible ASCII characters")
	}
	return values[0], nil
}

// visible reports whether s is one or more visible ASCII characters.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] < '!' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}

// buffers holds bodies, read and to be written.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxPooled bounds the buffers that are kept: larger ones are rare and would stay large.
const maxPooled = 64 << 10

// release gives a buffer back, emptied of whatever personal data it held.
func release(b *bytes.Buffer) {
	b.Reset()
	if b.Cap() > maxPooled {
		return
	}
	clear(b.AvailableBuffer()[:b.Cap()])
	buffers.Put(b)
}

// answer sends out as the route's success, or returns err for refuse.
func (x *exchange) answer(out any, err error) error {
	if err != nil {
		return err
	}
	return x.write(x.route.Status, typeJSON, out)
}

// deterministic gives one text for one answer: a retry gets the same bytes.
var deterministic = json.Deterministic(true)

// write encodes out and sends it in one write. It fails only before anything is sent.
func (x *exchange) write(status int, contentType []string, out any) error {
	b := buffers.Get().(*bytes.Buffer)
	defer release(b)
	if err := json.MarshalWrite(b, out, deterministic); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	h := x.Header()
	h["Content-Type"] = contentType
	h["Content-Length"] = []string{strconv.Itoa(b.Len())}
	x.ours = true
	x.WriteHeader(status)
	_, _ = x.Write(b.Bytes()) // a client that is gone misses its answer; there is nobody else to tell
	return nil
}

// WriteHeader sends the status, unless it is an error page or a redirect of somebody else's.
func (x *exchange) WriteHeader(status int) {
	switch {
	case status < 200:
		x.ResponseWriter.WriteHeader(status)
	case !x.ours && status >= 300 && status != http.StatusNotModified:
		x.foreign = status
	case x.status == 0:
		x.status = status
		x.ResponseWriter.WriteHeader(status)
	}
}

// Write sends p, unless it belongs to a page that WriteHeader swallowed.
func (x *exchange) Write(p []byte) (int, error) {
	if x.foreign != 0 {
		return len(p), nil
	}
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	n, err := x.ResponseWriter.Write(p)
	x.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// finish ends the request, whether it returned or panicked: a panic answers internal when nothing was sent yet and cuts
// the connection otherwise. It runs deferred.
func (x *exchange) finish() {
	defer x.record()
	if x.in != nil {
		defer release(x.in)
	}
	v := recover()
	if v == nil {
		return
	}
	abort := false
	if err, ok := v.(error); ok {
		abort = errors.Is(err, http.ErrAbortHandler)
	}
	if !abort {
		x.front.Log.LogAttrs(x.r.Context(), slog.LevelError, "panic",
			slog.String("request", x.id), slog.String("panic", panicked(v)), slog.Any("at", frames()))
	}
	if abort || x.status != 0 {
		x.cut = true
		panic(http.ErrAbortHandler)
	}
	x.problem(http.StatusInternalServerError, fault.New(fault.Internal, ""))
}

// panicked describes a panic by its type, and by its text only when the runtime wrote it: anything else might carry a
// value.
func panicked(v any) string {
	if err, ok := v.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("%T", v)
}

// frames lists the functions that panicked, innermost first: places in the code, no arguments.
func frames() []string {
	var pcs [32]uintptr
	var out []string
	for it := runtime.CallersFrames(pcs[:runtime.Callers(4, pcs[:])]); ; {
		f, more := it.Next()
		out = append(out, fmt.Sprintf("%s:%d", f.Function, f.Line))
		if !more {
			return out
		}
	}
}

// record tells the observer and writes the request's one log line.
func (x *exchange) record() {
	took := clock.System().Sub(x.start)
	operation, method, pattern := "", "", "" // of the route: a request that has none shows nothing of its line
	if x.route != nil {
		operation, method, pattern = x.route.Operation, x.route.Method, x.route.Pattern
	}
	if x.front.Observe != nil {
		x.front.Observe(operation, x.status, took)
	}
	level := slog.LevelInfo
	switch {
	case x.status >= 500 && x.status != http.StatusInternalServerError:
		level = slog.LevelWarn
	case x.status >= 500:
		level = slog.LevelError
	}
	if !x.front.Log.Enabled(x.r.Context(), level) {
		return
	}
	attrs := append(make([]slog.Attr, 0, 12),
		slog.String("request", x.id), slog.String("method", method), slog.String("route", pattern),
		slog.Int("status", x.status), slog.Int64("bytes", x.bytes),
		slog.Float64("ms", float64(took.Microseconds())/1000))
	if x.principal.System != "" {
		attrs = append(attrs, slog.String("system", x.principal.System), slog.String("role", string(x.principal.Role)))
	}
	if x.cut {
		attrs = append(attrs, slog.Bool("cut", true))
	}
	if x.fault != nil {
		attrs = append(attrs, slog.String("code", string(x.fault.Code)))
		if cause := x.fault.Unwrap(); cause != nil {
			attrs = append(attrs, slog.String("cause", cause.Error()))
		}
	}
	x.front.Log.LogAttrs(x.r.Context(), level, "request", attrs...)
}
