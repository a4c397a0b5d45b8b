package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/budget"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
)

func newBudgetCmd(r *remote) *cobra.Command {
	return group("budget", "See how much is read and searched, and how much may be", newBudgetShowCmd(r), newBudgetSuggestCmd(r))
}

func newBudgetShowCmd(r *remote) *cobra.Command {
	var days int
	cmd := &cobra.Command{
		Use:     "show",
		Short:   "Show what was used of the budgets",
		Long:    "Show what each system has used of each budget: in how many minutes, hours and days, how much in all and in the fullest one.",
		Example: `  sandyq access budget show --days 7`,
		Args:    cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
			use, err := c.BudgetUse(ctx, days, 0)
			if err != nil {
				return err
			}
			return r.answerTable(use, func(t table) {
				t.row("LIMIT", "SYSTEM", "WINDOW", "HOLDS", "MOST", "IN ALL", "WINDOWS")
				for _, a := range use.Accounts {
					t.row(a.Limit, a.System, a.Window, capacity(use.Limits, a), number(a.Most), number(a.Units), strconv.Itoa(a.Windows))
				}
			})
		}),
	}
	cmd.Flags().IntVar(&days, "days", 14, "how far back, 1 to 35; minutes and hours are kept for two days")
	return cmd
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

// capacity is how much a window of an account's limit holds; empty when it has no bound.
func capacity(limits []api.BudgetLimit, a api.BudgetAccount) string {
	for _, l := range limits {
		if l.Name == a.Limit {
			if n := map[string]int64{"minute": l.Minute, "hour": l.Hour, "day": l.Day}[a.Window]; n > 0 {
				return number(n)
			}
		}
	}
	return ""
}

func newBudgetSuggestCmd(r *remote) *cobra.Command {
	var days int
	var headroom float64
	cmd := &cobra.Command{
		Use:   "suggest",
		Short: "Suggest limits by what was used",
		Long: `Suggest limits by what was used, as the key budgets of the configuration file has them. For each window it is what the
system that uses most has used, all but the fullest hundredth of its windows, times the headroom. What nobody used stays as it is.

Look at what stands out in sandyq access budget show before you take it for usual. Then set mode: enforce.`,
		Example: `  sandyq access budget suggest --days 14 --headroom 2 >> sandyq.yaml`,
		Args:    cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
			use, err := c.BudgetUse(ctx, days, headroom)
			if err != nil {
				return err
			}
			return r.answer(use.Suggested, func(w io.Writer) error { return writeBudgets(w, use) })
		}),
	}
	cmd.Flags().IntVar(&days, "days", 14, "how far back, 1 to 35; minutes and hours are kept for two days")
	cmd.Flags().Float64Var(&headroom, "headroom", 2, "what the usual is multiplied by, 1 to 100")
	return cmd
}

// writeBudgets writes the suggested limits, in the mode that holds, as the configuration file has them.
func writeBudgets(w io.Writer, use *api.Budgets) error {
	mode := budget.Observe
	if use.Enforced {
		mode = budget.Enforce
	}
	b, err := yaml.Dump(map[string]budget.Config{"budgets": {Mode: mode, Limits: limitsOf(use.Suggested)}})
	if err != nil {
		return fmt.Errorf("write the limits: %w", err)
	}
	_, err = w.Write(b)
	return err
}

func limitsOf(wire []api.BudgetLimit) []budget.Limit {
	all := make([]budget.Limit, len(wire))
	for i, l := range wire {
		all[i] = budget.Limit{
			Name: l.Name, System: l.System, Purpose: l.Purpose, Category: l.Category, Kind: budget.Kind(l.Kind),
			Minute: l.Minute, Hour: l.Hour, Day: l.Day,
		}
		for _, role := range l.Roles {
			all[i].Roles = append(all[i].Roles, access.Role(role))
		}
	}
	return all
}
