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

func newAccessCmd(r *remote) *cobra.Command {
	return group("access", "Manage who may call the vault",
		group("token", "Manage service tokens", newTokenCreateCmd(r), newTokenListCmd(r), newTokenRotateCmd(r), newTokenRevokeCmd(r)),
		newBudgetCmd(r), newReviewCmd(r))
}

func newTokenCreateCmd(r *remote) *cobra.Command {
	var in api.CreateServiceTokenRequest
	var life time.Duration
	cmd := &cobra.Command{
		Use:   "create --system NAME --role ROLE",
		Short: "Make a service token",
		Long: `Make a service token for a system and print it. It is shown this once and kept nowhere: send it to a file.

Roles: application keeps tokens in place of data and sees the people that it holds. The others are of staff: staff,
support (masked values only), kyc_officer, privacy_officer, security_officer, auditor (the log, no data) and administrator
(credentials and configuration, no data). What each may do is the policies' business: sandyq policy explain.`,
		Example: `  umask 077; sandyq access token create --system crm --role application > crm.token`,
		Args:    cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
			in.ExpiresAt = expiry(life)
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
	cmd.Flags().StringVar(&in.Role, "role", "", "what it stands for: application, staff, support, …")
	cmd.Flags().StringSliceVar(&in.Systems, "systems", nil, "of staff: the systems whose people they may see (default: all)")
	cmd.Flags().StringVar(&in.Department, "department", "", "of staff, for the policies")
	cmd.Flags().DurationVar(&life, "life", 0, "how long it is good for, such as 720h (default: until it is revoked)")
	return requiring(cmd, "system", "role")
}

// expiry is when what is made now ends; a life of 0 never does.
func expiry(life time.Duration) time.Time {
	if life == 0 {
		return time.Time{}
	}
	return time.Now().Add(life)
}

func newTokenRotateCmd(r *remote) *cobra.Command {
	var overlap, life time.Duration
	cmd := &cobra.Command{
		Use:   "rotate ID",
		Short: "Replace a service token",
		Long: `Make a service token that stands for the same as another and print it. The old one goes on working for the overlap, so
that whoever uses it can be given the new one without a gap.`,
		Example: `  umask 077; sandyq access token rotate cred_01j2… --overlap 24h > crm.token`,
		Args:    cobra.ExactArgs(1),
		RunE: r.asking(func(ctx context.Context, c *client.Client, args []string) error {
			made, err := c.RotateServiceToken(ctx, args[0], &api.RotateServiceTokenRequest{
				Overlap: int(overlap / time.Second), ExpiresAt: expiry(life),
			})
			if err != nil {
				return err
			}
			return r.answer(made, func(w io.Writer) error {
				_, _ = fmt.Fprintf(r.err, "made %s in place of %s\n", made.ID, made.Replaces)
				_, err := fmt.Fprintln(w, made.Secret)
				return err
			})
		}),
	}
	cmd.Flags().DurationVar(&overlap, "overlap", 24*time.Hour, "how long the old token goes on working, up to 720h")
	cmd.Flags().DurationVar(&life, "life", 0, "how long the new one is good for (default: until it is revoked)")
	return cmd
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
				t.row("ID", "SYSTEM", "ROLE", "CREATED", "LAST USED", "EXPIRES", "REVOKED")
				for _, token := range all {
					t.row(token.ID, token.System, token.Role, moment(token.CreatedAt), moment(token.LastUsedAt), moment(token.ExpiresAt), moment(token.RevokedAt))
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
