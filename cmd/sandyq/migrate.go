package main

import (
	"errors"
	"io"

	"github.com/spf13/cobra"
)

func newMigrateCmd(e *env) *cobra.Command {
	var flags configFlags
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the tables in PostgreSQL up to this version",
		Long: `Migrate makes the tables of the store in PostgreSQL, or takes them to the version that this program needs, and does
nothing else. Servers do the same when they start, unless store.postgres.migrate is false: then their role needs no right to
make tables, and whoever runs this does. It may be repeated. Servers of the version before go on, and start, on the newer tables.`,
		Example: `  sandyq migrate --config /etc/sandyq/sandyq.yaml`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.load()
			if err != nil {
				return err
			}
			if c.Store.Engine != enginePostgres {
				return errors.New("store.engine is not postgres: there are no tables")
			}
			s, err := openPostgres(cmd.Context(), c, e.log(c), nil, false)
			if err != nil {
				return err
			}
			if err := s.Close(); err != nil {
				return err
			}
			return e.answer(map[string]bool{"migrated": true}, func(w io.Writer) error {
				_, err := io.WriteString(w, "the tables are fit for this version\n")
				return err
			})
		},
	}
	flags.bind(cmd.Flags())
	return cmd
}
