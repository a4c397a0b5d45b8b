package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
)

const recipientUsage = "the third party it is disclosed to, with a purpose that discloses"

func newHandoffCmd(r *remote) *cobra.Command {
	return group("handoff", "Let another system get its own tokens of a person", newHandoffCreateCmd(r), newHandoffRedeemCmd(r))
}

func newHandoffCreateCmd(r *remote) *cobra.Command {
	var in api.CreateHandoffRequest
	var by behalf
	cmd := &cobra.Command{
		Use:   "create SUBJECT --to SYSTEM --fields FIELD,… --purpose PURPOSE",
		Short: "Hand a person off to another system",
		Long: `Print what another system redeems, once and within ten minutes, for its own tokens of the fields. The calling system
must have tokens of all of them. No value is read.`,
		Example: `  sandyq handoff create sub_01j2… --to billing --fields family_name,phone --purpose contract`,
		Args:    cobra.ExactArgs(1),
		RunE: r.asking(func(ctx context.Context, c *client.Client, args []string) error {
			in.Subject, in.OnBehalfOf = args[0], by.wire()
			out, err := c.CreateHandoff(ctx, &in)
			if err != nil {
				return err
			}
			return r.answerTable(out, func(t table) {
				t.row("handoff", out.Handoff)
				t.row("expires", moment(out.ExpiresAt))
			})
		}),
	}
	cmd.Flags().StringVar(&in.ToSystem, "to", "", "system that may redeem it")
	cmd.Flags().StringSliceVar(&in.Fields, "fields", nil, "fields to hand off")
	cmd.Flags().StringVar(&in.Purpose, "purpose", "", purposeUsage)
	by.bind(cmd.Flags())
	return requiring(cmd, "to", "fields", "purpose")
}

func newHandoffRedeemCmd(r *remote) *cobra.Command {
	var by behalf
	var path string
	cmd := &cobra.Command{
		Use:     "redeem",
		Short:   "Get tokens of what another system has handed off",
		Long:    `Redeem a handoff and print the person and the calling system's own tokens. The input is the handoff.`,
		Example: `  sandyq handoff redeem < handoff.txt`,
		Args:    cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
			text, err := r.readText(path)
			if err != nil {
				return err
			}
			out, err := c.RedeemHandoff(ctx, &api.RedeemHandoffRequest{Handoff: text, OnBehalfOf: by.wire()})
			if err != nil {
				return err
			}
			return r.answerTable(out, func(t table) {
				t.row("SUBJECT", "FIELD", "TOKEN")
				t.tokens(out.Tokens, out.Subject)
			})
		}),
	}
	cmd.Flags().StringVar(&path, "file", standardInput, "file with the handoff")
	by.bind(cmd.Flags())
	return cmd
}

func newRecipientsCmd(r *remote) *cobra.Command {
	var limit int
	var cursor string
	cmd := &cobra.Command{
		Use:     "recipients SUBJECT",
		Short:   "Show which systems hold a person and to whom data was disclosed",
		Example: `  sandyq subject recipients sub_01j2…`,
		Args:    cobra.ExactArgs(1),
		RunE: r.asking(func(ctx context.Context, c *client.Client, args []string) error {
			out, err := c.SubjectRecipients(ctx, args[0], limit, cursor)
			if err != nil {
				return err
			}
			return r.answerTable(out, func(t table) {
				for _, s := range out.Systems {
					t.row("system", s.System, fmt.Sprintf("%d tokens", s.Tokens), "since "+moment(s.Since), strings.Join(s.Purposes, ", "))
				}
				for _, d := range out.Transfers {
					to := d.Recipient
					if d.CrossBorder {
						to += " (abroad)"
					}
					t.row("disclosed to", to, strings.Join(d.Fields, ", "), moment(d.At)+" by "+d.System, d.Purpose+", "+d.Basis)
				}
				if out.NextCursor != "" {
					t.row("more", "--cursor "+out.NextCursor)
				}
			})
		}),
	}
	cmd.Flags().IntVar(&limit, "limit", 0, "disclosures to list at most")
	cmd.Flags().StringVar(&cursor, "cursor", "", "where an earlier list ended")
	return cmd
}
