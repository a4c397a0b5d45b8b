package httpapi

import (
	"io"
	"net/http"
	"time"

	"github.com/sandyq/sandyq/vault/clock"
)

// How much of a refused body is taken in, and for how long.
const (
	drainBytes = 128 << 20
	drainTime  = 5 * time.Second
)

// body is for reading the request's body.
func (x *exchange) body() io.Reader {
	x.listening = true
	return x.r.Body
}

// drain takes in what is left of a refused request's body and drops it. Many clients send all they have before they listen: a
// connection that ends under them is reset, and they never read why. One that said it would wait (Expect) and was not told to go on listens
// already, and HTTP/2 has a way of its own to stop a sender.
func (x *exchange) drain() {
	sends := x.r.Method == http.MethodPost || x.r.Method == http.MethodPut
	if !sends || x.r.ProtoMajor != 1 || x.r.ContentLength == 0 || x.r.Header["Expect"] != nil && !x.listening {
		return
	}
	_ = x.control().SetReadDeadline(clock.System().Add(drainTime))
	_, _ = io.Copy(io.Discard, io.LimitReader(x.r.Body, drainBytes)) // whatever comes of it, the answer is the same
}
