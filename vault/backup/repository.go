package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/go-json-experiment/json"
)

// Repository is the backups of one vault.
type Repository struct {
	objects Objects
	config  config
	asked   string // digest of the recipients that a backup was asked for, of a new repository
}

// config is the object that says whose backups a repository holds, and for whom. It does not name the recipients: whoever
// knows one can make a snapshot.
type config struct {
	Version    int    `json:"version"`
	Vault      string `json:"vault"`
	Recipients string `json:"recipients"` // see digestOf
}

// encode writes the one text of a config.
func (c config) encode() ([]byte, error) {
	b, err := json.Marshal(c, json.Deterministic(true))
	return append(b, '\n'), err
}

// Open opens a repository. One without a config is new, and its vault empty.
func Open(ctx context.Context, objects Objects) (*Repository, error) {
	r := &Repository{objects: objects}
	b, err := r.read(ctx, configObject, maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(b, &r.config, json.RejectUnknownMembers(true)) != nil || r.config.Vault == "" || r.config.Recipients == "" {
		return nil, damaged("its config cannot be read")
	}
	if text, err := r.config.encode(); err != nil || !bytes.Equal(text, b) {
		return nil, damaged("its config is not what was written")
	}
	if r.config.Version != Version {
		return nil, fmt.Errorf("the repository has version %d of its format, and this program knows %d", r.config.Version, Version)
	}
	return r, nil
}

// isFor sees that all that the repository has is encrypted to these recipients: a snapshot for others would rest on what they
// cannot open.
func (r *Repository) isFor(recipients []string) error {
	r.asked = digestOf(recipients)
	if r.config.Vault != "" && r.config.Recipients != r.asked {
		return ErrRecipients
	}
	return nil
}

// claim writes the config of a new repository, or sees that the one that is there is of this vault.
func (r *Repository) claim(ctx context.Context, vault string) error {
	if r.config.Vault != "" {
		if r.config.Vault != vault {
			return ErrForeign
		}
		return nil
	}
	made := config{Version: Version, Vault: vault, Recipients: r.asked}
	b, err := made.encode()
	if err != nil {
		return err
	}
	if err := r.write(ctx, configObject, b); err != nil {
		return err
	}
	r.config = made
	return r.objects.Flush(ctx)
}

// read reads a small object whole.
func (r *Repository) read(ctx context.Context, name string, most int64) (_ []byte, err error) {
	f, err := r.objects.Open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read the repository: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fmt.Errorf("read the repository: %w", err)
	}
	if int64(len(b)) > most {
		return nil, damaged("%s is too long", name)
	}
	return b, nil
}

func (r *Repository) write(ctx context.Context, name string, content []byte) error {
	o, err := r.objects.Create(ctx)
	if err != nil {
		return err
	}
	defer o.Abort()
	if _, err := o.Write(content); err != nil {
		return fmt.Errorf("write into the repository: %w", err)
	}
	return o.Commit(name)
}
