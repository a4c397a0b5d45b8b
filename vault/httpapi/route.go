package httpapi

import (
	"context"
	"net/http"
	"reflect"
	"slices"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
)

// Route is one operation of the API.
type Route struct {
	Method    string
	Pattern   string // of http.ServeMux and, letter for letter, of openapi.yaml
	Operation string // openapi.yaml's operationId, the metrics' label and, where there is one, the audit log's operation
	Status    int    // of success

	// Idempotent routes change something and take an Idempotency-Key. The others ignore it.
	Idempotent bool
	// Waits routes answer 202 instead when what was asked waits for the approval of others.
	Waits bool
	// Personal routes take or give personal data or tokens.
	Personal bool

	In    reflect.Type // of the JSON body; nil when there is none
	Out   reflect.Type // of the JSON answer; nil when the answer is a document's bytes
	Query []string     // the parameters that it knows; others are refused

	handle handler
}

// handler answers an authenticated request, or returns why it could not.
type handler func(x *exchange, call vault.Call) error

// The operations that are no action of access's vocabulary: none of them is decided by itself.
const (
	opContent = "document.content"
	opFields  = "fields.list"
	opWhoami  = "whoami"
)

// Routes lists every route of the API, in the order of the documentation.
func Routes() []Route {
	const (
		get, post      = http.MethodGet, http.MethodPost
		del            = http.MethodDelete
		ok, created    = http.StatusOK, http.StatusCreated
		accepted       = http.StatusAccepted
		changes, reads = true, false
		personal, bare = true, false
	)
	routes := []Route{
		route(post, "/v1/tokenize", access.Tokenize, ok, changes, personal, body(Service.Tokenize)),
		route(post, "/v1/detokenize", access.Detokenize, ok, reads, personal, body(Service.Detokenize)),
		route(post, "/v1/tokens/describe", access.DescribeTokens, ok, reads, personal, body(Service.DescribeTokens)),
		route(post, "/v1/tokens/revoke", access.RevokeTokens, ok, changes, personal, body(Service.RevokeTokens)),
		route(post, "/v1/search", access.Search, ok, reads, personal, body(Service.Search)),

		route(post, "/v1/subjects/{subject}/documents", access.PutDocument, created, changes, personal, upload()),
		route(post, "/v1/documents/open", access.OpenDocument, ok, reads, personal, body(Service.OpenDocument)),
		route(get, "/v1/content/{handle}", opContent, ok, reads, personal, content()),

		route(post, "/v1/subjects", access.CreateSubject, created, changes, personal, body(Service.CreateSubject)),
		route(get, "/v1/subjects/{subject}", access.ShowSubject, ok, reads, personal, about("subject", Service.Subject)),
		route(post, "/v1/subjects/{subject}/reveal", access.Reveal, ok, reads, personal, bodyAbout("subject", Service.Reveal)),
		route(post, "/v1/subjects/{subject}/rectify", access.Rectify, ok, changes, personal, bodyAbout("subject", Service.Rectify)),
		route(post, "/v1/subjects/{subject}/block", access.Block, ok, changes, bare, bodyAbout("subject", Service.Block)),
		route(post, "/v1/subjects/{subject}/unblock", access.Unblock, ok, changes, bare, bodyAbout("subject", Service.Unblock)),

		route(post, "/v1/erasures", access.RequestErasure, accepted, changes, bare, body(Service.RequestErasure)),
		route(get, "/v1/erasures/{erasure}", access.ShowErasure, ok, reads, bare, about("erasure", Service.Erasure)),
		route(get, "/v1/erasures/{erasure}/certificate", opCertificate, ok, reads, bare, issued()),
		route(post, "/v1/erasures/{erasure}/approve", access.ApproveErasure, ok, changes, bare, mayBodyAbout("erasure", Service.ApproveErasure)),
		route(post, "/v1/erasures/{erasure}/cancel", access.CancelErasure, ok, changes, bare, about("erasure", Service.CancelErasure)),

		route(get, "/v1/audit/entries", access.ReadAudit, ok, reads, bare, listing(auditEntries, "subject", "actor", "operation", "from", "to")),

		route(post, "/v1/access/tokens", access.CreateCredential, created, changes, bare, body(Service.CreateServiceToken)),
		route(get, "/v1/access/tokens", access.ListCredentials, ok, reads, bare, listing(serviceTokens)),
		route(post, "/v1/access/tokens/{id}/rotate", access.RotateCredential, created, changes, bare, bodyAbout("id", Service.RotateServiceToken)),
		route(del, "/v1/access/tokens/{id}", access.RevokeCredential, ok, reads, bare, about("id", Service.RevokeServiceToken)),

		route(get, "/v1/fields", opFields, ok, reads, bare, plain(Service.Fields)),
		route(get, "/v1/whoami", opWhoami, ok, reads, bare, plain(Service.Whoami)),
	}
	return slices.Concat(routes, approvalRoutes(), breakGlassRoutes(), budgetRoutes(), canaryRoutes(), indexRoutes(), disclosureRoutes(), consentRoutes(), reviewRoutes(), configurationRoutes(), backupRoutes(), keyRoutes(), drillRoutes(), logRoutes())
}

// shape is a handler and what it takes and gives.
type shape struct {
	in, out reflect.Type
	query   []string
	handle  handler
}

func route(method, pattern string, op access.Action, status int, idempotent, personal bool, s shape) Route {
	return Route{
		Method: method, Pattern: pattern, Operation: string(op), Status: status,
		Idempotent: idempotent, Personal: personal, In: s.in, Out: s.out, Query: s.query, handle: s.handle,
	}
}

// body is the shape of a call whose request is a JSON body.
func body[In, Out any](do func(Service, context.Context, vault.Call, *In) (*Out, error)) shape {
	return jsonShape(func(x *exchange, call vault.Call, in *In) (*Out, error) {
		return do(x.service, x.r.Context(), call, in)
	})
}

// bodyAbout is the shape of a call about the thing that a path segment names, with a JSON body.
func bodyAbout[In, Out any](segment string, do func(Service, context.Context, vault.Call, string, *In) (*Out, error)) shape {
	return jsonShape(func(x *exchange, call vault.Call, in *In) (*Out, error) {
		return do(x.service, x.r.Context(), call, x.r.PathValue(segment), in)
	})
}

// mayBodyAbout is bodyAbout of a call whose body may be left out.
func mayBodyAbout[In, Out any](segment string, do func(Service, context.Context, vault.Call, string, *In) (*Out, error)) shape {
	return mayJSONShape(func(x *exchange, call vault.Call, in *In) (*Out, error) {
		return do(x.service, x.r.Context(), call, x.r.PathValue(segment), in)
	})
}

func jsonShape[In, Out any](do func(*exchange, vault.Call, *In) (*Out, error)) shape {
	return decoded((*exchange).decode, do)
}

// mayJSONShape is jsonShape of a call whose body may be left out.
func mayJSONShape[In, Out any](do func(*exchange, vault.Call, *In) (*Out, error)) shape {
	return decoded((*exchange).decodeAny, do)
}

func decoded[In, Out any](decode func(*exchange, *vault.Call, any) error, do func(*exchange, vault.Call, *In) (*Out, error)) shape {
	return shape{in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](), handle: func(x *exchange, call vault.Call) error {
		in := new(In)
		if err := decode(x, &call, in); err != nil {
			return err
		}
		out, err := do(x, call, in)
		return x.answer(out, err)
	}}
}

// about is the shape of a call about the thing that a path segment names, without a body.
func about[Out any](segment string, do func(Service, context.Context, vault.Call, string) (*Out, error)) shape {
	return bodiless(func(x *exchange, call vault.Call) (*Out, error) {
		return do(x.service, x.r.Context(), call, x.r.PathValue(segment))
	})
}

// plain is the shape of a call about nothing in particular, without a body.
func plain[Out any](do func(Service, context.Context, vault.Call) (*Out, error)) shape {
	return bodiless(func(x *exchange, call vault.Call) (*Out, error) {
		return do(x.service, x.r.Context(), call)
	})
}

// listing is the shape of a call that answers a page, narrowed by query parameters.
func listing[T any](do func(*exchange, vault.Call) (*api.Page[T], error), parameters ...string) shape {
	s := bodiless(do)
	s.query = append(parameters, "limit", "cursor")
	return s
}

func bodiless[Out any](do func(*exchange, vault.Call) (*Out, error)) shape {
	return shape{out: reflect.TypeFor[Out](), handle: func(x *exchange, call vault.Call) error {
		if x.r.Method == http.MethodPost {
			if err := x.decodeNothing(&call); err != nil {
				return err
			}
		}
		out, err := do(x, call)
		return x.answer(out, err)
	}}
}
