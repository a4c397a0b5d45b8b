package vault_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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

func erase(t testing.TB, v *vaulttest.Vault, call vault.Call, subject string) *api.Erasure {
	t.Helper()
	if v.Nodes != nil { // so that it may be asked again
		call = keyed(call, "erase "+subject)
	}
	return patiently(t, v, func() (*api.Erasure, error) {
		return v.RequestErasure(ctx, call, &api.ErasureRequest{Subject: subject, Ground: "request", Reason: "asked"})
	})
}

func TestErasureLeavesNothingToRead(t *testing.T) {
	v := vaulttest.New(t)
	shop, other := app(v), v.As("loyalty", access.Application)
	who := register(t, v, shop, aigul())
	put := must[*api.Document](t)(v.PutDocument(ctx, shop, upload(who.Subject, jpeg(5000))))
	opened := openDocument(t, v, shop, put.Token, 0)
	keys := keyFiles(t, v)

	dry := must[*api.Erasure](t)(v.RequestErasure(ctx, shop, &api.ErasureRequest{Subject: who.Subject, Ground: "request", Reason: "asked", DryRun: true}))
	if dry.Erasure != "" || dry.WillDestroy.Documents != 1 || dry.WillDestroy.Tokens != 7 || dry.WillDestroy.Fields != 6 {
		t.Fatalf("%+v %+v", dry, dry.WillDestroy)
	}
	e := erase(t, v, shop, who.Subject)
	if e.State != api.ErasureErasing || e.Subject != who.Subject {
		t.Fatalf("%+v", e)
	}
	token := who.Tokens["iin"].Items[0]
	wantItem(t, detokenize(t, v, shop, api.Plain, token)[0].Error, fault.Erased)
	_, err := readAll(t, v, shop, opened.Content)
	wantCode(t, err, fault.NotFound)
	erased(t, v, shop, e.Erasure)

	wantItem(t, detokenize(t, v, shop, api.Plain, token)[0].Error, fault.Erased)
	wantItem(t, detokenize(t, v, other, api.Plain, token)[0].Error, fault.NotFound)
	_, err = v.OpenDocument(ctx, shop, &api.OpenDocumentRequest{Token: put.Token, Purpose: "service", Reason: "check"})
	wantCode(t, err, fault.Erased)
	_, err = v.Subject(ctx, shop, who.Subject)
	wantCode(t, err, fault.Erased)
	if n := len(blobs(t, v)); n != 0 {
		t.Fatalf("%d blobs are left", n)
	}
	if left := keyFiles(t, v); len(left) != len(keys)-2 {
		t.Fatalf("%d keys before, %d after", len(keys), len(left))
	}
	again := register(t, v, shop, aigul())
	if !again.Created || again.Subject == who.Subject {
		t.Fatalf("the erased person came back: %+v", again)
	}
}

// keyFiles lists the local keyring's key files, once the pool is full and still.
func keyFiles(t testing.TB, v *vaulttest.Vault) []string {
	t.Helper()
	eventually(t, "the pool is full", func() bool { s := v.Keyring(); return s.Ready >= 64 && s.Doomed == 0 })
	var all []string
	err := filepath.WalkDir(filepath.Join(v.Home, "keyring", "keys"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestErasureWaitsForApprovalByAnother(t *testing.T) {
	v := vaulttest.New(t, vaulttest.FourEyes())
	desk, second := staff(v), v.As("second-desk", access.Staff)
	shop := app(v)
	who := register(t, v, shop, aigul())
	e := erase(t, v, shop, who.Subject)
	if e.State != api.ErasureRequested || e.ApprovalsNeeded != 1 {
		t.Fatalf("%+v", e)
	}
	wantItem(t, detokenize(t, v, shop, api.Plain, who.Tokens["iin"].Items[0])[0].Error, fault.Blocked)
	_, err := v.ApproveErasure(ctx, shop, e.Erasure, &api.ErasureApproval{})
	wantCode(t, err, fault.Denied)
	must[*api.Erasure](t)(v.CancelErasure(ctx, desk, e.Erasure))
	wantItem(t, detokenize(t, v, shop, api.Plain, who.Tokens["iin"].Items[0])[0].Error, "")

	subject := must[*api.SearchResponse](t)(v.Search(ctx, desk, &api.SearchRequest{Purpose: "service", Reason: "erase", Field: "iin", Value: api.Text(iinA)})).Results[0].Subject
	e = erase(t, v, desk, subject)
	_, err = v.ApproveErasure(ctx, desk, e.Erasure, &api.ErasureApproval{})
	wantCode(t, err, fault.Denied)
	must[*api.Erasure](t)(v.ApproveErasure(ctx, second, e.Erasure, &api.ErasureApproval{}))
	erased(t, v, desk, e.Erasure)
	_, err = v.ApproveErasure(ctx, second, e.Erasure, &api.ErasureApproval{})
	wantCode(t, err, fault.Conflict)
}

func TestErasureWaitsForNobodyWhereNobodyApproves(t *testing.T) {
	v := vaulttest.New(t, vaulttest.With(func(o *vault.Options) { o.Approvals = map[string]vault.Approval{} }))
	shop, other := app(v), v.As("other", access.Application)
	who, same := register(t, v, shop, aigul()), register(t, v, other, fields{"iin": text(iinA)})
	if e := erase(t, v, shop, who.Subject); e.State != api.ErasureErasing || e.ApprovalsNeeded != 0 {
		t.Fatalf("an erasure of somebody whom two systems hold waits: %+v", e)
	}
	wantItem(t, detokenize(t, v, other, api.Plain, same.Tokens["iin"].Items[0])[0].Error, fault.Erased)
}

func TestACorrectionSaysWhatItRestsOn(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	who := register(t, v, shop, aigul())
	for _, evidence := range []api.Evidence{{Kind: "document"}, {Ref: "A-17"}, {Kind: "hearsay", Ref: "A-17"}, {Kind: "document", Ref: strings.Repeat("a", 201)}} {
		_, err := v.Rectify(ctx, shop, who.Subject, &api.RectifyRequest{
			Purpose: "registration", Evidence: evidence, Fields: fields{"family_name": text("Ахметова")},
		})
		wantCode(t, err, fault.Invalid)
	}
}

func TestBlockSuspendsReadingAndDestruction(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	who := register(t, v, shop, aigul())
	must[*api.Subject](t)(v.Block(ctx, shop, who.Subject, &api.BlockRequest{Kind: "unlawful", Reason: "found"}))
	wantItem(t, detokenize(t, v, shop, api.Plain, who.Tokens["iin"].Items[0])[0].Error, fault.Blocked)
	wantItem(t, tokenize1(t, v, shop, api.TokenizeItem{Fields: fields{"iin": text(iinA), "email": text("a@example.com")}}).Error, fault.Blocked)
	_, err := v.RequestErasure(ctx, shop, &api.ErasureRequest{Subject: who.Subject, Ground: "request", Reason: "asked"})
	wantCode(t, err, fault.Blocked)
	_, err = v.Unblock(ctx, shop, who.Subject, &api.BlockRequest{Kind: "dispute", Reason: "wrong_kind"})
	wantCode(t, err, fault.Conflict)

	r := must[*api.RectifyResponse](t)(v.Rectify(ctx, shop, who.Subject, &api.RectifyRequest{
		Purpose: "registration", Evidence: api.Evidence{Kind: "document", Ref: "certificate 12"},
		Fields: fields{"family_name": text("Ахметова"), "phone": texts("87017654321", "+77051112233")},
	}))
	if r.Tokens["family_name"].Items[0] != who.Tokens["family_name"].Items[0] || r.Tokens["phone"].Items[0] != who.Tokens["phone"].Items[1] ||
		r.Tokens["phone"].Items[1] != who.Tokens["phone"].Items[0] {
		t.Fatalf("tokens did not stay:\n%v\n%v", r.Tokens, who.Tokens)
	}
	must[*api.Subject](t)(v.Unblock(ctx, shop, who.Subject, &api.BlockRequest{Kind: "unlawful", Reason: "cleared"}))
	got := detokenize(t, v, shop, api.Plain, who.Tokens["family_name"].Items[0], who.Tokens["phone"].Items[0])
	wantText(t, got[0].Value, "Ахметова")
	wantText(t, got[1].Value, "+77051112233")
}

func TestRectifyMovesTheIndex(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	who := register(t, v, shop, aigul())
	b := register(t, v, shop, fields{"iin": text(iinB)})
	rectify := func(subject, iin string) error {
		_, err := v.Rectify(ctx, shop, subject, &api.RectifyRequest{
			Purpose: "registration", Evidence: api.Evidence{Kind: "document", Ref: "A-17"}, Fields: fields{"iin": text(iin)},
		})
		return err
	}
	wantCode(t, rectify(who.Subject, iinB), fault.Conflict)
	if err := rectify(who.Subject, iinC); err != nil {
		t.Fatal(err)
	}
	if err := rectify(b.Subject, iinA); err != nil {
		t.Fatal(err)
	}
	if got := register(t, v, shop, fields{"iin": text(iinC)}); got.Subject != who.Subject {
		t.Fatal("the corrected IIN does not find the person")
	}
	if got := register(t, v, shop, fields{"iin": text(iinA)}); got.Subject != b.Subject {
		t.Fatal("the freed IIN does not find its new person")
	}
	if err := rectify(b.Subject, iinA); err != nil {
		t.Fatalf("correcting to the same value: %v", err)
	}
}

// TestCopyBringsNobodyBack is the promise: a copy of store and documents, taken before the erasure, with the live keys,
// shows others and not the erased.
func TestCopyBringsNobodyBack(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	gone := register(t, v, shop, aigul())
	stays := register(t, v, shop, fields{"iin": text(iinB)})
	put := must[*api.Document](t)(v.PutDocument(ctx, shop, upload(gone.Subject, jpeg(5000))))
	keyFiles(t, v)
	v.Stop()
	copied := t.TempDir()
	copyTree(t, filepath.Join(v.Home, "store"), filepath.Join(copied, "store"))
	copyTree(t, filepath.Join(v.Home, "documents"), filepath.Join(copied, "documents"))
	v.Restart()
	erased(t, v, shop, erase(t, v, shop, gone.Subject).Erasure)
	before := keyFiles(t, v)

	old := vaulttest.At(t, copied, v.SameLedger(), vaulttest.With(func(o *vault.Options) { o.Keys = v.Keys }))
	if r := old.Ready(ctx); len(r.Degraded) != 1 || r.Degraded[0] != "copy" {
		t.Fatalf("%+v", r)
	}
	wantItem(t, detokenize(t, old, shop, api.Plain, gone.Tokens["iin"].Items[0])[0].Error, fault.Unavailable)
	wantText(t, detokenize(t, old, shop, api.Plain, stays.Tokens["iin"].Items[0])[0].Value, iinB)
	_, err := old.OpenDocument(ctx, shop, &api.OpenDocumentRequest{Token: put.Token, Purpose: "service", Reason: "check"})
	wantCode(t, err, fault.Unavailable)
	_, err = old.RequestErasure(ctx, shop, &api.ErasureRequest{Subject: stays.Subject, Ground: "request", Reason: "asked"})
	wantCode(t, err, fault.Unavailable)
	keyed := shop
	keyed.Key, keyed.Body = "dry", []byte("dry") // which a copy has no key to remember it by
	must[*api.Erasure](t)(old.RequestErasure(ctx, keyed, &api.ErasureRequest{Subject: stays.Subject, Ground: "request", Reason: "asked", DryRun: true}))
	time.Sleep(200 * time.Millisecond) // the copy's sweeper has had its chance
	if after := keyFiles(t, v); len(after) != len(before) {
		t.Fatalf("a copy destroyed or made keys: %d before, %d after", len(before), len(after))
	}
	wantText(t, detokenize(t, v, shop, api.Plain, stays.Tokens["iin"].Items[0])[0].Value, iinB)
}

func copyTree(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

func TestPromotedCopyIsTheVaultAndTheOldOneIsNot(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	who := register(t, v, shop, aigul())
	v.Stop()
	copied := t.TempDir()
	copyTree(t, filepath.Join(v.Home, "store"), filepath.Join(copied, "store"))
	v.Restart()
	next := vaulttest.At(t, copied, v.SameLedger(), vaulttest.With(func(o *vault.Options) { o.Keys = v.Keys }))
	if err := next.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	erased(t, next, shop, erase(t, next, shop, who.Subject).Erasure)
	eventually(t, "the old vault sees that it is superseded", func() bool {
		r := v.Ready(ctx)
		return !r.Ready && len(r.Degraded) == 1 && r.Degraded[0] == "superseded"
	})
	_, err := v.Detokenize(ctx, shop, &api.DetokenizeRequest{Purpose: "service", Reason: "check", Tokens: []string{who.Tokens["iin"].Items[0]}})
	wantCode(t, err, fault.Unavailable)
}

// away is a provider that destroys nothing while it is down.
type away struct {
	kms.Provider
	down atomic.Bool
}

func (a *away) Destroy(ctx context.Context, c kms.Claim, ids ...kms.ID) error {
	if a.down.Load() {
		return kms.ErrUnavailable
	}
	return a.Provider.Destroy(ctx, c, ids...)
}

func TestKeysAwayErasureWaitsUnreadable(t *testing.T) {
	home := t.TempDir()
	keys := must[kms.Provider](t)(vaulttest.Keyring(filepath.Join(home, "keyring")))
	defer keys.Close()
	part := &away{Provider: keys}
	v := vaulttest.At(t, home, vaulttest.With(func(o *vault.Options) { o.Keys = part }))
	shop := app(v)
	who := register(t, v, shop, aigul())
	part.down.Store(true)
	e := erase(t, v, shop, who.Subject)
	time.Sleep(200 * time.Millisecond)
	if got := must[*api.Erasure](t)(v.Erasure(ctx, shop, e.Erasure)); got.State != api.ErasureErasing {
		t.Fatalf("%+v", got)
	}
	wantItem(t, detokenize(t, v, shop, api.Plain, who.Tokens["iin"].Items[0])[0].Error, fault.Erased)
	part.down.Store(false)
	erased(t, v, shop, e.Erasure)
}

// TestNoValueInTheClear greps everything a vault has written for what it was told.
func TestNoValueInTheClear(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	who := tokenize1(t, v, shop, api.TokenizeItem{ExternalRef: "client/canary-ref", Fields: aigul()})
	scan := jpeg(5000)
	copy(scan[2000:], "canary-in-a-scan")
	must[*api.Document](t)(v.PutDocument(ctx, shop, upload(who.Subject, scan)))
	must[*api.RevealResponse](t)(v.Reveal(ctx, shop, who.Subject, &api.RevealRequest{
		Purpose: "service", Reason: "support_call", Note: "canary-in-a-note", Fields: []string{"iin"},
	}))
	v.Search(ctx, shop, &api.SearchRequest{Purpose: "service", Reason: "x", Field: "iin", Value: api.Text(iinC)})
	v.Stop()
	canaries := []string{iinA, iinC, "77011234567", "7017654321", "Сәрсенова", "Айгүл", "Абай", "canary-in-a-scan", "canary-in-a-note", "canary-ref"}
	files := 0
	err := filepath.WalkDir(v.Home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, c := range canaries {
			if bytes.Contains(content, []byte(c)) {
				t.Errorf("%s holds %q", path, c)
			}
		}
		return nil
	})
	if err != nil || files < 10 {
		t.Fatalf("%d files read: %v", files, err)
	}
}
