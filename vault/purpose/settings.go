package purpose

import (
	"fmt"
	"io"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v4"
)

const (
	maxFile   = 1 << 20 // bytes
	maxYears  = 100     // personnel files are kept for 75
	maxTitle  = 400     // bytes in each language
	allFields = "all"

	maxCitation = 500 // bytes
)

// file is the configuration file: one YAML document.
type file struct {
	Bases    []Basis    `yaml:"bases"`
	Purposes []Settings `yaml:"purposes"`
}

// Settings are a purpose as a file tells it.
type Settings struct {
	Name             string    `yaml:"name"`
	Title            Title     `yaml:"title"`
	Basis            string    `yaml:"basis"`
	Citation         string    `yaml:"citation"`
	OwnConsent       bool      `yaml:"own_consent"`
	CrossBorder      bool      `yaml:"cross_border"`
	Discloses        bool      `yaml:"discloses"`
	Recipients       []string  `yaml:"recipients"`
	IncompatibleWith []string  `yaml:"incompatible_with"`
	Obligation       string    `yaml:"obligation"`
	Fields           FieldList `yaml:"fields"`
	Documents        bool      `yaml:"documents"`
	Retention        Retention `yaml:"retention"`
	Retired          bool      `yaml:"retired"`
}

// FieldList is a list of names, or the word all.
type FieldList struct {
	All   bool
	Names []string
}

// UnmarshalYAML reads either form.
func (l *FieldList) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode && n.Value == allFields {
		l.All = true
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		return fmt.Errorf("line %d: fields is a list of names, or %s", n.Line, allFields)
	}
	return n.Decode(&l.Names)
}

// Broken is a purpose that breaks a rule. The member and the rule hold nothing that whoever wrote the purpose chose.
type Broken struct {
	Purpose, Member, Rule string
	Named                 string // what it names that there is not
}

func (b *Broken) Error() string {
	if b.Named != "" || b.Member == "basis" {
		return fmt.Sprintf("purpose: %q: %s %q", b.Purpose, b.Rule, b.Named)
	}
	return fmt.Sprintf("purpose: %q: %s", b.Purpose, b.Rule)
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
	return f, nil
}

// The shape of names.
var (
	namePattern   = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)
	numberPattern = regexp.MustCompile(`[0-9]{9}`)
)

// bases checks the bases and gives them by name. A file without any has the built-in ones.
func (f file) bases() (map[string]Basis, error) {
	if len(f.Bases) == 0 {
		return Default().bases, nil
	}
	bases := make(map[string]Basis, len(f.Bases))
	for _, b := range f.Bases {
		_, twice := bases[b.Name]
		switch {
		case !IsName(b.Name):
			return nil, fmt.Errorf("purpose: basis %q: %s", b.Name, ruleName)
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
func (s Settings) purpose(bases map[string]Basis) (*Purpose, error) {
	basis, known := bases[s.Basis]
	if !known {
		return nil, &Broken{s.Name, "basis", "no basis", s.Basis}
	}
	if member, rule := s.broken(basis); rule != "" {
		return nil, &Broken{Purpose: s.Name, Member: member, Rule: rule}
	}
	return &Purpose{
		Name: s.Name, Title: s.Title, Basis: basis, Citation: s.Citation, OwnConsent: s.OwnConsent, CrossBorder: s.CrossBorder,
		Retention: s.Retention, Discloses: s.Discloses, Recipients: s.Recipients, IncompatibleWith: s.IncompatibleWith,
		Obligation: s.Obligation, Retired: s.Retired, all: s.Fields.All, fields: s.Fields.Names, documents: s.Documents,
	}, nil
}

const ruleName = "a name is a small letter and up to 39 small letters, digits and underscores, with no run of 9 digits"

// IsName reports whether s can be the name of a purpose, a basis or a recipient. Names go into the log, so none may hold what a
// person could be known by.
func IsName(s string) bool { return namePattern.MatchString(s) && !numberPattern.MatchString(s) }

// broken names the rule that the settings break and the member that does, or nothing.
func (s Settings) broken(basis Basis) (member, rule string) {
	switch {
	case !IsName(s.Name):
		return "name", ruleName
	case !s.Title.complete():
		return "title", fmt.Sprintf("a title in kk, ru and en is needed, each of at most %d bytes", maxTitle)
	case !basis.Consent && s.Citation == "":
		return "citation", "a basis other than consent needs a citation"
	case !basis.Consent && s.OwnConsent:
		return "own_consent", "own_consent needs a basis that is consent"
	case !basis.Consent && s.Obligation != "":
		return "obligation", "an obligation needs a basis that is consent"
	case len(s.Citation) > maxCitation:
		return "citation", fmt.Sprintf("a citation is at most %d bytes", maxCitation)
	case len(s.Obligation) > maxCitation:
		return "obligation", fmt.Sprintf("an obligation is at most %d bytes", maxCitation)
	case !s.Fields.All && len(s.Fields.Names) == 0 && !s.Documents:
		return "fields", "neither fields nor documents"
	case twice(s.Fields.Names):
		return "fields", "a field is listed twice"
	case s.CrossBorder && !s.Discloses:
		return "cross_border", "cross_border needs discloses: whoever gets it abroad is a recipient on record"
	case len(s.Recipients) > 0 && !s.Discloses:
		return "recipients", "recipients need discloses"
	case !distinctNames(s.Recipients):
		return "recipients", "recipients are names, each listed once"
	case !distinctNames(s.IncompatibleWith) || slices.Contains(s.IncompatibleWith, s.Name):
		return "incompatible_with", "incompatible_with lists names of other purposes, each once"
	}
	return "retention", s.Retention.broken(basis)
}

func twice(names []string) bool {
	sorted := slices.Sorted(slices.Values(names))
	return len(slices.Compact(sorted)) != len(names)
}

func distinctNames(names []string) bool {
	return !twice(names) && !slices.ContainsFunc(names, func(n string) bool { return !IsName(n) })
}

func (t Title) complete() bool {
	return !slices.ContainsFunc([]string{t.Kazakh, t.Russian, t.English}, func(s string) bool { return s == "" || len(s) > maxTitle })
}

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
