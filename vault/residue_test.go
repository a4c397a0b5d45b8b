package vault_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/memory"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// hearsRemovals is an observer that remembers what it was told of removals last.
type hearsRemovals struct {
	bell
	told    atomic.Bool
	pending atomic.Int64
	oldest  atomic.Int64
}

func (h *hearsRemovals) Removals(pending int, oldest time.Duration) {
	h.pending.Store(int64(pending))
	h.oldest.Store(int64(oldest))
	h.told.Store(true)
}

// compact has the engine force out what was removed, as the node does once a day.
func compact(t testing.TB, v *vaulttest.Vault) {
	t.Helper()
	if err := v.Store.(store.Residual).Compact(ctx); err != nil {
		t.Fatal(err)
	}
}

// vanished lists the values of rows of some kinds that are not there any more, or other now.
func vanished(t testing.TB, v *vaulttest.Vault, before []store.Pair, kinds string) (values [][]byte) {
	t.Helper()
	now := map[string][]byte{}
	for _, p := range must[[]store.Pair](t)(rows(v.Store)) {
		now[string(p.Key)] = p.Value
	}
	for _, p := range before {
		kind := p.Key[1+int(p.Key[0])]
		if bytes.IndexByte([]byte(kinds), kind) >= 0 && !bytes.Equal(now[string(p.Key)], p.Value) {
			values = append(values, p.Value)
		}
	}
	return values
}

// onDisk counts which of the values are in a file of the store.
func onDisk(t testing.TB, v *vaulttest.Vault, values [][]byte) (found int) {
	t.Helper()
	var all [][]byte
	for _, path := range must[[]string](t)(filepath.Glob(filepath.Join(v.Home, "store", "*"))) {
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	for _, value := range values {
		for _, b := range all {
			if bytes.Contains(b, value) {
				found++
				break
			}
		}
	}
	return found
}

// TestRemovalIsMeasured: after an erasure the person's ciphertext, the rows of tokens as they were and the document's key
// are still in the store's files; only when they are in none is that written, with an entry in the log.
func TestRemovalIsMeasured(t *testing.T) {
	var heard hearsRemovals
	v := vaulttest.New(t, vaulttest.With(func(o *vault.Options) { o.Observer = &heard }))
	shop := app(v)
	who := register(t, v, shop, aigul())
	stays := register(t, v, shop, fields{"iin": text(iinB), "family_name": text("Ахметов"), "given_name": text("Ерлан")})
	must[*api.Document](t)(v.PutDocument(ctx, shop, upload(who.Subject, jpeg(5000))))
	before := must[[]store.Pair](t)(rows(v.Store))
	e := erase(t, v, shop, who.Subject)
	erased(t, v, shop, e.Erasure)

	gone := vanished(t, v, before, "rtd")
	if len(gone) < 6+7+1 {
		t.Fatalf("%d rows of fields, tokens and documents went", len(gone))
	}
	if n := onDisk(t, v, gone); n != len(gone) {
		t.Fatalf("%d of %d are in the files before: the test has no teeth", n, len(gone))
	}
	v.Clock.Advance(time.Hour)
	eventually(t, "the removal is counted", func() bool {
		return heard.pending.Load() == 1 && time.Duration(heard.oldest.Load()) >= time.Hour
	})
	if e = must[*api.Erasure](t)(v.Erasure(ctx, shop, e.Erasure)); !e.RemovedAt.IsZero() {
		t.Fatalf("removed at %v, and nothing was measured", e.RemovedAt)
	}
	compact(t, v)
	eventually(t, "the removal is stated", func() bool {
		e = must[*api.Erasure](t)(v.Erasure(ctx, shop, e.Erasure))
		return !e.RemovedAt.IsZero()
	})
	if e.State != api.ErasureErased || e.RemovedAt.Before(e.ErasedAt.Add(time.Hour)) {
		t.Errorf("%+v", e)
	}
	if n := onDisk(t, v, gone); n != 0 {
		t.Errorf("%d of %d values are in the files of the store", n, len(gone))
	}
	if files := blobs(t, v); len(files) != 0 {
		t.Errorf("blobs are left: %v", files)
	}
	all := trail(t, v, "erasure.removed")
	if len(all) != 1 || all[0].Decision != audit.Allow || len(all[0].Objects) != 1 || all[0].Objects[0] != e.Erasure {
		t.Errorf("the log says %+v", all)
	}
	eventually(t, "nothing is pending", func() bool { return heard.pending.Load() == 0 && heard.oldest.Load() == 0 })
	wantItem(t, detokenize(t, v, shop, api.Plain, stays.Tokens["iin"].Items[0])[0].Error, "")
}

// TestRemovalIsMeasuredAnewAfterRestart: what an earlier process measured counts for nothing.
func TestRemovalIsMeasuredAnewAfterRestart(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	who := register(t, v, shop, aigul())
	compact(t, v)
	e := erase(t, v, shop, who.Subject)
	erased(t, v, shop, e.Erasure)
	v.Restart()
	time.Sleep(200 * time.Millisecond) // the sweeper looks several times
	if e = must[*api.Erasure](t)(v.Erasure(ctx, shop, e.Erasure)); !e.RemovedAt.IsZero() {
		t.Fatalf("removed at %v, and nothing was measured since", e.RemovedAt)
	}
	for e.RemovedAt.IsZero() {
		compact(t, v)
		e = must[*api.Erasure](t)(v.Erasure(ctx, shop, e.Erasure))
	}
}

// haltedBody is a document that stops halfway until the test ends it.
type haltedBody struct {
	io.Reader
	stopped chan struct{}
	goOn    chan struct{}
	told    bool
}

func (b *haltedBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if errors.Is(err, io.EOF) && !b.told {
		b.told = true
		close(b.stopped)
		<-b.goOn
	}
	return n, err
}

// TestRemovalWaitsForUploads: while what an upload of the person has written may still be there, nothing is stated.
func TestRemovalWaitsForUploads(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	who := register(t, v, shop, aigul())
	body := &haltedBody{Reader: bytes.NewReader(jpeg(500_000)), stopped: make(chan struct{}), goOn: make(chan struct{})}
	up := upload(who.Subject, nil)
	up.Body, up.Length = body, -1
	ended := make(chan error, 1)
	go func() {
		_, err := v.PutDocument(ctx, shop, up)
		ended <- err
	}()
	<-body.stopped
	if len(blobs(t, v)) != 1 {
		t.Fatal("nothing was begun: the test has no teeth")
	}
	e := erase(t, v, shop, who.Subject)
	erased(t, v, shop, e.Erasure)
	for range 3 {
		compact(t, v)
		time.Sleep(100 * time.Millisecond)
	}
	if e = must[*api.Erasure](t)(v.Erasure(ctx, shop, e.Erasure)); !e.RemovedAt.IsZero() {
		t.Error("removed while a file of the person is being written")
	}
	close(body.goOn)
	wantCode(t, <-ended, fault.Blocked)
	v.Clock.Advance(time.Hour) // the upload's row lapses
	eventually(t, "the removal is stated", func() bool {
		compact(t, v)
		return !must[*api.Erasure](t)(v.Erasure(ctx, shop, e.Erasure)).RemovedAt.IsZero()
	})
	if files := blobs(t, v); len(files) != 0 {
		t.Errorf("blobs are left: %v", files)
	}
}

// TestRemovalIsNotStatedUnmeasured: of a store that can't say what it holds nothing is said, and nothing waits.
func TestRemovalIsNotStatedUnmeasured(t *testing.T) {
	var heard hearsRemovals
	v := vaulttest.New(t, vaulttest.With(func(o *vault.Options) {
		o.Store, o.Place, o.Observer = memory.New(), "memory", &heard
	}))
	shop := v.As("shop", access.Application)
	who := register(t, v, shop, aigul())
	e := erase(t, v, shop, who.Subject)
	erased(t, v, shop, e.Erasure)
	time.Sleep(200 * time.Millisecond)
	if e = must[*api.Erasure](t)(v.Erasure(ctx, shop, e.Erasure)); !e.RemovedAt.IsZero() || heard.told.Load() {
		t.Errorf("removed at %v; told: %v", e.RemovedAt, heard.told.Load())
	}
}
