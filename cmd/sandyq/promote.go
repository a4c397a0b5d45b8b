package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func newPromoteCmd(e *env) *cobra.Command {
	var flags configFlags
	var tenant string
	var yes bool
	cmd := &cobra.Command{
		Use:   "promote",
		Short: "Make a restored or moved store the live one for its keys",
		Long: `A store that was restored, copied or moved is a copy: it can be read and nothing else. Promote makes it the live one for
its keys. Whatever was live before becomes a copy: stop it first, and never start it again. People who were registered
there since this store was copied are lost, and their keys with them.

Of several tenants it does so for the keys of each, or of the one that is named.

No server may be running on the store.`,
		Example: `  sandyq promote --config /etc/sandyq/sandyq.yaml --yes`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.load()
			if err != nil {
				return err
			}
			return promote(cmd.Context(), e, c, tenant, yes)
		},
	}
	flags.bind(cmd.Flags())
	cmd.Flags().StringVar(&tenant, "tenant", "", "for the keys of this tenant alone (default: of each)")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it: the store that was live before is stopped for good")
	return cmd
}

// promoted is what promote answers.
type promoted struct {
	Home     string `json:"home"`
	Promoted bool   `json:"promoted"` // false when it was the live one already
}

func promote(ctx context.Context, e *env, c config, name string, yes bool) (err error) {
	if err := c.ready(); err != nil {
		return err
	}
	n, err := openNode(ctx, c, e.log(c), newMetrics())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	chosen, err := n.chosen(name)
	if err != nil {
		return err
	}
	var back []*tenant // those for whose keys this is not the live one
	var because []error
	for _, t := range chosen {
		if err := t.standing(ctx); err != nil {
			back, because = append(back, t), append(because, n.of(t, err))
		}
	}
	standsBack := len(back) > 0
	if standsBack && !yes {
		return hinted(fmt.Errorf("promoting ends the store that is live now: %w", errors.Join(because...)),
			"see that the other is stopped for good, then repeat with --yes")
	}
	for _, t := range back {
		if err := t.Service.Promote(ctx); err != nil {
			return n.of(t, fmt.Errorf("promote: %w", err))
		}
	}
	return e.answer(promoted{c.Home, standsBack}, func(w io.Writer) error {
		said := "is the live one already"
		if standsBack {
			said = "is the live one now"
		}
		_, err := fmt.Fprintf(w, "the store in %s %s\n", c.storeName(), said)
		return err
	})
}
