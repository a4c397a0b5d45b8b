package hashicorp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	hashicorpvault "github.com/sandyq/sandyq/deploy/hashicorp-vault"
)

// Life of a token: it is renewed from 20 minutes to 20 minutes, and after a day there is a new login.
const (
	tokenTTL    = "20m"
	tokenMaxTTL = "24h"
)

// role uploads a policy, makes the AppRole that has it, and writes its credentials.
func (s *setup) role(ctx context.Context, policy hashicorpvault.Policy, suffix string, files Credentials) error {
	name := s.names.mount + "-" + s.names.tenant + suffix
	hcl, err := policy.Render(s.names.mount, s.names.tenant)
	if err != nil {
		return err
	}
	if err := s.write(ctx, "sys/policies/acl/"+name, map[string]string{"policy": hcl}, nil); err != nil {
		return fmt.Errorf("write policy %s: %w", name, err)
	}
	s.note(true, "policy %s", name)
	err = s.write(ctx, "auth/approle/role/"+name, map[string]any{
		"token_policies":          []string{name},
		"token_no_default_policy": true,
		"token_ttl":               tokenTTL,
		"token_max_ttl":           tokenMaxTTL,
		"bind_secret_id":          true,
	}, nil)
	if err != nil {
		return fmt.Errorf("write role %s: %w", name, err)
	}
	s.note(true, "role %s", name)
	if err := s.credentials(ctx, "auth/approle/role/"+name, files); err != nil {
		return fmt.Errorf("credentials of role %s: %w", name, err)
	}
	return nil
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
	if err := s.read(ctx, path+"/role-id", &answer); err != nil {
		return err
	}
	made, err := writeFresh(files.RoleIDFile, func() (string, error) { return answer.Data.RoleID, nil })
	if err != nil {
		return err
	}
	id, err := readLine(files.RoleIDFile)
	if err != nil {
		return fmt.Errorf("%s: %w", files.RoleIDFile, err)
	}
	if id != answer.Data.RoleID {
		return fmt.Errorf("%s is of another role: move it and %s out of the way and repeat", files.RoleIDFile, files.SecretIDFile)
	}
	s.note(made, "role id in %s", files.RoleIDFile)
	made, err = writeFresh(files.SecretIDFile, func() (string, error) {
		err := s.write(ctx, path+"/secret-id", struct{}{}, &answer)
		return answer.Data.SecretID, err
	})
	if err != nil {
		return err
	}
	if _, err := readLine(files.SecretIDFile); err != nil {
		return fmt.Errorf("%s: %w", files.SecretIDFile, err)
	}
	s.note(made, "secret id in %s", files.SecretIDFile)
	return nil
}

// retire deletes the role that one identity for everything had: whoever has its credentials could destroy still. What it
// logged in keeps its rights until its token must be renewed.
func (s *setup) retire(ctx context.Context) error {
	name := s.names.mount + "-" + s.names.tenant
	err := s.read(ctx, "auth/approle/role/"+name, nil)
	if errors.Is(err, errAbsent) {
		return nil
	}
	if err == nil {
		_, err = send(ctx, s.client, request{method: http.MethodDelete, path: "auth/approle/role/" + name}, nil, nil)
	}
	if err != nil {
		return fmt.Errorf("delete role %s, which serves and destroys: %w", name, err)
	}
	s.note(true, "role %s, which served and destroyed, is deleted", name)
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
