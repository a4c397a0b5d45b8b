package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/vault/api"
)

// administrator is the system that the first token stands for.
const administrator = "administrator"

// initialised is what init answers for each tenant whose token it made.
type initialised struct {
	Home   string `json:"home"`
	ID     string `json:"id"`
	Tenant string `json:"tenant"`
	Token  string `json:"token"`
}

// initialisation is what the flags of init say.
type initialisation struct {
	config configFlags
	tenant string // empty: all
	again  bool
}

func newInitCmd(e *env) *cobra.Command {
	var i initialisation
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Set a vault up and make the first administrator's token",
		Long: `Init makes the folders and, unless HashiCorp Vault keeps the keys, the keyring. It makes one administrator's token and
prints it once: it is kept nowhere. What is there already is left alone, so an init that failed may be repeated.

Of several tenants each gets a keyring and a token of its own; one that has a token is passed over, so that init is also
how a tenant is added.

No server may be running on the vault.`,
		Example: `  sandyq init --config /etc/sandyq/sandyq.yaml
  sandyq init --config /etc/sandyq/sandyq.yaml --tenant partner
  sandyq init --home ./sandyq --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := i.config.load()
			if err != nil {
				return err
			}
			made, err := i.run(cmd.Context(), e, c)
			return errors.Join(tell(e, c, made), err)
		},
	}
	i.config.bind(cmd.Flags())
	cmd.Flags().StringVar(&i.tenant, "tenant", "", "make the token of this tenant alone (default: of each)")
	cmd.Flags().BoolVar(&i.again, "new-token", false, "make another administrator's token, when the first was lost")
	return cmd
}

// tell shows tokens that were made, each for the only time.
func tell(e *env, c config, made []initialised) error {
	for _, m := range made {
		whose := "administrator's token"
		if len(c.Tenants) > 0 {
			whose += " of tenant " + m.Tenant
		}
		err := e.answer(m, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "The vault in %s is set up.\n\nThe %s, shown this once:\n\n    %s\n\nStart it with `sandyq serve` and the same --config or --home.\n",
				m.Home, whose, m.Token)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// run sets a vault up and makes an administrator's token for each tenant that has none, or for the one that is named. Once
// there is one it refuses, unless again. The tokens that it made before an error are no less good.
func (i initialisation) run(ctx context.Context, e *env, c config) (made []initialised, err error) {
	if _, err := c.tenant(i.tenant); err != nil {
		return nil, err
	}
	if i.again && i.tenant == "" && len(c.Tenants) > 0 {
		return nil, hinted(usagef("--new-token is for one tenant, and there are several"), "say which with --tenant")
	}
	if err := setUp(c); err != nil {
		return nil, err
	}
	n, err := openNode(ctx, c, e.log(c), newMetrics())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	chosen, err := n.chosen(i.tenant)
	if err != nil {
		return nil, err
	}
	for _, t := range chosen {
		token, err := t.bootstrap(ctx, i.again)
		if err != nil {
			return made, n.of(t, err)
		}
		if token != nil {
			made = append(made, initialised{c.Home, token.ID, t.Name, token.Secret})
		}
	}
	if len(made) == 0 {
		return nil, hinted(fmt.Errorf("%s was set up before", c.Home),
			"make further tokens with `sandyq access token create`; if the administrator's was lost, stop the server and run `sandyq init --new-token`")
	}
	return made, nil
}

// bootstrap makes the administrator's token; nil when there are tokens, unless again.
func (t *tenant) bootstrap(ctx context.Context, again bool) (*api.ServiceToken, error) {
	if err := t.fit(ctx); err != nil {
		return nil, err
	}
	before, err := t.Service.ServiceTokens(ctx, t.operator(), 1, "")
	if err != nil {
		return nil, fmt.Errorf("look for tokens: %w", err)
	}
	if len(before.Items) > 0 && !again {
		return nil, nil
	}
	made, err := t.Service.Bootstrap(ctx, administrator)
	if err != nil {
		return nil, fmt.Errorf("make the administrator's token: %w", err)
	}
	return made, nil
}

// log is the log of a process: JSON lines on standard error.
func (e *env) log(c config) *slog.Logger {
	return slog.New(slog.NewJSONHandler(e.err, &slog.HandlerOptions{Level: c.Log.Level}))
}
