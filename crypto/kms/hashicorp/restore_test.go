package hashicorp_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp/vaultserver"
	"github.com/sandyq/sandyq/crypto/kms/kmstest"
)

func takeSnapshot(t *testing.T, s *vaultserver.Server) []byte {
	t.Helper()
	status, snapshot := s.Request(t, http.MethodGet, "sys/storage/raft/snapshot", nil)
	if status != http.StatusOK || len(snapshot) == 0 {
		t.Fatalf("take a snapshot: status %d, %d bytes", status, len(snapshot))
	}
	return snapshot
}

// forceSnapshot puts a snapshot in the place of everything, and waits until v is served again.
func forceSnapshot(t *testing.T, s *vaultserver.Server, snapshot []byte, v *hashicorp.Vault) {
	t.Helper()
	status, answer := s.Request(t, http.MethodPost, "sys/storage/raft/snapshot-force", snapshot)
	if status/100 != 2 {
		t.Fatalf("restore a snapshot: status %d: %s", status, answer)
	}
	eventually(t, 30*time.Second, "health after the restore", func() error { return v.Health(t.Context()) })
}

// TestRolledBack restores an older snapshot under a provider that runs: what the key side says is what it said then, and
// it can be led forward again, past where it was, and destroy again what came back.
func TestRolledBack(t *testing.T) {
	for name, two := range map[string]bool{"one identity": false, "two identities": true} {
		t.Run(name, func(t *testing.T) {
			p := setUp(t, vaultserver.Start(t, vaultserver.Raft()), two)
			p.config.Timeout = 10 * time.Second
			rolledBack(t, p)
		})
	}
}

func rolledBack(t *testing.T, p place) {
	v := p.open(t)
	old := kmstest.Claim(t, v)
	kept, destroyed := create(t, v), create(t, v)
	before, err := v.Open(t.Context(), kept, destroyed)
	if err != nil {
		t.Fatal(err)
	}
	mark := kms.Mark{Entries: 1, Head: [32]byte{1}}
	if err := v.SetMark(t.Context(), kms.Mark{}, mark); err != nil {
		t.Fatal(err)
	}
	snapshot := takeSnapshot(t, p.server)

	kmstest.Claim(t, v)
	later := kmstest.Claim(t, v)
	lost := create(t, v)
	if err := v.Destroy(t.Context(), later, destroyed); err != nil {
		t.Fatal(err)
	}
	laterMark := kms.Mark{Entries: 2, Head: [32]byte{2}}
	if err := v.SetMark(t.Context(), mark, laterMark); err != nil {
		t.Fatal(err)
	}
	if _, err := v.RotateSigning(t.Context()); err != nil {
		t.Fatal(err)
	}
	forceSnapshot(t, p.server, snapshot, v)

	if s, err := v.Sentinel(t.Context()); err != nil || s != old.Sentinel {
		t.Errorf("another sentinel (%v)", err)
	}
	if g, err := v.Generation(t.Context()); err != nil || g != old.Generation {
		t.Errorf("generation %s, want the snapshot's %s (%v)", g, old.Generation, err)
	}
	if m, err := v.Mark(t.Context()); err != nil || m != mark {
		t.Errorf("mark %s, want the snapshot's %s (%v)", m, mark, err)
	}
	if public, err := v.PublicKeys(t.Context()); err != nil || len(public) != 1 {
		t.Errorf("%d versions of the signing key, want the snapshot's 1 (%v)", len(public), err)
	}
	if _, err := v.SignAs(t.Context(), 2, []byte("message")); !errors.Is(err, kms.ErrVersion) {
		t.Errorf("sign as a version that was lost: %v, want ErrVersion", err)
	}
	after, err := v.Open(t.Context(), kept, destroyed, lost)
	if err != nil {
		t.Fatal(err)
	}
	if string(after[0].Secret.Expose()) != string(before[0].Secret.Expose()) || string(after[1].Secret.Expose()) != string(before[1].Secret.Expose()) {
		t.Error("the keys are not those of the snapshot")
	}
	if !after[2].Missing() {
		t.Error("a key that was made after the snapshot is there")
	}
	for what, claim := range map[string]kms.Claim{"the store's": later, "none": {}} {
		if err := v.Destroy(t.Context(), claim, destroyed); !errors.Is(err, kms.ErrClaim) {
			t.Errorf("destroy under %s title: %v, want ErrClaim", what, err)
		}
	}
	lead(t, v, old.Generation, later, destroyed)
	if err := v.SetMark(t.Context(), laterMark, kms.Mark{Entries: 3}); !errors.Is(err, kms.ErrClaim) {
		t.Errorf("set the mark from what was rolled back: %v, want ErrClaim", err)
	}
	if err := v.SetMark(t.Context(), mark, laterMark); err != nil {
		t.Errorf("set the mark again: %v", err)
	}
	if keys, err := v.Open(t.Context(), kept); err != nil || keys[0].Missing() {
		t.Errorf("the other key is gone (%v)", err)
	}
}

// lead advances from the generation that the key side fell back to until it is past the store's, and destroys again.
func lead(t *testing.T, v *hashicorp.Vault, from kms.Generation, store kms.Claim, resurrected kms.ID) {
	t.Helper()
	for from.Number <= store.Generation.Number {
		next := kms.Generation{Number: from.Number + 1, Instance: kms.NewID()}
		for range 2 { // the answer may have been lost
			if err := v.Advance(t.Context(), from, next); err != nil {
				t.Fatalf("advance from %s to %s: %v", from, next, err)
			}
		}
		if g, err := v.Generation(t.Context()); err != nil || g != next {
			t.Fatalf("generation %s, want %s (%v)", g, next, err)
		}
		from = next
	}
	if err := v.Destroy(t.Context(), store, resurrected); !errors.Is(err, kms.ErrClaim) {
		t.Errorf("destroy under the title of before: %v, want ErrClaim", err)
	}
	claim := kms.Claim{Sentinel: store.Sentinel, Generation: from}
	if err := v.Destroy(t.Context(), claim, resurrected); err != nil {
		t.Fatalf("destroy again: %v", err)
	}
	wantMissing(t, v, []kms.ID{resurrected})
}
