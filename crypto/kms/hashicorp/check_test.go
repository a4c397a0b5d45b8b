package hashicorp_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp/vaultserver"
	"github.com/sandyq/sandyq/crypto/kms/kmstest"
	"github.com/sandyq/sandyq/crypto/secret"
	hashicorpvault "github.com/sandyq/sandyq/deploy/hashicorp-vault"
)

// check checks a place and returns what is wrong and what is warned of, as "rule path: found".
func (p place) check(t *testing.T) (wrong, warned []string) {
	t.Helper()
	return p.checkAs(t, p.operator(), kms.Sentinel{})
}

func (p place) checkAs(t *testing.T, operator hashicorp.Operator, pinned kms.Sentinel) (wrong, warned []string) {
	t.Helper()
	found, err := operator.Check(t.Context(), p.config, pinned)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		line := f.Rule + " " + f.Path + ": " + f.Found
		if strings.Contains(line, p.server.RootToken) || f.Path == "" || f.Found == "" {
			t.Errorf("finding %q", line)
		}
		if f.Warning {
			warned = append(warned, line)
		} else {
			wrong = append(wrong, line)
		}
	}
	return wrong, warned
}

func has(lines []string, rule, path string) bool {
	return slices.ContainsFunc(lines, func(line string) bool {
		return strings.HasPrefix(line, rule+" ") && strings.Contains(line, path)
	})
}

// TestCheckFine finds nothing wrong with what a set-up made, before anything was stored and after, and leaves nothing.
func TestCheckFine(t *testing.T) {
	server := vaultserver.Start(t)
	for _, two := range []bool{false, true} {
		p := setUp(t, server, two)
		tokens := p.accessors(t)
		for _, stored := range []bool{false, true} {
			if stored {
				v := p.open(t)
				kmstest.Claim(t, v)
				create(t, v)
				tokens = p.accessors(t) // and v's own
			}
			wrong, warned := p.check(t)
			if len(wrong) > 0 || len(warned) != 1 || !has(warned, "audit.none", "sys/audit") {
				t.Errorf("two identities %v: wrong %q, warnings %q", two, wrong, warned)
			}
			if now := p.accessors(t); !slices.Equal(now, tokens) {
				t.Errorf("%d tokens after a check, %d before", len(now), len(tokens))
			}
		}
		steps, err := hashicorp.Setup(t.Context(), p.setupConfig2(two))
		if err != nil || slices.ContainsFunc(steps, func(s hashicorp.Step) bool { return s.Done }) {
			t.Errorf("a set-up after a check does something: %v (%v)", steps, err)
		}
	}
	write(t, server, "sys/audit/file", map[string]any{"type": "file", "options": map[string]string{"file_path": filepath.Join(t.TempDir(), "audit")}})
	p := setUp(t, server, true)
	if wrong, warned := p.check(t); len(wrong)+len(warned) > 0 {
		t.Errorf("with an audit device: %q, %q", wrong, warned)
	}
}

// setupConfig2 is setupConfig of one identity or two.
func (p place) setupConfig2(two bool) hashicorp.SetupConfig {
	c := p.setupConfig()
	if two {
		erase := p.credentials("erase")
		c.Erase = &erase
	}
	return c
}

// widen puts something behind the text of a policy.
func (p place) widen(t *testing.T, suffix string, policy hashicorpvault.Policy, more string) {
	t.Helper()
	hcl, err := policy.Render(p.config.Mount, "acme")
	if err != nil {
		t.Fatal(err)
	}
	more = strings.ReplaceAll(more, "MOUNT", p.config.Mount)
	write(t, p.server, "sys/policies/acl/"+p.config.Mount+"-acme"+suffix, map[string]any{"policy": hcl + more})
}

// TestCheckFinds seeds faults one by one.
func TestCheckFinds(t *testing.T) {
	server := vaultserver.Shared(t)
	key := func(p place, name string) string { return p.config.Mount + "-transit/keys/" + name + "-acme" }
	role := func(p place, settings map[string]any) func() {
		return func() { write(t, server, "auth/approle/role/"+p.config.Mount+"-acme", settings) }
	}
	policy := func(more, rule, path string) fault {
		return fault{rule, path, func(t *testing.T, p place) { p.widen(t, "", hashicorpvault.All, more) }}
	}
	for name, f := range map[string]fault{
		"mount missing": {"mount.missing", "sys/mounts/MOUNT-transit", func(t *testing.T, p place) { remove(t, server, "sys/mounts/"+p.config.Mount+"-transit") }},
		"KV version 2": {"mount.type", "sys/mounts/MOUNT", func(t *testing.T, p place) {
			remove(t, server, "sys/mounts/"+p.config.Mount)
			write(t, server, "sys/mounts/"+p.config.Mount, map[string]any{"type": "kv", "options": map[string]string{"version": "2"}})
		}},
		"generations in KV version 1": {"mount.type", "sys/mounts/MOUNT-generation", func(t *testing.T, p place) {
			remove(t, server, "sys/mounts/"+p.config.Mount+"-generation")
			write(t, server, "sys/mounts/"+p.config.Mount+"-generation", map[string]any{"type": "kv", "options": map[string]string{"version": "1"}})
		}},
		"sentinel missing":   {"sentinel.missing", "MOUNT/sentinel", func(t *testing.T, p place) { remove(t, server, p.config.Mount+"/sentinel") }},
		"sentinel malformed": {"sentinel.malformed", "MOUNT/sentinel", func(t *testing.T, p place) { write(t, server, p.config.Mount+"/sentinel", map[string]any{"v": 1}) }},
		"no check-and-set": {"generation.cas", "MOUNT-generation/config", func(t *testing.T, p place) {
			write(t, server, p.config.Mount+"-generation/config", map[string]any{"cas_required": false})
		}},
		"generations that end": {"generation.expires", "MOUNT-generation/config", func(t *testing.T, p place) {
			write(t, server, p.config.Mount+"-generation/config", map[string]any{"cas_required": true, "delete_version_after": "24h"})
		}},
		"a mark that ends": {"generation.expires", "MOUNT-generation/metadata/mark", func(t *testing.T, p place) {
			write(t, server, p.config.Mount+"-generation/metadata/mark", map[string]any{"delete_version_after": "24h"})
		}},
		"upsert": {"transit.upsert", "MOUNT-transit/config/keys", func(t *testing.T, p place) {
			write(t, server, p.config.Mount+"-transit/config/keys", map[string]any{"disable_upsert": false})
		}},
		"key missing": {"key.missing", "wrap-acme", func(t *testing.T, p place) {
			write(t, server, key(p, "wrap")+"/config", map[string]any{"deletion_allowed": true})
			remove(t, server, key(p, "wrap"))
		}},
		"exportable key": {"key.exportable", "wrap-acme", func(t *testing.T, p place) {
			write(t, server, key(p, "wrap")+"/config", map[string]any{"exportable": true})
		}},
		"key in the clear": {"key.backup", "index-acme", func(t *testing.T, p place) {
			write(t, server, key(p, "index")+"/config", map[string]any{"allow_plaintext_backup": true})
		}},
		"deletable key": {"key.deletion", "log-acme", func(t *testing.T, p place) {
			write(t, server, key(p, "log")+"/config", map[string]any{"deletion_allowed": true})
		}},
		"key that rotates": {"key.rotates", "log-acme", func(t *testing.T, p place) {
			write(t, server, key(p, "log")+"/config", map[string]any{"auto_rotate_period": "24h"})
		}},
		"trimmed versions": {"key.trimmed", "wrap-acme", func(t *testing.T, p place) {
			write(t, server, key(p, "wrap")+"/rotate", nil)
			write(t, server, key(p, "wrap")+"/config", map[string]any{"min_decryption_version": 2, "min_encryption_version": 2})
			write(t, server, key(p, "wrap")+"/trim", map[string]any{"min_available_version": 2})
		}},
		"old versions withheld": {"key.versions", "log-acme", func(t *testing.T, p place) {
			write(t, server, key(p, "log")+"/rotate", nil)
			write(t, server, key(p, "log")+"/config", map[string]any{"min_decryption_version": 2})
		}},

		"policy missing":       {"policy.missing", "MOUNT-acme", func(t *testing.T, p place) { remove(t, server, "sys/policies/acl/"+p.config.Mount+"-acme") }},
		"policy that may list": policy(`path "MOUNT/keys" { capabilities = ["list"] }`, "policy.wider", "MOUNT-acme"),
		"policy of a wildcard": policy(`path "MOUNT/*" { capabilities = ["read"] }`, "policy.wildcard", "MOUNT-acme"),
		"policy of all mounts": policy(`path "+/keys/+" { capabilities = ["read"] }`, "policy.wildcard", "MOUNT-acme"),
		"policy of one more capability": policy(`path "MOUNT/keys/+" { capabilities = ["create", "read", "delete", "update"] }`,
			"policy.wider", "MOUNT-acme"),
		"policy of the old kind":        policy(`path "MOUNT-transit/export/encryption-key/wrap-acme" { policy = "read" }`, "policy.text", "MOUNT-acme"),
		"policy with a leading slash":   policy(`path "/MOUNT/sentinel" { capabilities = ["delete"] }`, "policy.wider", "MOUNT-acme"),
		"policy with a template":        policy(`path "{{identity.entity.id}}/keys/+" { capabilities = ["read"] }`, "policy.wildcard", "MOUNT-acme"),
		"policy with parameters":        policy(`path "MOUNT/sentinel" { capabilities = ["read"] required_parameters = ["x"] }`, "policy.text", "MOUNT-acme"),
		"a wider right":                 policy(`path "MOUNT/keys" { capabilities = ["list"] }`, "rights.wider", "MOUNT/keys"),
		"a right to another's mount":    policy(`path "MOUNT*" { capabilities = ["read"] }`, "rights.wider", "/keys/"),
		"a right to everything":         policy(`path "*" { capabilities = ["sudo", "read"] }`, "rights.wider", "sys/raw/logical"),
		"a right to make tokens":        policy(`path "auth/token/create" { capabilities = ["update"] }`, "rights.wider", "auth/token/create"),
		"a right to snapshots":          policy(`path "sys/storage/raft/*" { capabilities = ["read"] }`, "rights.wider", "sys/storage/raft/snapshot"),
		"a denial of what is needed":    policy(`path "MOUNT-transit/decrypt/wrap-acme" { capabilities = ["deny"] }`, "policy.lacks", "MOUNT-acme"),
		"a wide denial":                 policy(`path "MOUNT-transit/decrypt/*" { capabilities = ["deny"] }`, "", ""),
		"a denial, and what Vault says": policy(`path "MOUNT/sentinel" { capabilities = ["deny"] }`, "rights.lack", "MOUNT/sentinel"),
		"policy in JSON that is wider": {"policy.wider", "MOUNT-acme", func(t *testing.T, p place) {
			write(t, server, "sys/policies/acl/"+p.config.Mount+"-acme", map[string]any{
				"policy": fmt.Sprintf(`{"path": {"%s/keys": {"capabilities": ["list"]}}}`, p.config.Mount),
			})
		}},

		"role missing": {"role.missing", "auth/approle/role/MOUNT-acme", func(t *testing.T, p place) { remove(t, server, "auth/approle/role/"+p.config.Mount+"-acme") }},
		"role of more": {"role.policies", "role/MOUNT-acme", func(t *testing.T, p place) {
			role(p, map[string]any{"token_policies": p.config.Mount + "-acme,more"})()
		}},
		"token of more": {"login.policies", "sys/policies/acl/more", func(t *testing.T, p place) {
			role(p, map[string]any{"token_policies": p.config.Mount + "-acme,more"})()
		}},
		"default policy":    {"role.default", "role/MOUNT-acme", func(t *testing.T, p place) { role(p, map[string]any{"token_no_default_policy": false})() }},
		"long tokens":       {"role.ttl", "role/MOUNT-acme", func(t *testing.T, p place) { role(p, map[string]any{"token_ttl": "72h", "token_max_ttl": "72h"})() }},
		"no end of tokens":  {"role.ttl", "role/MOUNT-acme", func(t *testing.T, p place) { role(p, map[string]any{"token_max_ttl": 0})() }},
		"periodic tokens":   {"role.period", "role/MOUNT-acme", func(t *testing.T, p place) { role(p, map[string]any{"token_period": "1h"})() }},
		"tokens of a count": {"role.uses", "role/MOUNT-acme", func(t *testing.T, p place) { role(p, map[string]any{"token_num_uses": 1000})() }},
		"batch tokens":      {"role.type", "role/MOUNT-acme", func(t *testing.T, p place) { role(p, map[string]any{"token_type": "batch"})() }},
		"no secret id": {"role.bounds", "role/MOUNT-acme", func(t *testing.T, p place) {
			role(p, map[string]any{"bind_secret_id": false, "secret_id_bound_cidrs": "127.0.0.0/8", "token_bound_cidrs": "127.0.0.0/8"})()
		}},
		"wrong credentials": {"login", "auth/approle/login", func(t *testing.T, p place) { put(t, p.credentials("serve").SecretIDFile, "canary") }},
		"a policy of the entity": {"login.policies", "sys/policies/acl/MOUNT-more", func(t *testing.T, p place) {
			write(t, server, "sys/policies/acl/"+p.config.Mount+"-more", map[string]any{"policy": `path "sys/seal" { capabilities = ["update", "sudo"] }`})
			p.attach(t, p.config.Mount+"-more")
		}},
		"a right of the entity": {"rights.wider", "sys/seal", func(t *testing.T, p place) {
			write(t, server, "sys/policies/acl/"+p.config.Mount+"-more", map[string]any{"policy": `path "sys/seal" { capabilities = ["update", "sudo"] }`})
			p.attach(t, p.config.Mount+"-more")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := setUp(t, server, false)
			f.seed(t, p)
			wrong, _ := p.check(t)
			path := strings.ReplaceAll(f.path, "MOUNT", p.config.Mount)
			if f.rule == "" && has(wrong, "policy.wider", "") || f.rule != "" && !has(wrong, f.rule, path) {
				t.Errorf("want %s %s, found %q", f.rule, path, wrong)
			}
			if joined := strings.Join(wrong, "\n"); strings.Contains(joined, "canary") {
				t.Errorf("a credential is told: %s", joined)
			}
		})
	}
}

// fault is one that a check must find.
type fault struct {
	rule, path string
	seed       func(*testing.T, place)
}

// attach gives a policy to the entity that logs in.
func (p place) attach(t *testing.T, policy string) {
	t.Helper()
	token := p.token(t, "serve")
	var answer struct {
		Data struct {
			Entity string `json:"entity_id"`
		} `json:"data"`
	}
	_, body := p.server.RequestAs(t, token, http.MethodGet, "auth/token/lookup-self", nil)
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatal(err)
	}
	if answer.Data.Entity == "" {
		t.Fatal("the login has no entity")
	}
	write(t, p.server, "identity/entity/id/"+answer.Data.Entity, map[string]any{"policies": []string{policy}})
}

// TestCheckTwoIdentities: who serves must not destroy, by whatever way.
func TestCheckTwoIdentities(t *testing.T) {
	server := vaultserver.Shared(t)
	for name, f := range map[string]fault{
		"the role that did both": {"role.both", "auth/approle/role/MOUNT-acme", func(t *testing.T, p place) {
			write(t, server, "auth/approle/role/"+p.config.Mount+"-acme", map[string]any{"token_policies": p.config.Mount + "-acme"})
		}},
		"the serving role may delete": {"rights.wider", "MOUNT/keys/", func(t *testing.T, p place) {
			p.widen(t, "-read", hashicorpvault.Read, `path "MOUNT/keys/+" { capabilities = ["create", "read", "delete"] }`)
		}},
		"the serving role rotates": {"rights.wider", "MOUNT-transit/keys/log-acme/rotate", func(t *testing.T, p place) {
			p.widen(t, "-read", hashicorpvault.Read, `path "MOUNT-transit/keys/log-acme/rotate" { capabilities = ["update"] }`)
		}},
		"the erasing role unwraps": {"policy.wider", "MOUNT-acme-erase", func(t *testing.T, p place) {
			p.widen(t, "-erase", hashicorpvault.Erase, `path "MOUNT-transit/decrypt/wrap-acme" { capabilities = ["update"] }`)
		}},
		"one role's credentials for both": {"login.policies", "MOUNT-acme-read", func(t *testing.T, p place) {
			for from, to := range map[string]string{
				p.credentials("serve").RoleIDFile:   p.credentials("erase").RoleIDFile,
				p.credentials("serve").SecretIDFile: p.credentials("erase").SecretIDFile,
			} {
				b, err := os.ReadFile(from)
				if err != nil {
					t.Fatal(err)
				}
				put(t, to, string(b))
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := setUp(t, server, true)
			f.seed(t, p)
			path := strings.ReplaceAll(f.path, "MOUNT", p.config.Mount)
			if wrong, _ := p.check(t); !has(wrong, f.rule, path) {
				t.Errorf("want %s %s, found %q", f.rule, path, wrong)
			}
		})
	}
}

// TestCheckSentinel compares the sentinel with a pinned one.
func TestCheckSentinel(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	sentinel, err := p.open(t).Sentinel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if wrong, _ := p.checkAs(t, p.operator(), sentinel); len(wrong) > 0 {
		t.Errorf("the pinned sentinel: %q", wrong)
	}
	sentinel[0]++
	if wrong, _ := p.checkAs(t, p.operator(), sentinel); !has(wrong, "sentinel.other", p.config.Mount+"/sentinel") {
		t.Errorf("another sentinel: %q", wrong)
	}
}

// TestCheckWithoutCredentials asks what the policies allow, where the credentials are somewhere else.
func TestCheckWithoutCredentials(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	for _, file := range []string{p.credentials("serve").RoleIDFile, p.credentials("serve").SecretIDFile} {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	tokens := p.accessors(t)
	wrong, warned := p.check(t)
	if len(wrong) > 0 || !has(warned, "rights.policies", "auth/approle") {
		t.Errorf("wrong %q, warnings %q", wrong, warned)
	}
	if now := p.accessors(t); !slices.Equal(now, tokens) {
		t.Errorf("%d tokens after a check, %d before", len(now), len(tokens))
	}
	p.widen(t, "", hashicorpvault.All, `path "*" { capabilities = ["read"] }`)
	if wrong, _ := p.check(t); !has(wrong, "rights.wider", "sys/raw/logical") {
		t.Errorf("found %q", wrong)
	}
}

// TestCheckOtherPolicies warns of those that reach the keys, and not of another tenant's.
func TestCheckOtherPolicies(t *testing.T) {
	server := vaultserver.Start(t)
	p := setUp(t, server, false)
	other := p
	other.config.Tenant, other.files = "other", t.TempDir()
	if _, err := hashicorp.Setup(t.Context(), other.setupConfig()); err != nil {
		t.Fatal(err)
	}
	for name, hcl := range map[string]string{
		"far":     `path "secret/*" { capabilities = ["read"] }  path "MOUNTish/keys/+" { capabilities = ["read"] }`,
		"denied":  `path "MOUNT/*" { capabilities = ["deny"] }`,
		"near":    `path "MOUNT/keys/0*" { capabilities = ["read"] }`,
		"old":     `path "MOUNT-transit/*" { policy = "write" }`,
		"segment": `path "+/+/wrap-acme" { capabilities = ["update"] }`,
		"every":   `path "*" { capabilities = ["read"] }`,
	} {
		write(t, server, "sys/policies/acl/"+name, map[string]any{"policy": strings.ReplaceAll(hcl, "MOUNT", p.config.Mount)})
	}
	write(t, server, "sys/policies/acl/"+p.config.Mount+"-forged", map[string]any{"policy": `path "MOUNT/keys/+" { capabilities = ["read"] }`})
	wrong, warned := p.check(t)
	if len(wrong) > 0 {
		t.Errorf("wrong: %q", wrong)
	}
	for name, want := range map[string]bool{
		"far": false, "denied": false, "near": true, "old": true, "segment": true, "every": true,
		p.config.Mount + "-other": false, p.config.Mount + "-forged": false, "default": false,
	} {
		if got := has(warned, "policy.other", "sys/policies/acl/"+name+":"); got != want {
			t.Errorf("policy %s is warned of: %v, want %v (%q)", name, got, want, warned)
		}
	}
}

// TestCheckWithLittleRight: what the token may not read is not taken for right.
func TestCheckWithLittleRight(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	operator := p.operator()
	operator.Token = secret.NewString(p.token(t, "serve"))
	wrong, _ := p.checkAs(t, operator, kms.Sentinel{})
	for _, path := range []string{"sys/mounts", "transit/config/keys", "keys/wrap-acme", "generation/config", "sys/policies/acl", "auth/approle/role"} {
		if !has(wrong, "unreadable", path) {
			t.Errorf("%s is taken for right: %q", path, wrong)
		}
	}
	operator.Token = secret.NewString("hvs.canary")
	wrong, _ = p.checkAs(t, operator, kms.Sentinel{})
	if len(wrong) < 6 || strings.Contains(strings.Join(wrong, "\n"), "canary") {
		t.Errorf("with a wrong token: %q", wrong)
	}
	p.config.Auth = hashicorp.Auth{Method: "approle"}
	if _, err := operator.Check(t.Context(), p.config, kms.Sentinel{}); err == nil {
		t.Error("a configuration that cannot work is checked")
	}
}

// TestCheckOtherMethods looks at the roles of the other login methods.
func TestCheckOtherMethods(t *testing.T) {
	server := vaultserver.Shared(t)
	p := setUp(t, server, false)
	issuer := newSigner(t)
	jwt, kubernetes, cert := p.enable(t, "jwt"), p.enable(t, "kubernetes"), p.enable(t, "cert")
	write(t, server, "auth/"+jwt+"/config", map[string]any{"jwt_validation_pubkeys": []string{issuer.public(t)}})
	certificate, _ := clientCertificate(t, "serve")
	absent := filepath.Join(t.TempDir(), "absent")
	good := map[string]any{"role_type": "jwt", "user_claim": "sub", "bound_audiences": "vault", "bound_subject": "sandyq"}
	for name, c := range map[string]struct {
		auth hashicorp.Auth
		path string
		role map[string]any
		rule string // "" is fine
	}{
		"jwt": {hashicorp.Auth{Method: "jwt", Mount: jwt, Role: "r1", JWTFile: absent}, "auth/" + jwt + "/role/r1", good, ""},
		"jwt of everybody": {hashicorp.Auth{Method: "jwt", Mount: jwt, Role: "r2", JWTFile: absent}, "auth/" + jwt + "/role/r2",
			map[string]any{"role_type": "jwt", "user_claim": "sub", "bound_audiences": "vault"}, "role.bounds"},
		"kubernetes": {hashicorp.Auth{Method: "kubernetes", Mount: kubernetes, Role: "r", JWTFile: absent}, "auth/" + kubernetes + "/role/r",
			map[string]any{"bound_service_account_names": "sandyq", "bound_service_account_namespaces": "vaults", "audience": "vault"}, ""},
		"kubernetes of every namespace": {hashicorp.Auth{Method: "kubernetes", Mount: kubernetes, Role: "w", JWTFile: absent}, "auth/" + kubernetes + "/role/w",
			map[string]any{"bound_service_account_names": "sandyq", "bound_service_account_namespaces": "*"}, "role.bounds"},
		"cert": {hashicorp.Auth{Method: "cert", Mount: cert, Name: "c", CertFile: absent, KeyFile: absent}, "auth/" + cert + "/certs/c",
			map[string]any{"certificate": certificate}, ""},
		"cert of a week": {hashicorp.Auth{Method: "cert", Mount: cert, Name: "w", CertFile: absent, KeyFile: absent}, "auth/" + cert + "/certs/w",
			map[string]any{"certificate": certificate, "token_ttl": "168h", "token_max_ttl": "168h"}, "role.ttl"},
	} {
		p.role(t, c.path, "", c.role)
		of := p
		of.config.Auth = c.auth
		wrong, _ := of.check(t)
		if c.rule == "" && len(wrong) > 0 || c.rule != "" && !has(wrong, c.rule, c.path) {
			t.Errorf("%s: want %q, found %q", name, c.rule, wrong)
		}
	}
}

// TestCheckReadsPoliciesAsVault writes grants in odd ways. What Vault takes for a policy, the reading of its text must not
// pass; asking Vault what the login may do is the second net, and not counted here.
func TestCheckReadsPoliciesAsVault(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	path := "sys/policies/acl/" + p.config.Mount + "-acme"
	hcl, err := hashicorpvault.All.Render(p.config.Mount, "acme")
	if err != nil {
		t.Fatal(err)
	}
	taken := 0
	for _, odd := range []string{
		hcl + `path "MOUNT/keys/+" { capabilities = ["update"] }`, // the same path twice: Vault adds them up
		hcl + "path \"MOUNT/keys\" {\n capabilities = [<<X\nlist\nX\n]\n}",
		hcl + `path "MOUNT/keys" { "capabilities" = ["list"] }`,
		hcl + `path MOUNT { capabilities = ["list"] }`,
		hcl + `"path" "MOUNT/keys" { capabilities = ["list"] }`,
		hcl + `path "MOUNT/keys" "x" { capabilities = ["list"] }`,
		hcl + `path = { "MOUNT/keys" = { capabilities = ["list"] } }`,
		hcl + `path "MOUNT/keys" = { capabilities = ["list"] }`,
		hcl + `path "MOUNT/k\u0065ys" { capabilities = ["list"] }`,
		hcl + `path "//MOUNT/keys" { capabilities = ["list"] }`,
		hcl + `path "MOUNT/keys" { capabilities = ["read"] capabilities = ["list"] }`,
		hcl + `path "MOUNT/keys" { policy = "sudo" }`,
		hcl + `path "MOUNT/keys/*" { capabilities = ["list", "read"] } # ` + "\r" + `path "x" {}`,
		`{"path": {"MOUNT/keys": {"capabilities": ["list"]}}}`,
		`{"path": [{"MOUNT/sentinel": {"capabilities": ["read"]}}, {"MOUNT/keys": {"capabilities": ["list"]}}]}`,
		`{"path": {"MOUNT/keys": [{"capabilities": ["list"]}, {"capabilities": ["read"]}]}}`,
		`{"name": "x", "path": {"MOUNT*": {"policy": "write"}}}`,
	} {
		odd = strings.ReplaceAll(odd, "MOUNT", p.config.Mount)
		status, _ := p.server.Request(t, "POST", path, map[string]any{"policy": odd})
		if status != http.StatusNoContent {
			continue // Vault does not take it either
		}
		taken++
		wrong, _ := p.check(t)
		if !slices.ContainsFunc(wrong, func(line string) bool {
			return strings.HasPrefix(line, "policy.") && !strings.HasPrefix(line, "policy.lacks")
		}) {
			t.Errorf("the check passes what Vault takes: %s\nfound %q", strings.TrimPrefix(odd, hcl), wrong)
		}
	}
	if taken < 8 {
		t.Errorf("Vault took %d of them: this shows little", taken)
	}
}
