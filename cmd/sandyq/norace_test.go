//go:build !race

package main

// raceFlags build the binary as the tests are built.
var raceFlags []string
