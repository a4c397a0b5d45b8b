// Package schema says which fields of a person the vault holds and what a value of each must look like.
//
// A [Schema] is a list of [Field]s, read from a file or built in ([Default]). A field has a [Type], and the type decides everything about
// its values: what is accepted, the one canonical form that is sealed, the key by which two values are the same, and how much of
// a value a mask may show. A value goes through the package once on its way in and once on its way out:
//
//	api.Value ── Field.Normalise ──▶ Value ── Encode ──▶ sealed bytes ── Decode ──▶ Value ── Wire or Field.Mask ──▶ api.Value
//	                                   └──── Key ──▶ what the blind index MACs
//
// Invariants:
//
//   - Normalise is idempotent: a canonical value is its own canonical form.
//   - Encode is injective and Decode refuses every byte string that Encode does not write; the format is told at [Value.Encode].
//   - Two values are [Value.Equal] exactly when they have one type and one [Value.Key].
//   - A mask shows no more than its [MaskRule] says, and the length of what it hides only as far as the rule says so.
//   - No error, rule, log line or format verb shows a value or a part of one. The only ways to it are Wire, Encode and Key.
//
// A sealed value carries its type, not its field's settings, so a schema may change around the values it already holds; what may be
// changed, and how, is told in docs/schema.md.
package schema

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"slices"
)

// The slices of a person's keys that exist in every schema.
const (
	// IdentitySlice is where a field is sealed unless its configuration names another slice.
	IdentitySlice = "identity"
	// DocumentsSlice seals documents and nothing else: no field may be in it.
	DocumentsSlice = "documents"
)

// Schema is an ordered set of fields. It does not change once made and may be shared.
type Schema struct {
	fields []*Field
	byName map[string]*Field
	slices []string
}

// maxIndexed is how many searchable values a person may have: an erasure takes them all out of the index in one transaction.
const maxIndexed = 1000

//go:embed default.yaml
var defaultFile []byte

// Default returns the built-in schema: the data of a person under Law No. 94-V as hosting and retail operators collect it.
func Default() *Schema {
	s, err := Parse(bytes.NewReader(defaultFile))
	if err != nil {
		panic(fmt.Sprintf("the embedded schema: %v", err)) // a defect of the build, held by a test
	}
	return s
}

// Parse reads a schema from YAML. Unknown keys, fields named twice and combinations that cannot work are refused; the error names the
// field and the rule.
func Parse(r io.Reader) (*Schema, error) {
	settings, err := readSettings(r)
	if err != nil {
		return nil, err
	}
	s := &Schema{byName: make(map[string]*Field, len(settings))}
	for _, set := range settings {
		f, err := set.field()
		if err != nil {
			return nil, err
		}
		if s.byName[f.Name] != nil {
			return nil, fmt.Errorf("schema: field %q: named twice", f.Name)
		}
		s.byName[f.Name] = f
		s.fields = append(s.fields, f)
		if !slices.Contains(s.slices, f.Slice) {
			s.slices = append(s.slices, f.Slice)
		}
	}
	s.slices = append(s.slices, DocumentsSlice)
	indexed := 0
	for _, f := range s.fields {
		if f.Searchable {
			indexed += f.MaxValues
		}
	}
	if indexed > maxIndexed {
		return nil, fmt.Errorf("schema: the searchable fields may have %d values together, over %d", indexed, maxIndexed)
	}
	return s, nil
}

// Field returns the field of that name.
func (s *Schema) Field(name string) (*Field, bool) {
	f, ok := s.byName[name]
	return f, ok
}

// CategoryOf returns the category of the field of that name; empty when there is no such field.
func (s *Schema) CategoryOf(name string) string {
	if f, ok := s.byName[name]; ok {
		return string(f.Category)
	}
	return ""
}

// Fields returns every field in the order of the file. The fields are the schema's own and must not be changed.
func (s *Schema) Fields() []*Field { return slices.Clone(s.fields) }

// Slices returns the slices of a person's keys: those of the fields in the order of first use, then [DocumentsSlice].
func (s *Schema) Slices() []string { return slices.Clone(s.slices) }
