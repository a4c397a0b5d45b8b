// Command independent verifies what a vault publishes of its log with other people's code: github.com/transparency-dev's
// merkle and formats and golang.org/x/mod's note. It imports nothing of the vault's, and was written from the C2SP pages and
// docs/formats.md.
//
//	independent certificate VKEY FILE      a certificate of an erasure, in JSON
//	independent log VKEY DIR [OLD]         a log that was downloaded into DIR (checkpoint, tile/…), every entry of it, and that
//	                                       it has grown from the checkpoint in the file OLD
//
// It exits with 1 and says why when anything does not verify.
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "independent:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "certificate":
		return verifyCertificate(args[1], args[2])
	case (len(args) == 3 || len(args) == 4) && args[0] == "log":
		return verifyLog(args[1], args[2], args[3:]...)
	}
	return fmt.Errorf("usage: independent certificate VKEY FILE | independent log VKEY DIR [OLD]")
}
