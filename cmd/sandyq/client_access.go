package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
)

func newAccessCmd(r *remote) *cobra.Command {
	return group("access", "Manage who may call the vault",
		group("token", "Manage service tokens", newTokenCreateCmd(r), newTokenListCmd(r), newTokenRevokeCmd(r)))
}

func newTokenCreateCmd(r *remote) *cobra.Command {
	var in api.CreateServiceTokenRequest
	cmd := &cobra.Command{
		Use:   "create --system NAME --role ROLE",
		Short: "Make a service token",
		Long: `Make a service token for a system and print it. It is shown this once and kept nowhere: send it to a file.

Roles: application keeps tokens in place of data and sees the people that it holds; staff looks at people's data,
whichever system holds them; administrator may do everything.`,
		Example: `  umask 077; sandyq access token create --system crm --role application > crm.token`,
		Args:    cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
			made, err := c.CreateServiceToken(ctx, &in)
			if err != nil {
				return err
			}
			return r.answer(made, func(w io.Writer) error {
				_, _ = fmt.Fprintf(r.err, "made %s for %s, role %s\n", made.ID, made.System, made.Role)
				_, err := fmt.Fprintln(w, made.Secret)
				return err
			})
		}),
	}
	cmd.Flags().StringVar(&in.System, "system", "", "name of the calling system: a-z, 0-9, dot, hyphen and _")
	cmd.Flags().StringVar(&in.Role, "role", "", "application, staff or administrator")
	return requiring(cmd, "system", "role")
}

func newTokenListCmd(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List service tokens, without their secrets",
		Example: `  sandyq access token list`,
		Args:    cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
			all, err := everyPage(func(cursor string) (*api.Page[api.ServiceToken], error) {
				return c.ServiceTokens(ctx, api.MaxLimit, cursor)
			})
			if err != nil {
				return err
			}
			return r.answerTable(api.Page[api.ServiceToken]{Items: all}, func(t table) {
				t.row("ID", "SYSTEM", "ROLE", "CREATED", "REVOKED")
				for _, token := range all {
					t.row(token.ID, token.System, token.Role, moment(token.CreatedAt), moment(token.RevokedAt))
				}
			})
		}),
	}
}

func newTokenRevokeCmd(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:     "revoke ID",
		Short:   "End a service token",
		Long:    "End a service token. Once this has answered nobody is let in with it.",
		Example: `  sandyq access token revoke crd_01j2…`,
		Args:    cobra.ExactArgs(1),
		RunE: r.asking(func(ctx context.Context, c *client.Client, args []string) error {
			revoked, err := c.RevokeServiceToken(ctx, args[0])
			if err != nil {
				return err
			}
			return r.answer(revoked, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "revoked %s of %s at %s\n", revoked.ID, revoked.System, moment(revoked.RevokedAt))
				return err
			})
		}),
	}
}

// everyPage reads a list to its end.
func everyPage[T any](read func(cursor string) (*api.Page[T], error)) ([]T, error) {
	all := []T{}
	for cursor := ""; ; {
		page, err := read(cursor)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if cursor = page.NextCursor; cursor == "" {
			return all, nil
		}
	}
}
