package purpose

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"slices"

	"github.com/sandyq/sandyq/vault/schema"
)

// Registry is an ordered set of purposes. It does not change once made and may be shared.
type Registry struct {
	purposes []*Purpose
	byName   map[string]*Purpose
}

//go:embed default.yaml
var defaultFile []byte

// Default returns the built-in purposes. They fit the built-in schema; before they are used with another, [Registry.Check] them.
func Default() *Registry {
	r, err := Parse(bytes.NewReader(defaultFile), schema.Default())
	if err != nil {
		panic(fmt.Sprintf("the embedded purposes: %v", err)) // a defect of the build, held by a test
	}
	return r
}

// Parse reads a registry from YAML and checks it against the schema. Unknown keys, purposes named twice and unknown fields and bases are
// refused; the error names the purpose and the rule.
func Parse(r io.Reader, s *schema.Schema) (*Registry, error) {
	f, err := readFile(r)
	if err != nil {
		return nil, err
	}
	bases, err := f.bases()
	if err != nil {
		return nil, err
	}
	registry := &Registry{byName: make(map[string]*Purpose, len(f.Purposes))}
	for _, set := range f.Purposes {
		p, err := set.purpose(bases)
		if err != nil {
			return nil, err
		}
		if registry.byName[p.Name] != nil {
			return nil, fmt.Errorf("purpose: %q: named twice", p.Name)
		}
		registry.byName[p.Name] = p
		registry.purposes = append(registry.purposes, p)
	}
	if err := registry.Check(s); err != nil {
		return nil, err
	}
	return registry, nil
}

// Check refuses a registry one of whose purposes names a field that the schema does not have.
func (r *Registry) Check(s *schema.Schema) error {
	for _, p := range r.purposes {
		for _, name := range p.fields {
			if _, ok := s.Field(name); !ok {
				return fmt.Errorf("purpose: %q: the schema has no field %q", p.Name, name)
			}
		}
	}
	return nil
}

// Get returns the purpose of that name.
func (r *Registry) Get(name string) (*Purpose, bool) {
	p, ok := r.byName[name]
	return p, ok
}

// All returns every purpose in the order of the file. They are the registry's own and must not be changed.
func (r *Registry) All() []*Purpose { return slices.Clone(r.purposes) }
