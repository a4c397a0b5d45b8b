//go:build !race

package cedar_test

const raceEnabled = false
