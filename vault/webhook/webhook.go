// Package webhook tells receivers of events over HTTP, signed.
//
// An event is sent as POST of application/json with three headers:
//
//	Sandyq-Event-Id:  the event's id, 1 to 64 of A-Z a-z 0-9 _ -, the same at every attempt
//	Sandyq-Timestamp: when this attempt was made, Unix seconds in decimal
//	Sandyq-Signature: v1= and the 64 small hex digits of
//	                  HMAC-SHA256(secret, timestamp "." id "." body)
//
// Neither a timestamp nor an id holds a dot, so no two events have the same text under the MAC. A receiver checks the
// signature over the body as it came in, refuses a timestamp that is too old, and takes an id that it has seen for a
// repetition: an event may arrive several times, and in any order. [Verify] is the recipe.
//
// A [Sender] makes single attempts. Keeping events until they have arrived is its caller's, with [Backoff] between the
// attempts. An event never holds personal data; an error never holds more of an address than its host, because paths and
// queries may be secrets.
package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strconv"
	"time"
)

// The headers.
const (
	HeaderID        = "Sandyq-Event-Id"
	HeaderTimestamp = "Sandyq-Timestamp"
	HeaderSignature = "Sandyq-Signature"
)

// MinSecret is the least length of a secret in bytes.
const MinSecret = 32

// scheme begins a signature, so that another can take its place.
const scheme = "v1="

var idPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// sign is the signature of an attempt.
func sign(secret []byte, timestamp, id string, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(timestamp + "." + id + "."))
	mac.Write(body)
	return scheme + hex.EncodeToString(mac.Sum(nil))
}

// timestamp is a time as the header has it.
func timestamp(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }
