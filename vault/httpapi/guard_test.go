package httpapi_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/httpapi"
)

// pair is a guarded connection of a server, and its client's end.
func pair(t *testing.T) (server, client net.Conn) {
	t.Helper()
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := httpapi.Guard(plain)
	t.Cleanup(func() { l.Close() })
	if client, err = net.Dial("tcp", plain.Addr().String()); err == nil {
		server, err = l.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return server, client
}

// A write that waits for its reader sends nothing more once it is forbidden.
func TestAWriteIsForbiddenInItsMidst(t *testing.T) {
	server, client := pair(t)
	var forbidden atomic.Bool
	httpapi.Forbid(server, forbidden.Load)
	type written struct {
		n   int
		err error
	}
	const size = 64 << 20
	done := make(chan written, 1)
	go func() {
		n, err := server.Write(make([]byte, size))
		server.Close()
		done <- written{n, err}
	}()
	select {
	case w := <-done:
		t.Fatalf("nobody read, and the write ended with %d, %v", w.n, w.err)
	case <-time.After(300 * time.Millisecond): // the sockets are full
	}
	forbidden.Store(true)
	came, err := io.Copy(io.Discard, client)
	w := <-done
	if err != nil || !errors.Is(w.err, httpapi.ErrGuarded) || int64(w.n) != came || came == 0 || came == size {
		t.Errorf("%d bytes came of %d that were written: %v, %v", came, w.n, err, w.err)
	}
}

// What nothing forbids is written whole, and deadlines and closed ends are felt.
func TestAGuardedConnectionIsOneLikeAnother(t *testing.T) {
	server, client := pair(t)
	const size = 8 << 20
	go func() {
		_, _ = server.Write(make([]byte, size))
	}()
	if n, err := io.CopyN(io.Discard, client, size); n != size || err != nil {
		t.Fatalf("%d bytes came: %v", n, err)
	}
	if err := server.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Write(make([]byte, 64<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("past its deadline: %v", err)
	}
	if err := server.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	client.Close()
	for began := time.Now(); ; {
		if _, err := server.Write(make([]byte, 1<<20)); err != nil {
			break
		}
		if time.Since(began) > 10*time.Second {
			t.Fatal("a client that is gone is written to")
		}
	}
}

// A node that lapses after a call was decided does not send the answer; a refusal it does send.
func TestALapsedNodeSendsNoAnswer(t *testing.T) {
	s := &service{}
	var refuses atomic.Bool
	s.whoami = func(context.Context, vault.Call) (*api.Whoami, error) {
		if refuses.Load() {
			return nil, fault.New(fault.Unavailable, "this node is out of touch")
		}
		s.lapses.Add(1)
		return &api.Whoami{System: "crm"}, nil
	}
	r := run(t, s, nil)
	t.Cleanup(func() { r.Shutdown(context.Background()) })
	ask := func(path string) (*http.Response, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+goodToken)
		return (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	}
	for _, path := range []string{"/v1/whoami", "/v1/audit/checkpoint"} {
		if resp, err := ask(path); err == nil {
			resp.Body.Close()
			t.Errorf("%s: it answered %d", path, resp.StatusCode)
		}
	}
	refuses.Store(true)
	resp, err := ask("/v1/whoami")
	if err != nil {
		t.Fatalf("a refusal: %v", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a refusal was answered by %d", resp.StatusCode)
	}
}

// What is being sent when the node lapses is not sent on because another exchange of its connection comes after that.
func TestALaterAnswerLetsNoEarlierOneThrough(t *testing.T) {
	lender := httptest.NewUnstartedServer(nil) // lends its certificate
	lender.StartTLS()
	defer lender.Close()
	var size atomic.Int64
	size.Store(32 << 20)
	s := &service{}
	s.whoami = func(context.Context, vault.Call) (*api.Whoami, error) {
		return &api.Whoami{System: strings.Repeat("x", int(size.Load()))}, nil
	}
	r := run(t, s, &tls.Config{Certificates: lender.TLS.Certificates, MinVersion: tls.VersionTLS13})
	t.Cleanup(func() { r.Shutdown(context.Background()) })
	roots := x509.NewCertPool()
	roots.AddCert(lender.Certificate())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	ask := func() (*http.Response, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.Replace(r.url, "http://", "https://", 1)+"/v1/whoami", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+goodToken)
		return transport.RoundTrip(req)
	}
	whole := func(resp *http.Response) bool {
		defer resp.Body.Close()
		n, err := io.Copy(io.Discard, resp.Body)
		return err == nil && n == resp.ContentLength
	}
	first, err := ask() // and its body is not read
	if err != nil || first.ProtoMajor != 2 {
		t.Fatalf("%v, %v", first, err)
	}
	s.lapses.Add(1)
	size.Store(1)
	if second, err := ask(); err == nil {
		second.Body.Close()
	}
	if whole(first) {
		t.Error("what was decided before the lapse was sent to the end")
	}
	third, err := ask()
	if err != nil || !whole(third) {
		t.Errorf("on another connection: %v", err)
	}
}
