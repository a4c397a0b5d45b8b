package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
)

// bindNote is the flag of a free text about one person.
func bindNote(flags *pflag.FlagSet, path *string) {
	flags.StringVar(path, "note", "", "file with a note, which is sealed with the person's data; - is standard input")
}

// note reads a note, if there is one.
func (r *remote) note(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return r.readText(path)
}

func newEraseCmd(r *remote) *cobra.Command {
	var in api.ErasureRequest
	var wait bool
	var patience time.Duration
	var note string
	cmd := &cobra.Command{
		Use:   "erase SUBJECT --ground GROUND --reason REASON",
		Short: "Erase a person by destroying their keys",
		Long: `Erase a person. Unless others have to approve, nobody can read anything of the person from the answer on; destroying the
keys and removing what they sealed follows, and --wait waits for it. It cannot be undone: see with --dry-run what goes.`,
		Example: `  sandyq erase sub_01j2… --ground request --reason written_request --dry-run
  sandyq erase sub_01j2… --ground request --reason written_request --wait`,
		Args: cobra.ExactArgs(1),
		RunE: r.asking(func(ctx context.Context, c *client.Client, args []string) (err error) {
			if in.Note, err = r.note(note); err != nil {
				return err
			}
			in.Subject = args[0]
			e, err := c.RequestErasure(ctx, &in)
			if err != nil {
				return err
			}
			if wait && !in.DryRun && e.ApprovalsNeeded == 0 {
				if e, err = awaitErasure(ctx, c, e.Erasure, patience); err != nil {
					return err
				}
			}
			return r.answerErasure(e)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&in.Ground, "ground", "", "request, withdrawal, purpose_reached, unlawful, court or other")
	flags.StringVar(&in.Reason, "reason", "", reasonUsage)
	flags.BoolVar(&in.DryRun, "dry-run", false, "only count what would go")
	flags.BoolVar(&wait, "wait", false, "wait until the person is erased; not for approvals")
	flags.DurationVar(&patience, "timeout", time.Minute, "how long to wait")
	bindNote(flags, &note)
	cmd.MarkFlagsMutuallyExclusive("dry-run", "wait")
	return requiring(cmd, "ground", "reason")
}

// pollEvery is how often an erasure is looked at while it is waited for.
const pollEvery = 100 * time.Millisecond

// awaitErasure waits until nothing is left to do.
func awaitErasure(ctx context.Context, c *client.Client, erasure string, patience time.Duration) (*api.Erasure, error) {
	end := time.NewTimer(patience)
	defer end.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		e, err := c.Erasure(ctx, erasure)
		if err != nil {
			return nil, err
		}
		if e.State == api.ErasureErased {
			return e, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the erasure: %w", context.Cause(ctx))
		case <-end.C:
			return nil, hinted(fmt.Errorf("the erasure is %s after %s; the vault goes on with it", e.State, patience),
				"look again with: sandyq erasure show %s", erasure)
		}
	}
}

func newErasureCmd(r *remote) *cobra.Command {
	return group("erasure", "Follow, approve and cancel erasures",
		decision(r, "show", "Show how far an erasure has come", (*client.Client).Erasure),
		newErasureApproveCmd(r),
		decision(r, "cancel", "Cancel an erasure that has not begun to destroy", (*client.Client).CancelErasure))
}

func decision(r *remote, use, short string, do func(*client.Client, context.Context, string) (*api.Erasure, error)) *cobra.Command {
	return &cobra.Command{
		Use: use + " ERASURE", Short: short, Example: `  sandyq erasure ` + use + ` era_01j2…`, Args: cobra.ExactArgs(1),
		RunE: r.asking(func(ctx context.Context, c *client.Client, args []string) error {
			e, err := do(c, ctx, args[0])
			if err != nil {
				return err
			}
			return r.answerErasure(e)
		}),
	}
}

// answerErasure shows an erasure.
func (r *remote) answerErasure(e *api.Erasure) error {
	return r.answerTable(e, func(t table) {
		if e.DryRun {
			t.row("dry run", "nothing was changed")
		} else {
			t.row("erasure", e.Erasure)
			t.row("state", string(e.State))
		}
		t.row("subject", e.Subject)
		t.row("ground", e.Ground)
		t.row("reason", e.Reason)
		t.row("approvals needed", fmt.Sprint(e.ApprovalsNeeded))
		if d := e.WillDestroy; d != nil {
			t.row("destroys", fmt.Sprintf("%d keys, %d values, %d documents of %d parts, %d tokens, %d index entries",
				d.Keys, d.Fields, d.Documents, d.Parts, d.Tokens, d.IndexEntries))
		}
		if e.Digest != "" {
			t.row("digest", e.Digest)
		}
		for _, a := range e.Approvals {
			t.row("approved by", a.BySystem, strings.Join(a.Roles, ","), moment(a.At))
		}
		for _, k := range e.Kept {
			t.row("kept", k.Citation, moment(k.Until))
		}
		for _, step := range []struct {
			name string
			at   time.Time
		}{{"requested", e.RequestedAt}, {"expires", e.ExpiresAt}, {"unreadable", e.ErasingAt}, {"keys destroyed", e.KeyDestroyedAt}, {"erased", e.ErasedAt}, {"gone from the store", e.RemovedAt}} {
			if !step.at.IsZero() {
				t.row(step.name, moment(step.at))
			}
		}
	})
}
