package vault_test

import (
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

func eraseSlices(t testing.TB, v *vaulttest.Vault, call vault.Call, subject string, slices ...string) *api.Erasure {
	t.Helper()
	return must[*api.Erasure](t)(v.RequestErasure(ctx, call, &api.ErasureRequest{
		Subject: subject, Ground: "request", Reason: "asked", Scope: &api.Scope{Slices: slices},
	}))
}

// TestErasureOfDocuments: the documents go with their key, and the person stays with all else.
func TestErasureOfDocuments(t *testing.T) {
	v := vaulttest.New(t)
	shop, other, desk := app(v), v.As("loyalty", access.Application), staff(v)
	who := register(t, v, shop, aigul())
	put := must[*api.Document](t)(v.PutDocument(ctx, shop, upload(who.Subject, jpeg(5000))))
	opened := openDocument(t, v, shop, put.Token, 0)
	keys := keyFiles(t, v)
	iin := who.Tokens["iin"].Items[0]

	req := &api.ErasureRequest{Subject: who.Subject, Ground: "request", Reason: "asked", DryRun: true, Scope: &api.Scope{Slices: []string{"documents"}}}
	dry := must[*api.Erasure](t)(v.RequestErasure(ctx, shop, req))
	if want := (api.Counts{Documents: 1, Tokens: 1}); *dry.WillDestroy != want || dry.Scope == nil || dry.Scope.Slices[0] != "documents" {
		t.Fatalf("%+v %+v", dry, dry.WillDestroy)
	}
	e := eraseSlices(t, v, shop, who.Subject, "documents")
	_, err := readAll(t, v, shop, opened.Content)
	wantCode(t, err, fault.NotFound)
	_, err = v.OpenDocument(ctx, shop, &api.OpenDocumentRequest{Token: put.Token, Purpose: "service", Reason: "check"})
	wantCode(t, err, fault.Erased)
	wantItem(t, detokenize(t, v, shop, api.Plain, iin)[0].Error, "")
	erased(t, v, shop, e.Erasure)

	_, err = v.OpenDocument(ctx, shop, &api.OpenDocumentRequest{Token: put.Token, Purpose: "service", Reason: "check"})
	wantCode(t, err, fault.Erased)
	_, err = v.OpenDocument(ctx, other, &api.OpenDocumentRequest{Token: put.Token, Purpose: "service", Reason: "check"})
	wantCode(t, err, fault.NotFound)
	wantItem(t, detokenize(t, v, shop, api.Plain, iin)[0].Error, "")
	if n := len(blobs(t, v)); n != 0 {
		t.Errorf("%d blobs are left", n)
	}
	if left := keyFiles(t, v); len(left) != len(keys)-1 {
		t.Errorf("%d keys before, %d after", len(keys), len(left))
	}
	seen := must[*api.Subject](t)(v.Subject(ctx, shop, who.Subject))
	if seen.State != api.StateActive || len(seen.Documents) != 0 || len(seen.Fields) != 5 {
		t.Errorf("%+v", seen)
	}
	again := must[*api.Document](t)(v.PutDocument(ctx, shop, upload(who.Subject, jpeg(3000))))
	openDocument(t, v, shop, again.Token, 0)

	subject := must[*api.SearchResponse](t)(v.Search(ctx, desk, &api.SearchRequest{Purpose: "service", Reason: "check", Field: "iin", Value: api.Text(iinA)})).Results[0].Subject
	whole := must[*api.Erasure](t)(v.RequestErasure(ctx, desk, &api.ErasureRequest{Subject: subject, Ground: "request", Reason: "asked"}))
	if want := (api.Counts{Keys: 2, Fields: 6, Documents: 1, Parts: 1, Tokens: 7, IndexEntries: 3}); *whole.WillDestroy != want {
		t.Errorf("the whole person is %+v, want %+v", *whole.WillDestroy, want)
	}
	erased(t, v, desk, whole.Erasure)
	if left := keyFiles(t, v); len(left) != len(keys)-2 {
		t.Errorf("%d keys in the end", len(left))
	}
	for _, operation := range []string{"erasure.request", "erasure.key_destroyed", "erasure.erased"} {
		all := trail(t, v, operation)
		first := all[0]
		if operation == "erasure.request" {
			first = all[1] // after the dry run
		}
		if len(first.Objects) != 2 || first.Objects[0] != e.Erasure || first.Objects[1] != "slices/documents" {
			t.Errorf("%s is of %v", operation, first.Objects)
		}
	}
}

// TestErasureOfTheIdentity: nobody finds the person by what was known of them, and their documents stay readable.
func TestErasureOfTheIdentity(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	item := api.TokenizeItem{Fields: aigul(), ExternalRef: "crm-1"}
	who := tokenize1(t, v, shop, item)
	put := must[*api.Document](t)(v.PutDocument(ctx, shop, upload(who.Subject, jpeg(5000))))
	e := eraseSlices(t, v, shop, who.Subject, "identity")
	iin := who.Tokens["iin"].Items[0]
	wantItem(t, detokenize(t, v, shop, api.Plain, iin)[0].Error, fault.Erased)
	erased(t, v, shop, e.Erasure)

	wantItem(t, detokenize(t, v, shop, api.Plain, iin)[0].Error, fault.Erased)
	openDocument(t, v, shop, put.Token, 0)
	seen := must[*api.Subject](t)(v.Subject(ctx, shop, who.Subject))
	if seen.State != api.StateActive || len(seen.Fields) != 0 || len(seen.Documents) != 1 || len(seen.Tokens) != 0 {
		t.Errorf("%+v", seen)
	}
	found := must[*api.SearchResponse](t)(v.Search(ctx, shop, &api.SearchRequest{Purpose: "service", Reason: "check", Field: "iin", Value: api.Text(iinA)}))
	if len(found.Results) != 0 {
		t.Errorf("found %+v", found.Results)
	}
	again := tokenize1(t, v, shop, item)
	if !again.Created || again.Subject == who.Subject {
		t.Errorf("the erased identity came back: %+v", again)
	}
	// What is written to the slice anew has a key of its own, and nothing of the old.
	_ = must[*api.RectifyResponse](t)(v.Rectify(ctx, shop, who.Subject, &api.RectifyRequest{
		Purpose: "registration", Evidence: api.Evidence{Kind: "document", Ref: "A-17"}, Fields: fields{"given_name": text("Асель")},
	}))
	seen = must[*api.Subject](t)(v.Subject(ctx, shop, who.Subject))
	if got := detokenize(t, v, shop, api.Plain, seen.Tokens["given_name"].Items[0])[0]; got.Error != nil {
		t.Errorf("%+v", got.Error)
	}
}

// TestErasureScopes: what has no key of its own is refused, with the rule.
func TestErasureScopes(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	who := register(t, v, shop, aigul())
	for _, c := range []struct {
		scope api.Scope
		want  fault.Code
	}{
		{api.Scope{Fields: []string{"iin"}}, fault.Unprocessable},
		{api.Scope{Documents: []string{"doc_6fse4eb7c7309epsccykntcdr8"}}, fault.Unprocessable},
		{api.Scope{Slices: []string{"identity"}, Fields: []string{"iin"}}, fault.Unprocessable},
		{api.Scope{}, fault.Invalid},
		{api.Scope{Slices: []string{}}, fault.Invalid},
		{api.Scope{Slices: []string{"secrets"}}, fault.Invalid},
		{api.Scope{Slices: []string{"identity", "identity"}}, fault.Invalid},
	} {
		_, err := v.RequestErasure(ctx, shop, &api.ErasureRequest{Subject: who.Subject, Ground: "request", Reason: "asked", Scope: &c.scope})
		wantCode(t, err, c.want)
	}
	// A slice that holds nothing is erased at once, and keeps nothing from being written.
	e := eraseSlices(t, v, shop, who.Subject, "documents")
	erased(t, v, shop, e.Erasure)
	must[*api.Document](t)(v.PutDocument(ctx, shop, upload(who.Subject, jpeg(3000))))
}

// TestErasureOfSlicesWithKeysAway: for as long as it takes the slice answers as erased and takes nothing in, the rest goes
// on, and the person may be erased meanwhile.
func TestErasureOfSlicesWithKeysAway(t *testing.T) {
	home := t.TempDir()
	keys := must[kms.Provider](t)(vaulttest.Keyring(filepath.Join(home, "keyring")))
	defer keys.Close()
	part := &away{Provider: keys}
	v := vaulttest.At(t, home, vaulttest.With(func(o *vault.Options) { o.Keys = part }))
	shop := app(v)
	who := register(t, v, shop, aigul())
	put := must[*api.Document](t)(v.PutDocument(ctx, shop, upload(who.Subject, jpeg(5000))))
	before := keyFiles(t, v)
	part.down.Store(true)
	e := eraseSlices(t, v, shop, who.Subject, "documents")
	for range 2 {
		_, err := v.OpenDocument(ctx, shop, &api.OpenDocumentRequest{Token: put.Token, Purpose: "service", Reason: "check"})
		wantCode(t, err, fault.Erased)
		_, err = v.PutDocument(ctx, shop, upload(who.Subject, jpeg(3000)))
		wantCode(t, err, fault.Unavailable)
		_, err = v.RequestErasure(ctx, shop, &api.ErasureRequest{
			Subject: who.Subject, Ground: "request", Reason: "asked", Scope: &api.Scope{Slices: []string{"documents"}},
		})
		wantCode(t, err, fault.Conflict)
		wantItem(t, detokenize(t, v, shop, api.Plain, who.Tokens["iin"].Items[0])[0].Error, "")
		v.Restart()
		shop = app(v)
	}
	whole := erase(t, v, shop, who.Subject)
	wantItem(t, detokenize(t, v, shop, api.Plain, who.Tokens["iin"].Items[0])[0].Error, fault.Erased)
	part.down.Store(false)
	erased(t, v, shop, whole.Erasure)
	erased(t, v, shop, e.Erasure)
	if n := len(blobs(t, v)); n != 0 {
		t.Errorf("%d blobs are left", n)
	}
	if left := keyFiles(t, v); len(left) != len(before)-2 {
		t.Errorf("%d keys before, %d after", len(before), len(left))
	}
}

// TestErasureOfSlicesUnderReadings: from the answer on nobody reads what is of the slice, and whoever reads the rest never
// notices.
func TestErasureOfSlicesUnderReadings(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	for range scaled(8) {
		who := register(t, v, shop, fields{"family_name": text("Сәрсенова"), "phone": texts(phoneA)})
		put := must[*api.Document](t)(v.PutDocument(ctx, shop, upload(who.Subject, jpeg(2000))))
		var gone, stop atomic.Bool
		var readers sync.WaitGroup
		for range 3 {
			readers.Go(func() {
				for !stop.Load() {
					after := gone.Load()
					_, err := v.OpenDocument(ctx, shop, &api.OpenDocumentRequest{Token: put.Token, Purpose: "service", Reason: "check"})
					switch {
					case err == nil && after:
						t.Error("a document was opened after its erasure was answered")
					case err != nil && !errors.Is(err, fault.Erased) && !errors.Is(err, fault.Unavailable):
						t.Errorf("open: %v", err)
					}
				}
			})
			readers.Go(func() {
				for !stop.Load() {
					r := must[*api.DetokenizeResponse](t)(v.Detokenize(ctx, shop, &api.DetokenizeRequest{
						Purpose: "service", Reason: "check", Tokens: []string{who.Tokens["family_name"].Items[0]},
					})).Results[0]
					if r.Error != nil {
						t.Errorf("detokenize: %+v", r.Error)
					}
				}
			})
		}
		time.Sleep(5 * time.Millisecond)
		e := eraseSlices(t, v, shop, who.Subject, "documents")
		gone.Store(true)
		erased(t, v, shop, e.Erasure)
		time.Sleep(5 * time.Millisecond)
		stop.Store(true)
		readers.Wait()
	}
}
