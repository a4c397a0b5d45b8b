package api

// LogKeys is who signs for the transparency log. Whoever holds one key of the log as text finds today's by the successions.
type LogKeys struct {
	Keys        []string `json:"keys"`        // that sign now, the newest first, as c2sp.org/signed-note writes keys
	Successions []string `json:"successions"` // every one there was, in order, each a signed note of the key before
}
