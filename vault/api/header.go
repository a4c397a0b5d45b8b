package api

// Headers of an upload: what names a document travels beside the file that is the body.
const (
	HeaderPurpose       = "Sandyq-Purpose"
	HeaderCapture       = "Sandyq-Capture"        // digital, photographed, scanned_from_paper
	HeaderCaptureGround = "Sandyq-Capture-Ground" // why paper was scanned
)

// HeaderIdempotencyKey names a call that changes something, so that its repetition acts once: 1 to 255 visible ASCII
// characters.
const HeaderIdempotencyKey = "Idempotency-Key"

// HeaderRequestID is on every answer; problems and the server's log name the same id.
const HeaderRequestID = "Sandyq-Request-Id"
