package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/client"
)

func newAuditCmd(r *remote) *cobra.Command {
	return group("audit", "Read the audit log", newEntriesCmd(r), newExportCmd(r), newRotateLogKeyCmd(r))
}

func newEntriesCmd(r *remote) *cobra.Command {
	var q api.AuditQuery
	var every bool
	cmd := &cobra.Command{
		Use:     "entries",
		Short:   "List entries: who did what to whose data, and why",
		Example: `  sandyq audit entries --subject sub_01j2… --from 2026-11-01T00:00:00Z --all`,
		Args:    cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
			next := func(cursor string) (*api.Page[api.AuditEntry], error) {
				if cursor != "" {
					q.Cursor = cursor
				}
				return c.AuditEntries(ctx, q)
			}
			if !every {
				page, err := next("")
				if err != nil {
					return err
				}
				return r.answerEntries(page)
			}
			all, err := everyPage(next)
			if err != nil {
				return err
			}
			return r.answerEntries(&api.Page[api.AuditEntry]{Items: all})
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&q.Subject, "subject", "", "about this person")
	flags.StringVar(&q.Actor, "actor", "", "by this system, credential or person behind it")
	flags.StringVar(&q.Operation, "operation", "", "of this operation, such as detokenize")
	flags.Var((*instant)(&q.From), "from", "not before this time")
	flags.Var((*instant)(&q.To), "to", "before this time")
	flags.IntVar(&q.Limit, "limit", api.DefaultLimit, "entries of a page")
	flags.StringVar(&q.Cursor, "cursor", "", "go on where a page ended")
	flags.BoolVar(&every, "all", false, "every page to the end")
	return cmd
}

func (r *remote) answerEntries(page *api.Page[api.AuditEntry]) error {
	entries := make([]audit.Entry, len(page.Items))
	for i, raw := range page.Items {
		if err := json.Unmarshal(raw, &entries[i]); err != nil {
			return fmt.Errorf("entry %d of the answer is not what this version writes: update sandyq, or use --json", i+1)
		}
	}
	return r.answerTable(page, func(t table) {
		t.row("TIME", "WHO", "OPERATION", "PURPOSE", "REASON", "DECISION", "SUBJECT")
		for _, e := range entries {
			who := e.System
			if e.OnBehalfOf != "" {
				who += " for " + e.OnBehalfOf
			}
			decision := string(e.Decision)
			if e.Outcome != "" {
				decision += " (" + string(e.Outcome) + ")"
			}
			t.row(moment(e.At), who, e.Operation, e.Purpose, e.Reason, decision, e.Subject)
		}
		if page.NextCursor != "" {
			t.row("more with --cursor " + page.NextCursor)
		}
	})
}

// instant is a time as a flag takes it.
type instant time.Time

var _ pflag.Value = (*instant)(nil)

func (t *instant) Set(s string) error {
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return fmt.Errorf("a time is written like 2026-11-22T09:00:00Z (RFC 3339)")
	}
	*t = instant(at)
	return nil
}

func (t *instant) String() string {
	if time.Time(*t).IsZero() {
		return ""
	}
	return time.Time(*t).Format(time.RFC3339)
}

func (t *instant) Type() string { return "time" }

func newWhoamiCmd(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:     "whoami",
		Short:   "Tell what the service token is and may do",
		Example: `  sandyq whoami --token-file crm.token`,
		Args:    cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
			me, err := c.Whoami(ctx)
			if err != nil {
				return err
			}
			return r.answerTable(me, func(t table) {
				t.row("system", me.System)
				t.row("roles", strings.Join(me.Roles, ", "))
				t.row("purposes", strings.Join(me.Purposes, ", "))
				for _, b := range me.Budgets {
					left := fmt.Sprintf("%d of %d left until %s", b.Left, b.Max, moment(b.ResetsAt))
					if !me.BudgetsEnforced {
						left += ", observed"
					}
					t.row(b.Limit+" of the "+b.Window, left)
				}
			})
		}),
	}
}
