package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"filippo.io/age"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/smallfile"
)

const (
	suffix = ".outer"
	aside  = ".new" // of a file on its way, after its name

	maxKeySize = 256 // bytes of a file
)

// Key is an outer key, by its file's name. Neither part of it is a secret.
type Key struct {
	ID      kms.ID
	Expires time.Time // the beginning of a day, UTC, on which it is due
}

// Day is the beginning of the day, UTC, that comes days after now's: what an outer key made now is due on.
func Day(now time.Time, days int) time.Time {
	return now.UTC().Truncate(24*time.Hour).AddDate(0, 0, days)
}

// Due reports whether the key's day has begun.
func (k Key) Due(now time.Time) bool { return !now.Before(k.Expires) }

func (k Key) name() string { return k.ID.String() + "." + k.Expires.Format(time.DateOnly) + suffix }

// parseName reads what name writes and nothing else.
func parseName(name string) (Key, bool) {
	id, day, _ := strings.Cut(strings.TrimSuffix(name, suffix), ".")
	parsed, err := kms.ParseID(id)
	if err != nil {
		return Key{}, false
	}
	expires, err := time.Parse(time.DateOnly, day)
	k := Key{parsed, expires}
	return k, err == nil && k.name() == name
}

// Outer is a folder of outer keys. Several processes may use one.
type Outer struct {
	path string
	dir  *os.Root
}

// OpenOuter opens a folder, which must be this user's alone.
func OpenOuter(path string) (*Outer, error) {
	dir, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("snapshot: outer keys: %w", err)
	}
	info, err := dir.Stat(".")
	if err == nil {
		err = private(info)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("snapshot: outer keys in %s: %w", path, err), dir.Close())
	}
	return &Outer{path, dir}, nil
}

func private(info fs.FileInfo) error {
	if owner := int(info.Sys().(*syscall.Stat_t).Uid); owner != os.Geteuid() {
		return fmt.Errorf("it belongs to the user %d, and this is %d", owner, os.Geteuid())
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("it has mode %#o: others may reach it; run chmod 700", mode)
	}
	return nil
}

// Close lets go of the folder.
func (o *Outer) Close() error { return o.dir.Close() }

// Keys returns the outer keys that are there, those that are due included, in order of id.
func (o *Outer) Keys() ([]Key, error) {
	keys, _, err := o.read()
	if err != nil {
		return nil, fmt.Errorf("snapshot: list outer keys: %w", err)
	}
	return keys, nil
}

// read also returns the names of what is no outer key and not on its way to be one.
func (o *Outer) read() (keys []Key, strange []string, err error) {
	entries, err := fs.ReadDir(o.dir.FS(), ".")
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), aside)
		key, ok := parseName(name)
		switch {
		case !ok || !e.Type().IsRegular():
			strange = append(strange, e.Name())
		case len(keys) == 0 || keys[len(keys)-1] != key: // else both names of one
			keys = append(keys, key)
		}
	}
	return keys, strange, nil
}

// Expire destroys the outer keys that are due and returns them. With an error it has destroyed those that it could: a file
// that is no outer key is one, for nobody would ever destroy it.
func (o *Outer) Expire(now time.Time) ([]Key, error) {
	keys, strange, err := o.read()
	var gone []Key
	for _, key := range keys {
		if !key.Due(now) {
			continue
		}
		if failed := o.destroy(key); failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		gone = append(gone, key)
	}
	if len(strange) > 0 {
		err = errors.Join(err, fmt.Errorf("%s in %s is no outer key: remove it", strange[0], o.path))
	}
	if err != nil {
		return gone, fmt.Errorf("snapshot: destroy outer keys that are due: %w", err)
	}
	return gone, nil
}

// destroy overwrites and unlinks both names that the key's file may have.
func (o *Outer) destroy(k Key) error {
	for _, name := range []string{k.name() + aside, k.name()} {
		if err := smallfile.Erase(o.dir, name); err != nil {
			return err
		}
	}
	return smallfile.SyncDir(o.dir, ".")
}

// create makes an outer key. It is durable when create returns.
func (o *Outer) create(expires time.Time) (Key, age.Recipient, error) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return Key{}, nil, err
	}
	key := Key{kms.NewID(), Day(expires, 0)}
	text := []byte(identity.String() + "\n")
	defer clear(text)
	if err := smallfile.Create(o.dir, key.name()+aside, key.name(), text); err != nil {
		return Key{}, nil, err
	}
	return key, identity.Recipient(), smallfile.SyncDir(o.dir, ".")
}

// unseal begins to read an age file that is sealed to one of the outer keys that are not due. One that is damaged does not
// keep the others from opening what is theirs.
func (o *Outer) unseal(file io.Reader, now time.Time) (io.Reader, error) {
	keys, _, err := o.read()
	if err != nil {
		return nil, err
	}
	var identities []age.Identity
	refused := ErrNoKey
	for _, key := range keys {
		if key.Due(now) {
			continue
		}
		identity, err := o.identity(key)
		if errors.Is(err, fs.ErrNotExist) { // on its way, or destroyed a moment ago
			continue
		}
		if err != nil {
			refused = fmt.Errorf("%w; and outer key %s cannot be read: %w", ErrNoKey, key.ID, err)
			continue
		}
		identities = append(identities, identity)
	}
	if len(identities) == 0 {
		return nil, refused
	}
	archive, err := age.Decrypt(file, identities...)
	if _, none := errors.AsType[*age.NoIdentityMatchError](err); none {
		return nil, refused
	}
	if err != nil {
		return nil, fmt.Errorf("%w: it does not begin as an age file", ErrDamaged)
	}
	return archive, nil
}

func (o *Outer) identity(k Key) (*age.X25519Identity, error) {
	text, err := smallfile.Read(o.dir, k.name(), maxKeySize)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	identity, err := age.ParseX25519Identity(string(bytes.TrimSuffix(text, []byte("\n"))))
	if err != nil { // whose text may hold the key
		return nil, errors.New("its file is not as it was made")
	}
	return identity, nil
}
