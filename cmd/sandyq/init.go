package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
)

// administrator is the system that the first token stands for.
const administrator = "administrator"

// initialised is what init answers.
type initialised struct {
	Home  string `json:"home"`
	ID    string `json:"id"`
	Token string `json:"token"`
}

func newInitCmd(e *env) *cobra.Command {
	var flags configFlags
	var again bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Set a vault up and make the first administrator's token",
		Long: `Init makes the folders and, unless HashiCorp Vault keeps the keys, the keyring. It makes one administrator's token and
prints it once: it is kept nowhere. What is there already is left alone, so an init that failed may be repeated.

No server may be running on the vault.`,
		Example: `  sandyq init --config /etc/sandyq/sandyq.yaml
  sandyq init --home ./sandyq --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.load()
			if err != nil {
				return err
			}
			made, err := initialise(cmd.Context(), e, c, again)
			if err != nil {
				return err
			}
			return e.answer(made, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "The vault in %s is set up.\n\nThe administrator's token, shown this once:\n\n    %s\n\nStart it with `sandyq serve` and the same --config or --home.\n",
					made.Home, made.Token)
				return err
			})
		},
	}
	flags.bind(cmd.Flags())
	cmd.Flags().BoolVar(&again, "new-token", false, "make another administrator's token, when the first was lost")
	return cmd
}

// initialise sets a vault up and makes an administrator's token. Once there is one it refuses, unless again.
func initialise(ctx context.Context, e *env, c config, again bool) (_ *initialised, err error) {
	if err := setUp(c); err != nil {
		return nil, err
	}
	n, err := openNode(ctx, c, e.log(c), newMetrics())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := n.fit(ctx); err != nil {
		return nil, err
	}
	before, err := n.Service.ServiceTokens(ctx, operator(c), 1, "")
	if err != nil {
		return nil, fmt.Errorf("look for tokens: %w", err)
	}
	if len(before.Items) > 0 && !again {
		return nil, hinted(fmt.Errorf("%s was set up before", c.Home),
			"make further tokens with `sandyq access token create`; if the administrator's was lost, stop the server and run `sandyq init --new-token`")
	}
	made, err := n.Service.Bootstrap(ctx, administrator)
	if err != nil {
		return nil, fmt.Errorf("make the administrator's token: %w", err)
	}
	return &initialised{c.Home, made.ID, made.Secret}, nil
}

// operator is who calls when the command at the machine does.
func operator(c config) vault.Call {
	return vault.Call{Principal: access.Principal{Tenant: c.Tenant, System: "sandyq", Roles: []access.Role{access.Administrator}}}
}

// fit refuses to set up what has no keys or is not the live vault.
func (n *node) fit(ctx context.Context) error {
	if slices.Contains(n.Service.Ready(ctx).Degraded, "keys") {
		return hinted(errors.New("the key provider cannot be reached"), "run `sandyq doctor`")
	}
	return n.standing(ctx)
}

// log is the log of a process: JSON lines on standard error.
func (e *env) log(c config) *slog.Logger {
	return slog.New(slog.NewJSONHandler(e.err, &slog.HandlerOptions{Level: c.Log.Level}))
}
