package hashicorpvault_test

import (
	"strings"
	"testing"

	hashicorpvault "github.com/sandyq/sandyq/deploy/hashicorp-vault"
)

func TestRender(t *testing.T) {
	for _, p := range []hashicorpvault.Policy{hashicorpvault.All, hashicorpvault.Read, hashicorpvault.Erase} {
		hcl, err := p.Render("vault-1", "acme")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(hcl, `path "vault-1/keys/+"`) || strings.Contains(hcl, "{{") {
			t.Errorf("%s names other mounts:\n%s", p, hcl)
		}
		keys, _, _ := strings.Cut(hcl[strings.Index(hcl, "/keys/+"):], "}")
		for _, forbidden := range []string{"update", "patch", "list", "sudo"} {
			if strings.Contains(keys, forbidden) {
				t.Errorf("%s grants %s on keys", p, forbidden)
			}
		}
		if got, want := strings.Contains(keys, "delete"), p != hashicorpvault.Read; got != want {
			t.Errorf("%s grants delete on keys: %v, want %v", p, got, want)
		}
		rotate := `path "vault-1-transit/keys/log-acme/rotate"`
		if got, want := strings.Contains(hcl, rotate), p != hashicorpvault.Read; got != want {
			t.Errorf("%s rotates the signing key: %v, want %v", p, got, want)
		}
		rest := strings.ReplaceAll(hcl, rotate, "")
		if got, want := strings.Contains(rest, "-transit/"), p != hashicorpvault.Erase; got != want {
			t.Errorf("%s reaches more of Transit: %v, want %v", p, got, want)
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	for _, mount := range []string{"", "*", "a/b", "+", `a" {`, "A", "-a", "a\n"} {
		if _, err := hashicorpvault.All.Render(mount, "acme"); err == nil {
			t.Errorf("mount %q is accepted", mount)
		}
		if _, err := hashicorpvault.All.Render("vault", mount); err == nil {
			t.Errorf("tenant %q is accepted", mount)
		}
	}
	if _, err := hashicorpvault.Policy("other").Render("vault", "acme"); err == nil {
		t.Error("an unknown policy is rendered")
	}
}
