package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

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
	cmd.AddCommand(newKeysSetupCmd(e), newKeysSnapshotCmd(e))
	return cmd
}

// keysSetup is what the flags of keys setup say.
type keysSetup struct {
	config      configFlags
	tenant      string // empty: the first
	credentials string
	separate    bool
}

func newKeysSetupCmd(e *env) *cobra.Command {
	var s keysSetup
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Prepare a HashiCorp Vault server",
		Long: `Setup makes the mounts, keys, policies and AppRoles that Sandyq needs in the HashiCorp Vault server that VAULT_ADDR
names, with the token in VAULT_TOKEN, which needs the right to make them and is used for nothing else. VAULT_CACERT and
VAULT_NAMESPACE are heeded. It writes the roles' credentials to files with mode 0600 and says what it found and did. It
may be repeated, and stops at credentials that are another role's. With --separate-erase the role that did everything, if
there was one, is deleted once there are two.

With --config it takes the mount, the tenant and the credentials' files from there; of several tenants, those of the first
or of the one that is named.`,
		Example: `  VAULT_ADDR=https://vault.example:8200 VAULT_TOKEN=… sandyq keys setup --credentials /etc/sandyq/credentials
  VAULT_ADDR=https://vault.example:8200 VAULT_TOKEN=… sandyq keys setup --config /etc/sandyq/sandyq.yaml --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd.Context(), e) },
	}
	cmd.Flags().StringVar(&s.config.file, "config", "", "configuration file")
	cmd.Flags().StringVar(&s.tenant, "tenant", "", "the tenant whose keys they are to be (default: the first)")
	cmd.Flags().StringVar(&s.credentials, "credentials", "vault-credentials", "folder for the credentials that --config does not name")
	cmd.Flags().BoolVar(&s.separate, "separate-erase", false, "make a second role that alone destroys keys")
	return cmd
}

// step is one thing that setup found or did.
type step struct {
	What string `json:"what"`
	Done bool   `json:"done"` // false when it was there already
}

// role is where the credentials of an AppRole are.
type role struct {
	RoleIDFile   string `json:"role_id_file"`
	SecretIDFile string `json:"secret_id_file"`
}

// preparation is what keys setup answers.
type preparation struct {
	Steps []step `json:"steps"`
	Done  bool   `json:"done"`
	Auth  role   `json:"auth"`
	Erase *role  `json:"erase_auth,omitempty"` // the role that alone destroys
}

func (s *keysSetup) run(ctx context.Context, e *env) error {
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
	made, err := s.roles(c)
	if err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	setup := hashicorp.SetupConfig{
		Address:   operator.Address,
		Token:     operator.Token,
		CAFile:    operator.CAFile,
		Namespace: operator.Namespace,
		Mount:     c.Keys.Vault.Mount,
		Tenant:    c.Tenant,
		Serve:     hashicorp.Credentials(made.Auth),
		Erase:     (*hashicorp.Credentials)(made.Erase),
	}
	taken, err := hashicorp.Setup(ctx, setup)
	for _, t := range taken {
		made.Steps = append(made.Steps, step(t))
	}
	made.Done = err == nil
	return errors.Join(e.answer(made, made.text), err)
}

// operatorOf is who the environment says runs the server; what it leaves out the configuration says.
func operatorOf(c config, command string) (hashicorp.Operator, error) {
	o := hashicorp.Operator{
		Address:   os.Getenv("VAULT_ADDR"),
		Token:     secret.NewString(os.Getenv("VAULT_TOKEN")),
		CAFile:    or(os.Getenv("VAULT_CACERT"), c.Keys.Vault.CAFile),
		Namespace: or(os.Getenv("VAULT_NAMESPACE"), c.Keys.Vault.Namespace),
	}
	if o.Address == "" || o.Token.Expose() == "" {
		return o, hinted(errors.New("VAULT_ADDR and VAULT_TOKEN name no server and no token"),
			"set both: VAULT_ADDR=https://vault.example:8200 VAULT_TOKEN=… %s", command)
	}
	return o, nil
}

// roles says where the credentials of the roles go: to where the configuration reads them, otherwise to the folder. It
// makes the folders that are not there.
func (s *keysSetup) roles(c config) (made preparation, err error) {
	dir, err := filepath.Abs(s.credentials)
	if err != nil {
		return made, err
	}
	if made.Auth, err = credentials(c.Keys.Vault.Auth, dir, "serve"); err != nil {
		return made, err
	}
	configured := c.Keys.Vault.EraseAuth
	if configured == nil && !s.separate {
		return made, nil
	}
	if configured == nil {
		configured = &hashicorp.Auth{}
	}
	erase, err := credentials(*configured, dir, "erase")
	made.Erase = &erase
	return made, err
}

func credentials(configured hashicorp.Auth, dir, name string) (role, error) {
	r := role{
		RoleIDFile:   or(configured.RoleIDFile, filepath.Join(dir, name+".role_id")),
		SecretIDFile: or(configured.SecretIDFile, filepath.Join(dir, name+".secret_id")),
	}
	return r, errors.Join(os.MkdirAll(filepath.Dir(r.RoleIDFile), 0o700), os.MkdirAll(filepath.Dir(r.SecretIDFile), 0o700))
}

// text tells the steps to people, and what to write in the configuration.
func (p preparation) text(w io.Writer) error {
	for _, s := range p.Steps {
		said := "there already"
		if s.Done {
			said = "made"
		}
		if _, err := fmt.Fprintf(w, "%-14s %s\n", said, s.What); err != nil {
			return err
		}
	}
	if !p.Done {
		return nil
	}
	_, err := fmt.Fprintf(w, "\nkeys.vault of the configuration:\n\n%s", p.Auth.text("auth"))
	if p.Erase != nil && err == nil {
		_, err = fmt.Fprint(w, p.Erase.text("erase_auth"))
	}
	return err
}

func (r role) text(key string) string {
	return fmt.Sprintf("    %s: {method: approle, role_id_file: %q, secret_id_file: %q}\n", key, r.RoleIDFile, r.SecretIDFile)
}
