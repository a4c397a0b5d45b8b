package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/crypto/kms/hashicorp"
	"github.com/sandyq/sandyq/crypto/secret"
)

func newKeysCmd(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "keys",
		Short:   "Prepare the key provider, and keep snapshots of it",
		Example: `  sandyq keys setup`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return hinted(usagef("keys needs a command"), "see: sandyq keys --help")
		},
	}
	cmd.AddCommand(newKeysSetupCmd(e), newKeysSnapshotCmd(e), remotely(e, newKeysMissingCmd))
	return cmd
}

// keysSetup is what the flags of keys setup say.
type keysSetup struct {
	config      configFlags
	tenant      string // empty: the first
	credentials string
	separate    bool
	dryRun      bool
	check       bool
	sentinel    string // with check; empty: any
}

func newKeysSetupCmd(e *env) *cobra.Command {
	var s keysSetup
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Prepare a HashiCorp Vault server, or check one",
		Long: `Setup makes the mounts, keys, policies and AppRoles that Sandyq needs in the HashiCorp Vault server that VAULT_ADDR
names, with the token in VAULT_TOKEN, which needs the right to make them and is used for nothing else. VAULT_CACERT,
VAULT_TLS_SERVER_NAME and VAULT_NAMESPACE are heeded. It writes the roles' credentials to files with mode 0600 and says what it
found, what it did and what that changed, line by line. It may be repeated, changes nothing that is as it should be, and stops
at credentials that are another role's. With --separate-erase the role that did everything, if there was one, is deleted once
there are two. With --dry-run it changes nothing and says what it would.

With --config it takes the mount, the tenant, the login methods and the credentials' files from there; of several tenants,
those of the first or of the one that is named. For a login by another method than AppRole it makes the policy alone: the
role is for whoever runs that method (docs/keys.md).

With --check it makes nothing and looks at everything: mounts, keys, policies and roles, and, by logging in as Sandyq would
and asking Vault, what they really allow. It exits with 1 when something is wrong; warnings are only told. Each finding names
the path in Vault and the rule, which docs/keys.md explains. The token needs to read all that.`,
		Example: `  VAULT_ADDR=https://vault.example:8200 VAULT_TOKEN=… sandyq keys setup --credentials /etc/sandyq/credentials
  VAULT_ADDR=https://vault.example:8200 VAULT_TOKEN=… sandyq keys setup --config /etc/sandyq/sandyq.yaml --dry-run
  VAULT_ADDR=https://vault.example:8200 VAULT_TOKEN=… sandyq keys setup --config /etc/sandyq/sandyq.yaml --check --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd.Context(), e) },
	}
	cmd.Flags().StringVar(&s.config.file, "config", "", "configuration file")
	cmd.Flags().StringVar(&s.tenant, "tenant", "", "the tenant whose keys they are to be (default: the first)")
	cmd.Flags().StringVar(&s.credentials, "credentials", "vault-credentials", "folder for the credentials that --config does not name")
	cmd.Flags().BoolVar(&s.separate, "separate-erase", false, "make a second role that alone destroys keys")
	cmd.Flags().BoolVar(&s.dryRun, "dry-run", false, "change nothing and say what would be changed")
	cmd.Flags().BoolVar(&s.check, "check", false, "change nothing and say what is not as it should be")
	cmd.Flags().StringVar(&s.sentinel, "sentinel", "", "with --check: the sentinel that must be there, as it lies in Vault")
	cmd.MarkFlagsMutuallyExclusive("dry-run", "check")
	return cmd
}

// step is one thing that setup found or did.
type step struct {
	What string   `json:"what"`
	Path string   `json:"path"`
	Done bool     `json:"done"` // false when it was there already
	Diff []string `json:"diff,omitempty"`
}

// preparation is what keys setup answers.
type preparation struct {
	Steps  []step          `json:"steps"`
	DryRun bool            `json:"dry_run,omitempty"` // what is done would be
	Done   bool            `json:"done"`
	Auth   hashicorp.Auth  `json:"-"`
	Erase  *hashicorp.Auth `json:"-"` // of who alone destroys
}

func (s *keysSetup) run(ctx context.Context, e *env) error {
	if s.sentinel != "" && !s.check {
		return usagef("--sentinel is for --check")
	}
	c, err := s.config.load()
	if err == nil {
		c, err = c.tenant(s.tenant)
	}
	if err != nil {
		return err
	}
	operator, err := operatorOf(c, "sandyq keys setup")
	if err != nil {
		return err
	}
	made := preparation{DryRun: s.dryRun}
	if made.Auth, made.Erase, err = s.identities(c); err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	if s.check {
		return s.examine(ctx, e, operator, hashicorp.Config{Mount: c.Keys.Vault.Mount, Tenant: c.Tenant, Auth: made.Auth, EraseAuth: made.Erase})
	}
	setup := hashicorp.SetupConfig{
		Operator: operator, Mount: c.Keys.Vault.Mount, Tenant: c.Tenant, Serve: credentialsOf(made.Auth), DryRun: s.dryRun,
	}
	if made.Erase != nil {
		erase := credentialsOf(*made.Erase)
		setup.Erase = &erase
	}
	if err := s.folders(setup); err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	taken, err := hashicorp.Setup(ctx, setup)
	for _, t := range taken {
		made.Steps = append(made.Steps, step(t))
	}
	made.Done = err == nil
	return errors.Join(e.answer(made.wire(), made.text), err)
}

// operatorOf is who the environment says runs the server; what it leaves out the configuration says.
func operatorOf(c config, command string) (hashicorp.Operator, error) {
	o := hashicorp.Operator{
		Address:       os.Getenv("VAULT_ADDR"),
		Token:         secret.NewString(os.Getenv("VAULT_TOKEN")),
		CAFile:        or(os.Getenv("VAULT_CACERT"), c.Keys.Vault.CAFile),
		TLSServerName: or(os.Getenv("VAULT_TLS_SERVER_NAME"), c.Keys.Vault.TLSServerName),
		Namespace:     or(os.Getenv("VAULT_NAMESPACE"), c.Keys.Vault.Namespace),
	}
	if o.Address == "" || o.Token.Expose() == "" {
		return o, hinted(errors.New("VAULT_ADDR and VAULT_TOKEN name no server and no token"),
			"set both: VAULT_ADDR=https://vault.example:8200 VAULT_TOKEN=… %s", command)
	}
	return o, nil
}

// identities are who logs in: as the configuration says, otherwise by AppRole with credentials in the folder.
func (s *keysSetup) identities(c config) (serve hashicorp.Auth, erase *hashicorp.Auth, err error) {
	dir, err := filepath.Abs(s.credentials)
	if err != nil {
		return serve, nil, err
	}
	serve = identityIn(c.Keys.Vault.Auth, dir, "serve")
	configured := c.Keys.Vault.EraseAuth
	if configured == nil && !s.separate {
		return serve, nil, nil
	}
	if configured == nil {
		configured = &hashicorp.Auth{}
	}
	second := identityIn(*configured, dir, "erase")
	return serve, &second, nil
}

func identityIn(a hashicorp.Auth, dir, name string) hashicorp.Auth {
	a.Method = or(a.Method, hashicorp.MethodAppRole)
	if a.Method == hashicorp.MethodAppRole {
		a.RoleIDFile = or(a.RoleIDFile, filepath.Join(dir, name+".role_id"))
		a.SecretIDFile = or(a.SecretIDFile, filepath.Join(dir, name+".secret_id"))
	}
	return a
}

// credentialsOf are those that a set-up makes: of AppRole alone.
func credentialsOf(a hashicorp.Auth) hashicorp.Credentials {
	return hashicorp.Credentials{RoleIDFile: a.RoleIDFile, SecretIDFile: a.SecretIDFile}
}

// folders makes those of the credentials that are not there.
func (s *keysSetup) folders(c hashicorp.SetupConfig) error {
	if s.dryRun {
		return nil
	}
	files := []string{c.Serve.RoleIDFile, c.Serve.SecretIDFile}
	if c.Erase != nil {
		files = append(files, c.Erase.RoleIDFile, c.Erase.SecretIDFile)
	}
	var errs []error
	for _, file := range files {
		if file != "" {
			errs = append(errs, os.MkdirAll(filepath.Dir(file), 0o700))
		}
	}
	return errors.Join(errs...)
}

// role is where the credentials of an AppRole are.
type role struct {
	RoleIDFile   string `json:"role_id_file"`
	SecretIDFile string `json:"secret_id_file"`
}

// wire is the preparation with the credentials' files, of who has any.
func (p preparation) wire() any {
	files := func(a *hashicorp.Auth) *role {
		if a == nil || a.Method != hashicorp.MethodAppRole {
			return nil
		}
		return &role{a.RoleIDFile, a.SecretIDFile}
	}
	return struct {
		preparation
		Auth  *role `json:"auth,omitempty"`
		Erase *role `json:"erase_auth,omitempty"`
	}{p, files(&p.Auth), files(p.Erase)}
}

// said is what became of a step.
func (p preparation) said(s step) string {
	gone := slices.ContainsFunc(s.Diff, func(line string) bool { return strings.HasPrefix(line, "-") })
	switch {
	case !s.Done:
		return "there already"
	case p.DryRun && gone:
		return "would change"
	case p.DryRun:
		return "would make"
	case gone:
		return "changed"
	}
	return "made"
}

// text tells the steps to people, and what to write in the configuration.
func (p preparation) text(w io.Writer) error {
	for _, s := range p.Steps {
		if _, err := fmt.Fprintf(w, "%-14s %s\n", p.said(s), s.What); err != nil {
			return err
		}
		for _, line := range s.Diff {
			if _, err := fmt.Fprintf(w, "%15s%s\n", "", line); err != nil {
				return err
			}
		}
	}
	if !p.Done || p.DryRun {
		return nil
	}
	text := identityText("auth", p.Auth)
	if p.Erase != nil {
		text += identityText("erase_auth", *p.Erase)
	}
	_, err := fmt.Fprintf(w, "\nkeys.vault of the configuration:\n\n%s", text)
	return err
}

func identityText(key string, a hashicorp.Auth) string {
	if a.Method != hashicorp.MethodAppRole {
		return fmt.Sprintf("    %s: {method: %s, …}  # give its role the policy above, and no other\n", key, a.Method)
	}
	return fmt.Sprintf("    %s: {method: approle, role_id_file: %q, secret_id_file: %q}\n", key, a.RoleIDFile, a.SecretIDFile)
}
