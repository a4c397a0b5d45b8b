// Package policies holds the built-in access policies, in Cedar, and the schema that every set of policies is held to.
//
// One file speaks of one role, everybody.cedar of all and break_glass.cedar of emergencies. What they say of each role is
// the table of docs/policies.md, which a test of access/cedar holds them to. To run with others, copy the folder, change
// the copy, and have `sandyq policy check` look at it.
package policies

import (
	"embed"
	"io/fs"
)

//go:embed *.cedar
var builtIn embed.FS

//go:embed dev/*.cedar
var dev embed.FS

//go:embed schema.cedarschema
var schema []byte

// Schema is schema.cedarschema: the principals, actions, resources and context that policies may speak of.
func Schema() []byte { return schema }

// BuiltIn is the built-in set: the text of each file by its name.
func BuiltIn() map[string][]byte { return read(builtIn, "*.cedar") }

// Development is what is added to the built-in set for serve --dev.
func Development() map[string][]byte { return read(dev, "dev/*.cedar") }

// read cannot fail: the files are in the binary.
func read(from embed.FS, pattern string) map[string][]byte {
	names, _ := fs.Glob(from, pattern)
	files := make(map[string][]byte, len(names))
	for _, name := range names {
		files[name], _ = from.ReadFile(name)
	}
	return files
}
