package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/ledger"
	"github.com/sandyq/sandyq/vault/ledger/file"
)

func newLedgerCmd(e *env) *cobra.Command {
	cmd := &cobra.Command{Use: "ledger", Short: "The erasure ledger", Args: cobra.NoArgs}
	cmd.AddCommand(newLedgerRebuildCmd(e))
	return cmd
}

func newLedgerRebuildCmd(e *env) *cobra.Command {
	var flags configFlags
	var tenant string
	var accept bool
	cmd := &cobra.Command{
		Use:   "rebuild",
		Short: "Make a new erasure ledger when every copy of the old one is lost",
		Long: `Make a new erasure ledger of the erasures that the live store knows. What lies in its place is kept beside it.

Only for a ledger of which no copy is whole any more, and only on the store that was live when it was lost. On a store that
was restored from a backup it would forget whoever was erased since, and they would come back. A ledger that holds all that
the store and the keys have carried out is not replaced.

No server may be running on the store.`,
		Example: `  sandyq ledger rebuild --config /etc/sandyq/sandyq.yaml --accept-loss`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.load()
			if err != nil {
				return err
			}
			if !accept {
				return usagef("read docs/ledger.md first; then repeat with --accept-loss")
			}
			return rebuildLedger(cmd.Context(), e, c, tenant)
		},
	}
	flags.bind(cmd.Flags())
	cmd.Flags().StringVar(&tenant, "tenant", "", "of this tenant (needed when there are several)")
	cmd.Flags().BoolVar(&accept, "accept-loss", false, "no copy is whole, and no backup of store or keys from before the loss will be restored")
	return cmd
}

// rebuilt is what rebuild answers.
type rebuilt struct {
	Tenant  string `json:"tenant"`
	Entries int    `json:"entries"`
	Kept    string `json:"kept,omitempty"` // where the old one lies now
}

func rebuildLedger(ctx context.Context, e *env, c config, name string) (err error) {
	if err := c.ready(); err != nil {
		return err
	}
	if name == "" && len(c.Tenants) > 0 {
		return usagef("there are several tenants: name one with --tenant")
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
	t := chosen[0]
	out := rebuilt{Tenant: t.Name}
	aside := func() (err error) {
		if c.Ledger.S3.used() {
			return hinted(errors.New("nobody can move what lies in the bucket"), "name another ledger.s3.prefix")
		}
		out.Kept, err = putLedgerAside(file.Path(c.ledgerDir(), t.Name))
		return err
	}
	out.Entries, err = t.Service.RebuildLedger(ctx, aside)
	switch {
	case errors.Is(err, ledger.ErrExists):
		return hinted(err, "nothing was changed; if nothing is given out, /readyz and the log say why")
	case err != nil:
		return err
	}
	return e.answer(out, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "the new erasure ledger lists %d erasures\n", out.Entries)
		return err
	})
}

// putLedgerAside moves what lies in the place of a ledger, and tells where to.
func putLedgerAside(path string) (kept string, err error) {
	kept = path + ".lost-" + clock.System().UTC().Format("20060102T150405.000Z")
	return kept, os.Rename(path, kept)
}
