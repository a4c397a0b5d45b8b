package httpapi_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/httpapi"
)

// statuses are the codes and what each is over HTTP.
var statuses = map[fault.Code]int{
	fault.Invalid: 400, fault.Unauthenticated: 401, fault.Denied: 403, fault.NotFound: 404, fault.Conflict: 409,
	fault.Held: 409, fault.Erased: 410, fault.TooLarge: 413, fault.Unsupported: 415, fault.Unprocessable: 422,
	fault.Blocked: 423, fault.Limited: 429, fault.Internal: 500, fault.Unavailable: 503, fault.InsufficientStorage: 507,
}

func TestEveryCodeIsOneStatus(t *testing.T) {
	var fails error
	url, log := serve(t, &service{whoami: func(context.Context, vault.Call) (*api.Whoami, error) { return nil, fails }})
	for code, status := range statuses {
		fails = fmt.Errorf("reading: %w", fault.Wrap(code, errors.New("disk 7 of node 3"), "a sentence"))
		a := send(t, http.MethodGet, url+"/v1/whoami", nil)
		p := a.problem(t)
		if a.StatusCode != status || p.Status != status || p.Code != code || p.Type != "urn:sandyq:problem:"+string(code) || p.Title == "" {
			t.Errorf("%s: %d, %+v", code, a.StatusCode, p)
		}
		if p.RequestID == "" || p.RequestID != a.Header.Get("Sandyq-Request-Id") {
			t.Errorf("%s: request id %q in the problem, %q in the header", code, p.RequestID, a.Header.Get("Sandyq-Request-Id"))
		}
		if strings.Contains(a.body, "disk") {
			t.Errorf("%s: the cause is on the wire", code)
		}
		if got := a.Header.Get("Retry-After"); (got != "") != (status == 429 || status == 503) {
			t.Errorf("%s: Retry-After %q", code, got)
		}
		if got := a.Header.Get("WWW-Authenticate"); (got == "Bearer") != (status == 401) {
			t.Errorf("%s: WWW-Authenticate %q", code, got)
		}
	}
	if n := strings.Count(log.String(), "disk 7 of node 3"); n != len(statuses) {
		t.Errorf("%d causes in the log, want %d", n, len(statuses))
	}

	fails = errors.New("nobody gave me a code")
	if p := send(t, http.MethodGet, url+"/v1/whoami", nil).problem(t); p.Code != fault.Internal || p.Detail != "" {
		t.Errorf("without a code: %+v", p)
	}
	fails = &fault.Error{Code: "invented", Detail: "secret"}
	if p := send(t, http.MethodGet, url+"/v1/whoami", nil).problem(t); p.Code != fault.Internal || p.Detail != "" {
		t.Errorf("with a code that does not exist: %+v", p)
	}
	fails = &fault.Error{Code: fault.Limited, RetryAfter: 1500 * time.Millisecond}
	if got := send(t, http.MethodGet, url+"/v1/whoami", nil).Header.Get("Retry-After"); got != "2" {
		t.Errorf("Retry-After %q, want 1.5 s rounded up", got)
	}
}

func TestNobodyUnknownGetsIn(t *testing.T) {
	url, _ := serve(t, &service{})
	for _, authorization := range []string{"", "Bearer", "Bearer ", "Bearer wrong", "Basic ZGV2Og==", "bearer  dev_token", "dev_token", "Bearer dev_token x"} {
		a := post(t, url+"/v1/tokenize", `{"purpose":`, "Authorization", authorization)
		if p := a.problem(t); a.StatusCode != 401 || p.Code != fault.Unauthenticated {
			t.Errorf("%q: %d", authorization, a.StatusCode)
		}
	}
}

// A body is asked for with 100 Continue, so that one who is refused has sent none.
func TestABodyIsReadOnlyOfOneWhoIsKnown(t *testing.T) {
	url, _ := serve(t, &service{})
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "POST /v1/subjects/sub_1/documents HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n")
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 401") {
		t.Errorf("got %q, %v", line, err)
	}
}

func TestEveryRouteAsksWhoItIs(t *testing.T) {
	url, _ := serve(t, &service{})
	for _, r := range httpapi.Routes() {
		if a := send(t, r.Method, url+r.Pattern, nil, "Authorization", ""); a.StatusCode != 401 {
			t.Errorf("%s %s: %d", r.Method, r.Pattern, a.StatusCode)
		}
	}
}

func TestWhatIsNotThereIsAProblem(t *testing.T) {
	url, log := serve(t, &service{})
	for _, path := range []string{"/", "/v1", "/v1/nothing", "/v1//tokenize", "/v1/tokenize/", "/v1/../v1/tokenize", "/v2/tokenize", "/" + canary} {
		if a := send(t, http.MethodPost, url+path, nil); a.problem(t).Code != fault.NotFound || a.StatusCode != 404 || a.Header.Get("Location") != "" {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
		}
	}
	a := send(t, http.MethodPut, url+"/v1/erasures/"+canary, nil)
	if p := a.problem(t); a.StatusCode != 405 || p.Status != 405 || a.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("405: %d, Allow %q, %+v", a.StatusCode, a.Header.Get("Allow"), p)
	}
	a = send(t, http.MethodPut, url+"/v1/access/tokens", nil)
	if allow := strings.Split(a.Header.Get("Allow"), ", "); !slices.Contains(allow, "POST") || !slices.Contains(allow, "GET") {
		t.Errorf("Allow %q", allow)
	}
	if strings.Contains(log.String(), canary) {
		t.Error("the log shows the path")
	}
}

func TestEveryAnswerIsSafeToCarry(t *testing.T) {
	url, _ := serve(t, &service{whoami: func(context.Context, vault.Call) (*api.Whoami, error) { return &api.Whoami{}, nil }})
	for _, path := range []string{"/v1/whoami", "/v1/nothing"} {
		h := send(t, http.MethodGet, url+path, nil).Header
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s %q", path, name, got)
			}
		}
		if h.Get("Content-Length") == "" || h.Get("Sandyq-Request-Id") == "" {
			t.Errorf("%s: headers %v", path, h)
		}
	}
}

func TestTheLogHasOneLineAndNoValues(t *testing.T) {
	url, log := serve(t, &service{block: func(_ context.Context, c vault.Call, _ string, _ *api.BlockRequest) (*api.Subject, error) {
		return nil, fault.New(fault.NotFound, "")
	}})
	a := post(t, url+"/v1/subjects/sub_"+canary+"/block", `{"kind":"dispute","reason":"`+canary+`"}`, "Idempotency-Key", canary)
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 1 {
		t.Fatalf("%d lines", len(lines))
	}
	var line struct {
		Request, Method, Route, Code, System, Role string
		Status                                     int
		Bytes                                      int64
		MS                                         *float64
	}
	if err := json.Unmarshal([]byte(lines[0]), &line, json.MatchCaseInsensitiveNames(true)); err != nil {
		t.Fatal(err)
	}
	if line.Request != a.Header.Get("Sandyq-Request-Id") || line.Method != "POST" || line.Route != "/v1/subjects/{subject}/block" ||
		line.Code != "not_found" || line.System != "crm" || line.Role != "application" || line.Status != 404 ||
		line.Bytes != int64(len(a.body)) || line.MS == nil {
		t.Errorf("line %s", lines[0])
	}
	if strings.Contains(lines[0], canary) || strings.Contains(lines[0], goodToken) {
		t.Errorf("the line shows what was sent: %s", lines[0])
	}
}

func TestAPanicIsInternalAndShowsNothing(t *testing.T) {
	for name, cause := range map[string]any{"text": "it was " + canary, "error": errors.New("it was " + canary), "runtime": nil} {
		t.Run(name, func(t *testing.T) {
			url, log := serve(t, &service{whoami: func(context.Context, vault.Call) (*api.Whoami, error) {
				if cause == nil {
					var s []int
					_ = s[len(s)]
				}
				panic(cause)
			}})
			a := send(t, http.MethodGet, url+"/v1/whoami", nil)
			if p := a.problem(t); a.StatusCode != 500 || p.Code != fault.Internal {
				t.Errorf("%d %+v", a.StatusCode, p)
			}
			if strings.Contains(a.body+log.String(), canary) {
				t.Error("the panic's value shows")
			}
			if !strings.Contains(log.String(), "Whoami") || !strings.Contains(log.String(), a.Header.Get("Sandyq-Request-Id")) {
				t.Errorf("the log does not say where: %s", log.String())
			}
		})
	}
}

func TestTheIdempotencyKeyGoesWithWhatMustBeRepeated(t *testing.T) {
	var got []vault.Call
	keep := func(c vault.Call) {
		c.Body = slices.Clone(c.Body) // the bytes are the handler's after the call
		got = append(got, c)
	}
	url, _ := serve(t, &service{
		block: func(_ context.Context, c vault.Call, _ string, _ *api.BlockRequest) (*api.Subject, error) {
			keep(c)
			return &api.Subject{}, nil
		},
		detokenize: func(_ context.Context, c vault.Call, _ *api.DetokenizeRequest) (*api.DetokenizeResponse, error) {
			keep(c)
			return &api.DetokenizeResponse{}, nil
		},
		put: func(_ context.Context, c vault.Call, _ vault.Upload) (*api.Document, error) {
			keep(c)
			return &api.Document{}, nil
		},
	})
	block := `{"kind":"dispute","reason":"r"}`
	post(t, url+"/v1/subjects/sub_1/block", block, "Idempotency-Key", "k1")
	post(t, url+"/v1/subjects/sub_2/block", block, "Idempotency-Key", "k1")
	post(t, url+"/v1/subjects/sub_2/block", block)
	post(t, url+"/v1/detokenize", `{}`, "Idempotency-Key", "k1")
	post(t, url+"/v1/subjects/sub_1/documents?kind=other", "file", "Idempotency-Key", "k1", "Content-Type", "image/png")
	if len(got) != 5 {
		t.Fatalf("%d calls", len(got))
	}
	if got[0].Key != "k1" || !strings.HasSuffix(string(got[0].Body), block) {
		t.Errorf("key %q, body %q", got[0].Key, got[0].Body)
	}
	if string(got[0].Body) == string(got[1].Body) {
		t.Error("the same body for another person passes for a retry")
	}
	if got[2].Key != "" || got[2].Body != nil || got[3].Key != "" || got[3].Body != nil {
		t.Errorf("a call without a key, or one that reads, has one: %+v", got[2:4])
	}
	if got[4].Key != "k1" || got[4].Body != nil {
		t.Errorf("an upload: key %q, body %q", got[4].Key, got[4].Body)
	}
	if got[0].RequestID == "" || got[0].RequestID == got[1].RequestID || got[0].Principal.System != "crm" {
		t.Errorf("call %+v", got[0])
	}
	for _, key := range []string{strings.Repeat("k", 256), "a b", "ключ", "a\tb"} {
		a := post(t, url+"/v1/subjects/sub_1/block", block, "Idempotency-Key", key)
		if p := a.problem(t); p.Code != fault.Invalid || p.Errors[0].Field != "Idempotency-Key" {
			t.Errorf("key %q: %+v", key, p)
		}
	}
	if len(got) != 5 {
		t.Error("a call with a bad key was made")
	}
}

func TestQueriesOfLists(t *testing.T) {
	var got api.AuditQuery
	url, _ := serve(t, &service{audit: func(_ context.Context, _ vault.Call, q api.AuditQuery) (*api.Page[api.AuditEntry], error) {
		got = q
		return &api.Page[api.AuditEntry]{Items: []api.AuditEntry{api.AuditEntry(`{"seq":1}`)}, NextCursor: "n"}, nil
	}})
	a := send(t, http.MethodGet, url+"/v1/audit/entries?subject=sub_1&actor=e-1&operation=detokenize&from=2026-11-01T00:00:00%2B05:00&to=2026-11-02T00:00:00.5Z&limit=7&cursor=c", nil)
	want := api.AuditQuery{
		Subject: "sub_1", Actor: "e-1", Operation: "detokenize", Limit: 7, Cursor: "c",
		From: time.Date(2026, 10, 31, 19, 0, 0, 0, time.UTC), To: time.Date(2026, 11, 2, 0, 0, 0, 5e8, time.UTC),
	}
	if a.StatusCode != 200 || a.body != `{"items":[{"seq":1}],"next_cursor":"n"}` || got != want {
		t.Errorf("%d %s, query %+v", a.StatusCode, a.body, got)
	}
	if send(t, http.MethodGet, url+"/v1/audit/entries", nil); got != (api.AuditQuery{Limit: api.DefaultLimit}) {
		t.Errorf("without a query: %+v", got)
	}
	for query, field := range map[string]string{
		"limit=0": "limit", "limit=1001": "limit", "limit=x": "limit", "limit=": "limit", "limit=1&limit=2": "limit",
		"from=yesterday": "from", "to=2026-11-01": "to", canary + "=1": "query", "Subject=x": "query", "a=%zz": "query", "a;b": "query",
	} {
		a := send(t, http.MethodGet, url+"/v1/audit/entries?"+query, nil)
		if p := a.problem(t); p.Code != fault.Invalid || p.Errors[0].Field != field || strings.Contains(a.body, canary) {
			t.Errorf("%s: %s", query, a.body)
		}
	}
	if p := post(t, url+"/v1/tokenize?verbose=1", `{}`).problem(t); p.Code != fault.Invalid {
		t.Errorf("a query where none is known: %+v", p)
	}
}

// TestAChangeThatWaits answers 202, and one that is in effect 200.
func TestAChangeThatWaits(t *testing.T) {
	for state, want := range map[api.ChangeState]int{api.ChangeWaiting: 202, api.ChangeEffective: 200, api.ChangeSame: 200} {
		url, _ := serve(t, &service{putPurpose: func(_ context.Context, _ vault.Call, name string, in *api.Purpose) (*api.Change, error) {
			if name != "delivery" || in.Basis != "consent" || !slices.Equal(in.Fields, []string{"phone"}) {
				t.Errorf("%s is put as %+v", name, in)
			}
			return &api.Change{Kind: "purpose", Name: name, State: state}, nil
		}})
		a := send(t, http.MethodPut, url+"/v1/purposes/delivery", strings.NewReader(`{"basis":"consent","fields":["phone"]}`))
		if a.StatusCode != want || !strings.Contains(a.body, string(state)) {
			t.Errorf("%s: %d %s, want %d", state, a.StatusCode, a.body, want)
		}
		for _, body := range []string{`{"basis":"consent","feilds":[]}`, `{"titles":null}`, `{"retention":{"years":"1"}}`, `{"titles":{"kk":"а","kk":"б"}}`, `[]`, ``} {
			if p := send(t, http.MethodPut, url+"/v1/purposes/delivery", strings.NewReader(body)).problem(t); p.Code != fault.Invalid {
				t.Errorf("%s: %+v", body, p)
			}
		}
	}
}

func TestTheObserverHearsOfEveryRequest(t *testing.T) {
	type seen struct {
		operation string
		status    int
	}
	heard := make(chan seen, 3)
	url, _ := serveConfig(t, httpapi.Config{
		Services: []httpapi.Service{&service{whoami: func(context.Context, vault.Call) (*api.Whoami, error) { return &api.Whoami{}, nil }}},
		Observe:  func(operation string, status int, _ time.Duration) { heard <- seen{operation, status} },
	})
	send(t, http.MethodGet, url+"/v1/whoami", nil)
	send(t, http.MethodGet, url+"/v1/whoami", nil, "Authorization", "")
	send(t, http.MethodGet, url+"/v1/nothing", nil)
	for _, want := range []seen{{"whoami", 200}, {"whoami", 401}, {"", 404}} {
		if got := <-heard; got != want {
			t.Errorf("heard %v, want %v", got, want)
		}
	}
}

func TestARequestThatEndsEarlyIsNoDefectOfOurs(t *testing.T) {
	heard := make(chan int, 1)
	began := make(chan struct{})
	url, _ := serveConfig(t, httpapi.Config{
		Services: []httpapi.Service{&service{whoami: func(ctx context.Context, _ vault.Call) (*api.Whoami, error) {
			close(began)
			<-ctx.Done()
			return nil, fmt.Errorf("asking the store: %w", ctx.Err())
		}}},
		Observe: func(_ string, status int, _ time.Duration) { heard <- status },
	})
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v1/whoami", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+goodToken)
	go func() {
		<-began
		cancel()
	}()
	if resp, err := http.DefaultClient.Do(req); err == nil {
		resp.Body.Close()
		t.Error("an answer")
	}
	if status := <-heard; status != http.StatusServiceUnavailable {
		t.Errorf("observed as %d", status)
	}
}

// raw sends text on a connection of its own and returns the answer up to its end.
func raw(t *testing.T, url, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(clock.System().Add(10 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Errorf("send: %v", err)
	}
	b, err := io.ReadAll(conn)
	if err != nil {
		t.Errorf("after %q: %v", b, err)
	}
	return string(b)
}

func TestABodyThatCannotBeIsNotWaitedFor(t *testing.T) {
	url, _ := serve(t, &service{})
	for _, line := range []string{"GET /v1/content/h", "HEAD /v1/content/h", "GET /v1/whoami", "DELETE /v1/access/tokens/a"} {
		for _, length := range []string{"Content-Length: 10", "Transfer-Encoding: chunked"} {
			got := raw(t, url, line+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+goodToken+"\r\n"+length+"\r\n\r\n")
			if !strings.HasPrefix(got, "HTTP/1.1 400") {
				t.Errorf("%s with a body that never comes: %q", line, got)
			}
		}
	}
}

// A client that listens only when it has sent everything learns why it was refused.
func TestARefusalReachesWhoeverSendsFirst(t *testing.T) {
	url, _ := serve(t, &service{put: func(context.Context, vault.Call, vault.Upload) (*api.Document, error) {
		return nil, fault.New(fault.Unsupported, "this is no scan")
	}})
	const size = 48 << 20 // more than the sockets between the two hold
	body := strings.Repeat("x", size)
	for line, want := range map[string]string{
		"POST /v1/tokenize": "415", "POST /v1/subjects/sub_1/documents": "415", "PUT /v1/tokenize": "405", "POST /v1/nowhere": "404",
	} {
		got := raw(t, url, fmt.Sprintf("%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %s\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n%s",
			line, goodToken, size, body))
		if !strings.HasPrefix(got, "HTTP/1.1 "+want) {
			t.Errorf("%s: %q, want %s", line, got, want)
		}
	}
}

func TestTheLogDoesNotQuoteAMalformedBody(t *testing.T) {
	url, log := serve(t, &service{put: func(_ context.Context, _ vault.Call, up vault.Upload) (*api.Document, error) {
		_, err := io.Copy(io.Discard, up.Body)
		return nil, err
	}})
	for _, path := range []string{"/v1/tokenize", "/v1/subjects/sub_1/documents"} {
		got := raw(t, url, "POST "+path+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+goodToken+
			"\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nIvanov 850312113646\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 400") || strings.Contains(got+log.String(), "850312113646") {
			t.Errorf("%s: %q, log %s", path, got, log)
		}
	}
}
