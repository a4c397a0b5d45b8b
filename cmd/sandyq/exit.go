package main

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
)

// The exit codes; see the package comment.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitPartly = 3
)

// usageError is a command line that cannot be understood.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// usagef makes the error of a command line that asks for what cannot be.
func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// partlyError is a batch of which some items failed. The items' own errors were reported with the result.
type partlyError struct{ failed, of int }

func (e partlyError) Error() string { return fmt.Sprintf("%d of %d failed", e.failed, e.of) }

// partly is nil when nothing failed, and an ordinary failure when everything did.
func partly(failed, of int) error {
	switch failed {
	case 0:
		return nil
	case of:
		return fmt.Errorf("all %d failed", of)
	}
	return partlyError{failed, of}
}

// hintedError says beside what went wrong what to do about it.
type hintedError struct {
	error
	hint string
}

func (e hintedError) Unwrap() error { return e.error }

// hinted adds what the reader may do to err, which is not nil.
func hinted(err error, format string, args ...any) error {
	return hintedError{err, fmt.Sprintf(format, args...)}
}

// report tells the user of err and gives the exit code.
func (e *env) report(err error) int {
	if err == nil {
		return exitDone
	}
	hint := ""
	if h, ok := errors.AsType[hintedError](err); ok {
		hint = h.hint
	} else if !e.started {
		hint = "see `sandyq --help`, or that of the command"
	}
	if e.json {
		e.reportJSON(err, hint)
	} else {
		e.tell("sandyq: error: %v\n", err)
		if hint != "" {
			e.tell("sandyq: hint: %s\n", hint)
		}
	}
	if _, ok := errors.AsType[usageError](err); ok || !e.started {
		return exitUsage
	}
	if _, ok := errors.AsType[partlyError](err); ok {
		return exitPartly
	}
	return exitFailed
}

func (e *env) reportJSON(err error, hint string) {
	b, failed := json.Marshal(struct {
		Error string `json:"error"`
		Hint  string `json:"hint,omitempty"`
	}{err.Error(), hint})
	if failed != nil {
		e.tell("sandyq: error: %v\n", err)
		return
	}
	e.tell("%s\n", b)
}
