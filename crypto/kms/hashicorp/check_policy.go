package hashicorp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sandyq/sandyq/crypto/kms"
	hashicorpvault "github.com/sandyq/sandyq/deploy/hashicorp-vault"
)

// policyText compares what an identity's policy says with what it needs, stanza by stanza: order, comments and spaces do not
// count, everything else does. A denial takes nothing away that is not asked for below.
func (k *check) policyText(ctx context.Context, who identified, wanted map[string][]string) error {
	path := "sys/policies/acl/" + who.name
	text, err := k.policy(ctx, who.name)
	switch {
	case errors.Is(err, errAbsent):
		k.find(path, "policy.missing", "is not there")
		return nil
	case errors.Is(err, errDenied):
		k.find(path, "unreadable", "the token may not read it, so it is not checked")
		return nil
	case err != nil:
		return fmt.Errorf("read %s: %w", path, err)
	}
	grants, err := parsePolicy(text)
	if err != nil {
		k.find(path, "policy.text", "is not understood: %v", err)
		return nil
	}
	granted := map[string][]string{}
	for _, g := range grants {
		k.stanza(path, g, wanted[g.path])
		granted[g.path] = append(granted[g.path], g.capabilities...)
	}
	for _, of := range slices.Sorted(maps.Keys(wanted)) {
		for _, capability := range wanted[of] {
			if !slices.Contains(granted[of], capability) || slices.Contains(granted[of], "deny") {
				k.find(path, "policy.lacks", "does not grant %s on %s", capability, of)
			}
		}
	}
	return nil
}

// stanza looks for what one grants or says too much.
func (k *check) stanza(policy string, g grant, wanted []string) {
	for _, name := range g.more {
		k.find(policy, "policy.text", "says %s of %s, which keys setup does not", name, g.path)
	}
	if slices.Equal(g.capabilities, []string{"deny"}) {
		return
	}
	var wider []string
	for _, capability := range g.capabilities {
		if !slices.Contains(wanted, capability) {
			wider = append(wider, capability)
		}
	}
	switch {
	case len(wider) == 0:
	case len(wanted) == 0 && g.wild():
		k.find(policy, "policy.wildcard", "grants %s on everything like %s", strings.Join(wider, ", "), g.path)
	default:
		k.find(policy, "policy.wider", "grants %s on %s", strings.Join(wider, ", "), g.path)
	}
}

// rights asks Vault what a token of the identity may do: on each path that it needs, exactly what it needs; on those that
// nobody may touch, nothing. It sees what a reading of policies does not: an entity's policies, a group's, a wildcard that
// another rule outweighs.
func (k *check) rights(ctx context.Context, who identified, auth Auth, wanted map[string][]string) error {
	token, end, err := k.tokenOf(ctx, who, auth)
	if err != nil || token == "" {
		return err
	}
	defer end()
	exactly := k.names.forbidden(who.name)
	all, err := k.names.identified(hashicorpvault.All).wanted(k.names)
	if err != nil {
		return err
	}
	id := kms.NewID().String()
	for path := range all { // with nothing on what only the other identity needs
		exactly[strings.Replace(path, "+", id, 1)] = wanted[path]
		exactly[strings.TrimSuffix(path, "+")] = wanted[path] // the folder, for Vault an empty name: not to be listed
	}
	paths := slices.Sorted(maps.Keys(exactly))
	got, err := k.capabilities(ctx, token, paths)
	if errors.Is(err, errDenied) {
		k.find("sys/capabilities", "unreadable", "the token may not ask what %s may do, so it is not known", who.name)
		return nil
	}
	if err != nil {
		return fmt.Errorf("ask for the capabilities of %s: %w", who.name, err)
	}
	for _, path := range paths {
		k.compare(who, path, got[path], exactly[path])
	}
	return nil
}

// compare sets what Vault says a token may do beside what it should.
func (k *check) compare(who identified, path string, got, want []string) {
	for _, capability := range got {
		if capability != "deny" && !slices.Contains(want, capability) {
			k.find(path, "rights.wider", "%s may %s", who.name, capability)
		}
	}
	for _, capability := range want {
		if !slices.Contains(got, capability) && !slices.Contains(got, "root") {
			k.find(path, "rights.lack", "%s may not %s", who.name, capability)
		}
	}
	if len(got) == 0 {
		k.find(path, "unreadable", "Vault does not say what %s may do", who.name)
	}
}

// capabilities asks Vault. It answers for each path.
func (k *check) capabilities(ctx context.Context, token string, paths []string) (map[string][]string, error) {
	var answer struct {
		Data map[string]any `json:"data"`
	}
	body := map[string]any{"token": token, "paths": paths}
	if err := k.write(ctx, "sys/capabilities", body, &answer); err != nil {
		return nil, err
	}
	got := map[string][]string{}
	for _, path := range paths {
		list, _ := answer.Data[path].([]any)
		for _, capability := range list {
			if s, ok := capability.(string); ok {
				got[path] = append(got[path], s)
			}
		}
	}
	return got, nil
}

// forbidden are paths that no identity has any right to, each with none. They stand for what a wider policy would open: the
// mounts' own settings, other keys, other mounts like ours, the policies and roles themselves.
func (n names) forbidden(policy string) map[string][]string {
	id, other := kms.NewID().String(), "x"+kms.NewID().String()[:12]
	t, g := n.transitMount(), n.generationMount()
	paths := []string{
		n.mount, n.mount + "/", n.mount + "/keys", n.mount + "/keys/" + id + "/" + other, n.mount + "/" + other,
		n.mount + other + "/keys/" + id, other + "/keys/" + id, n.mount + "-" + other + "/keys/" + id,
		g + "/config", g + "/data/" + other, g + "/metadata/", g + "/data/generation/" + other, g + other + "/data/generation",
		t + "/config/keys", t + "/restore", t + "/random", t + "/keys", t + "/keys/", t + "/keys/" + other,
		t + "/encrypt/" + other, t + "/decrypt/" + other, t + "/keys/" + other + "/rotate", t + other + "/decrypt/" + n.wrapKey(),
		t + "/encrypt/" + n.wrapKey() + other, t + "/decrypt/" + n.wrapKey() + other, t + "/datakey/plaintext/" + n.wrapKey(),
		t + "/rewrap/" + n.wrapKey(), t + "/hmac/" + n.indexKey(), t + "/hmac/" + n.wrapKey() + "/sha2-256", t + "/verify/" + n.indexKey(),
		t + "/sign/" + other, t + "/sign/" + n.logKey() + "/sha2-256", t + "/encrypt/" + n.indexKey(), t + "/decrypt/" + n.indexKey(),
		"sys/mounts/" + n.mount, "sys/mounts/" + t, "sys/mounts/" + g, "sys/mounts/" + n.mount + "/tune", "sys/remount", "sys/seal",
		"sys/policies/acl/" + policy, "sys/policy/" + policy, "sys/policies/acl/" + other, "sys/auth/" + other, "sys/audit/" + other,
		"sys/raw/logical", "sys/storage/raft/snapshot", "sys/storage/raft/snapshot-force", "sys/rotate", "sys/rekey/init", "sys/capabilities",
		"sys/leases/lookup", "sys/plugins/catalog/secret/" + other, "sys/quotas/config",
		"auth/token/create", "auth/token/create-orphan", "auth/token/create/" + other, "auth/token/lookup", "auth/token/revoke",
		"auth/approle/role/" + policy, "auth/approle/role/" + policy + "/secret-id", "auth/approle/role/" + other,
		"identity/entity", "identity/group", other, other + "/" + other, other + "/" + other + "/" + other,
	}
	for _, key := range []string{n.wrapKey(), n.indexKey(), n.logKey()} {
		for _, what := range []string{"config", "trim", "import", "import_version"} {
			paths = append(paths, t+"/keys/"+key+"/"+what)
		}
		paths = append(paths, t+"/backup/"+key, t+"/restore/"+key)
		for _, kind := range []string{"encryption-key", "signing-key", "hmac-key", "public-key"} {
			paths = append(paths, t+"/export/"+kind+"/"+key, t+"/export/"+kind+"/"+key+"/1")
		}
	}
	for _, key := range []string{n.wrapKey(), n.indexKey()} {
		paths = append(paths, t+"/keys/"+key, t+"/keys/"+key+"/rotate")
	}
	for _, name := range []string{"generation", "mark"} {
		for _, what := range []string{"metadata", "delete", "undelete", "destroy", "subkeys"} {
			paths = append(paths, g+"/"+what+"/"+name)
		}
	}
	none := make(map[string][]string, len(paths))
	for _, path := range paths {
		none[path] = nil
	}
	return none
}
