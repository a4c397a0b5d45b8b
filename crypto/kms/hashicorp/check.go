package hashicorp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sandyq/sandyq/crypto/kms"
	hashicorpvault "github.com/sandyq/sandyq/deploy/hashicorp-vault"
)

// Finding is one thing that [Operator.Check] found not to be as [Setup] makes it.
type Finding struct {
	Path    string // in Vault's API
	Rule    string // such as "policy.wider"; docs/keys.md lists them
	Warning bool   // nothing is wrong with what Sandyq needs, but somebody should know
	Found   string // what there is, and no secret
}

// Check compares a Vault server with what a provider of this configuration needs, and changes nothing in it. Of the
// configuration it takes Mount, Tenant, Auth and EraseAuth. The sentinel must be the pinned one, unless that is zero. What the token may not read is a finding; the error is for a
// server that does not answer. To see what an identity may do it logs it in with its credentials, or has a token with its
// policies made where they are not at hand, asks Vault, and revokes the token.
func (o Operator) Check(ctx context.Context, c Config, pinned kms.Sentinel) ([]Finding, error) {
	found, err := o.check(ctx, c, pinned)
	if err != nil {
		return found, fmt.Errorf("hashicorp: check: %w", err)
	}
	return found, nil
}

func (o Operator) check(ctx context.Context, c Config, pinned kms.Sentinel) ([]Finding, error) {
	a, err := o.administrate(c.Mount, c.Tenant)
	if err != nil {
		return nil, err
	}
	defer a.idle()
	k := &check{administrator: a, pinned: pinned}
	if k.serve, err = c.Auth.complete(); err != nil {
		return nil, err
	}
	if c.EraseAuth != nil {
		erase, err := c.EraseAuth.complete()
		if err != nil {
			return nil, fmt.Errorf("erase_auth: %w", err)
		}
		k.erase = &erase
	}
	for _, part := range []func(context.Context) error{
		k.mounts, k.transit, k.sentinel, k.generation, k.audit, k.identities, k.others,
	} {
		if err := part(ctx); err != nil {
			return k.found, err
		}
	}
	return k.found, nil
}

// check is one run of Check.
type check struct {
	*administrator
	pinned kms.Sentinel
	serve  Auth
	erase  *Auth // nil when serve destroys
	found  []Finding
}

func (k *check) find(path, rule, format string, args ...any) {
	k.found = append(k.found, Finding{Path: path, Rule: rule, Found: fmt.Sprintf(format, args...)})
}

func (k *check) warn(path, rule, format string, args ...any) {
	k.found = append(k.found, Finding{Path: path, Rule: rule, Warning: true, Found: fmt.Sprintf(format, args...)})
}

// look reads a path. An answer that is Vault's and of no use is a finding; ok is false then, or when absence was found with
// rule missing. The error is of a server that does not answer.
func (k *check) look(ctx context.Context, path, missing string, out any) (ok bool, err error) {
	err = k.read(ctx, path, out)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, errAbsent), errors.Is(err, errNoRoute):
		k.find(path, missing, "is not there")
	case errors.Is(err, errDenied), errors.Is(err, errRefused):
		k.find(path, "unreadable", "the token may not read it, so it is not checked: %v", err)
	default:
		return false, fmt.Errorf("read %s: %w", path, err)
	}
	return false, nil
}

func (k *check) mounts(ctx context.Context) error {
	var there struct {
		Data map[string]mount `json:"data"`
	}
	if ok, err := k.look(ctx, "sys/mounts", "mount.missing", &there); !ok {
		return err
	}
	for _, want := range k.names.mounts() {
		got, mounted := there.Data[want.path+"/"]
		path := "sys/mounts/" + want.path
		switch {
		case !mounted:
			k.find(path, "mount.missing", "is not mounted, want %s", want)
		case got.String() != want.String():
			k.find(path, "mount.type", "is %s, want %s", got, want)
		}
	}
	return nil
}

func (k *check) sentinel(ctx context.Context) error {
	var answer struct {
		Data sentinelEntry `json:"data"`
	}
	path := k.names.sentinel()
	if ok, err := k.look(ctx, path, "sentinel.missing", &answer); !ok {
		return err
	}
	switch got, err := answer.Data.parse(); {
	case err != nil:
		k.find(path, "sentinel.malformed", "is no sentinel")
	case k.pinned != (kms.Sentinel{}) && got != k.pinned:
		k.find(path, "sentinel.other", "is not the one that was pinned: this is another set-up, and its absent keys prove nothing")
	}
	return nil
}

// generation looks for what would let a generation or a mark be overwritten unseen, or go by itself.
func (k *check) generation(ctx context.Context) error {
	var answer generationConfig
	path := k.names.generationMount() + "/config"
	ok, err := k.look(ctx, path, "generation.missing", &answer)
	if err != nil {
		return err
	}
	if ok && !answer.Data.Required {
		k.find(path, "generation.cas", "cas_required is not set: one node may overwrite what another wrote")
	}
	if ok && !isZeroDuration(answer.Data.Expires) {
		k.find(path, "generation.expires", "delete_version_after is %s: the title would vanish", answer.Data.Expires)
	}
	for _, name := range []string{"generation", "mark"} {
		var answer struct {
			Data struct {
				Expires string `json:"delete_version_after"`
			} `json:"data"`
		}
		path := k.names.generationMount() + "/metadata/" + name
		err := k.read(ctx, path, &answer)
		switch {
		case errors.Is(err, errAbsent), errors.Is(err, errNoRoute): // before the first, or found already
		case errors.Is(err, errDenied), errors.Is(err, errRefused):
			k.find(path, "unreadable", "the token may not read it, so it is not checked: %v", err)
		case err != nil:
			return fmt.Errorf("read %s: %w", path, err)
		case !isZeroDuration(answer.Data.Expires):
			k.find(path, "generation.expires", "delete_version_after is %s: the title would vanish", answer.Data.Expires)
		}
	}
	return nil
}

func isZeroDuration(s string) bool { return s == "" || s == "0s" || s == "0" }

// audit only warns: Sandyq works without, and its own log says who asked for what.
func (k *check) audit(ctx context.Context) error {
	var answer struct {
		Data map[string]any `json:"data"`
	}
	err := k.read(ctx, "sys/audit", &answer)
	switch {
	case errors.Is(err, errDenied), errors.Is(err, errRefused):
		k.warn("sys/audit", "unreadable", "the token may not read it (that needs sudo), so it is not checked")
	case err != nil && !errors.Is(err, errAbsent):
		return fmt.Errorf("read sys/audit: %w", err)
	case len(answer.Data) == 0:
		k.warn("sys/audit", "audit.none", "no audit device is enabled: nobody would see who used a stolen credential")
	}
	return nil
}

// identities checks each identity's policy, role and rights.
func (k *check) identities(ctx context.Context) error {
	if k.erase == nil {
		return k.identity(ctx, k.names.identified(hashicorpvault.All), k.serve)
	}
	if err := k.identity(ctx, k.names.identified(hashicorpvault.Read), k.serve); err != nil {
		return err
	}
	if err := k.identity(ctx, k.names.identified(hashicorpvault.Erase), *k.erase); err != nil {
		return err
	}
	return k.separate(ctx)
}

func (k *check) identity(ctx context.Context, who identified, auth Auth) error {
	wanted, err := who.wanted(k.names)
	if err != nil {
		return err
	}
	if err := k.policyText(ctx, who, wanted); err != nil {
		return err
	}
	if err := k.role(ctx, who, auth); err != nil {
		return err
	}
	return k.rights(ctx, who, auth, wanted)
}

// separate sees that nobody is left who does both.
func (k *check) separate(ctx context.Context) error {
	all := k.names.identified(hashicorpvault.All)
	path := "auth/" + MethodAppRole + "/role/" + all.name
	err := k.read(ctx, path, nil)
	switch {
	case err == nil:
		k.find(path, "role.both", "serves and destroys, although two roles do so apart: delete it")
	case errors.Is(err, errDenied), errors.Is(err, errRefused):
		k.find(path, "unreadable", "the token may not read it, so it is not checked: %v", err)
	case !errors.Is(err, errAbsent) && !errors.Is(err, errNoRoute):
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// others looks for policies that are not ours and reach what is. That an administrator's does is no mistake, so it warns.
func (k *check) others(ctx context.Context) error {
	names, err := k.list(ctx, "sys/policies/acl")
	if errors.Is(err, errDenied) {
		k.warn("sys/policies/acl", "unreadable", "the token may not list policies, so it is not known which others reach the keys")
		return nil
	}
	if err != nil {
		return fmt.Errorf("list policies: %w", err)
	}
	for _, name := range names {
		if name == "root" || k.ours(name) {
			continue
		}
		path := "sys/policies/acl/" + name
		text, err := k.policy(ctx, name)
		if errors.Is(err, errDenied) || errors.Is(err, errAbsent) { // absent: removed meanwhile
			continue
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		if k.anotherTenants(name, text) {
			continue
		}
		grants, err := parsePolicy(text)
		if err != nil {
			k.warn(path, "policy.other", "is not understood (%v), so it is not known whether it reaches the keys", err)
			continue
		}
		if reached := k.reached(grants); len(reached) > 0 {
			k.warn(path, "policy.other", "reaches %s: who has it need not be Sandyq", strings.Join(reached, ", "))
		}
	}
	return nil
}

// ours reports whether a policy is of an identity that is checked.
func (k *check) ours(name string) bool {
	if k.erase == nil {
		return name == k.names.identified(hashicorpvault.All).name
	}
	return name == k.names.identified(hashicorpvault.Read).name || name == k.names.identified(hashicorpvault.Erase).name
}

// anotherTenants reports whether a policy is, letter for letter, what a set-up of another tenant in this mount makes.
func (k *check) anotherTenants(name, text string) bool {
	tenant, ok := strings.CutPrefix(name, k.names.mount+"-")
	if !ok {
		return false
	}
	for suffix, policy := range map[string]hashicorpvault.Policy{
		"": hashicorpvault.All, "-read": hashicorpvault.Read, "-erase": hashicorpvault.Erase,
	} {
		stem, ok := strings.CutSuffix(tenant, suffix)
		if !ok || stem == k.names.tenant {
			continue
		}
		if hcl, err := policy.Render(k.names.mount, stem); err == nil && slices.Equal(linesOf(hcl), linesOf(text)) {
			return true
		}
	}
	return false
}

// reached lists what of ours some grants reach.
func (k *check) reached(grants []grant) []string {
	n := k.names
	var reached []string
	for _, path := range []string{
		n.mount + "/keys/+", n.sentinel(), n.generation(), n.mark(), n.decrypt(), n.hmac(), n.sign(),
		n.transitMount() + "/export/+/+", n.transitMount() + "/backup/+",
	} {
		if slices.ContainsFunc(grants, func(g grant) bool { return g.grants() && g.covers(path) }) {
			reached = append(reached, path)
		}
	}
	return reached
}
