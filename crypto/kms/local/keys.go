package local

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"golang.org/x/sync/errgroup"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/crypto/smallfile"
)

// parallel is how many files of a batch are under way at once: enough for the file system to join their syncs.
const parallel = 64

// shard is the folder of a key.
func shard(id kms.ID) string { return path.Join(keysName, id.String()[:2]) }

// keyPath is the file of a key.
func keyPath(id kms.ID) string { return path.Join(shard(id), id.String()) }

// Create implements [kms.KMS].
func (k *Keyring) Create(ctx context.Context, ids ...kms.ID) ([]kms.Key, error) {
	end, err := k.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("local: create keys: %w", err)
	}
	defer end()
	keys := make([]kms.Key, len(ids))
	err = each(ctx, len(ids), func(i int) error {
		var err error
		keys[i], err = k.createOne(ids[i])
		return err
	})
	if err == nil {
		err = k.syncFolders(ctx, ids)
	}
	if err != nil {
		for _, key := range keys {
			key.Secret.Wipe()
		}
		return nil, fmt.Errorf("local: create keys: %w", err)
	}
	return keys, nil
}

func (k *Keyring) createOne(id kms.ID) (kms.Key, error) {
	key := make([]byte, kms.KeySize)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	entry, err := sealEntry(k.contents.master, keyContext(id), key)
	if err != nil {
		return kms.Key{}, err
	}
	if err := writeOnce(k.dir, id.String(), keyPath(id), entry); err != nil {
		return kms.Key{}, err
	}
	return kms.Key{ID: id, Secret: secret.New(key)}, nil
}

// Open implements [kms.KMS].
func (k *Keyring) Open(ctx context.Context, ids ...kms.ID) ([]kms.Key, error) {
	end, err := k.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("local: open keys: %w", err)
	}
	defer end()
	keys := make([]kms.Key, len(ids))
	err = each(ctx, len(ids), func(i int) error {
		var err error
		keys[i], err = k.openOne(ids[i])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("local: open keys: %w", err)
	}
	return keys, nil
}

func (k *Keyring) openOne(id kms.ID) (kms.Key, error) {
	entry, err := smallfile.Read(k.dir, keyPath(id), keyFileLength)
	if errors.Is(err, fs.ErrNotExist) {
		return kms.Key{ID: id}, nil
	}
	if err != nil {
		return kms.Key{}, err
	}
	if bytes.Equal(entry, make([]byte, keyFileLength)) { // overwritten by Destroy
		return kms.Key{ID: id}, nil
	}
	key, err := openEntry(k.contents.master, keyContext(id), entry)
	if err != nil || len(key) != kms.KeySize {
		return kms.Key{}, fmt.Errorf("%w: key %s", kms.ErrCorrupt, id)
	}
	return kms.Key{ID: id, Secret: secret.New(key)}, nil
}

// Destroy implements [kms.KMS]. A Create of the same id that is under way fails or is undone.
func (k *Keyring) Destroy(ctx context.Context, claim kms.Claim, ids ...kms.ID) error {
	end, err := k.begin(ctx)
	if err != nil {
		return fmt.Errorf("local: destroy keys: %w", err)
	}
	defer end()
	if err := k.destroy(ctx, claim, ids); err != nil {
		return fmt.Errorf("local: destroy keys: %w", err)
	}
	return nil
}

func (k *Keyring) destroy(ctx context.Context, claim kms.Claim, ids []kms.ID) error {
	if err := k.check(claim); err != nil {
		return err
	}
	err := each(ctx, len(ids), func(i int) error {
		// The name in tmp first: a Create cannot link from there any more, and what it linked goes next.
		if err := smallfile.Erase(k.dir, asidePath(ids[i])); err != nil {
			return err
		}
		return smallfile.Erase(k.dir, keyPath(ids[i]))
	})
	if err != nil {
		return err
	}
	if err := failed(smallfile.SyncDir(k.dir, tmpName)); err != nil {
		return err
	}
	if err := k.syncFolders(ctx, ids); err != nil {
		return err
	}
	if err := each(ctx, len(ids), func(i int) error { return k.gone(ids[i]) }); err != nil {
		return err
	}
	return k.check(claim)
}

// asidePath is where a key's file is on its way, and where a crash may have left a second link to it.
func asidePath(id kms.ID) string { return path.Join(tmpName, id.String()) }

func (k *Keyring) gone(id kms.ID) error {
	for _, name := range []string{asidePath(id), keyPath(id)} {
		switch ok, err := absent(k.dir, name); {
		case err != nil:
			return err
		case !ok:
			return fmt.Errorf("%w: key %s is there again", kms.ErrUnavailable, id)
		}
	}
	return nil
}

// syncFolders syncs each folder that the keys lie in, once. A folder that is not there is an error: nothing counts as
// absent from it.
func (k *Keyring) syncFolders(ctx context.Context, ids []kms.ID) error {
	var touched [256]bool
	var folders []string
	for _, id := range ids {
		if !touched[id[0]] {
			touched[id[0]] = true
			folders = append(folders, shard(id))
		}
	}
	return each(ctx, len(folders), func(i int) error { return smallfile.SyncDir(k.dir, folders[i]) })
}

// Settle implements [kms.Settler]: it syncs all folders of the keyring, and the one that it lies in. A process may have ended between making
// a file, which is synced by then, and syncing the folder.
func (k *Keyring) Settle(ctx context.Context) error {
	end, err := k.begin(ctx)
	if err != nil {
		return fmt.Errorf("local: settle: %w", err)
	}
	defer end()
	folders := []string{".", keysName, generationName}
	for i := range 256 {
		folders = append(folders, shard(kms.ID{byte(i)}))
	}
	err = each(ctx, len(folders), func(i int) error { return smallfile.SyncDir(k.dir, folders[i]) })
	if err == nil {
		err = failed(syncParent(k.path))
	}
	if err != nil {
		return fmt.Errorf("local: settle: %w", err)
	}
	return nil
}

// each calls f for 0 … n-1, several at once, until one fails or ctx ends, and waits for all that it called.
func each(ctx context.Context, n int, f func(int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i := range n {
		group.Go(func() error {
			if err := ended(ctx); err != nil {
				return err
			}
			return failed(f(i))
		})
	}
	return group.Wait()
}
