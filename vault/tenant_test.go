package vault_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/budget"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/kms/local"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// tenantNames are such that a prefix of bytes alone would not tell them apart.
var tenantNames = []string{"a", "ab", "a-b"}

// operators starts a tenant of each name over one store, which is that of a vault of another name still.
func operators(t *testing.T, options ...vaulttest.Option) (all []*vaulttest.Vault) {
	t.Helper()
	base := vaulttest.New(t)
	for _, name := range tenantNames {
		all = append(all, base.Beside(name, options...))
	}
	return all
}

// rowsOfTenant are the rows of one tenant, or of some kinds of them.
func rowsOfTenant(t *testing.T, v *vaulttest.Vault, tenant string, kinds string) (found []store.Pair) {
	t.Helper()
	prefix := append([]byte{byte(len(tenant))}, tenant...)
	for _, p := range must[[]store.Pair](t)(rows(v.Store)) {
		if bytes.HasPrefix(p.Key, prefix) && (kinds == "" || strings.IndexByte(kinds, kindOf(p.Key)) >= 0) {
			found = append(found, p)
		}
	}
	return found
}

func samePairs(a, b []store.Pair) bool {
	return slices.EqualFunc(a, b, func(a, b store.Pair) bool { return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value) })
}

// ofPeople are the kinds of rows that belong to people.
const ofPeople = "srhptkuxid"

func TestTenantsShareNoIndex(t *testing.T) {
	entries := map[string]string{} // entry of an index → whose
	subjects, tokens := map[string]bool{}, map[string]bool{}
	for _, v := range operators(t) {
		got := register(t, v, app(v), aigul())
		subjects[got.Subject], tokens[got.Tokens["iin"].Items[0]] = true, true
		found := rowsOfTenant(t, v, v.Tenant, "ux")
		if len(found) == 0 {
			t.Fatal("nothing is indexed")
		}
		for _, p := range found {
			_, entry, _ := bytes.Cut(p.Key[2+len(v.Tenant):], []byte{0})
			key := string(entry[:16])
			if whose := entries[key]; whose != "" && whose != v.Tenant {
				t.Errorf("%s and %s have one entry for one value", whose, v.Tenant)
			}
			entries[key] = v.Tenant
		}
		wide := must[*api.SearchResponse](t)(v.Search(ctx, staff(v), &api.SearchRequest{
			Purpose: "service", Reason: "check", Field: "phone", Value: api.Text(phoneA),
		}))
		if len(wide.Results) != 1 {
			t.Errorf("%s finds %d people", v.Tenant, len(wide.Results))
		}
	}
	if len(subjects) != len(tenantNames) || len(tokens) != len(tenantNames) {
		t.Errorf("%d ids and %d tokens of a person of %d tenants", len(subjects), len(tokens), len(tenantNames))
	}
}

func TestAnErasureStaysInItsTenant(t *testing.T) {
	all := operators(t)
	one, others := all[0], all[1:]
	gone := register(t, one, app(one), aigul())
	scan := jpeg(5000)
	must[*api.Document](t)(one.PutDocument(ctx, app(one), upload(gone.Subject, scan)))
	type kept struct {
		shop     vault.Call
		token    string
		document string
		rows     []store.Pair
	}
	before := make([]kept, len(others))
	for i, v := range others {
		shop := app(v)
		who := register(t, v, shop, aigul())
		put := must[*api.Document](t)(v.PutDocument(ctx, shop, upload(who.Subject, scan)))
		before[i] = kept{shop, who.Tokens["iin"].Items[0], put.Token, rowsOfTenant(t, v, v.Tenant, ofPeople)}
	}
	shop := app(one)
	erased(t, one, shop, erase(t, one, shop, gone.Subject).Erasure)
	wantItem(t, detokenize(t, one, shop, api.Plain, gone.Tokens["iin"].Items[0])[0].Error, fault.Erased)
	for i, v := range others {
		if !samePairs(before[i].rows, rowsOfTenant(t, v, v.Tenant, ofPeople)) {
			t.Errorf("rows of %s changed", v.Tenant)
		}
		wantText(t, detokenize(t, v, before[i].shop, api.Plain, before[i].token)[0].Value, iinA)
		opened := openDocument(t, v, before[i].shop, before[i].document, 0)
		if got := must[[]byte](t)(readAll(t, v, before[i].shop, opened.Content)); !bytes.Equal(got, scan) {
			t.Errorf("the document of %s is another", v.Tenant)
		}
	}
}

// A sweeper looks at its own tenant's rows and blobs only. The others' are stopped, old, and of every kind there is to
// sweep; whose sweeper runs has done all it has to do with its own.
func TestASweeperStaysInItsTenant(t *testing.T) {
	for i, name := range tenantNames {
		t.Run(name, func(t *testing.T) {
			all := operators(t, vaulttest.With(func(o *vault.Options) { o.Budget.Mode = budget.Enforce }))
			before := map[string][]store.Pair{}
			abandoned := map[string]blob.ID{}
			for _, v := range all {
				leaveBehind(t, v)
				abandoned[v.Tenant] = abandon(t, v)
			}
			for n, v := range all {
				if n != i {
					v.Stop()
					before[tenantNames[n]] = rowsOfTenant(t, v, tenantNames[n], "")
				}
			}
			live := all[i]
			live.Clock.Advance(400 * 24 * time.Hour)
			eventually(t, "its own upload is swept", func() bool { return !stands(t, live, abandoned[name]) })
			eventually(t, "its own idempotency keys are forgotten", func() bool { return len(rowsOfTenant(t, live, name, "y")) == 0 })
			for other, rows := range before {
				if !samePairs(rows, rowsOfTenant(t, live, other, "")) {
					t.Errorf("the sweeper of %s changed rows of %s", name, other)
				}
				if !stands(t, live, abandoned[other]) {
					t.Errorf("the sweeper of %s removed a blob of %s", name, other)
				}
			}
		})
	}
}

// leaveBehind has a tenant hold what a sweeper takes away in time.
func leaveBehind(t *testing.T, v *vaulttest.Vault) {
	t.Helper()
	shop := app(v)
	v.As("other", access.Application)
	shop.Key, shop.Body = "key-of-"+v.Tenant, []byte("body")
	who := register(t, v, shop, aigul())
	shop.Key, shop.Body = "", nil
	must[*api.Handoff](t)(v.CreateHandoff(ctx, shop, &api.CreateHandoffRequest{
		Subject: who.Subject, ToSystem: "other", Purpose: "registration", Fields: []string{"given_name"},
	}))
	detokenize(t, v, shop, api.Plain, who.Tokens["iin"].Items[0])
	for _, kind := range "yfL" {
		if len(rowsOfTenant(t, v, v.Tenant, string(kind))) == 0 {
			t.Fatalf("there are no rows of kind %c", kind)
		}
	}
}

// abandon leaves a blob of an upload that a process fell in.
func abandon(t *testing.T, v *vaulttest.Vault) blob.ID {
	t.Helper()
	id := blob.NewID()
	w := must[blob.Writer](t)(v.Blobs.Create(ctx, id))
	if _, err := w.Write([]byte("sealed")); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	// Until far ahead: the row lapses when the clock has advanced, and for the one whose sweeper runs only.
	until := must[[]byte](t)(cbor.Marshal(map[int]int64{1: v.Clock.Now().Add(24 * time.Hour).UnixMilli()}))
	key := slices.Concat([]byte{byte(len(v.Tenant))}, []byte(v.Tenant), []byte("l"), id[:])
	if err := v.Store.Update(ctx, func(w store.Writer) error { return w.Set(key, until) }); err != nil {
		t.Fatal(err)
	}
	return id
}

func stands(t *testing.T, v *vaulttest.Vault, id blob.ID) bool {
	t.Helper()
	b, err := v.Blobs.Open(ctx, id)
	if err != nil {
		return false
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return true
}

// Nothing of a tenant opens with the keys of another, whichever way they came to be swapped.
func TestAnotherTenantsKeysOpenNothing(t *testing.T) {
	all := operators(t)
	one, other := all[0], all[1]
	shop := app(one)
	who := register(t, one, shop, aigul())
	register(t, other, app(other), aigul())
	ids := keysOfTenant(t, one)
	if len(ids) == 0 {
		t.Fatal("nobody has keys")
	}
	if _, err := one.Keys.Open(ctx, ids...); err != nil {
		t.Fatal(err)
	}
	for i, k := range must[[]kms.Key](t)(other.Keys.Open(ctx, ids...)) {
		if !k.Missing() {
			t.Errorf("key %d of one tenant opens at the other's provider", i)
		}
	}
	token := who.Tokens["iin"].Items[0]
	wantText(t, detokenize(t, one, shop, api.Plain, token)[0].Value, iinA)
	one.Stop()
	swapped := one.Again(vaulttest.With(func(o *vault.Options) { o.Keys = other.Keys }))
	if !slices.Contains(swapped.Ready(ctx).Degraded, "keys") {
		t.Error("another tenant's keys are taken for its own")
	}
	if got := detokenize(t, swapped, shop, api.Plain, token)[0]; got.Value != nil || got.Error == nil {
		t.Errorf("it gives back %+v", got)
	}
}

func keysOfTenant(t *testing.T, v *vaulttest.Vault) (ids []kms.ID) {
	t.Helper()
	for _, p := range rowsOfTenant(t, v, v.Tenant, "s") {
		ids = append(ids, keysOfRow(p.Value)...)
	}
	return ids
}

// What is sealed names its tenant: rows that somebody moved under another tenant's name open nothing, even with the very
// keys that they were sealed with.
func TestMovedRowsOpenNothing(t *testing.T) {
	all := operators(t)
	one, other := all[0], all[1]
	shop := app(one)
	who := register(t, one, shop, aigul())
	put := must[*api.Document](t)(one.PutDocument(ctx, shop, upload(who.Subject, jpeg(5000))))
	one.Stop()
	other.Stop()
	err := one.Store.Update(ctx, func(w store.Writer) error {
		for _, p := range rowsOfTenant(t, one, "a", "mc"+ofPeople) {
			if err := w.Set(append([]byte("\x02ab"), p.Key[2:]...), p.Value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	keys := must[*local.Keyring](t)(vaulttest.Keyring(filepath.Join(one.Home, "keyring")))
	t.Cleanup(func() { keys.Close() })
	moved := other.Again(vaulttest.With(func(o *vault.Options) { o.Keys = keys }))
	shop.Principal.Tenant = moved.Tenant
	token := who.Tokens["given_name"].Items[0]
	if state := must[*api.DescribeResponse](t)(moved.DescribeTokens(ctx, shop, &api.TokensRequest{Tokens: []string{token}})).Results[0]; state.State != "active" {
		t.Fatalf("the rows were not moved: %+v", state)
	}
	if got, err := moved.Detokenize(ctx, shop, &api.DetokenizeRequest{Purpose: "service", Reason: "test", Tokens: []string{token}}); err == nil && got.Results[0].Value != nil {
		t.Error("a value opened in another tenant")
	}
	opened, err := moved.OpenDocument(ctx, shop, &api.OpenDocumentRequest{Token: put.Token, Purpose: "service", Reason: "test", Part: 1})
	if err == nil {
		if b, err := readAll(t, moved, shop, opened.Content); err == nil || len(b) > 0 {
			t.Error("a document opened in another tenant")
		}
	}
}

// Each tenant has a title of its own: a copied store is a copy for all, until it is promoted for one.
func TestEachTenantHasATitleOfItsOwn(t *testing.T) {
	all := operators(t)
	for _, v := range all {
		if d := v.Ready(ctx).Degraded; len(d) > 0 {
			t.Fatalf("%s: %v", v.Tenant, d)
		}
		v.Stop()
	}
	var copies []*vaulttest.Vault
	for _, v := range all {
		copies = append(copies, v.Again(vaulttest.With(func(o *vault.Options) { o.Place = "elsewhere" })))
	}
	if err := copies[1].Promote(ctx); err != nil {
		t.Fatal(err)
	}
	for i, v := range copies {
		if d := v.Ready(ctx).Degraded; slices.Contains(d, "copy") != (i != 1) {
			t.Errorf("%s: %v", v.Tenant, d)
		}
	}
}

func TestBudgetsAreEachTenantsOwn(t *testing.T) {
	all := operators(t, vaulttest.With(func(o *vault.Options) {
		o.Budget = budget.Config{Mode: budget.Enforce, Limits: []budget.Limit{{Name: "reads", Kind: budget.Read, Day: 3}}}
	}))
	for _, v := range all { // each spends all of its own
		shop := app(v)
		token := register(t, v, shop, aigul()).Tokens["iin"].Items[0]
		for range 3 {
			must[*api.DetokenizeResponse](t)(dump(v, shop, token))
		}
		resp, err := dump(v, shop, token)
		wantLimited(t, resp, err)
	}
}

// TestKindsOfRows: two kinds with one letter would be one list to whoever scans it, and to whoever sweeps it.
func TestKindsOfRows(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "layout.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "kind") {
			letter := spec.Values[0].(*ast.BasicLit).Value
			if other := kinds[letter]; other != "" {
				t.Errorf("%s and %s are both %s", other, spec.Names[0].Name, letter)
			}
			kinds[letter] = spec.Names[0].Name
		}
		return true
	})
	if len(kinds) < 20 {
		t.Errorf("%d kinds were found", len(kinds))
	}
}
