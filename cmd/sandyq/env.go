package main

import (
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
)

// env is what every command is given: where it reads and writes, and what the flags of all commands said.
type env struct {
	in       io.Reader
	out, err io.Writer

	json      bool  // --json: answer in JSON, one value a line
	hardening error // why the process could not be hardened, or nil; what holds keys says so
	started   bool  // the command line was understood and the command runs
}

// answer writes a command's result: v in JSON with --json, otherwise what text writes.
func (e *env) answer(v any, text func(w io.Writer) error) error {
	if !e.json {
		return text(e.out)
	}
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	_, err = e.out.Write(append(b, '\n'))
	return err
}

// tell writes to standard error. When nobody reads that there is nobody to tell.
func (e *env) tell(format string, args ...any) { _, _ = fmt.Fprintf(e.err, format, args...) }
