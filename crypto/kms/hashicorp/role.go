package hashicorp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	hashicorpvault "github.com/sandyq/sandyq/deploy/hashicorp-vault"
)

// Life of a token: it is renewed from 20 minutes to 20 minutes, and after a day there is a new login. In seconds, as Vault
// tells them.
const (
	tokenTTL    = 20 * 60
	tokenMaxTTL = 24 * 60 * 60
)

// approle is what a set-up decides of an AppRole.
type approle struct {
	Policies  []string `json:"token_policies"`
	NoDefault bool     `json:"token_no_default_policy"`
	TTL       int      `json:"token_ttl"`
	MaxTTL    int      `json:"token_max_ttl"`
	SecretID  bool     `json:"bind_secret_id"`
}

func (r approle) lines() []string {
	return []string{
		"token_policies: " + strings.Join(r.Policies, ", "),
		fmt.Sprintf("token_no_default_policy: %t", r.NoDefault),
		fmt.Sprintf("token_ttl: %d", r.TTL),
		fmt.Sprintf("token_max_ttl: %d", r.MaxTTL),
		fmt.Sprintf("bind_secret_id: %t", r.SecretID),
	}
}

// identified is an identity of a set-up: its policy, and the role of the same name.
type identified struct {
	policy hashicorpvault.Policy
	name   string // such as sandyq-main-read
}

func (n names) identified(policy hashicorpvault.Policy) identified {
	suffix := map[hashicorpvault.Policy]string{hashicorpvault.Read: "-read", hashicorpvault.Erase: "-erase"}[policy]
	return identified{policy, n.mount + "-" + n.tenant + suffix}
}

// role uploads a policy, makes the AppRole that has it, and writes its credentials; the policy alone if there are none.
func (s *setup) role(ctx context.Context, who identified, files Credentials) error {
	if err := s.upload(ctx, who); err != nil {
		return fmt.Errorf("policy %s: %w", who.name, err)
	}
	if files == (Credentials{}) {
		return nil
	}
	var answer struct {
		Data approle `json:"data"`
	}
	path := "auth/approle/role/" + who.name
	err := s.read(ctx, path, &answer)
	was := answer.Data.lines()
	if errors.Is(err, errAbsent) {
		was, err = nil, nil
	}
	if err != nil {
		return fmt.Errorf("role %s: %w", who.name, err)
	}
	role := approle{[]string{who.name}, true, tokenTTL, tokenMaxTTL, true}
	step := Step{What: "role " + who.name, Path: path}
	if err := s.change(step, was, role.lines(), func() error { return s.write(ctx, path, role, nil) }); err != nil {
		return fmt.Errorf("write role %s: %w", who.name, err)
	}
	if err := s.credentials(ctx, path, files); err != nil {
		return fmt.Errorf("credentials of role %s: %w", who.name, err)
	}
	return nil
}

func (s *setup) upload(ctx context.Context, who identified) error {
	hcl, err := who.policy.Render(s.names.mount, s.names.tenant)
	if err != nil {
		return err
	}
	there, err := s.policy(ctx, who.name)
	if err != nil && !errors.Is(err, errAbsent) {
		return err
	}
	step := Step{What: "policy " + who.name, Path: "sys/policies/acl/" + who.name}
	return s.change(step, linesOf(there), linesOf(hcl), func() error {
		return s.write(ctx, step.Path, map[string]string{"policy": hcl}, nil)
	})
}

// linesOf takes a text apart; the empty one has none.
func linesOf(text string) []string {
	if text = strings.TrimRight(text, "\n"); text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// credentials writes both halves. The role id is looked up and must be the one in the file when there is a file, or the
// set-up would report a role that nobody uses. The secret id is made, and only when its file is not there.
func (s *setup) credentials(ctx context.Context, path string, files Credentials) error {
	var answer struct {
		Data struct {
			RoleID   string `json:"role_id"`
			SecretID string `json:"secret_id"`
		} `json:"data"`
	}
	err := s.read(ctx, path+"/role-id", &answer)
	if s.config.DryRun && errors.Is(err, errAbsent) {
		err = nil // the role is yet to be made
	}
	if err != nil {
		return err
	}
	err = s.credential(files.RoleIDFile, "role id", func() (string, error) { return answer.Data.RoleID, nil })
	if err != nil {
		return err
	}
	id, err := readLine(files.RoleIDFile)
	if s.config.DryRun && errors.Is(err, fs.ErrNotExist) {
		id, err = answer.Data.RoleID, nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", files.RoleIDFile, err)
	}
	if id != answer.Data.RoleID {
		return fmt.Errorf("%s is of another role: move it and %s out of the way and repeat", files.RoleIDFile, files.SecretIDFile)
	}
	err = s.credential(files.SecretIDFile, "secret id", func() (string, error) {
		err := s.write(ctx, path+"/secret-id", struct{}{}, &answer)
		return answer.Data.SecretID, err
	})
	if err != nil || s.config.DryRun {
		return err
	}
	if _, err := readLine(files.SecretIDFile); err != nil {
		return fmt.Errorf("%s: %w", files.SecretIDFile, err)
	}
	return nil
}

// credential writes one half to its file, when that is not there.
func (s *setup) credential(path, what string, get func() (string, error)) error {
	is := []string{"(the " + what + ")"}
	was := is
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		was = nil
	} else if err != nil {
		return err
	}
	return s.change(Step{What: what + " in " + path, Path: path}, was, is, func() error {
		_, err := writeFresh(path, get)
		return err
	})
}

// retire deletes the role that one identity for everything had: whoever has its credentials could destroy still. What it
// logged in keeps its rights until its token must be renewed.
func (s *setup) retire(ctx context.Context) error {
	who := s.names.identified(hashicorpvault.All)
	path := "auth/approle/role/" + who.name
	err := s.read(ctx, path, nil)
	if errors.Is(err, errAbsent) || errors.Is(err, errNoRoute) { // without AppRole there is no such role
		return nil
	}
	if err == nil {
		step := Step{What: "role " + who.name + ", which served and destroyed, is deleted", Path: path}
		err = s.change(step, []string{"role " + who.name}, nil, func() error { return s.remove(ctx, path) })
	}
	if err != nil {
		return fmt.Errorf("delete role %s, which serves and destroys: %w", who.name, err)
	}
	return nil
}

// writeFresh writes what get returns to a new file of mode 0600. When the file is there, get is not called. It is written
// beside its place and linked there whole, never over another, so that a set-up that was killed leaves no torn one; and it
// is made before get is called, so that no credential is made that cannot be kept.
func writeFresh(path string, get func() (string, error)) (made bool, err error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // of mode 0600
	if err != nil {
		return false, err
	}
	defer func() {
		err = errors.Join(err, f.Close(), os.Remove(f.Name()))
	}()
	text, err := get()
	if err != nil {
		return false, err
	}
	if _, err := f.WriteString(text + "\n"); err != nil {
		return false, err
	}
	if err := f.Sync(); err != nil {
		return false, err
	}
	return true, os.Link(f.Name(), path)
}
