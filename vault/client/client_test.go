package client_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "sdqt_a_very_secret_token"

// seen is a request as the far side saw it.
type seen struct {
	line, authorization, key, contentType, body string
}

// wire answers requests in the order of its script and keeps what it saw. It is a RoundTripper, so that time in a
// synctest bubble stands still while nothing happens.
type wire struct {
	mu     sync.Mutex
	seen   []seen
	script []func() (*http.Response, error)
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := seen{
		line: r.Method + " " + r.URL.RequestURI(), authorization: r.Header.Get("Authorization"),
		key: r.Header.Get("Idempotency-Key"), contentType: r.Header.Get("Content-Type"),
	}
	if r.Body != nil {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body.Close()
		s.body = string(b)
	}
	w.seen = append(w.seen, s)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	next := w.script[0]
	w.script = w.script[1:]
	return next()
}

func (w *wire) client(t *testing.T, opts ...client.Option) *client.Client {
	t.Helper()
	c, err := client.New("http://vault.example/", token, append(opts, client.WithTransport(w))...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func reply(status int, body string, header ...string) func() (*http.Response, error) {
	return func() (*http.Response, error) {
		h := http.Header{"Content-Type": {"application/json"}}
		if status >= 400 {
			h.Set("Content-Type", "application/problem+json")
		}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

func cutReply() (*http.Response, error) {
	body := io.MultiReader(strings.NewReader(`{"results":[`), failing{})
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(body)}, nil
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func noConnection() (*http.Response, error) { return nil, errors.New("connection refused") }

const away = `{"code":"unavailable","status":503}`

func TestAProblemIsTheSameFaultOnThisSide(t *testing.T) {
	for _, code := range []fault.Code{
		fault.Invalid, fault.Unauthenticated, fault.Denied, fault.NotFound, fault.Conflict, fault.Held, fault.Erased,
		fault.TooLarge, fault.Unsupported, fault.Unprocessable, fault.Blocked, fault.Limited, fault.Internal,
		fault.InsufficientStorage,
	} {
		w := &wire{script: []func() (*http.Response, error){
			reply(400, `{"code":"`+string(code)+`","detail":"a sentence","errors":[{"field":"iin","rule":"12 digits"}],"new_member":1}`,
				"Retry-After", "7", "Sandyq-Request-Id", "req_1"),
		}}
		_, err := w.client(t, client.WithAttempts(1)).Whoami(t.Context())
		e, ok := errors.AsType[*fault.Error](err)
		if !ok || !errors.Is(err, code) || e.RetryAfter != 7*time.Second || e.Detail != "a sentence" || len(e.Fields) != 1 || e.Fields[0].Rule != "12 digits" {
			t.Errorf("%s: %v", code, err)
		}
		if !strings.Contains(err.Error(), "whoami") || !strings.Contains(err.Error(), "req_1") {
			t.Errorf("the text names neither operation nor request: %v", err)
		}
	}
}

func TestAnAnswerThatIsNoProblemHasTheNearestCode(t *testing.T) {
	for status, code := range map[int]fault.Code{
		302: fault.Internal, 401: fault.Unauthenticated, 404: fault.NotFound, 418: fault.Internal, 500: fault.Internal,
		502: fault.Unavailable, 504: fault.Unavailable,
	} {
		w := &wire{script: []func() (*http.Response, error){reply(status, "<html>", "Content-Type", "text/html", "Location", "http://elsewhere.example/")}}
		_, err := w.client(t, client.WithAttempts(1)).Whoami(t.Context())
		if !errors.Is(err, code) || len(w.seen) != 1 {
			t.Errorf("%d: %v after %d requests", status, err, len(w.seen))
		}
	}
}

func TestAnItemsErrorIsAFault(t *testing.T) {
	var none *api.ItemError
	if none.Err() != nil {
		t.Error("no error is one")
	}
	item := &api.ItemError{Code: fault.Blocked, Detail: "d"}
	if err := item.Err(); !errors.Is(err, fault.Blocked) || errors.Is(err, fault.Erased) {
		t.Errorf("got %v", err)
	}
}

func TestACallThatChangesSomethingIsRepeatedUnderOneKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{script: []func() (*http.Response, error){
			noConnection,
			reply(503, away, "Retry-After", "3"),
			reply(409, `{"code":"conflict"}`, "Retry-After", "1"), // the first attempt is still in flight
			reply(200, `{"results":[]}`),
		}}
		began := clock.System()
		if _, err := w.client(t).Tokenize(t.Context(), &api.TokenizeRequest{Purpose: "contract"}); err != nil {
			t.Fatal(err)
		}
		if took := clock.System().Sub(began); took < 4*time.Second || took > 5*time.Second {
			t.Errorf("took %v, was told to wait for 3 s and 1 s", took)
		}
		if len(w.seen) != 4 || w.seen[0].key == "" || w.seen[0].body == "" {
			t.Fatalf("seen %+v", w.seen)
		}
		for _, s := range w.seen[1:] {
			if s != w.seen[0] {
				t.Errorf("an attempt differs from the first: %+v", s)
			}
		}
	})
}

func TestAnAnswerThatIsCutIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{script: []func() (*http.Response, error){cutReply, reply(200, `{"results":[{"token":"x","revoked":true}]}`)}}
		out, err := w.client(t).RevokeTokens(t.Context(), "x")
		if err != nil || len(out.Results) != 1 || w.seen[0] != w.seen[1] || w.seen[0].key == "" {
			t.Errorf("%v, %v, %+v", out, err, w.seen)
		}
	})
}

func TestCallsHaveKeysOfTheirOwn(t *testing.T) {
	done := reply(200, `{}`)
	w := &wire{script: []func() (*http.Response, error){done, done, done, done, done}}
	c := w.client(t)
	block := &api.BlockRequest{Kind: "dispute", Reason: "r"}
	for _, ctx := range []context.Context{t.Context(), t.Context(), client.WithKey(t.Context(), "mine")} {
		if _, err := c.Block(ctx, "sub_1", block); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Detokenize(client.WithKey(t.Context(), "mine"), &api.DetokenizeRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Subject(t.Context(), "../../x"); err != nil {
		t.Fatal(err)
	}
	if w.seen[0].key == w.seen[1].key || w.seen[2].key != "mine" || w.seen[3].key != "" {
		t.Errorf("keys %+v", w.seen)
	}
	if w.seen[4].line != "GET /v1/subjects/..%2F..%2Fx" {
		t.Errorf("an id leaves its segment: %s", w.seen[4].line)
	}
}

// TestTheSameRequestIsTheSameBytes: a program that makes a call again under its own key builds the request anew, and the vault takes other
// bytes for another request.
func TestTheSameRequestIsTheSameBytes(t *testing.T) {
	const calls = 20
	w := &wire{}
	for range calls {
		w.script = append(w.script, reply(200, `{}`))
	}
	c := w.client(t)
	for range calls {
		fields := map[string]api.OneOrMany[api.Value]{}
		for _, name := range []string{"iin", "family_name", "given_name", "phone", "document_number"} {
			fields[name] = api.One(api.Text(name))
		}
		req := &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{{Fields: fields}}}
		if _, err := c.Tokenize(client.WithKey(t.Context(), "mine"), req); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range w.seen {
		if s.body != w.seen[0].body {
			t.Fatalf("one request was sent as %s and as %s", w.seen[0].body, s.body)
		}
	}
}

func TestWhatIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{script: []func() (*http.Response, error){reply(503, away)}}
		if _, err := w.client(t).CreateServiceToken(t.Context(), &api.CreateServiceTokenRequest{}); !errors.Is(err, fault.Unavailable) || len(w.seen) != 1 {
			t.Errorf("a service token: %v, %d attempts", err, len(w.seen))
		}
		w = &wire{script: []func() (*http.Response, error){reply(409, `{"code":"conflict"}`)}}
		if _, err := w.client(t).Tokenize(t.Context(), &api.TokenizeRequest{}); !errors.Is(err, fault.Conflict) || len(w.seen) != 1 {
			t.Errorf("a conflict: %v, %d attempts", err, len(w.seen))
		}
		down := reply(503, away, "Retry-After", "1")
		w = &wire{script: []func() (*http.Response, error){down, down, down, down, down}}
		if _, err := w.client(t).Fields(t.Context()); !errors.Is(err, fault.Unavailable) || len(w.seen) != 4 {
			t.Errorf("after the last attempt: %v, %d attempts", err, len(w.seen))
		}
	})
}

func TestTheContextBoundsTheWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		w := &wire{script: []func() (*http.Response, error){reply(503, away, "Retry-After", "60")}}
		began := clock.System()
		if _, err := w.client(t).Whoami(ctx); !errors.Is(err, fault.Unavailable) || clock.System().Sub(began) > time.Second {
			t.Errorf("%v after %v: it should not wait for what cannot come in time", err, clock.System().Sub(began))
		}
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(2*time.Second, stop)
		w = &wire{script: []func() (*http.Response, error){reply(503, away, "Retry-After", "60")}}
		began = clock.System()
		if _, err := w.client(t).Whoami(ctx); !errors.Is(err, fault.Unavailable) || clock.System().Sub(began) != 2*time.Second {
			t.Errorf("%v after %v", err, clock.System().Sub(began))
		}
	})
}

// stream is a file that cannot go back.
type stream struct{ io.Reader }

func TestAnUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := client.Upload{Kind: "passport", Side: "page", MediaType: "image/png", Purpose: "contract", Capture: "digital"}
		sum := sha256.Sum256([]byte("file"))
		created := reply(201, fmt.Sprintf(`{"document":"doc_1","size":4,"sha256":"%x"}`, sum))

		w := &wire{script: []func() (*http.Response, error){noConnection, created}}
		file := bytes.NewReader([]byte("--file"))
		_, _ = file.Seek(2, io.SeekStart)
		d, err := w.client(t).UploadDocument(t.Context(), "sub_1", up, file)
		if err != nil || d.Document != "doc_1" {
			t.Fatalf("%+v, %v", d, err)
		}
		want := seen{"POST /v1/subjects/sub_1/documents?kind=passport&side=page", "Bearer " + token, w.seen[0].key, "image/png", "file"}
		if !slices.Equal(w.seen, []seen{want, want}) || want.key == "" {
			t.Errorf("seen %+v", w.seen)
		}

		w = &wire{script: []func() (*http.Response, error){noConnection, created}}
		if _, err := w.client(t).UploadDocument(t.Context(), "sub_1", up, stream{strings.NewReader("file")}); !errors.Is(err, fault.Unavailable) || len(w.seen) != 1 {
			t.Errorf("a stream: %v, %d attempts", err, len(w.seen))
		}
	})
}

// slow is a file on slow storage that tells when it is read and sought at the same time.
type slow struct {
	*bytes.Reader
	reading atomic.Bool
	raced   atomic.Bool
}

func (s *slow) Read(p []byte) (int, error) {
	s.reading.Store(true)
	defer s.reading.Store(false)
	time.Sleep(20 * time.Millisecond)
	return s.Reader.Read(p[:min(len(p), 64<<10)])
}

// WriteTo hides the Reader's, which would give everything at once.
func (s *slow) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, struct{ io.Reader }{s}) }

func (s *slow) Seek(offset int64, whence int) (int64, error) {
	if s.reading.Load() {
		s.raced.Store(true)
	}
	return s.Reader.Seek(offset, whence)
}

// TestAnUploadAnsweredUnread has a proxy answer while the file is still being read.
func TestAnUploadAnsweredUnread(t *testing.T) {
	file := make([]byte, 1<<20)
	for i := range file {
		file[i] = byte(i >> 10)
	}
	for _, spoil := range []bool{false, true} {
		var calls atomic.Int32
		far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if calls.Add(1) == 1 {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			b, err := io.ReadAll(r.Body)
			if err != nil || !bytes.Equal(b, file) {
				t.Errorf("%d bytes arrived of %d (%v), or others", len(b), len(file), err)
			}
			if spoil {
				b = b[1:]
			}
			sum := sha256.Sum256(b)
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"document":"doc_1","sha256":"%x"}`, sum)
		}))
		c, err := client.New(far.URL, token, client.WithTransport(&http.Transport{DisableKeepAlives: true}))
		if err != nil {
			t.Fatal(err)
		}
		source := &slow{Reader: bytes.NewReader(file)}
		_, err = c.UploadDocument(t.Context(), "sub_1", client.Upload{Kind: "passport", MediaType: "image/png"}, source)
		if spoil != (err != nil) {
			t.Errorf("something else was stored: %v; the upload answers %v", spoil, err)
		}
		if source.raced.Load() {
			t.Error("the file was sought while it was read")
		}
		far.Close()
	}
}

// TestAnUploadEndsWithItsContext has a source that gives nothing more and a server that is gone.
func TestAnUploadEndsWithItsContext(t *testing.T) {
	far := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadFull(r.Body, make([]byte, 4))
		panic(http.ErrAbortHandler)
	}))
	defer far.Close()
	c, err := client.New(far.URL, token, client.WithTransport(&http.Transport{DisableKeepAlives: true}))
	if err != nil {
		t.Fatal(err)
	}
	source, in := io.Pipe()
	defer in.Close()
	go func() { _, _ = in.Write([]byte("scan")) }()
	ctx, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer stop()
	if _, err := c.UploadDocument(ctx, "sub_1", client.Upload{Kind: "passport", MediaType: "image/png"}, source); err == nil {
		t.Error("an upload without an end succeeds")
	}
}

func TestADocumentIsWhatWasStoredOrAnError(t *testing.T) {
	sum := sha256.Sum256([]byte("scan"))
	open := &api.OpenDocumentResponse{Content: "/v1/content/h", SHA256: hex.EncodeToString(sum[:])}
	read := func(answer func() (*http.Response, error)) (string, error) {
		w := &wire{script: []func() (*http.Response, error){answer}}
		r, err := w.client(t, client.WithAttempts(1)).ReadDocument(t.Context(), open)
		if err != nil {
			return "", err
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		return string(b), err
	}
	if got, err := read(reply(200, "scan")); got != "scan" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := read(reply(200, "sca")); err == nil {
		t.Error("a shorter document passes")
	}
	if _, err := read(cutReply); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a cut: %v", err)
	}
	if _, err := read(reply(410, `{"code":"erased"}`)); !errors.Is(err, fault.Erased) {
		t.Errorf("erased: %v", err)
	}
	for _, path := range []string{"", "http://elsewhere.example/v1/content/h", "/v1/content/../subjects", "/v1/contents/h"} {
		w := &wire{}
		if _, err := w.client(t).ReadDocument(t.Context(), &api.OpenDocumentResponse{Content: path}); err == nil || len(w.seen) != 0 {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestLists(t *testing.T) {
	w := &wire{script: []func() (*http.Response, error){reply(200, `{"items":[{"seq":1}],"next_cursor":"n"}`), reply(200, `{"items":[]}`)}}
	c := w.client(t)
	page, err := c.AuditEntries(t.Context(), api.AuditQuery{Subject: "sub_1", From: time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 5*3600)), Limit: 5, Cursor: "a b"})
	if err != nil || len(page.Items) != 1 || page.NextCursor != "n" {
		t.Errorf("%+v, %v", page, err)
	}
	if _, err := c.ServiceTokens(t.Context(), 0, ""); err != nil {
		t.Error(err)
	}
	if got := w.seen[0].line; got != "GET /v1/audit/entries?cursor=a+b&from=2026-01-01T22%3A04%3A05Z&limit=5&subject=sub_1" {
		t.Error(got)
	}
	if got := w.seen[1].line; got != "GET /v1/access/tokens" {
		t.Error(got)
	}
}

func TestAClientKeepsItsTokenToItself(t *testing.T) {
	w := &wire{script: []func() (*http.Response, error){noConnection}}
	c := w.client(t, client.WithAttempts(1))
	_, err := c.Subject(t.Context(), "sub_1")
	for _, text := range []string{
		fmt.Sprintf("%v %+v %#v %s %q %x %d", c, c, c, c, c, c, c), fmt.Sprintf("%v %+v", struct{ C *client.Client }{c}, []any{c}), fmt.Sprint(err),
	} {
		if strings.Contains(text, token) || strings.Contains(text, hex.EncodeToString([]byte(token))) {
			t.Errorf("it shows: %s", text)
		}
	}
	if strings.Contains(fmt.Sprint(err), "sub_1") {
		t.Errorf("the error repeats the URL: %v", err)
	}
	if _, err := client.New("http://user:pass%zz@x", token); err == nil || strings.Contains(err.Error(), "pass") {
		t.Errorf("New: %v", err)
	}
	for _, base := range []string{"", "vault.example", "ftp://vault.example", "https://u:p@vault.example", "https://vault.example?x=1"} {
		if _, err := client.New(base, token); err == nil {
			t.Errorf("%q makes a client", base)
		}
	}
}

func TestOneConnectionServesManyCalls(t *testing.T) {
	var mu sync.Mutex
	remotes := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		remotes[r.RemoteAddr] = true
		mu.Unlock()
		_, _ = io.WriteString(w, `{"system":"crm"}`)
	}))
	defer server.Close()
	c, err := client.New(server.URL, token)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 20 {
		if _, err := c.Whoami(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(remotes) != 1 {
		t.Errorf("%d connections", len(remotes))
	}
}
