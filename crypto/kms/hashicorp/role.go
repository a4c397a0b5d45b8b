package hashicorp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

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

// credentials writes both halves. The role id is looked up; the secret id is made, and only when its file is not there.
func (s *setup) credentials(ctx context.Context, path string, files Credentials) error {
	made, err := writeFresh(files.RoleIDFile, func() (string, error) {
		var answer struct {
			Data struct {
				ID string `json:"role_id"`
			} `json:"data"`
		}
		err := s.read(ctx, path+"/role-id", &answer)
		return answer.Data.ID, err
	})
	if err != nil {
		return err
	}
	s.note(made, "role id in %s", files.RoleIDFile)
	made, err = writeFresh(files.SecretIDFile, func() (string, error) {
		var answer struct {
			Data struct {
				ID string `json:"secret_id"`
			} `json:"data"`
		}
		err := s.write(ctx, path+"/secret-id", struct{}{}, &answer)
		return answer.Data.ID, err
	})
	if err != nil {
		return err
	}
	s.note(made, "secret id in %s", files.SecretIDFile)
	return nil
}

// writeFresh writes what get returns to a new file of mode 0600. When the file is there, get is not called. The file is
// made first, so that no credential is made that cannot be kept.
func writeFresh(path string, get func() (string, error)) (made bool, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	text, err := get()
	if err != nil {
		return false, err
	}
	if _, err := f.WriteString(text + "\n"); err != nil {
		return false, err
	}
	return true, f.Sync()
}
