package httpapi_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-json-experiment/json"
	"go.uber.org/goleak"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/httpapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is a Service whose answers a test writes. What a test does not write panics.
type service struct {
	httpapi.Service
	tokenize   func(context.Context, vault.Call, *api.TokenizeRequest) (*api.TokenizeResponse, error)
	detokenize func(context.Context, vault.Call, *api.DetokenizeRequest) (*api.DetokenizeResponse, error)
	block      func(context.Context, vault.Call, string, *api.BlockRequest) (*api.Subject, error)
	approve    func(context.Context, vault.Call, string, *api.ErasureApproval) (*api.Erasure, error)
	withdraw   func(context.Context, vault.Call, string, string, *api.WithdrawRequest) (*api.Consent, error)
	cancel     func(context.Context, vault.Call, string) (*api.Erasure, error)
	audit      func(context.Context, vault.Call, api.AuditQuery) (*api.Page[api.AuditEntry], error)
	put        func(context.Context, vault.Call, vault.Upload) (*api.Document, error)
	whoami     func(context.Context, vault.Call) (*api.Whoami, error)
	putPurpose func(context.Context, vault.Call, string, *api.Purpose) (*api.Change, error)
	lapses     atomic.Int64 // of the node
}

const goodToken = "dev_token"

func (s *service) Lapsing() func() bool {
	lapses := s.lapses.Load()
	return func() bool { return s.lapses.Load() != lapses }
}

// LogCheckpoint is of a node that lapses meanwhile.
func (s *service) LogCheckpoint(context.Context, vault.Call) ([]byte, error) {
	s.lapses.Add(1)
	return []byte("checkpoint"), nil
}

func (*service) Authenticate(_ context.Context, shown vault.Presented) (access.Principal, error) {
	if shown.Bearer != goodToken {
		return access.Principal{}, fault.New(fault.Unauthenticated, "this token is not known")
	}
	return access.Principal{Tenant: "default", System: "crm", Credential: "cred", Roles: []access.Role{access.Application}}, nil
}

func (s *service) Tokenize(ctx context.Context, c vault.Call, in *api.TokenizeRequest) (*api.TokenizeResponse, error) {
	return s.tokenize(ctx, c, in)
}

func (s *service) Detokenize(ctx context.Context, c vault.Call, in *api.DetokenizeRequest) (*api.DetokenizeResponse, error) {
	return s.detokenize(ctx, c, in)
}

func (s *service) Block(ctx context.Context, c vault.Call, subject string, in *api.BlockRequest) (*api.Subject, error) {
	return s.block(ctx, c, subject, in)
}

func (s *service) ApproveErasure(ctx context.Context, c vault.Call, erasure string, in *api.ErasureApproval) (*api.Erasure, error) {
	return s.approve(ctx, c, erasure, in)
}

func (s *service) WithdrawConsent(ctx context.Context, c vault.Call, subject, consent string, in *api.WithdrawRequest) (*api.Consent, error) {
	return s.withdraw(ctx, c, subject, consent, in)
}

func (s *service) CancelErasure(ctx context.Context, c vault.Call, erasure string) (*api.Erasure, error) {
	return s.cancel(ctx, c, erasure)
}

func (s *service) AuditEntries(ctx context.Context, c vault.Call, q api.AuditQuery) (*api.Page[api.AuditEntry], error) {
	return s.audit(ctx, c, q)
}

func (s *service) PutDocument(ctx context.Context, c vault.Call, up vault.Upload) (*api.Document, error) {
	return s.put(ctx, c, up)
}

func (s *service) Whoami(ctx context.Context, c vault.Call) (*api.Whoami, error) {
	return s.whoami(ctx, c)
}

func (s *service) PutPurpose(ctx context.Context, c vault.Call, name string, in *api.Purpose) (*api.Change, error) {
	return s.putPurpose(ctx, c, name, in)
}

// journal is a log that a test reads.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(j, nil)) }

// serve runs a handler for s on loopback and returns its address and its log.
func serve(t *testing.T, s *service) (string, *journal) {
	t.Helper()
	return serveConfig(t, httpapi.Config{Services: []httpapi.Service{s}})
}

func serveConfig(t *testing.T, c httpapi.Config) (string, *journal) {
	t.Helper()
	log := &journal{}
	c.Log = log.logger()
	return serveHandler(t, httpapi.Handler(c)), log
}

func serveHandler(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return server.URL
}

// answer is what came back.
type answer struct {
	*http.Response
	body string
}

func (a answer) problem(t *testing.T) api.Problem {
	t.Helper()
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Fatalf("Content-Type %q of %d, want a problem", got, a.StatusCode)
	}
	var p api.Problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatalf("problem: %v", err)
	}
	return p
}

// send makes a request with the good token; header pairs follow and win. An empty value removes the header.
func send(t *testing.T, method, url string, body io.Reader, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+goodToken)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		if header[i+1] == "" {
			req.Header.Del(header[i])
		} else {
			req.Header.Set(header[i], header[i+1])
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp, string(b)}
}

func post(t *testing.T, url, body string, header ...string) answer {
	t.Helper()
	return send(t, http.MethodPost, url, strings.NewReader(body), header...)
}
