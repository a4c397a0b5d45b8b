package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
)

func newApprovalsCmd(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:   "approvals",
		Short: "List what waits for somebody's word",
		Long: `List what waits for somebody's word: erasures to be approved, emergencies to be reviewed. What it is about is shown by its own
command, such as erasure show.`,
		Example: `  sandyq approvals`,
		Args:    cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
			all, err := everyPage(func(cursor string) (*api.Page[api.Waiting], error) {
				return c.Waiting(ctx, api.MaxLimit, cursor)
			})
			if err != nil {
				return err
			}
			return r.answerTable(api.Page[api.Waiting]{Items: all}, func(t table) {
				t.row("ID", "KIND", "REQUESTED BY", "AT", "EXPIRES", "MISSING", "ROLES", "DIGEST")
				for _, w := range all {
					t.row(w.ID, w.Kind, w.RequestedBy, moment(w.At), moment(w.Expires), strconv.Itoa(w.Missing), strings.Join(w.Roles, ","), w.Digest)
				}
			})
		}),
	}
}

func newErasureApproveCmd(r *remote) *cobra.Command {
	var in api.ErasureApproval
	cmd := &cobra.Command{
		Use:   "approve ERASURE",
		Short: "Approve an erasure that another asked for",
		Long: `Approve an erasure that another asked for. With --digest, as erasure show tells it, the approval is of just what was shown;
anything else is refused.`,
		Example: `  sandyq erasure show era_01j2…
  sandyq erasure approve era_01j2… --digest 9f86d08…`,
		Args: cobra.ExactArgs(1),
		RunE: r.asking(func(ctx context.Context, c *client.Client, args []string) error {
			e, err := c.ApproveErasure(ctx, args[0], &in)
			if err != nil {
				return err
			}
			return r.answerErasure(e)
		}),
	}
	cmd.Flags().StringVar(&in.Digest, "digest", "", "what is approved, as erasure show tells it")
	return cmd
}
