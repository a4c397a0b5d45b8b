package vault_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp/vaultserver"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// restorable is a key side whose states are kept and put back.
type restorable interface {
	open(t *testing.T) kms.Provider
	close(t *testing.T)
	keep(t *testing.T)           // the state of this moment, also while a vault runs
	restore(t *testing.T, n int) // the nth that was kept
	ids(t *testing.T) []kms.ID   // all keys that there are
}

// localSide is a keyring in a folder. Its states are copies of the folder.
type localSide struct {
	home string
	kept []string
	keys kms.Provider
}

func newLocalSide(t *testing.T) restorable { return &localSide{home: t.TempDir()} }

func (l *localSide) folder() string { return filepath.Join(l.home, "keyring") }

func (l *localSide) open(t *testing.T) kms.Provider {
	t.Helper()
	l.keys = must[kms.Provider](t)(vaulttest.Keyring(l.folder()))
	return l.keys
}

func (l *localSide) close(t *testing.T) {
	t.Helper()
	if err := l.keys.Close(); err != nil {
		t.Error(err)
	}
}

func (l *localSide) keep(t *testing.T) {
	t.Helper()
	var kept string
	eventually(t, "no file goes while it is copied", func() bool {
		kept = t.TempDir()
		return os.CopyFS(kept, os.DirFS(l.folder())) == nil
	})
	l.kept = append(l.kept, kept)
}

func (l *localSide) restore(t *testing.T, n int) {
	t.Helper()
	removeAll(t, l.folder())
	copyTree(t, l.kept[n], l.folder())
	chmodAll(t, l.folder())
}

func (l *localSide) ids(t *testing.T) (all []kms.ID) {
	t.Helper()
	for id := range must[map[kms.ID]bool](t)((&site{home: l.home}).keyIDs()) {
		all = append(all, id)
	}
	return all
}

// vaultSide is a HashiCorp Vault with integrated storage. Its states are snapshots, and they are put back by force.
type vaultSide struct {
	server *vaultserver.Server
	keys   *hashicorp.Vault
	kept   [][]byte
}

func newVaultSide(t *testing.T) restorable {
	t.Helper()
	server := vaultserver.Start(t, vaultserver.Raft())
	return &vaultSide{server: server, keys: keysIn(t, server)}
}

func (s *vaultSide) open(*testing.T) kms.Provider { return s.keys }

func (s *vaultSide) close(*testing.T) {} // it ends with the test

func (s *vaultSide) keep(t *testing.T) {
	t.Helper()
	status, snapshot := s.server.Request(t, http.MethodGet, "sys/storage/raft/snapshot", nil)
	if status != http.StatusOK || len(snapshot) == 0 {
		t.Fatalf("take a snapshot: status %d, %d bytes", status, len(snapshot))
	}
	s.kept = append(s.kept, snapshot)
}

func (s *vaultSide) restore(t *testing.T, n int) {
	t.Helper()
	request(t, s.server, http.MethodPost, "sys/storage/raft/snapshot-force", s.kept[n])
	eventually(t, "health after the restore", func() bool { return s.keys.Health(ctx) == nil })
}

func (s *vaultSide) ids(t *testing.T) (all []kms.ID) {
	t.Helper()
	for name := range entries(t, s.server) {
		all = append(all, must[kms.ID](t)(kms.ParseID(name)))
	}
	return all
}
