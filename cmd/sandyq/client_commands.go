package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/vault/client"
)

// clientCommands are the commands that ask a running server over its API, as any application would.
//
// Personal values and tokens come from standard input or a file, never from an argument, which every process of the
// machine may read. What they answer is aligned text for people, or with --json exactly what the API answered. A batch of
// which some items failed exits with 3, one of which all failed with 1.
func clientCommands(e *env) []*cobra.Command {
	return []*cobra.Command{
		remotely(e, newAccessCmd),
		remotely(e, newTokenizeCmd),
		remotely(e, newDetokenizeCmd),
		remotely(e, newSearchCmd),
		remotely(e, newDocumentCmd),
		remotely(e, newSubjectCmd),
		remotely(e, newConsentCmd),
		remotely(e, newHandoffCmd),
		remotely(e, newEraseCmd),
		remotely(e, newErasureCmd),
		remotely(e, newCertificateCmd),
		remotely(e, newApprovalsCmd),
		remotely(e, newBreakGlassCmd),
		remotely(e, newCanaryCmd),
		remotely(e, newIndexCmd),
		remotely(e, newDrillCmd),
		remotely(e, newPurposeCmd),
		remotely(e, newChangeCmd),
		remotely(e, newApplyCmd),
		remotely(e, newAuditCmd),
		remotely(e, newBackupCmd),
		remotely(e, newWhoamiCmd),
	}
}

// remotely makes a command that asks a server, with the flags that say which one and as whom.
func remotely(e *env, newCmd func(*remote) *cobra.Command) *cobra.Command {
	r := &remote{env: e}
	cmd := newCmd(r)
	r.bind(cmd.PersistentFlags())
	return cmd
}

// group is a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return hinted(usagef("%s needs a command", cmd.CommandPath()), "see: %s --help", cmd.CommandPath())
		},
	}
	cmd.AddCommand(commands...)
	return cmd
}

// asking makes a command's RunE of what asks the server and shows the answer.
func (r *remote) asking(do func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := r.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		return advised(do(cmd.Context(), c, args))
	}
}

// requiring marks flags without which a command cannot run.
func requiring(cmd *cobra.Command, flags ...string) *cobra.Command {
	for _, name := range flags {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(fmt.Sprintf("command %s: %v", cmd.Name(), err)) // a defect of the build: the flag does not exist
		}
	}
	return cmd
}
