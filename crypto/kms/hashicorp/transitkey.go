package hashicorp

import (
	"context"
	"errors"
	"fmt"

	"github.com/sandyq/sandyq/crypto/kms"
)

// transitKey is what Transit says of a key.
type transitKey struct {
	Type       string `json:"type"`
	Exportable bool   `json:"exportable"`
	Backup     bool   `json:"allow_plaintext_backup"`
	Deletion   bool   `json:"deletion_allowed"`
	Derived    bool   `json:"derived"`
}

// transitKeyAt is a key of a set-up.
type transitKeyAt struct {
	name string
	newTransitKey
}

// transitKeys are those of a tenant.
func (n names) transitKeys() []transitKeyAt {
	return []transitKeyAt{
		{n.wrapKey(), newTransitKey{Type: "aes256-gcm96"}},
		{n.indexKey(), newTransitKey{"hmac", kms.MACSize}},
		{n.logKey(), newTransitKey{Type: "ed25519"}},
	}
}

// upsertConfig is what Transit says of all its keys.
type upsertConfig struct {
	Data struct {
		Disabled bool `json:"disable_upsert"`
	} `json:"data"`
}

func (n names) upsert() string { return n.transitMount() + "/config/keys" }

func (s *setup) transit(ctx context.Context) error {
	for _, key := range s.names.transitKeys() {
		if err := s.transitKey(ctx, key); err != nil {
			return fmt.Errorf("transit key %s: %w", key.name, err)
		}
	}
	// An encrypt under a name that is not there must fail, not make a key.
	var answer upsertConfig
	path := s.names.upsert()
	if err := s.read(ctx, path, &answer); err != nil && !errors.Is(err, errAbsent) {
		return fmt.Errorf("read %s: %w", path, err)
	}
	step := Step{What: "transit makes no key by itself (disable_upsert)", Path: path}
	was := []string{fmt.Sprintf("disable_upsert: %t", answer.Data.Disabled)}
	err := s.change(step, was, []string{"disable_upsert: true"}, func() error {
		return s.write(ctx, path, map[string]bool{"disable_upsert": true}, nil)
	})
	if err != nil {
		return fmt.Errorf("forbid transit to make keys when asked to encrypt: %w", err)
	}
	return nil
}

// newTransitKey asks Transit for a key. What it leaves out, Transit takes to be no.
type newTransitKey struct {
	Type string `json:"type"`
	Size int    `json:"key_size,omitzero"` // bytes, of an hmac key
}

func (s *setup) transitKey(ctx context.Context, key transitKeyAt) error {
	path := s.names.transitMount() + "/keys/" + key.name
	var answer struct {
		Data transitKey `json:"data"`
	}
	is := []string{key.Type + ", cannot be exported or deleted"}
	was := is
	err := s.read(ctx, path, &answer)
	if errors.Is(err, errAbsent) {
		was, err = nil, nil
	}
	if err != nil {
		return err
	}
	step := Step{What: fmt.Sprintf("transit key %s (%s)", key.name, is[0]), Path: path}
	err = s.change(step, was, is, func() error {
		return errors.Join(s.write(ctx, path, key.newTransitKey, nil), s.read(ctx, path, &answer))
	})
	if err != nil || was == nil && s.config.DryRun {
		return err
	}
	if answer.Data != (transitKey{Type: key.Type}) {
		return errors.New("it is of another type, or may be exported, backed up in the clear or deleted")
	}
	return nil
}
