package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
)

func newIndexCmd(r *remote) *cobra.Command {
	return group("index", "See and rotate the search index", newIndexShowCmd(r), newIndexRotateCmd(r))
}

func newIndexShowCmd(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:     "show",
		Short:   "Show in which epoch the search index is, and how far a rotation has come",
		Example: `  sandyq index show`,
		Args:    cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
			index, err := c.Index(ctx)
			if err != nil {
				return err
			}
			return r.answer(index, func(w io.Writer) error { return writeIndex(w, index) })
		}),
	}
}

func newIndexRotateCmd(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:   "rotate",
		Short: "Carry the search index over to a new epoch",
		Long: `Carry the search index over to a new epoch and destroy the key of the old one, so that what older backups hold of the
index becomes noise. It goes on by itself, while people are registered and found as ever; see how far with: sandyq index show`,
		Example: `  sandyq index rotate`,
		Args:    cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
			index, err := c.RotateIndex(ctx)
			if err != nil {
				return err
			}
			return r.answer(index, func(w io.Writer) error { return writeIndex(w, index) })
		}),
	}
}

func writeIndex(w io.Writer, index *api.Index) error {
	if index.Epoch == 0 {
		_, err := fmt.Fprintln(w, "nothing was entered in the index yet")
		return err
	}
	next := "only when asked to"
	if !index.NextRotation.IsZero() {
		next = moment(index.NextRotation)
	}
	_, err := fmt.Fprintf(w, "epoch      %d since %s\nstate      %s\nrotates    %s\n", index.Epoch, moment(index.Since), index.State, next)
	if err == nil && index.State != api.IndexReady {
		_, err = fmt.Fprintf(w, "moved      %d entries\n", index.EntriesMoved)
	}
	if err == nil && index.EntriesLeft > 0 {
		_, err = fmt.Fprintf(w, "left       %d entries of people whose keys are missing\n", index.EntriesLeft)
	}
	return err
}
