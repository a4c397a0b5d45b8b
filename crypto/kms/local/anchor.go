package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/smallfile"
)

// Sentinel implements [kms.Anchor]. It is read from the disk each time.
func (k *Keyring) Sentinel(ctx context.Context) (kms.Sentinel, error) {
	end, err := k.begin(ctx)
	if err != nil {
		return kms.Sentinel{}, fmt.Errorf("local: read sentinel: %w", err)
	}
	defer end()
	s, err := k.sentinel()
	if err != nil {
		return kms.Sentinel{}, fmt.Errorf("local: read sentinel: %w", err)
	}
	return s, nil
}

// sentinel reads the keyring file again: the directory may have been moved away, or another put in its place.
func (k *Keyring) sentinel() (kms.Sentinel, error) {
	opened, err := k.dir.Stat(".")
	if err != nil {
		return kms.Sentinel{}, failed(err)
	}
	named, err := os.Stat(k.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(opened, named) {
		return kms.Sentinel{}, fmt.Errorf("%w: the directory is not the one that was opened", kms.ErrClaim)
	}
	if err != nil {
		return kms.Sentinel{}, failed(err)
	}
	file, err := readKeyring(k.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return kms.Sentinel{}, fmt.Errorf("%w: the keyring file is gone", kms.ErrClaim)
	}
	if err != nil {
		return kms.Sentinel{}, failed(err)
	}
	now, err := file.open(k.root)
	if err != nil {
		return kms.Sentinel{}, fmt.Errorf("%w: the keyring file is not the one that was opened", kms.ErrClaim)
	}
	defer now.wipe()
	return now.sentinel, nil
}

// Generation implements [kms.Anchor].
func (k *Keyring) Generation(ctx context.Context) (kms.Generation, error) {
	end, err := k.begin(ctx)
	if err != nil {
		return kms.Generation{}, fmt.Errorf("local: read generation: %w", err)
	}
	defer end()
	g, err := k.generation()
	if err != nil {
		return kms.Generation{}, fmt.Errorf("local: read generation: %w", err)
	}
	return g, nil
}

// generationPath is the file of a generation: twenty digits, as many as the largest number has.
func generationPath(number uint64) string {
	return path.Join(generationName, fmt.Sprintf("%020d", number))
}

// generation reads the highest file. There are as many as stores were made live: a handful.
func (k *Keyring) generation() (kms.Generation, error) {
	entries, err := fs.ReadDir(k.dir.FS(), generationName)
	if err != nil {
		return kms.Generation{}, failed(err)
	}
	if len(entries) == 0 {
		return kms.Generation{}, nil
	}
	last := entries[len(entries)-1].Name() // in order of name, which is order of number
	number, err := strconv.ParseUint(last, 10, 64)
	if err != nil || generationPath(number) != path.Join(generationName, last) {
		return kms.Generation{}, fmt.Errorf("%w: folder generation holds another file", kms.ErrCorrupt)
	}
	entry, err := smallfile.Read(k.dir, generationPath(number), generationFileLength)
	if err != nil {
		return kms.Generation{}, failed(err)
	}
	instance, err := openEntry(k.contents.master, generationContext(number), entry)
	if err != nil || len(instance) != len(kms.ID{}) {
		return kms.Generation{}, fmt.Errorf("%w: generation %d", kms.ErrCorrupt, number)
	}
	return kms.Generation{Number: number, Instance: kms.ID(instance)}, nil
}

// Advance implements [kms.Anchor]. The file of a number is written once, so of two racing calls one wins.
func (k *Keyring) Advance(ctx context.Context, from, next kms.Generation) error {
	end, err := k.begin(ctx)
	if err != nil {
		return fmt.Errorf("local: advance generation: %w", err)
	}
	defer end()
	if err := k.advance(from, next); err != nil {
		return fmt.Errorf("local: advance generation: %w", err)
	}
	return nil
}

func (k *Keyring) advance(from, next kms.Generation) error {
	now, err := k.generation()
	if err != nil {
		return err
	}
	done, err := now.Check(from, next)
	if err != nil {
		return err
	}
	if !done {
		if err := k.writeGeneration(next); err != nil {
			return err
		}
	}
	return failed(smallfile.SyncDir(k.dir, generationName)) // of a repeated call too: the first may have failed here
}

func (k *Keyring) writeGeneration(next kms.Generation) error {
	entry, err := sealEntry(k.contents.master, generationContext(next.Number), next.Instance[:])
	if err != nil {
		return err
	}
	err = writeOnce(k.dir, kms.NewID().String(), generationPath(next.Number), entry)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: another became generation %d", kms.ErrClaim, next.Number)
	}
	return failed(err)
}

// check compares the claim with what is on the disk now.
func (k *Keyring) check(claim kms.Claim) error {
	sentinel, err := k.sentinel()
	if err != nil {
		return err
	}
	generation, err := k.generation()
	if err != nil {
		return err
	}
	return claim.Check(sentinel, generation)
}
