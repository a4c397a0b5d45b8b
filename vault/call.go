package vault

import "github.com/sandyq/sandyq/access"

// Call is who calls, and how: what every operation needs beside its request.
type Call struct {
	Principal access.Principal
	RequestID string // random, for the log and the audit entry

	// Key is the Idempotency-Key of a call that changes something, or empty. Body is what the retry must repeat: the raw
	// bytes of the request, or for an upload whatever names it.
	Key  string
	Body []byte

	// Set at the door of every operation, see underRules.
	rules *rules // that the call is decided by
	bill  *bill  // what it has been charged
}
