package hashicorp

// The bounds, for tests of load.
const (
	Calls = calls
	Lanes = lanes
)
