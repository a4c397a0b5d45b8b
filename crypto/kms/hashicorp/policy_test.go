package hashicorp_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp/vaultserver"
	"github.com/sandyq/sandyq/crypto/kms/kmstest"
)

// token logs a role in, as an attacker who stole its credentials would.
func (p place) token(t *testing.T, role string) string {
	t.Helper()
	body := map[string]any{}
	for key, file := range map[string]string{
		"role_id":   p.credentials(role).RoleIDFile,
		"secret_id": p.credentials(role).SecretIDFile,
	} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		body[key] = strings.TrimSpace(string(b))
	}
	status, answer := p.server.RequestAs(t, "", "POST", "auth/approle/login", body)
	var parsed struct {
		Auth struct {
			Token string `json:"client_token"`
		} `json:"auth"`
	}
	if err := json.Unmarshal(answer, &parsed); err != nil || status != http.StatusOK {
		t.Fatalf("log in: status %d (%v)", status, err)
	}
	return parsed.Auth.Token
}

func TestPoliciesDeny(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), true)
	one := setUp(t, p.server, false)
	v := p.open(t)
	id, other := create(t, v), create(t, v)
	kmstest.Claim(t, v)
	oneID := create(t, one.open(t))

	forbidden := func(p place, role string, key kms.ID, more ...[2]string) {
		t.Helper()
		token, m := p.token(t, role), p.config.Mount
		for _, try := range append([][2]string{
			{"PUT", m + "/keys/" + key.String()}, // over an entry
			{"LIST", m + "/keys"},
			{"LIST", m},
			{"PUT", m + "/sentinel"},
			{"DELETE", m + "/sentinel"},
			{"DELETE", m + "-generation/data/generation"},
			{"DELETE", m + "-generation/metadata/generation"},
			{"PUT", m + "-generation/destroy/generation"},
			{"PUT", m + "-generation/config"},
			{"GET", m + "-transit/keys/wrap-acme"},
			{"GET", m + "-transit/export/encryption-key/wrap-acme"},
			{"GET", m + "-transit/export/hmac-key/index-acme"},
			{"GET", m + "-transit/backup/wrap-acme"},
			{"DELETE", m + "-transit/keys/wrap-acme"},
			{"PUT", m + "-transit/keys/wrap-acme/config"},
			{"PUT", m + "-transit/keys/wrap-acme/rotate"},
			{"PUT", m + "-transit/keys/index-acme/rotate"},
			{"GET", m + "-transit/export/signing-key/log-acme"},
			{"GET", m + "-transit/backup/log-acme"},
			{"DELETE", m + "-transit/keys/log-acme"},
			{"PUT", m + "-transit/keys/log-acme"},
			{"PUT", m + "-transit/keys/log-acme/config"},
			{"PUT", m + "-transit/keys/log-acme/trim"},
			{"PUT", m + "-transit/keys/log-another/rotate"},
			{"PUT", m + "-transit/sign/log-another"},
			{"PUT", m + "-transit/sign/wrap-acme"},
			{"DELETE", m + "-generation/data/mark"},
			{"DELETE", m + "-generation/metadata/mark"},
			{"PUT", m + "-generation/destroy/mark"},
			{"PUT", m + "-generation/undelete/mark"},
			{"PUT", m + "-transit/keys/another"},
			{"PUT", m + "-transit/encrypt/another"},
			{"PUT", m + "-transit/encrypt/index-acme"},
			{"PUT", m + "-transit/hmac/wrap-acme/sha2-256"},
			{"DELETE", "sys/mounts/" + m},
			{"PUT", "sys/seal"},
			{"PUT", "auth/token/create"},
		}, more...) {
			status, _ := p.server.RequestAs(t, token, try[0], try[1], body(try[0]))
			if status != http.StatusForbidden {
				t.Errorf("%s may %s %s: status %d", role, try[0], try[1], status)
			}
		}
	}
	m := p.config.Mount
	forbidden(one, "serve", oneID)
	forbidden(p, "serve", id,
		[2]string{"DELETE", m + "/keys/" + other.String()},
		[2]string{"PUT", m + "-generation/data/generation"},
		[2]string{"PUT", m + "-generation/data/mark"},
		[2]string{"PUT", m + "-transit/keys/log-acme/rotate"})
	forbidden(p, "erase", id,
		[2]string{"PUT", m + "/keys/" + kms.NewID().String()},
		[2]string{"PUT", m + "-transit/encrypt/wrap-acme"},
		[2]string{"PUT", m + "-transit/decrypt/wrap-acme"},
		[2]string{"PUT", m + "-transit/hmac/index-acme/sha2-256"},
		[2]string{"PUT", m + "-transit/sign/log-acme"},
		[2]string{"GET", m + "-transit/keys/log-acme"})
	if keys, err := v.Open(t.Context(), id, other); err != nil || keys[0].Missing() || keys[1].Missing() {
		t.Errorf("the keys did not survive the attempts (%v)", err)
	}
}

// body is something that would be written if it were allowed.
func body(method string) any {
	if method != "PUT" {
		return nil
	}
	return map[string]any{"v": 1, "key": "vault:v1:AAAA", "plaintext": "AAAA", "ciphertext": "vault:v1:AAAA", "input": "AAAA"}
}

// TestPoliciesReachOneMountOnly: what one tenant's role holds is nothing in another's mount on the same server.
func TestPoliciesReachOneMountOnly(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	other := setUp(t, p.server, false)
	id := create(t, other.open(t))
	token, m := p.token(t, "serve"), other.config.Mount
	wrapped := "/wrap-" + other.config.Tenant
	for _, try := range [][2]string{
		{"GET", m + "/keys/" + id.String()}, {"PUT", m + "/keys/" + kms.NewID().String()}, {"DELETE", m + "/keys/" + id.String()},
		{"LIST", m + "/keys"}, {"GET", m + "/sentinel"},
		{"GET", m + "-generation/data/generation"}, {"PUT", m + "-generation/data/generation"},
		{"PUT", m + "-transit/encrypt" + wrapped}, {"PUT", m + "-transit/decrypt" + wrapped},
		{"PUT", m + "-transit/hmac/index-" + other.config.Tenant + "/sha2-256"},
		{"PUT", m + "-transit/sign/log-" + other.config.Tenant}, {"GET", m + "-transit/keys/log-" + other.config.Tenant},
		{"PUT", m + "-transit/keys/log-" + other.config.Tenant + "/rotate"},
		{"GET", m + "-generation/data/mark"}, {"PUT", m + "-generation/data/mark"},
	} {
		if status, _ := p.server.RequestAs(t, token, try[0], try[1], body(try[0])); status != http.StatusForbidden {
			t.Errorf("%s %s: status %d, want 403", try[0], try[1], status)
		}
	}
}

// TestServingIdentityDestroysNothing gives a provider the serving role alone.
func TestServingIdentityDestroysNothing(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), true)
	claim := kmstest.Claim(t, p.open(t))
	c := p.config
	c.EraseAuth = nil
	v := open(t, c)
	id := create(t, v)
	if err := v.Destroy(t.Context(), claim, id); err == nil {
		t.Error("the serving role destroys")
	}
	next := kms.Generation{Number: claim.Generation.Number + 1, Instance: kms.NewID()}
	if err := v.Advance(t.Context(), claim.Generation, next); err == nil {
		t.Error("the serving role advances the generation")
	}
	if err := v.SetMark(t.Context(), kms.Mark{}, kms.Mark{Entries: 1}); err == nil {
		t.Error("the serving role sets the mark")
	}
	if _, err := v.RotateSigning(t.Context()); err == nil {
		t.Error("the serving role rotates the signing key")
	}
	if public, err := v.PublicKeys(t.Context()); err != nil || len(public) != 1 {
		t.Errorf("%d versions of the signing key, want 1 (%v)", len(public), err)
	}
	if m, err := v.Mark(t.Context()); err != nil || m != (kms.Mark{}) {
		t.Errorf("mark %s, want the first (%v)", m, err)
	}
	if _, err := v.SignAs(t.Context(), 1, []byte("message")); err != nil {
		t.Errorf("the serving role does not sign: %v", err)
	}
	if keys, err := v.Open(t.Context(), id); err != nil || keys[0].Missing() {
		t.Errorf("the key is gone (%v)", err)
	}
}

// TestOverwritingTokenRefused logs in with a token that could overwrite keys in silence.
func TestOverwritingTokenRefused(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	file := p.files + "/root-token"
	if err := os.WriteFile(file, []byte(p.server.RootToken), 0o600); err != nil {
		t.Fatal(err)
	}
	c := p.config
	c.Auth = hashicorp.Auth{Method: "token", TokenFile: file}
	_, err := open(t, c).Create(t.Context(), kms.NewID())
	if !errors.Is(err, kms.ErrUnavailable) || !strings.Contains(err.Error(), "may overwrite keys") {
		t.Errorf("a root token is accepted: %v", err)
	}
	wantNoSecret(t, err, p)
}

func TestTokenAuth(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	c := p.config
	c.Auth = hashicorp.Auth{Method: "token"}
	t.Setenv("VAULT_TOKEN", p.token(t, "serve"))
	create(t, open(t, c))
}

// wantNoSecret checks that an error tells no credential.
func wantNoSecret(t *testing.T, err error, p place) {
	t.Helper()
	for _, role := range []string{"serve", "erase"} {
		for _, file := range []string{p.credentials(role).RoleIDFile, p.credentials(role).SecretIDFile} {
			if b, _ := os.ReadFile(file); len(b) > 0 && strings.Contains(err.Error(), strings.TrimSpace(string(b))) {
				t.Errorf("the error tells what is in %s", file)
			}
		}
	}
	if strings.Contains(err.Error(), p.server.RootToken) {
		t.Error("the error tells the token")
	}
}

func TestDenialIsNotExistence(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), true)
	c := p.config
	c.Auth, c.EraseAuth = *c.EraseAuth, nil // may not create
	v := open(t, c)
	_, err := v.Create(t.Context(), kms.NewID())
	if !errors.Is(err, kms.ErrUnavailable) || errors.Is(err, kms.ErrExists) {
		t.Errorf("a denied create: %v, want ErrUnavailable", err)
	}
}

// TestWithheld raises what Transit serves at least above what is in use, and lowers it again. That is neither damage nor absence, nor a
// server that is away.
func TestWithheld(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	v := p.open(t)
	id := create(t, v)
	macs, err := v.MAC(t.Context(), []byte("input"))
	if err != nil {
		t.Fatal(err)
	}
	serves := func(least int) {
		t.Helper()
		for _, key := range []string{"wrap-", "index-"} {
			path := p.config.Mount + "-transit/keys/" + key + p.config.Tenant
			if least > 1 {
				p.server.Request(t, "PUT", path+"/rotate", nil)
			}
			body := map[string]any{"min_decryption_version": least, "min_encryption_version": least}
			if status, answer := p.server.Request(t, "PUT", path+"/config", body); status != http.StatusOK {
				t.Fatalf("%d %s", status, answer)
			}
		}
	}
	serves(2)
	for range 3 {
		for name, err := range calls(t.Context(), v, kms.Claim{}, id) {
			if want := name == "open" || name == "MAC" || name == "health"; errors.Is(err, kms.ErrWithheld) != want || errors.Is(err, kms.ErrUnavailable) || errors.Is(err, kms.ErrCorrupt) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	serves(1)
	keys, err := v.Open(t.Context(), id)
	if err != nil || keys[0].Missing() {
		t.Errorf("lowered again: %v", err)
	}
	if again, err := v.MAC(t.Context(), []byte("input")); err != nil || !bytes.Equal(again[0], macs[0]) {
		t.Errorf("lowered again: another MAC, or %v", err)
	}
}

// TestStoredKeyIsWrapped looks at what a reader of KV sees, and moves an entry to another id.
func TestStoredKeyIsWrapped(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	v := p.open(t)
	id, other := kms.NewID(), kms.NewID()
	keys, err := v.Create(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	_, entry := p.server.Request(t, "GET", p.config.Mount+"/keys/"+id.String(), nil)
	if bytes.Contains(entry, keys[0].Secret.Expose()) || !bytes.Contains(entry, []byte(`"vault:v1:`)) {
		t.Error("the entry is not Transit's ciphertext")
	}
	var parsed struct {
		Data map[string]any `json:"data"`
	}
	if err := json.Unmarshal(entry, &parsed); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]any{
		"an entry under another id": parsed.Data,
		"an entry of version 2":     map[string]any{"v": 2, "key": parsed.Data["key"]},
		"an entry of no ciphertext": map[string]any{"v": 1, "key": "AAAA"},
		"an empty entry":            map[string]any{"other": 1},
	} {
		p.server.Request(t, "PUT", p.config.Mount+"/keys/"+other.String(), data)
		if _, err := v.Open(t.Context(), id, other); !errors.Is(err, kms.ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
	}
}
