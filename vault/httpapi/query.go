package httpapi

import (
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
)

// query holds the parameters of a request, each known to its route and named once.
type query struct{ values url.Values }

// readQuery reads a raw query. A parameter that is not among the known ones, or comes twice, is refused; the name of an
// unknown one is the client's and is not repeated.
func readQuery(raw string, known []string) (query, error) {
	if raw == "" {
		return query{}, nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return query{}, fault.Bad("query", "well-formed, percent-encoded")
	}
	for name, v := range values {
		switch {
		case !slices.Contains(known, name):
			return query{}, fault.Bad("query", "unknown parameter")
		case len(v) != 1:
			return query{}, fault.Bad(name, "named once")
		}
	}
	return query{values}, nil
}

func (q query) text(name string) string { return q.values.Get(name) }

func (q query) limit() (int, error) {
	if !q.values.Has("limit") {
		return api.DefaultLimit, nil
	}
	n, err := strconv.Atoi(q.text("limit"))
	if err != nil || n < 1 || n > api.MaxLimit {
		return 0, fault.Bad("limit", "1 to "+strconv.Itoa(api.MaxLimit))
	}
	return n, nil
}

func (q query) time(name string) (time.Time, error) {
	if !q.values.Has(name) {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, q.text(name))
	if err != nil {
		return time.Time{}, fault.Bad(name, ruleTime)
	}
	return t.UTC(), nil
}

func auditEntries(x *exchange, call vault.Call) (*api.Page[api.AuditEntry], error) {
	limit, err := x.query.limit()
	if err != nil {
		return nil, err
	}
	from, err := x.query.time("from")
	if err != nil {
		return nil, err
	}
	to, err := x.query.time("to")
	if err != nil {
		return nil, err
	}
	return x.service.AuditEntries(x.r.Context(), call, api.AuditQuery{
		Subject: x.query.text("subject"), Actor: x.query.text("actor"), Operation: x.query.text("operation"),
		From: from, To: to, Limit: limit, Cursor: x.query.text("cursor"),
	})
}

func serviceTokens(x *exchange, call vault.Call) (*api.Page[api.ServiceToken], error) {
	limit, err := x.query.limit()
	if err != nil {
		return nil, err
	}
	return x.service.ServiceTokens(x.r.Context(), call, limit, x.query.text("cursor"))
}
