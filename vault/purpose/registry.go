package purpose

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"

	"github.com/sandyq/sandyq/vault/schema"
)

// Registry is an ordered set of purposes. It does not change once made and may be shared.
type Registry struct {
	purposes []*Purpose
	byName   map[string]*Purpose
	bases    map[string]Basis
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
// refused; the error names the purpose and the rule. A file that lists no bases has the built-in ones.
func Parse(r io.Reader, s *schema.Schema) (*Registry, error) {
	f, err := readFile(r)
	if err != nil {
		return nil, err
	}
	return f.checked(s)
}

// ParseDir is Parse of all files of a directory whose names end in .yaml, joined: bases and purposes may lie in any of them.
func ParseDir(dir fs.FS, s *schema.Schema) (*Registry, error) {
	joined, err := joinDir(dir)
	if err != nil {
		return nil, err
	}
	return joined.checked(s)
}

// ReadDir is ParseDir for whoever has neither the schema nor all purposes that those of the directory may name.
func ReadDir(dir fs.FS) (*Registry, error) {
	joined, err := joinDir(dir)
	if err != nil {
		return nil, err
	}
	return joined.registry()
}

func joinDir(dir fs.FS) (file, error) {
	var joined file
	names, err := fs.Glob(dir, "*.yaml")
	if err != nil {
		return joined, fmt.Errorf("purpose: list the directory: %w", err)
	}
	for _, name := range names {
		f, err := openFile(dir, name)
		if err != nil {
			return joined, fmt.Errorf("%s: %w", name, err)
		}
		joined.Bases = append(joined.Bases, f.Bases...)
		joined.Purposes = append(joined.Purposes, f.Purposes...)
	}
	return joined, nil
}

func openFile(dir fs.FS, name string) (file, error) {
	r, err := dir.Open(name)
	if err != nil {
		return file{}, fmt.Errorf("purpose: %w", err)
	}
	defer func() { _ = r.Close() }() // it was only read
	return readFile(r)
}

func (f file) checked(s *schema.Schema) (*Registry, error) {
	registry, err := f.registry()
	if err != nil {
		return nil, err
	}
	if err := registry.Check(s); err != nil {
		return nil, err
	}
	return registry, nil
}

func (f file) registry() (*Registry, error) {
	if len(f.Purposes) == 0 {
		return nil, errors.New("purpose: no purposes")
	}
	bases, err := f.bases()
	if err != nil {
		return nil, err
	}
	registry := &Registry{byName: make(map[string]*Purpose, len(f.Purposes)), bases: bases}
	for _, set := range f.Purposes {
		p, err := set.purpose(bases)
		if err != nil {
			return nil, err
		}
		if registry.byName[p.Name] != nil {
			return nil, &Broken{Purpose: p.Name, Member: "name", Rule: "named twice"}
		}
		registry.add(p)
	}
	return registry, nil
}

func (r *Registry) add(p *Purpose) {
	r.byName[p.Name] = p
	r.purposes = append(r.purposes, p)
}

// Make makes a purpose of settings on the registry's bases, to be joined with [Registry.With]. What breaks a rule is a *[Broken]. The
// fields and the purposes that it names are left to be checked by whoever knows what there is.
func (r *Registry) Make(s Settings) (*Purpose, error) { return s.purpose(r.bases) }

// With returns the registry and more purposes, which come after its own. One whose name it has is left out.
func (r *Registry) With(more ...*Purpose) *Registry {
	joined := &Registry{purposes: slices.Clone(r.purposes), byName: maps.Clone(r.byName), bases: r.bases}
	for _, p := range more {
		if joined.byName[p.Name] == nil {
			joined.add(p)
		}
	}
	return joined
}

// Incompatible reports whether no system may hold both purposes.
func (r *Registry) Incompatible(a, b string) bool {
	says := func(one, other string) bool {
		p := r.byName[one]
		return p != nil && slices.Contains(p.IncompatibleWith, other)
	}
	return says(a, b) || says(b, a)
}

// Exclusive reports whether the purpose is incompatible with any other.
func (r *Registry) Exclusive(name string) bool {
	return slices.ContainsFunc(r.purposes, func(p *Purpose) bool { return r.Incompatible(name, p.Name) })
}

// Check refuses a registry one of whose purposes names a field that the schema does not have, or another purpose that the registry does
// not have.
func (r *Registry) Check(s *schema.Schema) error {
	for _, p := range r.purposes {
		if missing := p.Fits(s); missing != "" {
			return &Broken{p.Name, "fields", "the schema has no field", missing}
		}
		for _, other := range p.IncompatibleWith {
			if r.byName[other] == nil {
				return &Broken{p.Name, "incompatible_with", "there is no purpose", other}
			}
		}
	}
	return nil
}

// Fits reports which field a purpose names that the schema does not have; empty when there is none.
func (p *Purpose) Fits(s *schema.Schema) (missing string) {
	for _, name := range p.fields {
		if _, ok := s.Field(name); !ok {
			return name
		}
	}
	return ""
}

// Get returns the purpose of that name.
func (r *Registry) Get(name string) (*Purpose, bool) {
	p, ok := r.byName[name]
	return p, ok
}

// All returns every purpose in the order of the file. They are the registry's own and must not be changed.
func (r *Registry) All() []*Purpose { return slices.Clone(r.purposes) }
