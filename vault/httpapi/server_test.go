package httpapi_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/httpapi"
)

// running is a server on loopback.
type running struct {
	*httpapi.Server
	url    string
	served chan error // what Serve returned
}

func run(t *testing.T, s *service, config *tls.Config) running {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log := (&journal{}).logger()
	r := running{httpapi.NewServer(httpapi.Handler(httpapi.Config{Services: []httpapi.Service{s}, Log: log}), config, log), "http://" + l.Addr().String(), make(chan error, 1)}
	go func() { r.served <- r.Serve(l) }()
	return r
}

func TestShutdownFinishesWhatRuns(t *testing.T) {
	began, release := make(chan struct{}), make(chan struct{})
	r := run(t, &service{whoami: func(context.Context, vault.Call) (*api.Whoami, error) {
		close(began)
		<-release
		return &api.Whoami{System: "crm"}, nil
	}}, nil)
	answered := make(chan answer, 1)
	go func() { answered <- send(t, http.MethodGet, r.url+"/v1/whoami", nil) }()
	<-began

	shut := make(chan error, 1)
	go func() { shut <- r.Shutdown(t.Context()) }()
	if err := <-r.served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://")); err == nil {
		conn.Close()
		t.Error("it still accepts")
	}
	select {
	case err := <-shut:
		t.Fatalf("Shutdown did not wait: %v", err)
	default:
	}
	close(release)
	if a := <-answered; a.StatusCode != http.StatusOK || !strings.Contains(a.body, "crm") {
		t.Errorf("the request that ran got %d", a.StatusCode)
	}
	if err := <-shut; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestShutdownIsBounded(t *testing.T) {
	began, ended := make(chan struct{}), make(chan struct{})
	r := run(t, &service{whoami: func(ctx context.Context, _ vault.Call) (*api.Whoami, error) {
		close(began)
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	}}, nil)
	failed := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/v1/whoami", nil)
		if err == nil {
			req.Header.Set("Authorization", "Bearer "+goodToken)
			var resp *http.Response
			if resp, err = http.DefaultClient.Do(req); err == nil {
				resp.Body.Close()
			}
		}
		failed <- err
	}()
	<-began
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := r.Shutdown(ctx); err == nil {
		t.Error("Shutdown says that everything finished")
	}
	<-ended // the service was told
	if err := <-failed; err == nil {
		t.Error("the client got an answer")
	}
	<-r.served
}

func TestHTTP2OverTLS(t *testing.T) {
	lender := httptest.NewUnstartedServer(nil) // lends its certificate
	lender.StartTLS()
	defer lender.Close()
	r := run(t, &service{whoami: func(context.Context, vault.Call) (*api.Whoami, error) { return &api.Whoami{}, nil }},
		&tls.Config{Certificates: lender.TLS.Certificates, MinVersion: tls.VersionTLS13})
	roots := x509.NewCertPool()
	roots.AddCert(lender.Certificate())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.Replace(r.url, "http://", "https://", 1)+"/v1/whoami", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+goodToken)
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.StatusCode != http.StatusOK || resp.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("%s %d", resp.Proto, resp.StatusCode)
	}
	transport.CloseIdleConnections()
	if err := r.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	<-r.served
}

func TestOps(t *testing.T) {
	readiness := api.Readiness{Ready: true, Degraded: []string{"keys"}}
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") })
	url := serveHandler(t, httpapi.Ops(func(context.Context) api.Readiness { return readiness }, metrics))
	if a := send(t, http.MethodGet, url+"/healthz", nil); a.StatusCode != 200 || a.body != `{"alive":true}` {
		t.Errorf("healthz: %d %s", a.StatusCode, a.body)
	}
	if a := send(t, http.MethodGet, url+"/readyz", nil); a.StatusCode != 200 || a.body != `{"ready":true,"degraded":["keys"]}` {
		t.Errorf("readyz: %d %s", a.StatusCode, a.body)
	}
	readiness = api.Readiness{Degraded: []string{"store"}}
	if a := send(t, http.MethodGet, url+"/readyz", nil); a.StatusCode != 503 || a.body != `{"ready":false,"degraded":["store"]}` {
		t.Errorf("readyz: %d %s", a.StatusCode, a.body)
	}
	if a := send(t, http.MethodGet, url+"/metrics", nil); a.body != "up 1\n" {
		t.Errorf("metrics: %s", a.body)
	}
	if a := send(t, http.MethodPost, url+"/readyz", nil); a.StatusCode != 405 {
		t.Errorf("POST readyz: %d", a.StatusCode)
	}
}
