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

func (s *setup) transit(ctx context.Context) error {
	for _, key := range []struct {
		name   string
		create newTransitKey
	}{
		{s.names.wrapKey(), newTransitKey{Type: "aes256-gcm96"}},
		{s.names.indexKey(), newTransitKey{"hmac", kms.MACSize}},
		{s.names.logKey(), newTransitKey{Type: "ed25519"}},
	} {
		if err := s.transitKey(ctx, key.name, key.create); err != nil {
			return fmt.Errorf("transit key %s: %w", key.name, err)
		}
	}
	// An encrypt under a name that is not there must fail, not make a key.
	if err := s.write(ctx, s.names.transitMount()+"/config/keys", map[string]bool{"disable_upsert": true}, nil); err != nil {
		return fmt.Errorf("forbid transit to make keys when asked to encrypt: %w", err)
	}
	s.note(true, "transit makes no key by itself (disable_upsert)")
	return nil
}

// newTransitKey asks Transit for a key. What it leaves out, Transit takes to be no.
type newTransitKey struct {
	Type string `json:"type"`
	Size int    `json:"key_size,omitzero"` // bytes, of an hmac key
}

func (s *setup) transitKey(ctx context.Context, name string, create newTransitKey) error {
	path := s.names.transitMount() + "/keys/" + name
	var answer struct {
		Data transitKey `json:"data"`
	}
	err := s.read(ctx, path, &answer)
	made := errors.Is(err, errAbsent)
	if made {
		if err := s.write(ctx, path, create, nil); err != nil {
			return err
		}
		err = s.read(ctx, path, &answer)
	}
	if err != nil {
		return err
	}
	if answer.Data != (transitKey{Type: create.Type}) {
		return errors.New("it is of another type, or may be exported, backed up in the clear or deleted")
	}
	s.note(made, "transit key %s (%s, cannot be exported or deleted)", name, answer.Data.Type)
	return nil
}
