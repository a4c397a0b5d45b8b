// Sandyq is an encrypted personal-data vault: one program that serves, administers and demonstrates it.
//
// main is thin. A command is a file and a function new…Cmd(*env) that root.go registers. Everything that runs a vault in
// this process (serve, init, demo, doctor, promote) is built from a configuration in wiring.go; the client commands reach
// a running one over the API.
//
// # Exit codes
//
//	0  done
//	1  failed
//	2  usage: the command line could not be understood, and nothing was done
//	3  partly failed: some items of a batch were refused
//
// Results go to standard output, one JSON value each with --json; errors and logs go to standard error.
package main

import (
	"context"
	"os"

	"github.com/sandyq/sandyq/crypto/keyring"
)

func main() {
	e := &env{in: os.Stdin, out: os.Stdout, err: os.Stderr, hardening: keyring.Harden()}
	os.Exit(run(context.Background(), e, os.Args[1:]))
}
