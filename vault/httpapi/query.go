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

// query holds the parameters of a request, each known and named once.
type query struct{ values url.Values }

// query reads the request's query into q. A parameter that is not among the known ones, or comes twice, is refused; its
// name is the client's and is not repeated.
func (x *exchange) query(q *query, known ...string) error {
	if x.r.URL.RawQuery == "" {
		return nil
	}
	values, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil {
		return fault.Bad("query", "well-formed, percent-encoded")
	}
	for name, v := range values {
		switch {
		case !slices.Contains(known, name):
			return fault.Bad("query", "unknown parameter")
		case len(v) != 1:
			return fault.Bad(name, "named once")
		}
	}
	if q != nil {
		q.values = values
	}
	return nil
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

var auditEntries = list[api.AuditEntry]{
	[]string{"subject", "actor", "operation", "from", "to", "limit", "cursor"},
	func(x *exchange, call vault.Call, q query) (*api.Page[api.AuditEntry], error) {
		limit, err := q.limit()
		if err != nil {
			return nil, err
		}
		from, err := q.time("from")
		if err != nil {
			return nil, err
		}
		to, err := q.time("to")
		if err != nil {
			return nil, err
		}
		return x.front.Service.AuditEntries(x.r.Context(), call, api.AuditQuery{
			Subject: q.text("subject"), Actor: q.text("actor"), Operation: q.text("operation"),
			From: from, To: to, Limit: limit, Cursor: q.text("cursor"),
		})
	},
}

var serviceTokens = list[api.ServiceToken]{
	[]string{"limit", "cursor"},
	func(x *exchange, call vault.Call, q query) (*api.Page[api.ServiceToken], error) {
		limit, err := q.limit()
		if err != nil {
			return nil, err
		}
		return x.front.Service.ServiceTokens(x.r.Context(), call, limit, q.text("cursor"))
	},
}
