package webhook_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/vault/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// query stands for a secret that somebody put into an address.
const query = "/hooks/hunter2?token=hunter2"

func sender(t *testing.T, o webhook.Options, targets ...webhook.Target) *webhook.Sender {
	t.Helper()
	o.Now = func() time.Time { return noon }
	s, err := webhook.New(targets, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func to(address string) webhook.Target {
	return webhook.Target{URL: address + query, Secret: secret.New(key)}
}

// authority writes the certificate of a server where a target can name it.
func authority(t *testing.T, s *httptest.Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReceiverVerifiesWhatIsSent(t *testing.T) {
	var got atomic.Pointer[error]
	receive := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = webhook.Verify(key, r.Header, body, noon.Add(time.Second), time.Minute)
		}
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || r.RequestURI != query {
			err = fmt.Errorf("%s %s %v", r.Method, r.RequestURI, r.Header)
		}
		if id := r.Header.Get(webhook.HeaderID); id != "evt_01" || string(body) != `{"a":1}` {
			err = fmt.Errorf("event %q: %s", id, body)
		}
		got.Store(&err)
		w.WriteHeader(http.StatusNoContent)
	})
	plain, sealed := httptest.NewServer(receive), httptest.NewTLSServer(receive)
	defer plain.Close()
	defer sealed.Close()
	target := to(sealed.URL)
	target.CAFile = authority(t, sealed)
	s := sender(t, webhook.Options{}, to(plain.URL), target)
	for i := range 2 {
		got.Store(nil)
		if err := s.Send(t.Context(), i, "evt_01", []byte(`{"a":1}`)); err != nil {
			t.Fatal(err)
		}
		if err := got.Load(); err == nil || *err != nil {
			t.Fatalf("target %d received %v", i, err)
		}
	}
}

func TestReceiverOfAnotherAuthorityIsToldNothing(t *testing.T) {
	var told atomic.Bool
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { told.Store(true) }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of the handshake
	server.StartTLS()
	defer server.Close()
	s := sender(t, webhook.Options{}, to(server.URL))
	err := s.Send(t.Context(), 0, "evt_01", nil)
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok || told.Load() {
		t.Fatalf("%v, told: %v", err, told.Load())
	}
	quiet(t, err)
}

func TestAnswersOtherThanSuccess(t *testing.T) {
	var followed atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("/elsewhere", func(http.ResponseWriter, *http.Request) { followed.Store(true) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		status := 0
		_, _ = fmt.Sscan(r.Header.Get(webhook.HeaderID), &status)
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, r.URL.RawQuery)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	s := sender(t, webhook.Options{}, to(server.URL))
	for status := 200; status < 600; status++ {
		if status == http.StatusNotModified {
			continue // is about what a GET has in its cache
		}
		err := s.Send(t.Context(), 0, fmt.Sprint(status), []byte("{}"))
		got, ok := errors.AsType[webhook.Status](err)
		if (err == nil) != (status < 300) || status >= 300 && (!ok || int(got) != status) {
			t.Fatalf("status %d: %v", status, err)
		}
		quiet(t, err)
	}
	if followed.Load() {
		t.Error("a redirect was followed")
	}
}

// quiet fails the test when an error tells what an address hides, or the secret.
func quiet(t *testing.T, err error) {
	t.Helper()
	if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), string(key))) {
		t.Errorf("told too much: %v", err)
	}
}

func TestReceiverThatHangs(t *testing.T) {
	for name, before := range map[string]string{"before it answers": "", "in its headers": "HTTP/1.1 200 OK\r\nA: "} {
		t.Run(name, func(t *testing.T) {
			s := sender(t, webhook.Options{Timeout: 50 * time.Millisecond}, to(raw(t, before, true)))
			begun := time.Now()
			err := s.Send(t.Context(), 0, "evt_01", []byte("{}"))
			if took := time.Since(begun); !errors.Is(err, context.DeadlineExceeded) || took > 2*time.Second {
				t.Errorf("%v after %s", err, took)
			}
			quiet(t, err)
		})
	}
}

func TestCallerWhoGivesUp(t *testing.T) {
	s := sender(t, webhook.Options{}, to(raw(t, "", true)))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Send(ctx, 0, "evt_01", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestReceiverThatIsNoHTTPServer(t *testing.T) {
	for name, answer := range map[string]string{
		"garbage":      "\x00\x01garbage\r\n\r\n",
		"no answer":    "",
		"no status":    "HTTP/1.1 twohundred OK\r\n\r\n",
		"huge headers": "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 1<<20) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := sender(t, webhook.Options{}, to(raw(t, answer, false)))
			err := s.Send(t.Context(), 0, "evt_01", []byte("{}"))
			if err == nil {
				t.Error("took it for success")
			}
			quiet(t, err)
		})
	}
}

// The status is what counts: an endless body is not waited for, and one that breaks off is as good as any.
func TestBodyOfAnAnswerIsIgnored(t *testing.T) {
	for name, address := range map[string]string{
		"endless": raw(t, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n"+strings.Repeat("a", 8<<10), true),
		"cut":     raw(t, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", false),
	} {
		t.Run(name, func(t *testing.T) {
			s := sender(t, webhook.Options{Timeout: time.Minute}, to(address))
			begun := time.Now()
			if err := s.Send(t.Context(), 0, "evt_01", []byte("{}")); err != nil || time.Since(begun) > 30*time.Second {
				t.Errorf("%v after %s", err, time.Since(begun))
			}
		})
	}
}

// raw listens, reads a request's headers from each connection, answers with these bytes, and hangs or closes.
func raw(t *testing.T, answer string, hang bool) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, answer)
			if hang {
				_, _ = io.Copy(io.Discard, c) // until the sender gives up
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-ended })
	return "http://" + l.Addr().String()
}

func TestTargetsThatAreRefused(t *testing.T) {
	good := secret.New(key)
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]webhook.Target{
		"http to another machine": {URL: "http://hooks.example/a?hunter2", Secret: good},
		"http to a lookalike":     {URL: "http://127.0.0.1.example/hunter2", Secret: good},
		"another scheme":          {URL: "ftp://127.0.0.1/hunter2", Secret: good},
		"no host":                 {URL: "https:///hunter2", Secret: good},
		"no scheme":               {URL: "hooks.example/hunter2", Secret: good},
		"no URL":                  {URL: "https://%zz/hunter2", Secret: good},
		"a user":                  {URL: "https://hunter2@hooks.example/", Secret: good},
		"a fragment":              {URL: "https://hooks.example/#hunter2", Secret: good},
		"a short secret":          {URL: "https://hooks.example/", Secret: secret.New(key[:31])},
		"no secret":               {URL: "https://hooks.example/"},
		"no file":                 {URL: "https://hooks.example/", Secret: good, CAFile: empty + "2"},
		"no certificate":          {URL: "https://hooks.example/", Secret: good, CAFile: empty},
	} {
		s, err := webhook.New([]webhook.Target{target}, webhook.Options{Now: func() time.Time { return noon }})
		if err == nil || s != nil {
			t.Errorf("%s is taken", name)
		}
		quiet(t, err)
	}
	for _, address := range []string{"http://localhost:1/", "http://[::1]:1/", "https://hooks.example/"} {
		sender(t, webhook.Options{}, webhook.Target{URL: address, Secret: good})
	}
	if _, err := webhook.New(nil, webhook.Options{}); err == nil {
		t.Error("no clock is taken")
	}
}

func TestCallsThatMakeNoAttempt(t *testing.T) {
	var told atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { told.Store(true) }))
	defer server.Close()
	s := sender(t, webhook.Options{}, to(server.URL))
	for _, id := range []string{"", "a.b", "a\nb", "ә", strings.Repeat("a", 65)} {
		if err := s.Send(t.Context(), 0, id, nil); err == nil {
			t.Errorf("id %q is taken", id)
		}
	}
	for _, target := range []int{-1, 1} {
		if err := s.Send(t.Context(), target, "evt_01", nil); err == nil {
			t.Errorf("target %d is taken", target)
		}
	}
	if told.Load() {
		t.Error("an attempt was made")
	}
}
