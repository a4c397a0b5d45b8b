package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// The results of a check.
const (
	fine  = "ok"
	wrong = "wrong" // something must be done
)

// finding is what one check of doctor found, and what to do about it.
type finding struct {
	Check  string `json:"check"`
	Result string `json:"result"` // ok or wrong
	Found  string `json:"found"`
	ToDo   string `json:"to_do,omitempty"`
}

// findings are those of one run, in the order of the checks.
type findings []finding

func (f *findings) add(check, result, found, toDo string) {
	*f = append(*f, finding{check, result, found, toDo})
}

// judge adds a check that either is as it should be, found says how, or failed with err.
func (f *findings) judge(check string, err error, found, toDo string) {
	if err == nil {
		f.add(check, fine, found, "")
		return
	}
	if h, ok := errors.AsType[hintedError](err); ok {
		toDo = h.hint
	}
	f.add(check, wrong, err.Error(), toDo)
}

// judgeAll is judge for a check of many things: each error is a finding of its own.
func (f *findings) judgeAll(check string, errs []error, found, toDo string) {
	broken := slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(broken) == 0 {
		f.judge(check, nil, found, toDo)
	}
	for _, err := range broken {
		f.judge(check, err, found, toDo)
	}
}

// err is the failure of the whole run: how many checks found something wrong.
func (f findings) err() error {
	count := 0
	for _, one := range f {
		if one.Result == wrong {
			count++
		}
	}
	if count == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d checks found something wrong", count, len(f))
}

// text tells the findings to people.
func (f findings) text(w io.Writer) error {
	for _, one := range f {
		if _, err := fmt.Fprintf(w, "%-6s %-14s %s\n", one.Result, one.Check, one.Found); err != nil {
			return err
		}
		if one.ToDo == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%21s → %s\n", "", one.ToDo); err != nil {
			return err
		}
	}
	return nil
}
