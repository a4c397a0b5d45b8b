// Package hashicorpvault holds Sandyq's policies for HashiCorp Vault: the least that each identity needs.
//
// They are templates of the mount and tenant names; the rest of what Vault needs is in crypto/kms/hashicorp, whose Setup
// uploads them.
package hashicorpvault

import (
	"embed"
	"fmt"
	"regexp"
	"strings"
	"text/template"
)

//go:embed *.hcl
var files embed.FS

var templates = template.Must(template.New("").Option("missingkey=error").ParseFS(files, "*.hcl"))

// Policy is what one identity may do.
type Policy string

const (
	All   Policy = "sandyq"       // serve and destroy
	Read  Policy = "sandyq-read"  // serve: create and open keys, compute MACs
	Erase Policy = "sandyq-erase" // destroy keys and advance the generation
)

var name = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)

// Render returns the policy in HCL for a KV mount and a tenant. Names of anything but a-z, 0-9, _ and - are refused: in a
// policy they could widen it.
func (p Policy) Render(mount, tenant string) (string, error) {
	if !name.MatchString(mount) || !name.MatchString(tenant) {
		return "", fmt.Errorf("render policy %s: mount and tenant are of a-z, 0-9, _ and -", p)
	}
	var b strings.Builder
	data := struct{ Mount, Tenant string }{mount, tenant}
	if err := templates.ExecuteTemplate(&b, string(p)+".hcl", data); err != nil {
		return "", fmt.Errorf("render policy %s: %w", p, err)
	}
	return b.String(), nil
}
