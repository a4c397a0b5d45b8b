// Package httpapi is Sandyq's HTTP front end: it turns requests into calls of a [Service] and answers into JSON.
//
// It decides nothing about people or data. What it owns is the edge: who is asking (a bearer token, checked before a
// body is read), whether a request is well formed (strict JSON: unknown, repeated or wrongly written members, null, bad
// UTF-8 and anything after the value are refused), how much of it is taken (bytes, items, time), how a failure looks
// (one table from [fault.Code] to status, RFC 9457 problems) and what is written down about it (one log line a request).
//
// # Routes are data
//
// [Routes] is the one table. The mux, the tests, openapi.yaml's test, the docs and the metrics' label all read it; a
// handler is a method of the Service wrapped in the shape of its request.
//
// # Invariants
//
//   - Nothing that a client sent shows in a problem or in the log: problems name a place by members that the API itself
//     defines and the rule that is broken there; the log names the route's pattern, never the path or the query.
//   - The cause of a failure goes to the log with the request's id and never onto the wire.
//   - An answer is one write with its Content-Length, or a document's stream that is cut off (the connection is aborted)
//     when it cannot be finished, so that no reader takes a cut for the end.
//   - Every error answer is a problem, whether the service, the mux or the standard library refused.
package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
)

// Service is one tenant, and what the routes call. Its methods are safe for concurrent use, return *fault.Error (anything else answers
// internal), and keep neither a Call's Body nor an Upload's after they return.
type Service interface {
	// Authenticate tells who shows what is shown, or fails with fault.Unauthenticated.
	Authenticate(context.Context, vault.Presented) (access.Principal, error)
	// Lapsing returns what tells whether what is decided from now on may be answered no more.
	Lapsing() (lapsed func() bool)

	Tokens
	Documents
	People
	Erasures
	Approvals
	Emergencies
	Budgets
	Canaries
	Indexes
	Disclosures
	Consents
	Reviews
	TransparencyLog
	Configuration
	Backups
	Keys
	Drills
	Administration
}

// Tokens turns values into tokens and back.
type Tokens interface {
	Tokenize(context.Context, vault.Call, *api.TokenizeRequest) (*api.TokenizeResponse, error)
	Detokenize(context.Context, vault.Call, *api.DetokenizeRequest) (*api.DetokenizeResponse, error)
	DescribeTokens(context.Context, vault.Call, *api.TokensRequest) (*api.DescribeResponse, error)
	RevokeTokens(context.Context, vault.Call, *api.TokensRequest) (*api.RevokeResponse, error)
	Search(context.Context, vault.Call, *api.SearchRequest) (*api.SearchResponse, error)
}

// Documents keeps scans and gives them back.
type Documents interface {
	PutDocument(context.Context, vault.Call, vault.Upload) (*api.Document, error)
	OpenDocument(context.Context, vault.Call, *api.OpenDocumentRequest) (*api.OpenDocumentResponse, error)
	Content(ctx context.Context, call vault.Call, handle string) (*vault.Content, error)
}

// People is about one person each.
type People interface {
	CreateSubject(context.Context, vault.Call, *api.CreateSubjectRequest) (*api.Subject, error)
	Subject(ctx context.Context, call vault.Call, subject string) (*api.Subject, error)
	Reveal(ctx context.Context, call vault.Call, subject string, in *api.RevealRequest) (*api.RevealResponse, error)
	Rectify(ctx context.Context, call vault.Call, subject string, in *api.RectifyRequest) (*api.RectifyResponse, error)
	Block(ctx context.Context, call vault.Call, subject string, in *api.BlockRequest) (*api.Subject, error)
	Unblock(ctx context.Context, call vault.Call, subject string, in *api.BlockRequest) (*api.Subject, error)
}

// Erasures destroys people's keys and tells how far it has come.
type Erasures interface {
	RequestErasure(context.Context, vault.Call, *api.ErasureRequest) (*api.Erasure, error)
	ApproveErasure(ctx context.Context, call vault.Call, erasure string, in *api.ErasureApproval) (*api.Erasure, error)
	CancelErasure(ctx context.Context, call vault.Call, erasure string) (*api.Erasure, error)
	Erasure(ctx context.Context, call vault.Call, erasure string) (*api.Erasure, error)
	Certificate(ctx context.Context, call vault.Call, erasure string) (*vault.IssuedCertificate, error)
}

// Administration is the log, the credentials, and what the process was started with.
type Administration interface {
	AuditEntries(context.Context, vault.Call, api.AuditQuery) (*api.Page[api.AuditEntry], error)
	CreateServiceToken(context.Context, vault.Call, *api.CreateServiceTokenRequest) (*api.ServiceToken, error)
	ServiceTokens(ctx context.Context, call vault.Call, limit int, cursor string) (*api.Page[api.ServiceToken], error)
	RevokeServiceToken(ctx context.Context, call vault.Call, id string) (*api.ServiceToken, error)
	RotateServiceToken(ctx context.Context, call vault.Call, id string, in *api.RotateServiceTokenRequest) (*api.ServiceToken, error)
	Fields(context.Context, vault.Call) (*api.Page[api.FieldInfo], error)
	Whoami(context.Context, vault.Call) (*api.Whoami, error)
}

// Observer is told of every finished request: the route's operation (empty when no route matched), the status answered
// and how long it took. It is called on the request's goroutine and must not block.
type Observer func(operation string, status int, took time.Duration)

// Config makes a handler.
type Config struct {
	Services    []Service    // one for each tenant; required
	Log         *slog.Logger // required
	MaxDocument int64        // bytes of an upload at most; api.MaxDocument when zero
	Observe     Observer     // may be nil
	Proxied     bool         // a trusted proxy speaks to the clients: X-Forwarded-For says where they are
}

// front is the handler: the mux and what every request needs.
type front struct {
	Config
	mux *http.ServeMux
}

// Handler serves the API: everything under /v1/, and problems for everything else.
func Handler(c Config) http.Handler {
	if c.MaxDocument == 0 {
		c.MaxDocument = api.MaxDocument
	}
	f := &front{Config: c, mux: http.NewServeMux()}
	for _, route := range Routes() {
		f.mux.HandleFunc(route.Method+" "+route.Pattern, func(w http.ResponseWriter, _ *http.Request) {
			w.(*exchange).serve(&route) // ServeHTTP below hands the mux nothing else
		})
	}
	return f
}

// ServeHTTP answers one request and writes it down.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := newExchange(f, w, r)
	defer x.finish()
	f.mux.ServeHTTP(x, r)
	if x.foreign != 0 {
		x.translate()
	}
}
