package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp"
)

// examination is what keys setup --check answers.
type examination struct {
	Findings []keysFinding `json:"findings"`
	Wrong    int           `json:"wrong"`
	Warnings int           `json:"warnings"`
}

// keysFinding is one thing that is not as it should be.
type keysFinding struct {
	Path   string `json:"path"`
	Rule   string `json:"rule"`
	Result string `json:"result"` // wrong or warning
	Found  string `json:"found"`
}

func (s *keysSetup) examine(ctx context.Context, e *env, operator hashicorp.Operator, c hashicorp.Config) error {
	var pinned kms.Sentinel
	if s.sentinel != "" {
		var err error
		if pinned, err = hashicorp.ParseSentinel(s.sentinel); err != nil {
			return usagef("--sentinel: %v", err)
		}
	}
	found, err := operator.Check(ctx, c, pinned)
	if err != nil && len(found) == 0 {
		return err // nothing was found to be as it should
	}
	x := examination{Findings: []keysFinding{}}
	for _, f := range found {
		result := wrong
		if f.Warning {
			result = "warning"
			x.Warnings++
		} else {
			x.Wrong++
		}
		x.Findings = append(x.Findings, keysFinding{f.Path, f.Rule, result, f.Found})
	}
	if err == nil && x.Wrong > 0 {
		err = hinted(fmt.Errorf("things that are wrong: %d", x.Wrong), "docs/keys.md says what each rule is for; `sandyq keys setup --dry-run` shows what it would mend")
	}
	return errors.Join(e.answer(x, x.text), err)
}

// text tells the findings to people.
func (x examination) text(w io.Writer) error {
	for _, f := range x.Findings {
		if _, err := fmt.Fprintf(w, "%-8s %-18s %s\n%28s%s\n", f.Result, f.Rule, f.Path, "", f.Found); err != nil {
			return err
		}
	}
	if len(x.Findings) > 0 {
		return nil
	}
	_, err := fmt.Fprintln(w, "everything is as it should be")
	return err
}
