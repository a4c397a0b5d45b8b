package local

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/crypto/smallfile"
)

// The keyring file, 151 bytes:
//
//	1   version: 1
//	1   kind: 1 passphrase, 2 key file
//	16  salt
//	4   Argon2id passes            ┐
//	4   Argon2id memory in KiB     │ big-endian; all 0 with a key file
//	1   Argon2id lanes             ┘
//	124 sealed under the root key, the 27 bytes before as associated data: master key ‖ index key ‖ sentinel, 32 each
const (
	keyringName    = "keyring"
	keysName       = "keys"
	signingName    = "signing" // made when it is first needed
	generationName = "generation"
	markName       = "mark"
	tmpName        = "tmp"

	parametersSize  = 27
	contentsSize    = 3 * 32
	keyringFileSize = parametersSize + sealOverhead + contentsSize
)

// parameters say how the root key is derived.
type parameters struct {
	kind    kind
	salt    [16]byte
	time    uint32 // Argon2id passes
	memory  uint32 // Argon2id memory in KiB
	threads uint8  // Argon2id lanes
}

// newParameters draws a salt. The Argon2id parameters are the second choice of RFC 9106, section 4.
func newParameters(k kind) parameters {
	p := parameters{kind: k}
	_, _ = rand.Read(p.salt[:]) // never fails (crypto/rand)
	if k == kindPassphrase {
		p.time, p.memory, p.threads = 3, 64<<10, 4
	}
	return p
}

// inBounds refuses parameters that are too weak to be ours, or that would exhaust the machine before the tag is checked.
func (p parameters) inBounds() bool {
	switch p.kind {
	case kindPassphrase:
		return p.time >= 1 && p.time <= 16 && p.memory >= 19<<10 && p.memory <= 1<<20 && p.threads >= 1 && p.threads <= 16
	case kindKeyFile:
		return p.time == 0 && p.memory == 0 && p.threads == 0
	}
	return false
}

func (p parameters) encode() []byte {
	b := append(make([]byte, 0, keyringFileSize), version, byte(p.kind))
	b = append(b, p.salt[:]...)
	b = binary.BigEndian.AppendUint32(b, p.time)
	b = binary.BigEndian.AppendUint32(b, p.memory)
	return append(b, p.threads)
}

// keyringFile is a keyring file whose contents are still sealed.
type keyringFile struct {
	parameters parameters
	sealed     []byte
}

// parseKeyring accepts what parameters.encode and seal write and nothing else.
func parseKeyring(b []byte) (keyringFile, error) {
	if len(b) == 0 || b[0] != version {
		return keyringFile{}, fmt.Errorf("%w: the keyring file is of another version", kms.ErrCorrupt)
	}
	if len(b) != keyringFileSize {
		return keyringFile{}, fmt.Errorf("%w: the keyring file has %d bytes, want %d", kms.ErrCorrupt, len(b), keyringFileSize)
	}
	p := parameters{
		kind:    kind(b[1]),
		salt:    [16]byte(b[2:18]),
		time:    binary.BigEndian.Uint32(b[18:22]),
		memory:  binary.BigEndian.Uint32(b[22:26]),
		threads: b[26],
	}
	if !p.inBounds() {
		return keyringFile{}, fmt.Errorf("%w: the keyring file asks for root-key parameters out of bounds", kms.ErrCorrupt)
	}
	return keyringFile{p, slices.Clone(b[parametersSize:])}, nil
}

func readKeyring(dir *os.Root) (keyringFile, error) {
	b, err := smallfile.Read(dir, keyringName, keyringFileSize)
	if err != nil {
		return keyringFile{}, err
	}
	return parseKeyring(b)
}

// contents are what the keyring file keeps.
type contents struct {
	master   secret.Bytes
	index    secret.Bytes
	sentinel kms.Sentinel
}

func (f keyringFile) open(root rootKey) (contents, error) {
	b, err := unseal(root.Bytes, f.parameters.encode(), f.sealed)
	if err != nil || len(b) != contentsSize {
		return contents{}, ErrUnlock
	}
	return contents{secret.New(b[:32:32]), secret.New(b[32:64:64]), kms.Sentinel(b[64:])}, nil
}

func (c contents) wipe() {
	c.master.Wipe()
	c.index.Wipe()
}

// create lays the folders out and writes the keyring file last, which is what makes the directory a keyring.
func create(path string, unlock Unlock) (err error) {
	if unlock.kind == kindPassphrase && unlock.passphrase.Len() < MinPassphrase {
		return fmt.Errorf("the passphrase is shorter than %d bytes", MinPassphrase)
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	dir, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	if err := vacant(dir); err != nil {
		return err
	}
	p := newParameters(unlock.kind)
	root, err := unlock.root(p)
	if err != nil {
		return err
	}
	defer root.wipe()
	if err := layOut(dir); err != nil {
		return err
	}
	var fresh [contentsSize]byte
	_, _ = rand.Read(fresh[:]) // never fails (crypto/rand)
	defer clear(fresh[:])
	header := p.encode()
	sealed, err := seal(root.Bytes, header, fresh[:])
	if err != nil {
		return err
	}
	if err := writeOnce(dir, kms.NewID().String(), keyringName, append(header, sealed...)); err != nil {
		return failed(err)
	}
	if err := smallfile.SyncDir(dir, "."); err != nil {
		return err
	}
	return syncParent(path)
}

// syncParent syncs the folder that the keyring's own lies in.
func syncParent(path string) error {
	parent, err := os.OpenRoot(filepath.Dir(filepath.Clean(path)))
	if err != nil {
		return err
	}
	return errors.Join(smallfile.SyncDir(parent, "."), parent.Close())
}

// vacant refuses a directory that holds anything but the beginnings of a keyring.
func vacant(dir *os.Root) error {
	entries, err := fs.ReadDir(dir.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch e.Name() {
		case keysName, generationName, tmpName:
		case keyringName:
			return fmt.Errorf("%w: a keyring is there already", kms.ErrExists)
		default:
			return errors.New("the directory holds other files; the keys need one of their own")
		}
	}
	return dir.Chmod(".", 0o700)
}

// layOut makes every folder now, so that creating a key changes one folder only.
func layOut(dir *os.Root) error {
	names := []string{generationName, tmpName, keysName}
	for i := range 256 {
		names = append(names, shard(kms.ID{byte(i)}))
	}
	for _, name := range names {
		if err := dir.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return smallfile.SyncDir(dir, keysName)
}
