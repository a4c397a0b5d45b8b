package httpapi

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/id"
)

// exchange is one request and its answer. It is the ResponseWriter that the mux and the handlers see: it counts, and it
// swallows error pages that are not ours so that ServeHTTP can answer them as problems. One goroutine uses it.
type exchange struct {
	http.ResponseWriter
	r     *http.Request
	front *front
	id    string
	start time.Time

	route     *Route  // nil until the mux has chosen
	service   Service // the tenant's whose credential was shown
	principal access.Principal
	lapsed    func() bool // whether what the tenant decides may be answered no more
	query     query
	in        *bytes.Buffer // the body, pooled; nil when none was read
	listening bool          // to the body: whoever waited to be told to go on has been

	status  int          // as sent; zero before
	bytes   int64        // of the answer's body
	ours    bool         // what is being written is an answer of ours
	foreign int          // the status somebody else answered with, until it is translated
	cut     bool         // the answer was begun and not finished
	fault   *fault.Error // what the answer says went wrong
}

func newExchange(f *front, w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{ResponseWriter: w, r: r, front: f, id: id.Encode("req_", id.New()), start: clock.System()}
	x.unguard()
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
		err = x.refuseBody()
	}
	if err == nil {
		err = route.handle(x, call)
	}
	if err != nil {
		x.refuse(err)
	}
}

// refuseBody refuses a body where none can be: one that never comes would hold a download's connection for ever. Nothing of
// it is waited for, and the connection ends with the answer.
func (x *exchange) refuseBody() error {
	if x.r.ContentLength == 0 || x.r.Method == http.MethodPost || x.r.Method == http.MethodPut {
		return nil
	}
	_ = x.control().SetReadDeadline(x.start)
	return fault.Bad(place(""), "no body")
}

// call authenticates and reads the headers and parameters. No body has been read when it fails.
func (x *exchange) call() (vault.Call, error) {
	shown, err := x.presented()
	if err != nil {
		return vault.Call{}, err
	}
	if err := x.authenticate(shown); err != nil {
		return vault.Call{}, err
	}
	x.lapsed = x.service.Lapsing()
	call := vault.Call{Principal: x.principal, RequestID: x.id}
	if x.query, err = readQuery(x.r.URL.RawQuery, x.route.Query); err != nil {
		return vault.Call{}, err
	}
	if x.route.Idempotent {
		call.Key, err = idempotencyKey(x.r.Header)
	}
	return call, err
}

// authenticate finds the tenant that knows the credential, which nothing else in a request says. One that several know is
// nobody's: whose data it opens would be chance.
func (x *exchange) authenticate(shown vault.Presented) error {
	refused := fault.New(fault.Unauthenticated, "a valid credential is required")
	for _, tenant := range x.front.Services {
		who, err := tenant.Authenticate(x.r.Context(), shown)
		switch {
		case errors.Is(err, fault.Unauthenticated):
			refused = fault.From(err)
		case err != nil:
			return err
		case x.service != nil:
			x.service, x.principal = nil, access.Principal{}
			return fault.Wrap(fault.Unauthenticated, errAmbiguous, "a valid credential is required")
		default:
			x.service, x.principal = tenant, who
		}
	}
	if x.service == nil {
		return refused
	}
	return nil
}

var errAmbiguous = errors.New("more than one tenant knows this credential: see auth in the configuration")

// presented is what the caller shows of who it is: a bearer token, or the certificate of its connection.
func (x *exchange) presented() (vault.Presented, error) {
	shown := vault.Presented{TLS: x.r.TLS, Network: x.network()}
	if x.r.Header["Authorization"] == nil && x.r.TLS != nil && len(x.r.TLS.PeerCertificates) > 0 {
		return shown, nil
	}
	var err error
	shown.Bearer, err = bearer(x.r.Header)
	return shown, err
}

// network is where the request comes from, as the connection says, or as the proxy that ends TLS for us does. Behind a proxy
// the connection's own address is never it: policies may trust the network that the proxy is in.
func (x *exchange) network() netip.Addr {
	if !x.front.Proxied {
		return address(x.r.RemoteAddr)
	}
	hops := strings.Split(strings.Join(x.r.Header["X-Forwarded-For"], ","), ",")
	return address(strings.TrimSpace(hops[len(hops)-1])) // what the nearest one saw; the rest is hearsay
}

// address reads an address with or without a port; of what is none it is zero.
func address(s string) netip.Addr {
	if at, err := netip.ParseAddrPort(s); err == nil {
		return at.Addr().Unmap()
	}
	at, _ := netip.ParseAddr(s) // zero with an error
	return at.Unmap()
}

// finish ends the request, whether it returned or panicked: a panic answers internal when nothing was sent yet and cuts
// the connection otherwise. It runs deferred.
func (x *exchange) finish() {
	defer x.record()
	v := recover()
	if v == nil {
		if x.in != nil {
			release(x.in) // not after a panic: what the service had begun may still read it
		}
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
