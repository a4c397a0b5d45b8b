package api

// IndexState says whether people can be found by a value.
type IndexState string

// The states.
const (
	IndexReady      IndexState = "ready"
	IndexRotating   IndexState = "rotating"   // as ready, and entries are carried over to the epoch
	IndexRebuilding IndexState = "rebuilding" // an epoch's key is gone: nobody is found or registered by a value until it is done
)

// Index is the answer of GET /v1/index and POST /v1/index/rotate.
type Index struct {
	Epoch        int        `json:"epoch"` // of new entries; 0 before there was one
	Since        Time       `json:"since,omitzero"`
	NextRotation Time       `json:"next_rotation,omitzero"` // that begins by itself; absent: none does
	State        IndexState `json:"state"`
	EntriesMoved int        `json:"entries_moved,omitzero"` // of the rotation that runs
	EntriesLeft  int        `json:"entries_left,omitzero"`  // that could not be rebuilt: their people's keys are missing
}
