package httpapi

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/vault/api"
)

// Values of headers that answers share; net/http reads and never changes them.
var (
	typeJSON    = []string{"application/json"}
	typeProblem = []string{"application/problem+json"}
	noStore     = []string{"no-store"}
	noSniff     = []string{"nosniff"}
	noReferrer  = []string{"no-referrer"}
	noContent   = []string{"default-src 'none'; frame-ancestors 'none'; sandbox"}
	overTLS     = []string{"max-age=31536000"}
)

// buffers holds bodies, read and to be written.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxPooled bounds the buffers that are kept: larger ones are rare and would stay large.
const maxPooled = 64 << 10

// release gives a buffer back, emptied of whatever personal data it held.
func release(b *bytes.Buffer) {
	b.Reset()
	clear(b.AvailableBuffer()[:b.Cap()])
	if b.Cap() <= maxPooled {
		buffers.Put(b)
	}
}

// answer sends out as the route's success, or returns err for refuse.
func (x *exchange) answer(out any, err error) error {
	if err != nil {
		return err
	}
	status := x.route.Status
	if change, ok := out.(*api.Change); ok && x.route.Waits && change.State == api.ChangeWaiting {
		status = http.StatusAccepted
	}
	x.guard(x.lapsed)
	return x.write(status, typeJSON, out)
}

// deterministic gives one text for one answer: a retry gets the same bytes.
var deterministic = json.Deterministic(true)

// write encodes out and sends it in one write. It fails only before anything is sent.
func (x *exchange) write(status int, contentType []string, out any) error {
	b := buffers.Get().(*bytes.Buffer)
	defer release(b)
	if err := json.MarshalWrite(b, out, deterministic); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	h := x.Header()
	h["Content-Type"] = contentType
	h["Content-Length"] = []string{strconv.Itoa(b.Len())}
	x.ours = true
	x.WriteHeader(status)
	_, _ = x.Write(b.Bytes()) // a client that is gone misses its answer; there is nobody else to tell
	return nil
}

// WriteHeader sends the status, unless it is an error page or a redirect of somebody else's.
func (x *exchange) WriteHeader(status int) {
	switch {
	case status < 200:
		x.ResponseWriter.WriteHeader(status)
	case !x.ours && status >= 300 && status != http.StatusNotModified:
		x.foreign = status
	case x.status == 0:
		x.status = status
		x.ResponseWriter.WriteHeader(status)
	}
}

// Write sends p, unless it belongs to a page that WriteHeader swallowed.
func (x *exchange) Write(p []byte) (int, error) {
	if x.foreign != 0 {
		return len(p), nil
	}
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	n, err := x.ResponseWriter.Write(p)
	x.bytes += int64(n)
	return n, err
}
