package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
)

func newApplyCmd(r *remote) *cobra.Command {
	var dir string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "apply -f DIR",
		Short: "Make the configuration over the API what the files of a folder say",
		Long: `Make the configuration over the API what the files of a folder say: DIR/purposes/*.yaml, recipients/*.yaml, systems/*.yaml,
consents/*.yaml (texts) and policies/*.cedar (the whole set). What the folder does not name stays as it is; nothing is removed.

All files are checked first; when one is wrong, nothing is changed. What differs is then put: purposes, recipients, systems, texts,
policies. Changes that others have to approve wait, and their ids are printed. Applying again changes nothing.`,
		Example: `  sandyq apply -f configuration --dry-run
  sandyq apply -f configuration`,
		Args: cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
			wishes, err := readFolder(dir)
			if err != nil {
				return err
			}
			plan, err := compareAll(ctx, c, wishes)
			if err != nil {
				return err
			}
			if !dryRun {
				plan.carryOut(ctx, c)
			}
			if err := r.answerTable(plan.report(dryRun), plan.print); err != nil {
				return err
			}
			return partly(plan.failed(), len(plan))
		}),
	}
	cmd.Flags().StringVarP(&dir, "file", "f", "", "folder of the configuration")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would change")
	return requiring(cmd, "file")
}

// What is planned of an object.
const (
	stepSame   = "same"
	stepCreate = "create"
	stepChange = "change"
)

// planned is one object of a folder, held against what the vault has.
type planned struct {
	wish
	plan    string
	version int // that it was held against; 0: of none, or of what has no versions
	differs []difference
	done    *api.Change
	err     error
}

// plan is every object of a folder, in the order in which they are put.
type plan []*planned

// compareAll holds the objects of a folder against the vault. It changes nothing.
func compareAll(ctx context.Context, c *client.Client, wishes []wish) (plan, error) {
	var all plan
	for _, w := range wishes {
		s := &planned{wish: w}
		has, err := w.get(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", w.kind, w.name, err)
		}
		s.plan, s.version, s.differs = stepChange, versionOf(has), differences(has, w.object)
		switch {
		case has == nil:
			s.plan, s.differs = stepCreate, nil
		case len(s.differs) == 0:
			s.plan = stepSame
		case ofFile(has):
			s.err = errors.New("it comes from a file of the server, or is built in, and is changed there")
		}
		all = append(all, s)
	}
	return all, nil
}

// versionOf is the version of an object that the vault has.
func versionOf(has any) int {
	switch has := has.(type) {
	case *api.Purpose:
		return has.Version
	case *api.Recipient:
		return has.Version
	case *api.System:
		return has.Version
	case *api.Policies:
		return has.Version
	}
	return 0
}

// ofFile reports whether the vault has an object from a file.
func ofFile(has any) bool {
	p, ok := has.(*api.Purpose)
	return ok && p.ManagedBy == api.ManagedByFile
}

// carryOut puts what differs, in order, each in place of the version that the plan was made of. What fails is tried again for as
// long as others succeed: one change may be in the way of another until it is made.
func (p plan) carryOut(ctx context.Context, c *client.Client) {
	for progress := true; progress; {
		progress = false
		for _, s := range p {
			if s.plan == stepSame || s.done != nil {
				continue
			}
			s.done, s.err = s.put(ctx, c, s.version)
			progress = progress || s.err == nil
		}
	}
}

func (p plan) failed() (n int) {
	for _, s := range p {
		if s.err != nil {
			n++
		}
	}
	return n
}

// applied is the answer of apply, with --json.
type applied struct {
	DryRun  bool            `json:"dry_run"`
	Objects []appliedObject `json:"objects"`
}

type appliedObject struct {
	Kind    string       `json:"kind"`
	Name    string       `json:"name"`
	Plan    string       `json:"plan"`
	Differs []difference `json:"differs,omitempty"`
	Done    *api.Change  `json:"done,omitempty"`
	Error   string       `json:"error,omitempty"`
}

func (p plan) report(dryRun bool) applied {
	a := applied{dryRun, []appliedObject{}}
	for _, s := range p {
		o := appliedObject{Kind: s.kind, Name: s.name, Plan: s.plan, Differs: s.differs, Done: s.done}
		if s.err != nil {
			o.Error = s.err.Error()
		}
		a.Objects = append(a.Objects, o)
	}
	return a
}

func (p plan) print(t table) {
	t.row("PLAN", "KIND", "NAME", "OUTCOME")
	for _, s := range p {
		outcome := " "
		switch {
		case s.err != nil:
			outcome = "error: " + s.err.Error()
		case s.done != nil && s.done.State == api.ChangeWaiting:
			outcome = fmt.Sprintf("waits for %d approvals: %s", s.done.ApprovalsNeeded, s.done.Change)
		case s.done != nil:
			outcome = string(s.done.State)
		}
		t.row(s.plan, s.kind, s.name, outcome)
		for _, d := range s.differs {
			t.row(" ", " ", "  "+d.Member, d.text())
		}
	}
}
