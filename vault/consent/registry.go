package consent

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"go.yaml.in/yaml/v4"
)

// Registry is an ordered set of texts. It does not change once made and may be shared.
type Registry struct {
	texts     []*Text
	byVersion map[string]*Text
}

//go:embed default.yaml
var defaultFile []byte

// Default returns the built-in texts, which are for first steps: an operator shows people texts of its own.
func Default() *Registry {
	texts, err := Parse(bytes.NewReader(defaultFile))
	if err != nil {
		panic(fmt.Sprintf("the embedded consent texts: %v", err)) // a defect of the build, held by a test
	}
	r := &Registry{byVersion: map[string]*Text{}}
	for _, t := range texts {
		r.texts, r.byVersion[t.Version] = append(r.texts, t), t
	}
	return r
}

// Load returns the built-in texts and those of every file *.yaml in the root of a folder, in the order of the files' names.
func Load(folder fs.FS) (*Registry, error) {
	names, err := fs.Glob(folder, "*.yaml")
	if err != nil {
		return nil, fmt.Errorf("consent: list the texts: %w", err)
	}
	if len(names) == 0 {
		return nil, errors.New("consent: the folder has no *.yaml")
	}
	r := Default()
	for _, name := range names {
		if err := r.take(folder, name); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return r, nil
}

func (r *Registry) take(folder fs.FS, name string) error {
	f, err := folder.Open(name)
	if err != nil {
		return fmt.Errorf("consent: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	texts, err := Parse(f)
	if err != nil {
		return err
	}
	for _, t := range texts {
		if r.byVersion[t.Version] != nil {
			return fmt.Errorf("consent: %q: named twice", t.Version)
		}
		r.texts, r.byVersion[t.Version] = append(r.texts, t), t
	}
	return nil
}

// Get returns the text of that version.
func (r *Registry) Get(version string) (*Text, bool) {
	t, ok := r.byVersion[version]
	return t, ok
}

// All returns every text in the order of the files. They are the registry's own and must not be changed.
func (r *Registry) All() []*Text { return slices.Clone(r.texts) }

// maxFile bounds a file, in bytes.
const maxFile = 4 << 20

// Parse reads a file of texts: one YAML document. Unknown keys and versions named twice are refused; the error names the
// version and the rule.
func Parse(r io.Reader) ([]*Text, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("consent: read: %w", err)
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("consent: read: more than %d bytes", maxFile)
	}
	var file struct {
		Texts []struct {
			Version   string    `yaml:"version"`
			Effective time.Time `yaml:"effective_from"`
			Purposes  []string  `yaml:"purposes"`
			Text      Body      `yaml:"text"`
		} `yaml:"texts"`
	}
	if err := yaml.Load(b, &file, yaml.WithKnownFields(), yaml.WithUniqueKeys()); err != nil {
		return nil, fmt.Errorf("consent: read: %w", err)
	}
	if len(file.Texts) == 0 {
		return nil, errors.New("consent: no texts")
	}
	var texts []*Text
	for _, in := range file.Texts {
		t := &Text{Version: in.Version, Body: in.Text, Effective: in.Effective.UTC(), Purposes: in.Purposes}
		if member, rule := t.Broken(); rule != "" {
			return nil, fmt.Errorf("consent: %q: %s: %s", t.Version, member, rule)
		}
		if slices.ContainsFunc(texts, func(u *Text) bool { return u.Version == t.Version }) {
			return nil, fmt.Errorf("consent: %q: named twice", t.Version)
		}
		texts = append(texts, t)
	}
	return texts, nil
}
