package api

// ConfirmSnapshotRequest is the body of POST /v1/keys/snapshot: a snapshot of the key provider was taken whole and is kept.
type ConfirmSnapshotRequest struct {
	BegunAt Time `json:"begun_at"` // when it was begun: it has every key that was made before
}

// KeySnapshot is the answer of GET and POST /v1/keys/snapshot.
type KeySnapshot struct {
	Required bool `json:"required"`       // people get only keys that a snapshot contains
	Until    Time `json:"until,omitzero"` // when the latest that was confirmed was begun; absent: none was
	Ready    int  `json:"ready"`          // keys made ahead, on this node, that people may get
	Waiting  int  `json:"waiting"`        // keys made ahead, on this node, that no snapshot contains yet
}

// MissingKey is an item of the answer of GET /v1/keys/missing: a living person whom the key provider has lost keys of.
type MissingKey struct {
	Subject string   `json:"subject"`
	Slices  []string `json:"slices"` // of the person's data that cannot be read
}
