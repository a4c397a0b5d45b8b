package snapshot_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms/hashicorp"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp/snapshot"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp/vaultserver"
	"github.com/sandyq/sandyq/crypto/secret"
)

func operator(s *vaultserver.Server) hashicorp.Operator {
	return hashicorp.Operator{Address: s.Address, Token: secret.NewString(s.RootToken)}
}

func takeFrom(t *testing.T, o hashicorp.Operator, path string, outer *snapshot.Outer, days int) (snapshot.Taken, error) {
	t.Helper()
	archive, err := o.Snapshot(t.Context())
	if err != nil {
		return snapshot.Taken{}, err
	}
	defer func() { _ = archive.Close() }()
	return snapshot.Take(t.Context(), archive, path, outer, snapshot.Day(now, days))
}

// TestServer takes a snapshot of a real server, restores it, and lets its outer key's day come.
func TestServer(t *testing.T) {
	s := vaultserver.Start(t, vaultserver.Raft())
	dir, outer := folders(t)
	write := func(path string, body map[string]any) {
		t.Helper()
		if status, answer := s.Request(t, http.MethodPut, path, body); status/100 != 2 {
			t.Fatalf("write %s: status %d: %s", path, status, answer)
		}
	}
	write("sys/mounts/kv1", map[string]any{"type": "kv"})
	write("kv1/a", map[string]any{"value": "first"})
	sealed, opened := filepath.Join(dir, "sealed"), filepath.Join(dir, "opened")
	taken, err := takeFrom(t, operator(s), sealed, outer, 30)
	if err != nil {
		t.Fatal(err)
	}
	write("kv1/a", map[string]any{"value": "second"})

	if size, err := snapshot.Open(t.Context(), sealed, opened, outer, now); err != nil || size != taken.Size {
		t.Fatalf("open: %d bytes of %d (%v)", size, taken.Size, err)
	}
	content, err := os.ReadFile(opened)
	if err != nil {
		t.Fatal(err)
	}
	if status, answer := s.Request(t, http.MethodPost, "sys/storage/raft/snapshot-force", content); status/100 != 2 {
		t.Fatalf("restore: status %d: %s", status, answer)
	}
	for deadline := time.After(30 * time.Second); ; {
		if status, answer := s.Request(t, http.MethodGet, "kv1/a", nil); status == http.StatusOK && strings.Contains(string(answer), "first") {
			break
		}
		select {
		case <-deadline:
			t.Fatal("the entry did not go back to what it was")
		case <-time.After(20 * time.Millisecond):
		}
	}

	if gone, err := outer.Expire(taken.Key.Expires); err != nil || len(gone) != 1 {
		t.Fatalf("destroyed %d outer keys (%v)", len(gone), err)
	}
	if _, err := snapshot.Open(t.Context(), sealed, opened+".again", outer, now); !errors.Is(err, snapshot.ErrNoKey) {
		t.Errorf("open after the outer key's day: %v, want ErrNoKey", err)
	}

	wrong := operator(s)
	wrong.Token = secret.NewString("hvs.canary")
	if _, err := takeFrom(t, wrong, filepath.Join(dir, "wrong"), outer, 30); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("with a wrong token: %v", err)
	}
	s.Kill(t)
	if _, err := takeFrom(t, operator(s), filepath.Join(dir, "away"), outer, 30); err == nil {
		t.Error("takes a snapshot of a server that is away")
	}
	if left := keysOf(t, outer); len(left) != 0 {
		t.Errorf("%d outer keys are left of attempts that failed", len(left))
	}
}

// TestServerWithoutRaft has no snapshots.
func TestServerWithoutRaft(t *testing.T) {
	dir, outer := folders(t)
	_, err := takeFrom(t, operator(vaultserver.Shared(t)), filepath.Join(dir, "a"), outer, 30)
	if err == nil || !strings.Contains(err.Error(), "integrated storage") {
		t.Errorf("%v does not say why", err)
	}
}
