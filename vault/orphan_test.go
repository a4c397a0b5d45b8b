package vault_test

import (
	"context"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/blob/file"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// lose leaves a blob that no row knows of.
func lose(t *testing.T, v *vaulttest.Vault, content string) blob.ID {
	t.Helper()
	id := blob.NewID()
	w := must[blob.Writer](t)(v.Blobs.Create(ctx, id))
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	return id
}

// What a node leaves that stood still while its upload was taken away goes after a week, and nothing else does: no document of
// any tenant, no upload under way, and nothing that is young.
func TestBlobsThatNoRowKnowsOfAreRemoved(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	who := register(t, v, shop, aigul())
	put := must[*api.Document](t)(v.PutDocument(ctx, shop, upload(who.Subject, jpeg(5000))))
	beside := v.Beside("zweite")
	theirs := app(beside)
	other := register(t, beside, theirs, aigul())
	kept := must[*api.Document](t)(beside.PutDocument(ctx, theirs, upload(other.Subject, jpeg(5000))))
	lost := lose(t, v, "sealed")
	pass := func(d time.Duration) {
		v.Clock.Advance(d)
		beside.Clock.Advance(d)
	}
	pass(25 * time.Hour)
	eventually(t, "the marker is left", func() bool { return len(blobs(t, v)) == 4 })
	time.Sleep(200 * time.Millisecond) // the rest of that sweep
	if !stands(t, v, lost) {
		t.Error("a blob that is younger than a week went")
	}
	pass(8 * 24 * time.Hour)
	eventually(t, "the lost blob goes", func() bool { return !stands(t, v, lost) })
	openDocument(t, beside, theirs, kept.Token, 0)
	beside.Stop()
	v.Restart()
	for range 2 {
		time.Sleep(200 * time.Millisecond) // sweeps
		v.Clock.Advance(25 * time.Hour)
	}
	time.Sleep(200 * time.Millisecond)
	if got := len(blobs(t, v)); got != 3 {
		t.Errorf("%d blobs, want two documents and the marker", got)
	}
	openDocument(t, v, shop, put.Token, 0)
}

// Two vaults that were given one place for their documents do not take each other's for lost.
func TestDocumentsOfAnotherVaultAreLeftAlone(t *testing.T) {
	first := vaulttest.New(t)
	second := vaulttest.New(t, vaulttest.With(func(o *vault.Options) { o.Blobs = first.Blobs }))
	tokens := map[*vaulttest.Vault]string{}
	for _, v := range []*vaulttest.Vault{first, second} {
		shop := app(v)
		who := register(t, v, shop, aigul())
		tokens[v] = must[*api.Document](t)(v.PutDocument(ctx, shop, upload(who.Subject, jpeg(5000)))).Token
	}
	lost := lose(t, first, "sealed")
	first.Clock.Advance(25 * time.Hour) // both leave their markers
	second.Clock.Advance(25 * time.Hour)
	eventually(t, "both have left a marker", func() bool { return len(blobs(t, first)) == 5 })
	first.Clock.Advance(8 * 24 * time.Hour)
	second.Clock.Advance(8 * 24 * time.Hour)
	time.Sleep(500 * time.Millisecond) // ten sweeps of each
	if got := len(blobs(t, first)); got != 5 || !stands(t, first, lost) {
		t.Errorf("%d blobs, want 5", got)
	}
	for v, token := range tokens {
		openDocument(t, v, app(v), token, 0)
	}
}

// monthOld is a place of documents of which some have been there for a month.
type monthOld struct {
	blob.Store
	old atomic.Pointer[blob.ID]
}

func (m *monthOld) List(ctx context.Context, f func(blob.Info) error) error {
	return m.Store.List(ctx, func(i blob.Info) error {
		if old := m.old.Load(); old != nil && *old == i.ID {
			i.Modified = i.Modified.Add(-30 * 24 * time.Hour)
		}
		return f(i)
	})
}

// A vault is given the place of another, whose documents are old and whose marker is young: they are not taken for lost. What
// its own rows do not know of goes once the other's documents are elsewhere.
func TestAYoungMarkerKeepsOldDocuments(t *testing.T) {
	place := &monthOld{Store: documentsFor(t)}
	with := vaulttest.With(func(o *vault.Options) { o.Blobs = place })
	theirs := vaulttest.New(t, with)
	shop := app(theirs)
	who := register(t, theirs, shop, aigul())
	token := must[*api.Document](t)(theirs.PutDocument(ctx, shop, upload(who.Subject, jpeg(5000)))).Token
	document := blobs(t, theirs)[0].ID
	eventually(t, "their marker is left", func() bool {
		theirs.Clock.Advance(30 * time.Minute) // a day counts from its first sweep
		return len(blobs(t, theirs)) == 2
	})
	place.old.Store(&document)
	marker := blobs(t, theirs)[0].ID
	if marker == document {
		marker = blobs(t, theirs)[1].ID
	}

	other := vaulttest.New(t, with)
	eventually(t, "the other has left its marker", func() bool {
		other.Clock.Advance(30 * time.Minute) // a day counts from its first sweep
		return len(blobs(t, other)) == 3
	})
	time.Sleep(500 * time.Millisecond) // ten sweeps
	if got := len(blobs(t, other)); got != 3 {
		t.Errorf("%d blobs, want their document and two markers", got)
	}
	openDocument(t, theirs, shop, token, 0)
	theirs.Stop()
	if err := place.Remove(ctx, marker); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what no row knows of goes once nobody else is there", func() bool { return !stands(t, other, document) })
}

// keeping is a place of documents that keeps what is removed until it is let go.
type keeping struct {
	blob.Store
	keeps atomic.Bool
	until atomic.Int64 // seconds
}

func (k *keeping) Remove(ctx context.Context, id blob.ID) error {
	if k.keeps.Load() {
		return &blob.Kept{Until: time.Unix(k.until.Load(), 0)}
	}
	return k.Store.Remove(ctx, id)
}

// documentsFor is a folder for documents.
func documentsFor(t *testing.T) blob.Store {
	t.Helper()
	s := must[*file.Store](t)(file.Open(t.TempDir(), 0))
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// A document that the storage keeps does not hold up its person's erasure, and holds up that it is said to be removed.
func TestWhatTheStorageKeepsIsNotSaidToBeRemoved(t *testing.T) {
	if os.Getenv(vaulttest.StoreVariable) == "postgres" {
		t.Skip("PostgreSQL does not measure what is left")
	}
	var k *keeping
	v := vaulttest.New(t, vaulttest.With(func(o *vault.Options) {
		k = &keeping{Store: documentsFor(t)}
		k.keeps.Store(true)
		o.Blobs = k
	}))
	shop := app(v)
	who := register(t, v, shop, aigul())
	must[*api.Document](t)(v.PutDocument(ctx, shop, upload(who.Subject, jpeg(5000))))
	k.until.Store(v.Clock.Now().Add(30 * 24 * time.Hour).Unix())
	e := erase(t, v, shop, who.Subject)
	erased(t, v, shop, e.Erasure)
	removed := func() bool {
		return !must[*api.Erasure](t)(v.Erasure(ctx, shop, e.Erasure)).RemovedAt.IsZero()
	}
	compact(t, v)
	time.Sleep(300 * time.Millisecond) // some sweeps
	if removed() {
		t.Fatal("it is said to be removed, and the storage keeps it")
	}
	k.keeps.Store(false)
	v.Clock.Advance(29 * 24 * time.Hour) // the storage was asked not to be asked before
	compact(t, v)
	time.Sleep(300 * time.Millisecond)
	if removed() {
		t.Fatal("it is said to be removed, and nobody has removed it")
	}
	v.Clock.Advance(2 * 24 * time.Hour)
	eventually(t, "it goes", func() bool { return len(blobs(t, v)) <= 1 }) // the marker
	eventually(t, "it is said to be removed", func() bool { compact(t, v); return removed() })
}
