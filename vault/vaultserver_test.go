package vault_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp/vaultserver"
	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// keysIn sets a HashiCorp Vault up for Sandyq and opens a provider, which is closed before the server ends.
func keysIn(t testing.TB, server *vaultserver.Server) *hashicorp.Vault {
	t.Helper()
	return keysInCluster(t, server, server.Address)
}

// keysInCluster is keysIn for the cluster that server leads.
func keysInCluster(t testing.TB, server *vaultserver.Server, addresses ...string) *hashicorp.Vault {
	t.Helper()
	files := t.TempDir()
	credentials := hashicorp.Credentials{
		RoleIDFile: filepath.Join(files, "role-id"), SecretIDFile: filepath.Join(files, "secret-id"),
	}
	_, err := hashicorp.Setup(ctx, hashicorp.SetupConfig{
		Operator: hashicorp.Operator{Address: server.Address, Token: secret.NewString(server.RootToken)}, Serve: credentials,
	})
	if err != nil {
		t.Fatal(err)
	}
	keys := must[*hashicorp.Vault](t)(hashicorp.Open(hashicorp.Config{Addresses: addresses, Auth: hashicorp.Auth{
		Method: "approle", RoleIDFile: credentials.RoleIDFile, SecretIDFile: credentials.SecretIDFile,
	}}))
	t.Cleanup(func() { keys.Close() })
	return keys
}

// withKeys has a vault use a provider.
func withKeys(keys kms.Provider) vaulttest.Option {
	return vaulttest.With(func(o *vault.Options) { o.Keys, o.Keyring.PoolSize = keys, 16 })
}

// ready waits until a vault is live and its pool full.
func ready(t testing.TB, v *vaulttest.Vault) {
	t.Helper()
	eventually(t, "the vault is live and its pool is full", func() bool {
		return len(v.Ready(ctx).Degraded) == 0 && v.Service.Keyring().Ready >= 16
	})
}

// keysOf lists the keys of all people in a store.
func keysOf(t testing.TB, s store.Store) []kms.ID {
	t.Helper()
	var ids []kms.ID
	for _, row := range must[[]store.Pair](t)(rows(s)) {
		if kindOf(row.Key) == 's' {
			ids = append(ids, keysOfRow(row.Value)...)
		}
	}
	return ids
}

// keysOfRow lists the keys in a person's row, see docs/formats.md: status, consents, and the rest.
func keysOfRow(row []byte) (ids []kms.ID) {
	rest := row[11:]
	for range row[10] {
		rest = rest[27+int(rest[26]):]
	}
	for _, id := range member[map[string][]byte](rest, 3) {
		ids = append(ids, kms.ID(id))
	}
	return ids
}

// status asks the server itself for an entry, as its root.
func status(t testing.TB, server *vaultserver.Server, path string) int {
	t.Helper()
	got, _ := server.Request(t, http.MethodGet, path, nil)
	return got
}

func entryOf(id kms.ID) string { return "sandyq/keys/" + id.String() }

func TestErasureInHashiCorpVault(t *testing.T) {
	server := vaultserver.Start(t)
	keys := keysIn(t, server)
	v := vaulttest.New(t, withKeys(keys))
	ready(t, v)
	shop := app(v)
	gone := register(t, v, shop, aigul())
	scan := jpeg(100_000)
	put := must[*api.Document](t)(v.PutDocument(ctx, shop, upload(gone.Subject, scan)))
	goneKeys := keysOf(t, v.Store)
	if len(goneKeys) != 2 {
		t.Fatalf("%d keys of one person with a document", len(goneKeys))
	}
	material := must[[]kms.Key](t)(keys.Open(ctx, goneKeys...))
	stays := register(t, v, shop, fields{"iin": text(iinB)})
	wantText(t, detokenize(t, v, shop, api.Plain, gone.Tokens["iin"].Items[0])[0].Value, iinA)
	opened := openDocument(t, v, shop, put.Token, 0)
	if got := must[[]byte](t)(readAll(t, v, shop, opened.Content)); !bytes.Equal(got, scan) {
		t.Fatal("another document came back")
	}
	allKeys := keysOf(t, v.Store)

	v.Stop()
	copied := t.TempDir()
	copyTree(t, filepath.Join(v.Home, "store"), filepath.Join(copied, "store"))
	copyTree(t, filepath.Join(v.Home, "documents"), filepath.Join(copied, "documents"))
	v.Restart()
	erased(t, v, shop, erase(t, v, shop, gone.Subject).Erasure)

	left := 0
	for _, id := range allKeys {
		want := http.StatusOK
		if id == goneKeys[0] || id == goneKeys[1] {
			want = http.StatusNotFound
		} else {
			left++
		}
		if got := status(t, server, entryOf(id)); got != want {
			t.Errorf("key %s answers %d, want %d", id, got, want)
		}
	}
	if left != 1 || status(t, server, "sandyq/sentinel") != http.StatusOK {
		t.Error("no key is left to compare with, or no sentinel")
	}
	wantItem(t, detokenize(t, v, shop, api.Plain, gone.Tokens["iin"].Items[0])[0].Error, fault.Erased)
	nowhereIn(t, v.Home, material)
	nowhereIn(t, copied, material)
	t.Run("a copy", func(t *testing.T) { copyOpensTheOthers(t, v, server, copied, shop, gone, stays, put.Token) })
}

// copyOpensTheOthers starts a copy from before the erasure on the live keys.
func copyOpensTheOthers(t *testing.T, v *vaulttest.Vault, server *vaultserver.Server, copied string, shop vault.Call, gone, stays api.TokenizeResult, document string) {
	ready(t, v)
	before := entries(t, server)
	old := vaulttest.At(t, copied, v.SameLedger(), withKeys(v.Keys))
	if r := old.Ready(ctx); len(r.Degraded) != 1 || r.Degraded[0] != "copy" {
		t.Fatalf("%+v", r)
	}
	got := detokenize(t, old, shop, api.Plain, gone.Tokens["iin"].Items[0], stays.Tokens["iin"].Items[0])
	wantItem(t, got[0].Error, fault.Unavailable)
	wantText(t, got[1].Value, iinB)
	_, err := old.OpenDocument(ctx, shop, &api.OpenDocumentRequest{Token: document, Purpose: "service", Reason: "check"})
	wantCode(t, err, fault.Unavailable)
	_, err = old.RequestErasure(ctx, shop, &api.ErasureRequest{Subject: stays.Subject, Ground: "request", Reason: "asked"})
	wantCode(t, err, fault.Unavailable)
	time.Sleep(500 * time.Millisecond) // the sweepers of the copy have had their chance
	for id := range before {
		if !entries(t, server)[id] {
			t.Errorf("the copy destroyed key %s", id)
		}
	}
	wantText(t, detokenize(t, v, shop, api.Plain, stays.Tokens["iin"].Items[0])[0].Value, iinB)
}

// entries lists the keys that a server has.
func entries(t testing.TB, server *vaultserver.Server) map[string]bool {
	t.Helper()
	_, body := server.Request(t, "LIST", "sandyq/keys", nil)
	names := map[string]bool{}
	for _, word := range strings.Split(string(body), `"`) {
		if _, err := kms.ParseID(word); err == nil {
			names[word] = true
		}
	}
	if len(names) == 0 {
		t.Fatalf("the server lists no keys: %s", body)
	}
	return names
}

// nowhereIn looks for keys in every file of a folder, raw and in the usual spellings.
func nowhereIn(t testing.TB, dir string, keys []kms.Key) {
	t.Helper()
	var needles [][]byte
	for _, k := range keys {
		b := k.Secret.Expose()
		needles = append(needles, b, []byte(hex.EncodeToString(b)), []byte(base64.StdEncoding.EncodeToString(b)))
	}
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		content, err := os.ReadFile(path)
		for _, n := range needles {
			if bytes.Contains(content, n) {
				t.Errorf("%s holds a person's key", path)
			}
		}
		return err
	})
	if err != nil || files < 3 {
		t.Fatalf("%d files read: %v", files, err)
	}
}

// TestAbsenceDestroysNobody takes the keys away in ways that leave "not found" behind, with an erasure under way: it does
// not go on until they are back.
func TestAbsenceDestroysNobody(t *testing.T) {
	server := vaultserver.Start(t)
	keys := keysIn(t, server)
	part := &away{Provider: keys}
	v := vaulttest.New(t, withKeys(part))
	ready(t, v)
	shop := app(v)
	stays := register(t, v, shop, fields{"given_name": text("Болат")})
	move := func(from, to string) {
		t.Helper()
		request(t, server, http.MethodPost, "sys/remount", map[string]any{"from": from, "to": to})
		eventually(t, "the mount has moved", func() bool {
			_, body := server.Request(t, http.MethodGet, "sys/mounts", nil)
			return !strings.Contains(string(body), `"`+from+`/"`) && strings.Contains(string(body), `"`+to+`/"`)
		})
	}
	fresh := func(mount, version string) {
		t.Helper()
		request(t, server, http.MethodPost, "sys/mounts/"+mount, map[string]any{"type": "kv", "options": map[string]string{"version": version}})
	}
	unmount := func(mount string) { t.Helper(); request(t, server, http.MethodDelete, "sys/mounts/"+mount, nil) }
	for _, way := range []struct {
		name       string
		away, back func()
	}{
		{"sealed", func() { server.Seal(t) }, func() { server.Unseal(t) }},
		{"the mount is gone", func() { move("sandyq", "parked") }, func() { move("parked", "sandyq") }},
		{"another, empty mount", func() { move("sandyq", "parked"); fresh("sandyq", "1") }, func() { unmount("sandyq"); move("parked", "sandyq") }},
		{"another mount with a sentinel", func() {
			move("sandyq", "parked")
			fresh("sandyq", "1")
			request(t, server, http.MethodPost, "sandyq/sentinel", map[string]any{"v": 1, "sentinel": strings.Repeat("ab", 32)})
		}, func() { unmount("sandyq"); move("parked", "sandyq") }},
		{"the generations are gone", func() { move("sandyq-generation", "parked") }, func() { move("parked", "sandyq-generation") }},
		{"the mount is disabled and enabled, for good", func() { unmount("sandyq"); fresh("sandyq", "1") }, nil},
	} {
		t.Run(way.name, func(t *testing.T) {
			who := register(t, v, shop, fields{"given_name": text("Айгүл")})
			part.down.Store(true)
			e := erase(t, v, shop, who.Subject)
			way.away()
			part.down.Store(false)
			eventually(t, "the readiness says that the keys are not what they were", func() bool {
				return slices.Contains(v.Ready(ctx).Degraded, "keys")
			})
			time.Sleep(700 * time.Millisecond) // some ten sweeps
			if got := must[*api.Erasure](t)(v.Erasure(ctx, shop, e.Erasure)); got.State != api.ErasureErasing {
				t.Errorf("the erasure went on to %s", got.State)
			}
			wantItem(t, detokenize(t, v, shop, api.Plain, who.Tokens["given_name"].Items[0])[0].Error, fault.Erased)
			if way.back == nil {
				wantItem(t, detokenize(t, v, shop, api.Plain, stays.Tokens["given_name"].Items[0])[0].Error, "") // under lease
				return
			}
			way.back()
			began := time.Now()
			erased(t, v, shop, e.Erasure)
			t.Logf("erased %s after the keys were back", time.Since(began).Round(time.Millisecond))
			eventually(t, "the vault is live again", func() bool { return len(v.Ready(ctx).Degraded) == 0 })
			wantText(t, detokenize(t, v, shop, api.Plain, stays.Tokens["given_name"].Items[0])[0].Value, "Болат")
		})
	}
}

// request asks the server for something that must go well.
func request(t testing.TB, server *vaultserver.Server, method, path string, body any) {
	t.Helper()
	if got, answer := server.Request(t, method, path, body); got >= 300 {
		t.Fatalf("%s %s: %d %s", method, path, got, answer)
	}
}
