package httpapi_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/httpapi"
)

// placed notes where a request is said to come from.
type placed struct {
	service
	at netip.Addr
}

func (p *placed) Authenticate(_ context.Context, shown vault.Presented) (access.Principal, error) {
	p.at = shown.Network
	return access.Principal{}, fault.New(fault.Unauthenticated, "nobody")
}

// TestNetwork: where a request comes from is what the connection says or, behind a proxy, what the nearest hop saw, and that
// alone: what cannot be read is not known, and never the proxy's own address, which policies may trust.
func TestNetwork(t *testing.T) {
	const proxy = "10.0.0.5:40000"
	for _, c := range []struct {
		name      string
		proxied   bool
		forwarded []string
		want      string // empty: not known
	}{
		{"no proxy", false, nil, "10.0.0.5"},
		{"no proxy, said to come from elsewhere", false, []string{"192.0.2.1"}, "10.0.0.5"},
		{"one hop", true, []string{"192.0.2.1"}, "192.0.2.1"},
		{"what the client claims", true, []string{"10.0.0.9, 192.0.2.1"}, "192.0.2.1"},
		{"in a header of its own", true, []string{"10.0.0.9", "192.0.2.1"}, "192.0.2.1"},
		{"with a port", true, []string{"10.0.0.9, 192.0.2.1:4711"}, "192.0.2.1"},
		{"IPv6 with a port", true, []string{"[2001:db8::1]:4711"}, "2001:db8::1"},
		{"IPv4 in IPv6", true, []string{"::ffff:192.0.2.1"}, "192.0.2.1"},
		{"nothing", true, nil, ""},
		{"empty", true, []string{""}, ""},
		{"hidden", true, []string{"10.0.0.9, unknown"}, ""},
		{"ends with a comma", true, []string{"10.0.0.9,"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var seen placed
			h := httpapi.Handler(httpapi.Config{
				Services: []httpapi.Service{&seen}, Proxied: c.proxied, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
			})
			r := httptest.NewRequest(http.MethodGet, "/v1/whoami", nil)
			r.RemoteAddr = proxy
			r.Header.Set("Authorization", "Bearer x")
			r.Header["X-Forwarded-For"] = c.forwarded
			h.ServeHTTP(httptest.NewRecorder(), r)
			got := ""
			if seen.at.IsValid() {
				got = seen.at.String()
			}
			if got != c.want {
				t.Errorf("it comes from %q, not %q", got, c.want)
			}
		})
	}
}
