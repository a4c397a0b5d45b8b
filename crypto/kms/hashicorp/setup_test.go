package hashicorp_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp/vaultserver"
	"github.com/sandyq/sandyq/crypto/secret"
	hashicorpvault "github.com/sandyq/sandyq/deploy/hashicorp-vault"
)

func TestSetupAgain(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	v := p.open(t)
	id := create(t, v)
	sentinel, err := v.Sentinel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	steps, err := hashicorp.Setup(t.Context(), p.setupConfig())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		if s.Done || len(s.Diff) > 0 {
			t.Errorf("the second set-up did %q: %q", s.What, s.Diff)
		}
	}
	if now, err := v.Sentinel(t.Context()); err != nil || now != sentinel {
		t.Errorf("the sentinel was replaced (%v)", err)
	}
	if keys, err := v.Open(t.Context(), id); err != nil || keys[0].Missing() {
		t.Errorf("the key is gone (%v)", err)
	}
}

// TestSetupBringsUpToDate meets a server that was set up before there was a signing key, with the policies of then.
func TestSetupBringsUpToDate(t *testing.T) {
	for _, two := range []bool{false, true} {
		p := setUp(t, vaultserver.Shared(t), two)
		path := p.config.Mount + "-transit/keys/log-acme"
		write(t, p.server, path+"/config", map[string]any{"deletion_allowed": true})
		remove(t, p.server, path)
		p.forget(t, two)
		v := p.open(t)
		if m, err := v.Mark(t.Context()); !errors.Is(err, kms.ErrUnavailable) || !strings.Contains(err.Error(), "sandyq keys setup") {
			t.Errorf("mark %s without the right to it: %v, want ErrUnavailable that says what to do", m, err)
		}
		if err := v.SetMark(t.Context(), kms.Mark{}, kms.Mark{Entries: 1}); !errors.Is(err, kms.ErrUnavailable) {
			t.Errorf("set the mark without the right to: %v, want ErrUnavailable", err)
		}
		_, keysErr := v.PublicKeys(t.Context())
		_, signErr := v.SignAs(t.Context(), 1, []byte("message"))
		for what, err := range map[string]error{"public keys": keysErr, "sign": signErr} {
			if !errors.Is(err, kms.ErrUnavailable) {
				t.Errorf("%s without a key: %v, want ErrUnavailable", what, err)
			}
		}
		if keysErr == nil || !strings.Contains(keysErr.Error(), "sandyq keys setup") {
			t.Errorf("%v does not say what to do", keysErr)
		}
		c := p.setupConfig()
		if two {
			erase := p.credentials("erase")
			c.Erase = &erase
		}
		if _, err := hashicorp.Setup(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		eventually(t, 2*time.Second, "sign", func() error {
			_, err := v.SignAs(t.Context(), 1, []byte("message"))
			return err
		})
		if version, err := v.RotateSigning(t.Context()); err != nil || version != 2 {
			t.Errorf("rotate: version %d, want 2 (%v)", version, err)
		}
		if m, err := v.Mark(t.Context()); err != nil || m != (kms.Mark{}) {
			t.Errorf("mark %s, want the first (%v)", m, err)
		}
		if err := v.SetMark(t.Context(), kms.Mark{}, kms.Mark{Entries: 1}); err != nil {
			t.Errorf("set the mark: %v", err)
		}
	}
}

// forget takes the signing key and the mark out of the server's policies.
func (p place) forget(t *testing.T, two bool) {
	t.Helper()
	roles := map[string]hashicorpvault.Policy{"": hashicorpvault.All}
	if two {
		roles = map[string]hashicorpvault.Policy{"-read": hashicorpvault.Read, "-erase": hashicorpvault.Erase}
	}
	newer := regexp.MustCompile(`path "[^"]*/(log-acme|mark|log-acme/rotate)" \{[^}]*\}`)
	for suffix, policy := range roles {
		hcl, err := policy.Render(p.config.Mount, "acme")
		if err != nil {
			t.Fatal(err)
		}
		older := newer.ReplaceAllString(hcl, "")
		if older == hcl {
			t.Fatalf("policy %s has nothing to forget", policy)
		}
		write(t, p.server, "sys/policies/acl/"+p.config.Mount+"-acme"+suffix, map[string]any{"policy": older})
	}
}

func TestSetupAnotherTenant(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	other := p
	other.config.Tenant, other.files = "other", t.TempDir()
	other.config.Auth = approle(other.credentials("serve"))
	if _, err := hashicorp.Setup(t.Context(), other.setupConfig()); err != nil {
		t.Fatal(err)
	}
	id := create(t, p.open(t))
	if keys, err := other.open(t).Open(t.Context(), id); err == nil {
		t.Errorf("a tenant opens another's key: %d bytes", keys[0].Secret.Len())
	}
}

func TestSetupCredentials(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	steps, err := hashicorp.Setup(t.Context(), p.setupConfig())
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{p.credentials("serve").RoleIDFile, p.credentials("serve").SecretIDFile} {
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v (%v), want 0600", filepath.Base(file), info.Mode(), err)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range steps {
			if strings.Contains(s.What, strings.TrimSpace(string(b))) {
				t.Errorf("step %q tells a credential", s.What)
			}
		}
	}
}

// TestSetupSeparatesLater sets two identities up where one did everything.
func TestSetupSeparatesLater(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	id := create(t, p.open(t))
	c, erase := p.setupConfig(), p.credentials("erase")
	c.Erase = &erase
	if _, err := hashicorp.Setup(t.Context(), c); err == nil || !strings.Contains(err.Error(), c.Serve.SecretIDFile) {
		t.Fatalf("with the old role's credentials in place: %v", err)
	}
	if _, body := p.server.Request(t, http.MethodGet, "auth/approle/role/"+c.Mount+"-acme", nil); !strings.Contains(string(body), "token_policies") {
		t.Fatal("the old role is gone before the new ones can be used")
	}
	old := p.config.Auth
	for _, file := range []*string{&old.RoleIDFile, &old.SecretIDFile} {
		if err := os.Rename(*file, *file+".old"); err != nil {
			t.Fatal(err)
		}
		*file += ".old"
	}
	before := p.config
	before.Auth = old
	auth := approle(erase)
	before.EraseAuth = &auth
	if _, err := hashicorp.Setup(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, before).Open(t.Context(), id); err == nil {
		t.Error("the old role serves still")
	}
	p.config.EraseAuth = &auth
	if keys, err := p.open(t).Open(t.Context(), id); err != nil || keys[0].Missing() {
		t.Errorf("the new role does not serve (%v)", err)
	}
}

// TestSetupTornFile finds a credentials file that a kill left empty.
func TestSetupTornFile(t *testing.T) {
	for _, torn := range []func(hashicorp.Credentials) string{
		func(c hashicorp.Credentials) string { return c.RoleIDFile },
		func(c hashicorp.Credentials) string { return c.SecretIDFile },
	} {
		p := setUp(t, vaultserver.Shared(t), false)
		file := torn(p.credentials("serve"))
		if err := os.Truncate(file, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := hashicorp.Setup(t.Context(), p.setupConfig()); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("the set-up takes an empty %s: %v", filepath.Base(file), err)
		}
	}
}

// TestServingIdentityMayNotDestroy refuses a configuration that names two identities of which both destroy.
func TestServingIdentityMayNotDestroy(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	p.config.EraseAuth = &p.config.Auth
	if _, err := p.open(t).Create(t.Context(), kms.NewID()); err == nil || !strings.Contains(err.Error(), "erase_auth") {
		t.Errorf("a serving token that may delete: %v", err)
	}
}

// TestSetupDryRun says what a set-up would do, on a fresh server and on one that went astray, and does none of it.
func TestSetupDryRun(t *testing.T) {
	server := vaultserver.Start(t)
	p := place{server: server, files: t.TempDir(), config: hashicorp.Config{Address: server.Address, Mount: "dry", Tenant: "acme"}}
	p.config.Auth = approle(p.credentials("serve"))
	c := p.setupConfig2(true)
	c.DryRun = true
	state := func() string {
		var all strings.Builder
		for _, path := range []string{"sys/mounts", "sys/auth", "sys/policies/acl?list=true", "sys/policies/acl/dry-acme-read", "dry-transit/config/keys"} {
			_, body := server.Request(t, http.MethodGet, path, nil)
			var parsed struct {
				Data any `json:"data"` // the rest has an id of the request
			}
			if err := json.Unmarshal(body, &parsed); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(&all, path, parsed.Data)
		}
		files, err := os.ReadDir(p.files)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(all.String(), len(files))
	}
	before := state()
	steps, err := hashicorp.Setup(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		if !s.Done || len(s.Diff) == 0 || s.Path == "" {
			t.Errorf("on a fresh server, %q is not told: %v %q", s.What, s.Done, s.Diff)
		}
	}
	if now := state(); now != before {
		t.Errorf("a dry run changed something: %s\nfrom %s", now, before)
	}

	c.DryRun = false
	made, err := hashicorp.Setup(t.Context(), c)
	if err != nil || len(made) != len(steps) {
		t.Fatalf("%d steps, the dry run told %d (%v)", len(made), len(steps), err)
	}
	for i := range made {
		if made[i].What != steps[i].What || !made[i].Done {
			t.Errorf("did %q, the dry run told %q", made[i].What, steps[i].What)
		}
	}

	p.widen(t, "-read", hashicorpvault.Read, "\npath \"*\" {\n  capabilities = [\"read\"]\n}\n")
	write(t, server, "dry-transit/config/keys", map[string]any{"disable_upsert": false})
	write(t, server, "auth/approle/role/dry-acme-read", map[string]any{"token_ttl": 7200})
	want := map[string]string{
		"sys/policies/acl/dry-acme-read":  "- |- path \"*\" {|-   capabilities = [\"read\"]|- }",
		"dry-transit/config/keys":         "- disable_upsert: false|+ disable_upsert: true",
		"auth/approle/role/dry-acme-read": "- token_ttl: 7200|+ token_ttl: 1200",
	}
	before = state()
	for _, dry := range []bool{true, false} {
		c.DryRun = dry
		steps, err := hashicorp.Setup(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range steps {
			if got := strings.Join(s.Diff, "|"); got != want[s.Path] || s.Done != (got != "") {
				t.Errorf("dry run %v: the difference of %s is %q, want %q", dry, s.Path, got, want[s.Path])
			}
		}
		if now := state(); (now == before) != dry {
			t.Errorf("dry run %v: changed %v", dry, now != before)
		}
	}
	p.config.EraseAuth = new(hashicorp.Auth)
	*p.config.EraseAuth = approle(p.credentials("erase"))
	if wrong, _ := p.check(t); len(wrong) > 0 {
		t.Errorf("after it was mended: %q", wrong)
	}
}

// TestSetupOtherMethod makes a policy and no role for who does not log in by AppRole.
func TestSetupOtherMethod(t *testing.T) {
	server := vaultserver.Start(t)
	steps, err := hashicorp.Setup(t.Context(), hashicorp.SetupConfig{
		Operator: hashicorp.Operator{Address: server.Address, Token: secret.NewString(server.RootToken)}, Erase: &hashicorp.Credentials{},
	})
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, s := range steps {
		if strings.HasPrefix(s.Path, "sys/policies/") || strings.Contains(s.Path, "auth/") {
			told = append(told, s.Path)
		}
	}
	if got := strings.Join(told, " "); got != "sys/policies/acl/sandyq-main-read sys/policies/acl/sandyq-main-erase" {
		t.Errorf("it made %s", got)
	}
	if _, body := server.Request(t, http.MethodGet, "sys/auth", nil); strings.Contains(string(body), "approle") {
		t.Error("it enabled AppRole")
	}
}

// TestSetupStops finds things that are not as it would make them.
func TestSetupStops(t *testing.T) {
	server := vaultserver.Shared(t)
	for name, spoil := range map[string]func(t *testing.T, p place){
		"KV of version 2": func(t *testing.T, p place) {
			remove(t, server, "sys/mounts/"+p.config.Mount)
			write(t, server, "sys/mounts/"+p.config.Mount, map[string]any{"type": "kv", "options": map[string]string{"version": "2"}})
		},
		"index key of another type": func(t *testing.T, p place) {
			path := p.config.Mount + "-transit/keys/index-acme"
			write(t, server, path+"/config", map[string]any{"deletion_allowed": true})
			remove(t, server, path)
			write(t, server, path, map[string]any{"type": "aes256-gcm96"})
		},
		"exportable signing key": func(t *testing.T, p place) {
			write(t, server, p.config.Mount+"-transit/keys/log-acme/config", map[string]any{"exportable": true})
		},
		"signing key of another type": func(t *testing.T, p place) {
			path := p.config.Mount + "-transit/keys/log-acme"
			write(t, server, path+"/config", map[string]any{"deletion_allowed": true})
			remove(t, server, path)
			write(t, server, path, map[string]any{"type": "ecdsa-p256"})
		},
		"exportable key": func(t *testing.T, p place) {
			write(t, server, p.config.Mount+"-transit/keys/wrap-acme/config", map[string]any{"exportable": true})
		},
		"key that may be deleted": func(t *testing.T, p place) {
			write(t, server, p.config.Mount+"-transit/keys/wrap-acme/config", map[string]any{"deletion_allowed": true})
		},
		"keys without their sentinel": func(t *testing.T, p place) {
			create(t, p.open(t))
			remove(t, server, p.config.Mount+"/sentinel")
		},
		"malformed sentinel": func(t *testing.T, p place) {
			write(t, server, p.config.Mount+"/sentinel", map[string]any{"v": 1, "sentinel": "00"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := setUp(t, server, false)
			spoil(t, p)
			if _, err := hashicorp.Setup(t.Context(), p.setupConfig()); err == nil {
				t.Error("the set-up takes it")
			}
		})
	}
}

func write(t *testing.T, server *vaultserver.Server, path string, body any) {
	t.Helper()
	if status, answer := server.Request(t, "POST", path, body); status >= http.StatusBadRequest {
		t.Fatalf("write %s: status %d: %s", path, status, answer)
	}
}

func TestSetupWrongToken(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	c := p.setupConfig()
	c.Token = secret.NewString("hvs.canary")
	_, err := hashicorp.Setup(t.Context(), c)
	if err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("set-up with a wrong token: %v", err)
	}
}

func TestConfigRefused(t *testing.T) {
	good := hashicorp.Config{Address: "https://vault.example:8200", Auth: hashicorp.Auth{Method: "token"}}
	v, err := hashicorp.Open(good)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*hashicorp.Config){
		"no address":            func(c *hashicorp.Config) { c.Address = "" },
		"no scheme":             func(c *hashicorp.Config) { c.Address = "vault.example:8200" },
		"plain http":            func(c *hashicorp.Config) { c.Address = "http://vault.example:8200" },
		"plain http by number":  func(c *hashicorp.Config) { c.Address = "http://10.0.0.1:8200" },
		"plain http, disguised": func(c *hashicorp.Config) { c.Address = "http://localhost.example" },
		"another scheme":        func(c *hashicorp.Config) { c.Address = "unix:///run/vault" },
		"password":              func(c *hashicorp.Config) { c.Address = "https://me:canary@vault.example" },
		"path":                  func(c *hashicorp.Config) { c.Address = "https://vault.example/v1" },
		"mount of two":          func(c *hashicorp.Config) { c.Mount = "a/b" },
		"mount of dots":         func(c *hashicorp.Config) { c.Mount = ".." },
		"tenant of a wildcard":  func(c *hashicorp.Config) { c.Tenant = "*" },
		"no method":             func(c *hashicorp.Config) { c.Auth.Method = "" },
		"role without files":    func(c *hashicorp.Config) { c.Auth.Method = "approle" },
		"erase without method":  func(c *hashicorp.Config) { c.EraseAuth = &hashicorp.Auth{} },
		"jwt without a role":    func(c *hashicorp.Config) { c.Auth = hashicorp.Auth{Method: "jwt", JWTFile: "f"} },
		"jwt without a file":    func(c *hashicorp.Config) { c.Auth = hashicorp.Auth{Method: "jwt", Role: "r"} },
		"role that is a path":   func(c *hashicorp.Config) { c.Auth = hashicorp.Auth{Method: "kubernetes", Role: "../canary"} },
		"cert without a key":    func(c *hashicorp.Config) { c.Auth = hashicorp.Auth{Method: "cert", CertFile: "f"} },
		"cert in the clear": func(c *hashicorp.Config) {
			c.Address = "http://127.0.0.1:8200"
			c.EraseAuth = &hashicorp.Auth{Method: "cert", CertFile: "f", KeyFile: "f"}
		},
		"another method's file": func(c *hashicorp.Config) {
			c.Auth = hashicorp.Auth{Method: "kubernetes", Role: "r", SecretIDFile: "canary"}
		},
		"name without TLS": func(c *hashicorp.Config) { c.Address, c.TLSServerName = "http://127.0.0.1:8200", "vault.example" },
		"hasty":            func(c *hashicorp.Config) { c.Timeout = 1 },
		"no such CA file":  func(c *hashicorp.Config) { c.CAFile = filepath.Join(t.TempDir(), "ca.pem") },
	} {
		c := good
		change(&c)
		_, err := hashicorp.Open(c)
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkVault(b *testing.B) {
	v := setUp(b, vaultserver.Shared(b), false).open(b)
	ids := make([]kms.ID, 200)
	b.Run("create 200", func(b *testing.B) {
		for b.Loop() {
			for i := range ids {
				ids[i] = kms.NewID()
			}
			if _, err := v.Create(b.Context(), ids...); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(ids)*b.N)/b.Elapsed().Seconds(), "keys/s")
	})
	b.Run("open 200", func(b *testing.B) {
		for b.Loop() {
			if _, err := v.Open(b.Context(), ids...); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(ids)*b.N)/b.Elapsed().Seconds(), "keys/s")
	})
	inputs := make([][]byte, 500)
	b.Run("MAC 500", func(b *testing.B) {
		for b.Loop() {
			if _, err := v.MAC(b.Context(), inputs...); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(inputs)*b.N)/b.Elapsed().Seconds(), "MACs/s")
	})
	b.Run("sign", func(b *testing.B) {
		for b.Loop() {
			if _, err := v.SignAs(b.Context(), 1, inputs[0]); err != nil {
				b.Fatal(err)
			}
		}
	})
}
