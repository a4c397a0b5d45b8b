package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
)

func newCanaryCmd(r *remote) *cobra.Command {
	return group("canary", "Manage people and tokens whose every use alerts", newCanaryMarkCmd(r), newCanaryListCmd(r), newCanaryRemoveCmd(r))
}

func newCanaryMarkCmd(r *remote) *cobra.Command {
	var token string
	cmd := &cobra.Command{
		Use:   "mark [SUBJECT]",
		Short: "Make a person, or one token, a canary",
		Long: `Make a person, by the vault-wide id, a canary: usually somebody who does not exist, registered like anybody else. With
--token-from, one token alone, read from a file or from standard input (-). From then on every use alerts, and
nobody is told more than of anybody else.`,
		Example: `  sandyq canary mark sub_01j2…
  sandyq canary mark --token-from bait.txt`,
		Args: cobra.MaximumNArgs(1),
		RunE: r.asking(func(ctx context.Context, c *client.Client, args []string) error {
			var in api.MarkCanaryRequest
			if len(args) == 1 {
				in.Subject = args[0]
			}
			if token != "" {
				tokens, err := r.readLines(token)
				if err != nil {
					return err
				}
				if len(tokens) != 1 {
					return usagef("one token is marked at a time")
				}
				in.Token = tokens[0]
			}
			marked, err := c.MarkCanary(ctx, &in)
			if err != nil {
				return err
			}
			return r.answer(marked, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s is a canary since %s\n", marked.ID, moment(marked.MarkedAt))
				return err
			})
		}),
	}
	cmd.Flags().StringVar(&token, "token-from", "", "file with the token, - for standard input")
	return cmd
}

func newCanaryListCmd(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the canaries",
		Example: `  sandyq canary list`,
		Args:    cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
			page, err := c.Canaries(ctx)
			if err != nil {
				return err
			}
			return r.answerTable(page, func(t table) {
				t.row("ID", "KIND", "SUBJECT", "SYSTEM", "FIELD", "MARKED", "BY")
				for _, one := range page.Items {
					t.row(one.ID, string(one.Kind), one.Subject, one.System, one.Field, moment(one.MarkedAt), one.MarkedBy)
				}
			})
		}),
	}
}

func newCanaryRemoveCmd(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:     "remove ID",
		Short:   "Make a canary like any other again",
		Example: `  sandyq canary remove cny_01j2…`,
		Args:    cobra.ExactArgs(1),
		RunE: r.asking(func(ctx context.Context, c *client.Client, args []string) error {
			removed, err := c.UnmarkCanary(ctx, args[0])
			if err != nil {
				return err
			}
			return r.answer(removed, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s is no canary any more\n", removed.ID)
				return err
			})
		}),
	}
}
