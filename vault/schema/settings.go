package schema

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v4"

	"github.com/sandyq/sandyq/vault/token"
)

const (
	maxFile          = 1 << 20 // bytes
	defaultMaxValues = 50
	maxMaxValues     = 1000
)

// settings are a field as the file tells it.
type settings struct {
	Name       string       `yaml:"name"`
	Type       Type         `yaml:"type"`
	Many       bool         `yaml:"many"`
	MaxValues  int          `yaml:"max_values"`
	Unique     bool         `yaml:"unique"`
	Searchable bool         `yaml:"searchable"`
	Lenient    bool         `yaml:"lenient"`
	Slice      string       `yaml:"slice"`
	Mask       MaskRule     `yaml:"mask"`
	Token      token.Format `yaml:"token"`
	Category   Category     `yaml:"category"`
}

// readSettings decodes the file: one YAML document with the key fields.
func readSettings(r io.Reader) ([]settings, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("schema: read: %w", err)
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("schema: read: more than %d bytes", maxFile)
	}
	var file struct {
		Fields []settings `yaml:"fields"`
	}
	if err := yaml.Load(b, &file, yaml.WithKnownFields(), yaml.WithUniqueKeys()); err != nil {
		return nil, fmt.Errorf("schema: read: %w", err)
	}
	if len(file.Fields) == 0 {
		return nil, errors.New("schema: no fields")
	}
	return file.Fields, nil
}

// namePattern is the shape of the names of fields and slices.
var namePattern = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)

var categories = []Category{CategoryIdentity, CategoryContact, CategoryAddress, CategoryDocument, CategoryOther}

// field checks the settings and fills in what they leave to the type.
func (s settings) field() (*Field, error) {
	if !namePattern.MatchString(s.Name) {
		return nil, fmt.Errorf("schema: field %q: a name is a small letter and up to 39 small letters, digits and underscores", s.Name)
	}
	kind := s.Type.kind()
	if kind == nil {
		return nil, fmt.Errorf("schema: field %q: no type %q", s.Name, s.Type)
	}
	f := &Field{
		Name: s.Name, Type: s.Type, Many: s.Many, Unique: s.Unique, Searchable: s.Searchable, Lenient: s.Lenient, MaxValues: 1,
		Slice:    cmp.Or(s.Slice, IdentitySlice),
		MaskRule: cmp.Or(s.Mask, kind.masks[0]),
		Token:    cmp.Or(s.Token, token.Opaque),
		Category: cmp.Or(s.Category, kind.category),
	}
	if s.Many {
		f.MaxValues = cmp.Or(s.MaxValues, defaultMaxValues)
	}
	if broken := s.broken(f, kind); broken != "" {
		return nil, fmt.Errorf("schema: field %q: %s", s.Name, broken)
	}
	return f, nil
}

// broken names the rule that the settings break, or nothing.
func (s settings) broken(f *Field, kind *kind) string {
	switch {
	case s.Name == DocumentsSlice:
		return "the name is that of documents"
	case !namePattern.MatchString(f.Slice):
		return "a slice is named like a field"
	case f.Slice == DocumentsSlice:
		return "the slice is kept for documents"
	case f.Searchable && !kind.searchable:
		return fmt.Sprintf("type %s cannot be searchable", f.Type)
	case f.Unique && !f.Searchable:
		return "unique needs searchable"
	case f.Unique && f.Many:
		return "unique and many exclude each other"
	case f.Lenient && f.Type != TypeIIN:
		return "lenient is for the type iin"
	case !s.Many && s.MaxValues != 0:
		return "max_values needs many"
	case f.MaxValues < 1 || f.MaxValues > maxMaxValues:
		return fmt.Sprintf("max_values is 1 to %d", maxMaxValues)
	case f.Token != token.Opaque && f.Token != kind.tokens:
		return fmt.Sprintf("type %s cannot have tokens of this format", f.Type)
	case !slices.Contains(kind.masks, f.MaskRule):
		return fmt.Sprintf("type %s has the masks %v", f.Type, kind.masks)
	case !slices.Contains(categories, f.Category):
		return fmt.Sprintf("a category is one of %v", categories)
	}
	return ""
}
