package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
)

func newBreakGlassCmd(r *remote) *cobra.Command {
	return group("break-glass", "Declare, end and review emergencies",
		newBreakGlassStartCmd(r), newBreakGlassListCmd(r), newBreakGlassEndCmd(r), newBreakGlassReviewCmd(r))
}

func newBreakGlassStartCmd(r *remote) *cobra.Command {
	var in api.BreakGlassRequest
	var lasts time.Duration
	var note string
	cmd := &cobra.Command{
		Use:   "start --purpose PURPOSE --reason REASON",
		Short: "Declare an emergency",
		Long: `Declare an emergency: for a time, one purpose and, with --subject, one person, the policies know that there is one. It is
alerted of at once, everything done in it is marked in the log, and somebody else reviews it. What law forbids stays forbidden.`,
		Example: `  sandyq break-glass start --purpose service --reason police_request --for 30m
  sandyq break-glass start --purpose service --reason accident --for 15m --subject sub_01j2… --note - < why.txt`,
		Args: cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) (err error) {
			if lasts%time.Minute != 0 {
				return usagef("--for is whole minutes")
			}
			in.Minutes = int(lasts / time.Minute)
			if in.Note, err = r.note(note); err != nil {
				return err
			}
			b, err := c.StartBreakGlass(ctx, &in)
			if err != nil {
				return err
			}
			return r.answerBreakGlass(b)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&in.Purpose, "purpose", "", "purpose for which alone it holds")
	flags.StringVar(&in.Reason, "reason", "", reasonUsage)
	flags.StringVar(&in.Subject, "subject", "", "person for whom alone it holds")
	flags.DurationVar(&lasts, "for", 30*time.Minute, "how long, in whole minutes; 4h at most")
	bindNote(flags, &note)
	return requiring(cmd, "purpose", "reason")
}

func newBreakGlassListCmd(r *remote) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List emergencies that last or are not reviewed",
		Example: `  sandyq break-glass list`,
		Args:    cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
			var open *bool
			if !all {
				open = new(true)
			}
			found, err := everyPage(func(cursor string) (*api.Page[api.BreakGlass], error) {
				return c.BreakGlass(ctx, open, api.MaxLimit, cursor)
			})
			if err != nil {
				return err
			}
			return r.answerTable(api.Page[api.BreakGlass]{Items: found}, func(t table) {
				t.row("ID", "BY", "REASON", "PURPOSE", "SUBJECT", "STARTED", "EXPIRES", "ENDED", "USES", "REVIEWS NEEDED")
				for _, b := range found {
					t.row(b.BreakGlass, b.System, b.Reason, b.Purpose, b.Subject, moment(b.StartedAt), moment(b.ExpiresAt), moment(b.EndedAt),
						strconv.Itoa(b.Uses), strconv.Itoa(b.ReviewsNeeded))
				}
			})
		}),
	}
	cmd.Flags().BoolVar(&all, "all", false, "those that are over and reviewed, too")
	return cmd
}

func newBreakGlassEndCmd(r *remote) *cobra.Command {
	return &cobra.Command{
		Use: "end ID", Short: "End an emergency before its time", Example: `  sandyq break-glass end brk_01j2…`, Args: cobra.ExactArgs(1),
		RunE: r.asking(func(ctx context.Context, c *client.Client, args []string) error {
			b, err := c.EndBreakGlass(ctx, args[0])
			if err != nil {
				return err
			}
			return r.answerBreakGlass(b)
		}),
	}
}

func newBreakGlassReviewCmd(r *remote) *cobra.Command {
	var in api.BreakGlassReviewRequest
	var note string
	cmd := &cobra.Command{
		Use:     "review ID --outcome OUTCOME",
		Short:   "Review somebody else's emergency, once it is over",
		Example: `  sandyq break-glass review brk_01j2… --outcome justified`,
		Args:    cobra.ExactArgs(1),
		RunE: r.asking(func(ctx context.Context, c *client.Client, args []string) (err error) {
			if in.Note, err = r.note(note); err != nil {
				return err
			}
			b, err := c.ReviewBreakGlass(ctx, args[0], &in)
			if err != nil {
				return err
			}
			return r.answerBreakGlass(b)
		}),
	}
	cmd.Flags().StringVar(&in.Outcome, "outcome", "", "justified or misuse")
	bindNote(cmd.Flags(), &note)
	return requiring(cmd, "outcome")
}

// answerBreakGlass shows an emergency.
func (r *remote) answerBreakGlass(b *api.BreakGlass) error {
	return r.answerTable(b, func(t table) {
		t.row("break-glass", b.BreakGlass)
		t.row("by", b.System)
		t.row("reason", b.Reason)
		t.row("purpose", b.Purpose)
		if b.Subject != "" {
			t.row("subject", b.Subject)
		}
		t.row("started", moment(b.StartedAt))
		t.row("expires", moment(b.ExpiresAt))
		if !b.EndedAt.IsZero() {
			t.row("ended", moment(b.EndedAt))
		}
		t.row("uses", fmt.Sprint(b.Uses))
		t.row("reviews needed", fmt.Sprint(b.ReviewsNeeded))
		for _, review := range b.Reviews {
			t.row(review.Outcome, review.BySystem, strings.Join(review.Roles, ","), moment(review.At))
		}
	})
}
