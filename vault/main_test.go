package vault_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store/postgres/pgserver"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(served{m}) }

// served are the tests, and the PostgreSQL server that they share when SANDYQ_TEST_STORE asks for it.
type served struct{ *testing.M }

// Run implements goleak.TestingM.
func (s served) Run() int { return pgserver.Main(s.M) }

var ctx = context.Background()

// The synthetic people of these tests.
const (
	iinA, iinB, iinC = "850312113646", "990228213644", "960131113645"
	phoneA           = "+77011234567"
)

// must returns v, or ends the test.
func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// patiently is must for a call of one of several nodes: see vaulttest.Patiently.
func patiently[T any](t testing.TB, v *vaulttest.Vault, call func() (T, error)) T {
	t.Helper()
	return must[T](t)(vaulttest.Patiently(v, call))
}

// wantCode demands that err has the code.
func wantCode(t testing.TB, err error, code fault.Code) {
	t.Helper()
	if !errors.Is(err, code) {
		t.Fatalf("got %v, want %s", err, code)
	}
}

func text(s string) api.OneOrMany[api.Value] { return api.One(api.Text(s)) }

func texts(all ...string) api.OneOrMany[api.Value] {
	o := api.OneOrMany[api.Value]{List: true}
	for _, s := range all {
		o.Items = append(o.Items, api.Text(s))
	}
	return o
}

type fields = map[string]api.OneOrMany[api.Value]

func aigul() fields {
	return fields{
		"iin": text(iinA), "family_name": text("Сәрсенова"), "given_name": text("Айгүл"),
		"phone": texts(phoneA, "87017654321"),
		"residence_address": api.One(api.Parts(map[string]string{
			"country": "KZ", "city": "Алматы", "line": "Абай даңғылы 1", "kato": "750000000",
		})),
	}
}

// tokenize1 tokenizes one item for registration.
func tokenize1(t testing.TB, v *vaulttest.Vault, call vault.Call, item api.TokenizeItem) api.TokenizeResult {
	t.Helper()
	return patiently(t, v, func() (*api.TokenizeResponse, error) {
		return v.Tokenize(ctx, call, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{item}})
	}).Results[0]
}

// register tokenizes somebody who must be accepted.
func register(t testing.TB, v *vaulttest.Vault, call vault.Call, f fields) api.TokenizeResult {
	t.Helper()
	r := tokenize1(t, v, call, api.TokenizeItem{Fields: f})
	if r.Error != nil {
		t.Fatalf("tokenize: %+v", r.Error)
	}
	return r
}

// detokenize reads tokens for service.
func detokenize(t testing.TB, v *vaulttest.Vault, call vault.Call, form api.Form, tokens ...string) []api.DetokenizeResult {
	t.Helper()
	return patiently(t, v, func() (*api.DetokenizeResponse, error) {
		return v.Detokenize(ctx, call, &api.DetokenizeRequest{Purpose: "service", Reason: "support_call", Form: form, Tokens: tokens})
	}).Results
}

// wantItem demands that an item failed with the code, or went well when it is empty.
func wantItem(t testing.TB, e *api.ItemError, code fault.Code) {
	t.Helper()
	switch {
	case e == nil && code != "":
		t.Fatalf("item went well, want %s", code)
	case e != nil && e.Code != code:
		t.Fatalf("item failed with %+v, want %q", e, code)
	}
}

func wantText(t testing.TB, v *api.Value, want string) {
	t.Helper()
	if v == nil {
		t.Fatal("no value")
	}
	if got, ok := v.Text(); !ok || got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

// readAll reads an opened document.
func readAll(t testing.TB, v *vaulttest.Vault, call vault.Call, path string) ([]byte, error) {
	t.Helper()
	c, err := v.Content(ctx, call, path[len("/v1/content/"):])
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return io.ReadAll(c)
}

// eventually waits until f is content: half a minute, which a busy machine may need.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for range 3000 {
		if f() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

// erasureOf is how far an erasure has come.
func erasureOf(t testing.TB, v *vaulttest.Vault, call vault.Call, id string) *api.Erasure {
	t.Helper()
	return patiently(t, v, func() (*api.Erasure, error) { return v.Erasure(ctx, call, id) })
}

// erased waits for an erasure to end.
func erased(t testing.TB, v *vaulttest.Vault, call vault.Call, id string) {
	t.Helper()
	eventually(t, "the erasure ends", func() bool {
		return erasureOf(t, v, call, id).State == api.ErasureErased
	})
}

func app(v *vaulttest.Vault) vault.Call   { return v.As("shop", access.Application) }
func staff(v *vaulttest.Vault) vault.Call { return v.As("desk", access.Staff) }
