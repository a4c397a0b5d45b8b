// Package purpose holds what personal data may be used for.
//
// Every reading and writing names a purpose, purposes are set in advance, and a purpose reaches the fields it lists and no others. A
// [Registry] is read from a file or a directory of files or built in ([Default]), and may be joined with purposes that were made
// otherwise ([Registry.With]); it is configuration, and nothing in the code knows a purpose by its name.
//
// Invariants: the zero Purpose allows nothing. A purpose names only fields of its schema, checked before a registry is used. It has a basis,
// and when that basis is not the person's consent, a citation of what it rests on. Two purposes are incompatible when either says so.
package purpose

import (
	"slices"

	"github.com/sandyq/sandyq/vault/schema"
)

// Purpose is one purpose of processing.
type Purpose struct {
	Name        string // [a-z][a-z0-9_]{0,39}
	Title       Title
	Basis       Basis
	Citation    string // the provision the basis is found in; always there unless the basis is consent
	OwnConsent  bool   // needs a consent that names this purpose, given and withdrawn by itself
	CrossBorder bool   // the data leaves the country: a transfer needs its recipient's assessment first
	Retention   Retention

	Discloses        bool     // data goes to third parties: every reading needs a recipient
	Recipients       []string // to whom; empty with Discloses: to any registered recipient
	IncompatibleWith []string // purposes that no system may hold beside this one; holds in both directions
	Obligation       string   // citation: a consent to this purpose cannot be withdrawn while it stands; empty: it can
	Retired          bool     // shown, and good for no new use
	Version          int      // of a purpose that was made over the API, from 1; 0: from a file, or built in

	all       bool // every field of the schema
	fields    []string
	documents bool
}

// Title is a name for people, in the languages of the interface.
type Title struct {
	Kazakh  string `yaml:"kk"`
	Russian string `yaml:"ru"`
	English string `yaml:"en"`
}

// AllFields reports whether the purpose reaches every field of the schema, those that it gets later too.
func (p *Purpose) AllFields() bool { return p.all }

// Listed is the fields as they were listed; none when the purpose reaches all.
func (p *Purpose) Listed() []string { return slices.Clone(p.fields) }

// Allows reports whether the purpose reaches the field. It does not ask whether the schema has it.
func (p *Purpose) Allows(field string) bool { return p.all || slices.Contains(p.fields, field) }

// AllowsDocuments reports whether the purpose reaches documents.
func (p *Purpose) AllowsDocuments() bool { return p.documents }

// Fields lists the fields of s that the purpose reaches, in the order of s.
func (p *Purpose) Fields(s *schema.Schema) []string {
	var names []string
	for _, f := range s.Fields() {
		if p.Allows(f.Name) {
			names = append(names, f.Name)
		}
	}
	return names
}

// Basis is a ground on which data may be processed.
type Basis struct {
	Name    string `yaml:"name"`
	Title   Title  `yaml:"title"`
	Consent bool   `yaml:"consent"` // the ground is the person's consent and ends with it
}

// Retention says how long data is kept for a purpose: a period of the calendar from an event on. The zero period ends with the event.
type Retention struct {
	After  Event `yaml:"after"`
	Years  int   `yaml:"years"`
	Months int   `yaml:"months"`
	Days   int   `yaml:"days"`
}

// Event starts a period of retention.
type Event string

// The events.
const (
	RelationshipEnd Event = "relationship_end" // the person is no customer any more
	ConsentEnd      Event = "consent_end"      // the consent was withdrawn or has expired
	Collection      Event = "collection"       // the value was recorded
)
