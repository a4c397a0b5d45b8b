package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/vault/audit/archive"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
)

func newVerifyLogCmd(e *env) *cobra.Command {
	var keys []string
	var since string
	var pruned bool
	var by witnessed
	cmd := &cobra.Command{
		Use:   "log DIR",
		Short: "Verify an exported transparency log, offline",
		Long: `Reads every tile and every entry of the folder, and verifies that they are what its checkpoint says, that the checkpoint is signed by
the log's key or one that it passed on to, that an earlier checkpoint is of its beginning, and, with --witness, that so many of those named have cosigned it. It asks no server.`,
		Example: `  sandyq verify log /backup/log --key 'sandyq/default/00112233445566778899aabbccddeeff+38a0a4b1+AQ…' --since january.checkpoint`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			against := archive.Against{Pruned: pruned}
			for _, text := range keys {
				some, err := e.logKeys(text)
				if err != nil {
					return err
				}
				against.Keys = append(against.Keys, some...)
			}
			if since != "" {
				b, err := e.readUpTo(since, checkpoint.MaxNote)
				if err != nil {
					return fmt.Errorf("the earlier checkpoint: %w", err)
				}
				against.Since = b
			}
			cosigners, quorum, err := by.cosigners(cmd)
			if err != nil {
				return err
			}
			report, err := archive.Verify(args[0], against)
			if err != nil {
				return err
			}
			cosigned, err := demand(report.Note, cosigners, quorum)
			if err != nil {
				return err
			}
			return e.answerLog(args[0], report, cosigned...)
		},
	}
	cmd.Flags().StringArrayVar(&keys, "key", nil, keyUsage+"; may be repeated: any of them")
	cmd.Flags().StringVar(&since, "since", "", "file with an earlier checkpoint")
	by.flags(cmd)
	cmd.Flags().BoolVar(&pruned, "pruned", false, "the first entries may be missing: their retention is over")
	return requiring(cmd, "key")
}
