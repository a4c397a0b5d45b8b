package local

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/smallfile"
)

// PublicKeys implements [kms.Signer].
func (k *Keyring) PublicKeys(ctx context.Context) ([]ed25519.PublicKey, error) {
	end, err := k.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("local: read public keys: %w", err)
	}
	defer end()
	public, err := k.publicKeys()
	if err != nil {
		return nil, fmt.Errorf("local: read public keys: %w", err)
	}
	return public, nil
}

func (k *Keyring) publicKeys() ([]ed25519.PublicKey, error) {
	newest, err := k.newestSigning()
	if err != nil {
		return nil, err
	}
	public := make([]ed25519.PublicKey, newest)
	for i := range public {
		key, err := k.signingKey(i + 1)
		if err != nil {
			return nil, err
		}
		public[i] = key.Public().(ed25519.PublicKey)
		clear(key)
	}
	// Another process may have written the newest a moment ago: what is named must outlast a loss of power.
	return public, failed(smallfile.SyncDir(k.dir, signingName))
}

// SignAs implements [kms.Signer].
func (k *Keyring) SignAs(ctx context.Context, version int, message []byte) ([]byte, error) {
	end, err := k.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("local: sign: %w", err)
	}
	defer end()
	signature, err := k.signAs(version, message)
	if err != nil {
		return nil, fmt.Errorf("local: sign: %w", err)
	}
	return signature, nil
}

func (k *Keyring) signAs(version int, message []byte) ([]byte, error) {
	newest, err := k.newestSigning()
	if err != nil {
		return nil, err
	}
	if version < 1 || version > newest {
		return nil, fmt.Errorf("%w: %d of %d", kms.ErrVersion, version, newest)
	}
	key, err := k.signingKey(version)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return ed25519.Sign(key, message), nil
}

// RotateSigning implements [kms.Signer]. Of those that race for a version one gets it, and the others the next ones.
func (k *Keyring) RotateSigning(ctx context.Context) (int, error) {
	end, err := k.begin(ctx)
	if err != nil {
		return 0, fmt.Errorf("local: rotate signing key: %w", err)
	}
	defer end()
	for {
		version, err := k.rotateSigning()
		if errors.Is(err, kms.ErrExists) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("local: rotate signing key: %w", err)
		}
		return version, nil
	}
}

func (k *Keyring) rotateSigning() (int, error) {
	newest, err := k.newestSigning()
	if err != nil {
		return 0, err
	}
	return newest + 1, k.writeSigning(newest + 1)
}

// signingPath is the file of a version: twenty digits, as the generations have.
func signingPath(version int) string {
	return path.Join(signingName, fmt.Sprintf("%020d", version))
}

// newestSigning returns the highest version, having seen that all before it have their files. The first is made here: a
// keyring without signing keys is a new one, or one of a build that knew of none.
func (k *Keyring) newestSigning() (int, error) {
	entries, err := fs.ReadDir(k.dir.FS(), signingName)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, failed(err)
	}
	for i, entry := range entries { // in order of name, which is order of version
		if path.Join(signingName, entry.Name()) != signingPath(i+1) {
			return 0, fmt.Errorf("%w: version %d of the signing key is gone, or another file lies there", kms.ErrCorrupt, i+1)
		}
	}
	if len(entries) > 0 {
		return len(entries), nil
	}
	if err := k.firstSigning(); err != nil {
		return 0, err
	}
	return 1, nil
}

// firstSigning makes the folder and version 1, or finds that another made them.
func (k *Keyring) firstSigning() error {
	if err := k.dir.Mkdir(signingName, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return failed(err)
	}
	if err := smallfile.SyncDir(k.dir, "."); err != nil {
		return failed(err)
	}
	if err := k.writeSigning(1); err != nil && !errors.Is(err, kms.ErrExists) {
		return err
	}
	return failed(smallfile.SyncDir(k.dir, signingName)) // of another's file too
}

// writeSigning makes the key of a version. It fails with [kms.ErrExists] when the version is there.
func (k *Keyring) writeSigning(version int) error {
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed) // never fails (crypto/rand)
	defer clear(seed)
	entry, err := sealEntry(k.contents.master, signingContext(version), seed)
	if err != nil {
		return err
	}
	if err := writeOnce(k.dir, kms.NewID().String(), signingPath(version), entry); err != nil {
		return failed(err)
	}
	return failed(smallfile.SyncDir(k.dir, signingName))
}

// signingKey opens the key of a version, which the caller clears.
func (k *Keyring) signingKey(version int) (ed25519.PrivateKey, error) {
	entry, err := smallfile.Read(k.dir, signingPath(version), signingFileLength)
	if err != nil {
		return nil, failed(err)
	}
	seed, err := openEntry(k.contents.master, signingContext(version), entry)
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("%w: version %d of the signing key", kms.ErrCorrupt, version)
	}
	defer clear(seed)
	return ed25519.NewKeyFromSeed(seed), nil
}
