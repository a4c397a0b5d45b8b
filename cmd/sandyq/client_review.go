package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
)

func newReviewCmd(r *remote) *cobra.Command {
	var from, to time.Time
	cmd := &cobra.Command{
		Use:   "review",
		Short: "Tell who could see what, and who did, in a period",
		Long: `Tell who could see what in a period, by the service tokens of then and the policies of now, and who did, by the log.
Without times it is the last month.`,
		Example: `  sandyq access review --from 2026-10-01T00:00:00Z --to 2026-11-01T00:00:00Z`,
		Args:    cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
			review, err := c.ReviewAccess(ctx, from, to)
			if err != nil {
				return err
			}
			return r.answerTable(review, func(t table) { reviewTable(t, review) })
		}),
	}
	cmd.Flags().Var((*instant)(&from), "from", "not before this time")
	cmd.Flags().Var((*instant)(&to), "to", "before this time")
	return cmd
}

func reviewTable(t table, review *api.AccessReview) {
	t.row("COULD SEE", "ROLE", "WHOSE", "TOKENS", "LAST USED", "WHAT")
	for _, one := range review.Could {
		whose := "own people"
		switch {
		case len(one.Systems) > 0:
			whose = strings.Join(one.Systems, " ")
		case one.Role != "application":
			whose = "everybody"
		}
		var may []string
		for _, m := range one.May {
			may = append(may, fmt.Sprintf("%s %s (%s)", m.Operation, m.Category, m.Form))
		}
		what := strings.Join(may, ", ")
		if what == "" {
			what = "no data"
		}
		t.row(one.System, one.Role, whose, fmt.Sprint(one.Tokens), moment(one.LastUsedAt), what)
	}
	t.row("")
	t.row("DID", "ROLE", "OPERATION", "PURPOSE", "FIELDS", "PERMITTED", "REFUSED", "VALUES", "PEOPLE", "LAST")
	for _, one := range review.Did {
		t.row(one.System, one.Role, one.Operation, one.Purpose, strings.Join(one.Fields, " "), fmt.Sprint(one.Permitted),
			fmt.Sprint(one.Refused), fmt.Sprint(one.Items), fmt.Sprint(one.People), moment(one.LastAt))
	}
	if review.Limit != nil {
		t.row("the log was counted until " + moment(review.Limit.Until) + ": ask for a shorter period")
	}
}
