package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
)

func newDrillCmd(r *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drill",
		Short: "Erase somebody made up, and see that no backup brings them back",
		Long: `Have the vault register two people whom it makes up, back them up, erase one, verify the certificate, restore the backup
beside the vault, and see that the one who was erased can't be read or found there, and that the other can. The exit code is 1 when
any of it fails. While a drill runs, it is that one which is waited for.`,
		Example: `  sandyq drill
  sandyq drill list`,
		Args: cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
			d, err := drillToTheEnd(ctx, c)
			if err != nil {
				return err
			}
			if err := r.answer(d, func(w io.Writer) error { return writeDrill(w, d) }); err != nil {
				return err
			}
			return failedDrill(d)
		}),
	}
	cmd.AddCommand(newDrillListCmd(r))
	return cmd
}

func newDrillListCmd(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the last drills, the latest first",
		Example: `  sandyq drill list`,
		Args:    cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
			all, err := c.Drills(ctx)
			if err != nil {
				return err
			}
			return r.answerTable(all, func(t table) {
				t.row("DRILL", "STARTED", "STATE", "FAILURE")
				for _, d := range all.Items {
					t.row(d.Drill, moment(d.StartedAt), string(d.State), d.Failure)
				}
			})
		}),
	}
}

// drillToTheEnd begins a drill and waits for its end.
func drillToTheEnd(ctx context.Context, c *client.Client) (*api.Drill, error) {
	const every = 500 * time.Millisecond
	begun, err := c.RunDrill(ctx)
	if err != nil {
		return nil, err
	}
	timer := time.NewTicker(every)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-timer.C:
		}
		all, err := c.Drills(ctx)
		if err != nil {
			return nil, err
		}
		known := false
		for _, d := range all.Items {
			if d.Drill != begun.Drill {
				continue
			}
			if d.State != api.DrillRunning {
				return &d, nil
			}
			known = true
		}
		if !known {
			return nil, hinted(fmt.Errorf("the drill %s was not ended: its process fell, or was stopped", begun.Drill), "run another: it erases whom this one made")
		}
	}
}

func writeDrill(w io.Writer, d *api.Drill) error {
	for _, s := range d.Steps {
		came := "ok"
		if s.Failure != "" {
			came = "FAILED: " + s.Failure
		}
		if _, err := fmt.Fprintf(w, "%-12s %6d ms  %s\n", s.Step, s.Milliseconds, came); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%s %s in %s\n", d.Drill, d.State, d.EndedAt.Sub(d.StartedAt).Round(time.Millisecond))
	return err
}

// failedDrill is nil for a drill that passed.
func failedDrill(d *api.Drill) error {
	if d.State == api.DrillPassed {
		return nil
	}
	return hinted(fmt.Errorf("the drill has failed: %s", d.Failure), "the server's log says why; see docs/drill.md")
}
