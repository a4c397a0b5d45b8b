package vault_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp/vaultserver"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// rolledBack is a vault whose HashiCorp Vault is taken back to an old snapshot.
type rolledBack struct {
	*vaulttest.Vault
	server *vaultserver.Server
	shop   vault.Call
	root   vault.Call
	seen   missed
	told   pager
	people []*enrolled
}

func newRolledBack(t *testing.T, require bool) *rolledBack {
	r := &rolledBack{server: vaultserver.Start(t, vaultserver.Raft())}
	r.Vault = vaulttest.New(t, withKeys(keysIn(t, r.server)), vaulttest.With(func(o *vault.Options) {
		o.RequireSnapshot, o.Observer, o.Messenger = require, &r.seen, &r.told
		o.Keyring.PoolSize = 32
	}))
	r.shop, r.root = app(r.Vault), r.As("ops", access.Administrator)
	return r
}

// enrol registers so many people.
func (r *rolledBack) enrol(t *testing.T, n int) {
	t.Helper()
	for range n {
		name := nextName()
		made := register(t, r.Vault, r.shop, fields{"iin": text(nextIIN()), "given_name": text(name)})
		r.people = append(r.people, &enrolled{subject: made.Subject, values: map[string]string{made.Tokens["given_name"].Items[0]: name}})
	}
}

// snapshot takes a snapshot of the server and returns when it was begun.
func (r *rolledBack) snapshot(t *testing.T) (begun time.Time, archive []byte) {
	t.Helper()
	r.Clock.Advance(2 * time.Minute) // the keys made by now are old enough
	begun = r.Clock.Now()
	status, archive := r.server.Request(t, http.MethodGet, "sys/storage/raft/snapshot", nil)
	if status != http.StatusOK {
		t.Fatalf("take a snapshot: %d", status)
	}
	return begun, archive
}

// restore takes the server back to a snapshot, and waits until the vault has come to terms with it.
func (r *rolledBack) restore(t *testing.T, archive []byte) {
	t.Helper()
	request(t, r.server, http.MethodPost, "sys/storage/raft/snapshot-force", archive)
	time.Sleep(time.Second) // the server takes it in after it has answered
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		away := r.Keys.(*hashicorp.Vault).Health(ctx)
		degraded := r.Ready(ctx).Degraded
		if away == nil && !slices.Contains(degraded, "keys") && !slices.Contains(degraded, "ledger") {
			break
		}
		if time.Since(began) > 30*time.Second {
			t.Fatalf("the vault does not go on after the restore: %v, %v", away, degraded)
		}
	}
	r.Clock.Advance(time.Hour) // no lease is left
}

// unreadable are the people who do not read back: unavailable, and never erased.
func (r *rolledBack) unreadable(t *testing.T) (subjects []string) {
	t.Helper()
	for _, who := range r.people {
		for token, value := range who.values {
			read := detokenize(t, r.Vault, r.shop, api.Plain, token)[0]
			if read.Error == nil {
				wantText(t, read.Value, value)
				continue
			}
			wantItem(t, read.Error, fault.Unavailable)
			subjects = append(subjects, who.subject)
		}
	}
	return subjects
}

// missing are those whom the vault lists.
func (r *rolledBack) missing(t *testing.T) (subjects []string) {
	t.Helper()
	for cursor, pages := "", 0; pages == 0 || cursor != ""; pages++ {
		page := must[*api.Page[api.MissingKey]](t)(r.MissingKeys(ctx, r.root, 3, cursor))
		for _, m := range page.Items {
			if !slices.Equal(m.Slices, []string{"identity"}) {
				t.Errorf("%v are missing", m.Slices)
			}
			subjects = append(subjects, m.Subject)
		}
		cursor = page.NextCursor
	}
	return subjects
}

// TestRequireSnapshot: with the option an old snapshot of HashiCorp Vault loses nobody's key.
func TestRequireSnapshot(t *testing.T) {
	t.Parallel()
	r := newRolledBack(t, true)
	waiting := func(ready, waiting int) {
		t.Helper()
		var now *api.KeySnapshot
		eventually(t, "the pool is as it should be", func() bool {
			now = must[*api.KeySnapshot](t)(r.KeySnapshot(ctx, r.root))
			return now.Ready >= ready && now.Ready+now.Waiting == 32 && now.Waiting >= waiting
		})
	}
	waiting(0, 32)
	if _, err := r.CreateSubject(ctx, r.shop, &api.CreateSubjectRequest{Purpose: "registration"}); err != nil {
		t.Errorf("somebody without data needs no key: %v", err)
	}
	early := tokenize1(t, r.Vault, r.shop, api.TokenizeItem{Fields: fields{"given_name": text("Айгүл")}})
	wantItem(t, early.Error, fault.Unavailable)
	if ready := r.Ready(ctx); !ready.Ready || !slices.Contains(ready.Degraded, "pool") {
		t.Errorf("%+v, want a pool that runs dry", ready)
	}

	begun, archive := r.snapshot(t)
	must[*api.KeySnapshot](t)(r.ConfirmSnapshot(ctx, r.root, &api.ConfirmSnapshotRequest{BegunAt: begun}))
	must[*api.KeySnapshot](t)(r.ConfirmSnapshot(ctx, r.root, &api.ConfirmSnapshotRequest{BegunAt: begun.Add(-time.Hour)})) // takes nothing back
	_, err := r.ConfirmSnapshot(ctx, r.root, &api.ConfirmSnapshotRequest{BegunAt: begun.Add(time.Hour)})
	wantCode(t, err, fault.Invalid)
	_, err = r.ConfirmSnapshot(ctx, r.shop, &api.ConfirmSnapshotRequest{BegunAt: begun})
	wantCode(t, err, fault.Denied)
	waiting(32, 0)
	r.enrol(t, 5)
	waiting(20, 5)
	r.Restart() // the next process adopts both kinds
	waiting(20, 5)
	r.enrol(t, 10)

	r.restore(t, archive)
	if lost := r.unreadable(t); len(lost) > 0 {
		t.Errorf("%d of %d people are lost", len(lost), len(r.people))
	}
	if lost := r.missing(t); len(lost) > 0 || r.seen.keys.Load() > 0 {
		t.Errorf("%d people are listed, %d alarms", len(lost), r.seen.keys.Load())
	}
	begun, _ = r.snapshot(t) // in which the keys that waited are not
	must[*api.KeySnapshot](t)(r.ConfirmSnapshot(ctx, r.root, &api.ConfirmSnapshotRequest{BegunAt: begun}))
	waiting(10, 10)
	begun, archive = r.snapshot(t)
	must[*api.KeySnapshot](t)(r.ConfirmSnapshot(ctx, r.root, &api.ConfirmSnapshotRequest{BegunAt: begun}))
	waiting(32, 0)
	r.enrol(t, 20)
	r.restore(t, archive)
	if lost := r.unreadable(t); len(lost) > 0 {
		t.Errorf("%d of %d people are lost by the second restore", len(lost), len(r.people))
	}
}

// TestMissingKeysAreListed: without the option an old snapshot loses the keys of people registered since. They are listed and
// alarmed of, they are unavailable, and nobody is erased for it.
func TestMissingKeysAreListed(t *testing.T) {
	t.Parallel()
	r := newRolledBack(t, false)
	ready(t, r.Vault)
	r.enrol(t, 4)
	_, archive := r.snapshot(t)
	before := len(r.people)
	r.enrol(t, 30)
	leaves := r.people[len(r.people)-1]
	r.people = r.people[:len(r.people)-1]
	erased(t, r.Vault, r.shop, erase(t, r.Vault, r.shop, leaves.subject).Erasure)
	if listed := r.missing(t); len(listed) > 0 || r.told.heard("missing_key") {
		t.Fatalf("%d are listed, or there is an alert, while all is well", len(listed))
	}
	r.restore(t, archive)
	lost := r.unreadable(t)
	if len(lost) == 0 || len(lost) > len(r.people)-before {
		t.Fatalf("%d of %d people are lost", len(lost), len(r.people))
	}
	if listed := r.missing(t); len(listed) != len(lost) { // under other ids: the shop's are its own
		t.Errorf("%d people are listed and %d are lost", len(listed), len(lost))
	}
	if r.seen.keys.Load() == 0 {
		t.Error("there was no alarm")
	}
	eventually(t, "an alert of it is sent", func() bool { return r.told.heard("missing_key") })
	for _, subject := range lost {
		if who := must[*api.Subject](t)(r.Subject(ctx, r.shop, subject)); who.State != api.StateActive {
			t.Errorf("somebody whose key is lost is %s", who.State)
		}
	}
}
