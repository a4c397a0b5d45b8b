package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
)

func newPurposeCmd(r *remote) *cobra.Command {
	return group("purpose", "Show the purposes that data may be used for; see apply for changes",
		newPurposeListCmd(r), newPurposeShowCmd(r))
}

func newPurposeListCmd(r *remote) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the purposes", Example: `  sandyq purpose list`, Args: cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
			page, err := c.Purposes(ctx)
			if err != nil {
				return err
			}
			return r.answerTable(page, func(t table) {
				t.row("PURPOSE", "BASIS", "VERSION", "MANAGED BY", "DISCLOSES", "RETIRED", "TITLE")
				for _, p := range page.Items {
					version := ""
					if p.Version > 0 {
						version = fmt.Sprint(p.Version)
					}
					t.row(p.Name, p.Basis, version, p.ManagedBy, yes(p.Discloses), yes(p.Retired), p.Title.EN)
				}
			})
		}),
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func newPurposeShowCmd(r *remote) *cobra.Command {
	var versions bool
	cmd := &cobra.Command{
		Use: "show NAME", Short: "Show a purpose", Example: `  sandyq purpose show delivery --versions`, Args: cobra.ExactArgs(1),
		RunE: r.asking(func(ctx context.Context, c *client.Client, args []string) error {
			if versions {
				page, err := c.PurposeVersions(ctx, args[0])
				if err != nil {
					return err
				}
				return r.answerTable(page, func(t table) {
					for _, p := range page.Items {
						t.purpose(&p)
						t.row(" ")
					}
				})
			}
			p, err := c.Purpose(ctx, args[0])
			if err != nil {
				return err
			}
			return r.answerTable(p, func(t table) { t.purpose(p) })
		}),
	}
	cmd.Flags().BoolVar(&versions, "versions", false, "every version that there was")
	return cmd
}

// purpose adds the rows of a purpose.
func (t table) purpose(p *api.Purpose) {
	t.row("purpose", p.Name)
	t.row("managed by", p.ManagedBy)
	if p.Version > 0 {
		t.row("version", fmt.Sprintf("%d, of %s by %s %s", p.Version, moment(p.ChangedAt), p.ChangedBy, p.Change))
	}
	t.row("title", strings.Join([]string{p.Title.KK, p.Title.RU, p.Title.EN}, " / "))
	t.row("basis", p.Basis, p.Citation)
	t.row("fields", strings.Join(p.Fields, ", "))
	t.row("documents", yes(p.Documents))
	t.row("retention", fmt.Sprintf("after %s, %d years %d months %d days", p.Retention.After, p.Retention.Years, p.Retention.Months, p.Retention.Days))
	t.row("own consent", yes(p.OwnConsent))
	t.row("cross-border", yes(p.CrossBorder))
	t.row("discloses", yes(p.Discloses), strings.Join(p.Recipients, ", "))
	t.row("incompatible with", strings.Join(p.IncompatibleWith, ", "))
	t.row("obligation", p.Obligation)
	t.row("retired", yes(p.Retired))
}

func newChangeCmd(r *remote) *cobra.Command {
	show := func(do func(*client.Client, context.Context, string) (*api.Change, error)) func(*cobra.Command, []string) error {
		return r.asking(func(ctx context.Context, c *client.Client, args []string) error {
			change, err := do(c, ctx, args[0])
			if err != nil {
				return err
			}
			return r.answerTable(change, func(t table) { t.change(change) })
		})
	}
	var digest string
	approve := &cobra.Command{
		Use: "approve CHANGE --digest DIGEST", Short: "Approve a change that another asked for", Args: cobra.ExactArgs(1),
		Long: `Approve a change that another asked for. The digest is the one that "sandyq change show" told: an approval of anything else is
refused. With the last approval the change takes effect.`,
		Example: `  sandyq change approve chg_01j2… --digest 8f1c0f6b…`,
		RunE: show(func(c *client.Client, ctx context.Context, change string) (*api.Change, error) {
			return c.ApproveChange(ctx, change, digest)
		}),
	}
	approve.Flags().StringVar(&digest, "digest", "", "what was shown")
	return group("change", "Show, approve and cancel changes of the configuration",
		&cobra.Command{
			Use: "show CHANGE", Short: "Show a change: what there was, what it is to be, and who has agreed", Args: cobra.ExactArgs(1),
			Example: `  sandyq change show chg_01j2…`, RunE: show((*client.Client).Change),
		},
		requiring(approve, "digest"),
		&cobra.Command{
			Use: "cancel CHANGE", Short: "Take back a change that waits", Args: cobra.ExactArgs(1),
			Example: `  sandyq change cancel chg_01j2…`, RunE: show((*client.Client).CancelChange),
		})
}

// change adds the rows of a change.
func (t table) change(c *api.Change) {
	t.row("change", c.Change)
	t.row("of", c.Kind, c.Name)
	t.row("state", string(c.State))
	t.row("approvals needed", fmt.Sprint(c.ApprovalsNeeded))
	t.row("requested", moment(c.RequestedAt), "by "+c.RequestedBy)
	if !c.LapsesAt.IsZero() {
		t.row("lapses", moment(c.LapsesAt))
	}
	for _, a := range c.Approvals {
		t.row("approved", moment(a.At), "by "+a.BySystem)
	}
	t.row("digest", c.Digest)
	for _, d := range differences(c.From, c.To) {
		t.row("  "+d.Member, string(d.From), "→ "+string(d.To))
	}
}
