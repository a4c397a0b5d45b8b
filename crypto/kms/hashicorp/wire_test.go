package hashicorp_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// wire stands between a provider and the real server and does harm to what passes.
type wire struct {
	*httptest.Server
	harm atomic.Pointer[harm]
	sees func(*http.Request) // each request, before anything; nil: nobody looks. Set before there are any
}

// harm meets a request of a method whose path contains a text.
type harm struct {
	method, path string
	times        atomic.Int64 // left to do
	do           func(w http.ResponseWriter, forward func() *http.Response)
}

func newWire(t *testing.T, p *place) *wire {
	t.Helper()
	target := p.config.Address
	transport := &http.Transport{DisableKeepAlives: true}
	w := &wire{}
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.sees != nil {
			w.sees(r)
		}
		body, _ := io.ReadAll(r.Body)
		forward := func() *http.Response {
			// Not r's context: the server does its work although the caller has gone.
			request, err := http.NewRequest(r.Method, target+r.URL.RequestURI(), bytes.NewReader(body)) //nolint:noctx // see above
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			request.Header = r.Header
			response, err := transport.RoundTrip(request)
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			return response
		}
		if h := w.harm.Load(); h != nil && r.Method == h.method && strings.Contains(r.URL.Path, h.path) && h.times.Add(-1) >= 0 {
			h.do(rw, forward)
			return
		}
		pass(rw, forward())
	}))
	t.Cleanup(w.Close)
	p.config.Address = w.URL
	return w
}

func pass(w http.ResponseWriter, response *http.Response) {
	defer func() { _ = response.Body.Close() }()
	for _, name := range []string{"Content-Type", "Retry-After"} {
		w.Header()[name] = response.Header[name]
	}
	w.WriteHeader(response.StatusCode)
	_, _ = io.Copy(w, response.Body)
}

// loseAnswer lets the server do its work and cuts the connection instead of answering.
func loseAnswer(_ http.ResponseWriter, forward func() *http.Response) {
	_ = forward().Body.Close()
	panic(http.ErrAbortHandler)
}

// cutAnswer answers half.
func cutAnswer(w http.ResponseWriter, forward func() *http.Response) {
	response := forward()
	defer func() { _ = response.Body.Close() }()
	b, _ := io.ReadAll(response.Body)
	w.Header().Set("Content-Length", "10000")
	w.WriteHeader(response.StatusCode)
	_, _ = w.Write(b[:len(b)/2])
	panic(http.ErrAbortHandler)
}

// answer answers in the server's place.
func answer(status int, body string, header ...string) func(http.ResponseWriter, func() *http.Response) {
	return func(w http.ResponseWriter, _ func() *http.Response) {
		if len(header) == 2 {
			w.Header().Set(header[0], header[1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func (w *wire) does(method, path string, times int64, do func(http.ResponseWriter, func() *http.Response)) {
	h := &harm{method: method, path: path, do: do}
	h.times.Store(times)
	w.harm.Store(h)
}

// counts counts the requests whose path contains a text.
func (w *wire) counts(path string) *atomic.Int64 {
	var n atomic.Int64
	w.sees = func(r *http.Request) {
		if strings.Contains(r.URL.Path, path) {
			n.Add(1)
		}
	}
	return &n
}

const always = 1 << 40
