package purpose

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v4"
)

const (
	maxFile   = 1 << 20 // bytes
	maxYears  = 100     // personnel files are kept for 75
	allFields = "all"
)

// file is the configuration file: one YAML document.
type file struct {
	Bases    []Basis    `yaml:"bases"`
	Purposes []settings `yaml:"purposes"`
}

// settings are a purpose as the file tells it.
type settings struct {
	Name        string    `yaml:"name"`
	Title       Title     `yaml:"title"`
	Basis       string    `yaml:"basis"`
	Citation    string    `yaml:"citation"`
	OwnConsent  bool      `yaml:"own_consent"`
	CrossBorder bool      `yaml:"cross_border"`
	Fields      fieldList `yaml:"fields"`
	Documents   bool      `yaml:"documents"`
	Retention   Retention `yaml:"retention"`
}

// fieldList is a list of names, or the word all.
type fieldList struct {
	all   bool
	names []string
}

// UnmarshalYAML reads either form.
func (l *fieldList) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode && n.Value == allFields {
		l.all = true
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		return fmt.Errorf("line %d: fields is a list of names, or %s", n.Line, allFields)
	}
	return n.Decode(&l.names)
}

func readFile(r io.Reader) (file, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return file{}, fmt.Errorf("purpose: read: %w", err)
	}
	if len(b) > maxFile {
		return file{}, fmt.Errorf("purpose: read: more than %d bytes", maxFile)
	}
	var f file
	if err := yaml.Load(b, &f, yaml.WithKnownFields(), yaml.WithUniqueKeys()); err != nil {
		return file{}, fmt.Errorf("purpose: read: %w", err)
	}
	if len(f.Purposes) == 0 {
		return file{}, errors.New("purpose: no purposes")
	}
	return f, nil
}

// namePattern is the shape of the names of purposes and bases.
var namePattern = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)

// bases checks the bases and gives them by name.
func (f file) bases() (map[string]Basis, error) {
	bases := make(map[string]Basis, len(f.Bases))
	for _, b := range f.Bases {
		_, twice := bases[b.Name]
		switch {
		case !namePattern.MatchString(b.Name):
			return nil, fmt.Errorf("purpose: basis %q: a name is a small letter and up to 39 small letters, digits and underscores", b.Name)
		case twice:
			return nil, fmt.Errorf("purpose: basis %q: named twice", b.Name)
		case !b.Title.complete():
			return nil, fmt.Errorf("purpose: basis %q: a title in kk, ru and en is needed", b.Name)
		}
		bases[b.Name] = b
	}
	return bases, nil
}

// purpose checks the settings.
func (s settings) purpose(bases map[string]Basis) (*Purpose, error) {
	basis, known := bases[s.Basis]
	if !known {
		return nil, fmt.Errorf("purpose: %q: no basis %q", s.Name, s.Basis)
	}
	if broken := s.broken(basis); broken != "" {
		return nil, fmt.Errorf("purpose: %q: %s", s.Name, broken)
	}
	return &Purpose{
		Name: s.Name, Title: s.Title, Basis: basis, Citation: s.Citation, OwnConsent: s.OwnConsent, CrossBorder: s.CrossBorder,
		Retention: s.Retention, all: s.Fields.all, fields: s.Fields.names, documents: s.Documents,
	}, nil
}

// broken names the rule that the settings break, or nothing.
func (s settings) broken(basis Basis) string {
	names := slices.Sorted(slices.Values(s.Fields.names))
	switch {
	case !namePattern.MatchString(s.Name):
		return "a name is a small letter and up to 39 small letters, digits and underscores"
	case !s.Title.complete():
		return "a title in kk, ru and en is needed"
	case !basis.Consent && s.Citation == "":
		return "a basis other than consent needs a citation"
	case !basis.Consent && s.OwnConsent:
		return "own_consent needs a basis that is consent"
	case !s.Fields.all && len(names) == 0 && !s.Documents:
		return "neither fields nor documents"
	case len(slices.Compact(names)) != len(s.Fields.names):
		return "a field is listed twice"
	}
	return s.Retention.broken(basis)
}

func (t Title) complete() bool { return t.Kazakh != "" && t.Russian != "" && t.English != "" }

func (r Retention) broken(basis Basis) string {
	switch {
	case !slices.Contains([]Event{RelationshipEnd, ConsentEnd, Collection}, r.After):
		return "retention.after is one of relationship_end, consent_end, collection"
	case r.After == ConsentEnd && !basis.Consent:
		return "retention after consent_end needs a basis that is consent"
	case min(r.Years, r.Months, r.Days) < 0 || max(r.Years, r.Months/12, r.Days/365) > maxYears:
		return fmt.Sprintf("a period of retention is 0 to %d years", maxYears)
	}
	return ""
}
