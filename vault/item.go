package vault

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/token"
)

// item is one item of a tokenize call on its way.
type item struct {
	request  *api.TokenizeItem
	result   *api.TokenizeResult
	fields   []fieldValues // sorted by name
	ref      *lookup       // the external_ref, if there is one
	consent  *givenConsent // given with the data, or alone; may be nil
	identity bool          // the identity slice's key is needed, whatever the fields
	lookups  []*lookup     // all that need an index entry
	purpose  string
	once     *once
	at       int
	earlier  *done     // what it came to under the same idempotency key
	as       SubjectID // under which id a person is made, who must be new; zero: any
}

// fieldValues are the normalised values of one field.
type fieldValues struct {
	*schema.Field
	values  []schema.Value
	lookups []*lookup // one for each value of a searchable field
	list    bool      // they came as a list
}

// refField is the index's name for the external_ref of a system. No field of a schema has a slash in it.
func refField(system string) string { return "external_ref/" + system }

// wireName is what a caller knows an indexed field by.
func wireName(field string) string {
	before, _, _ := strings.Cut(field, "/")
	return before
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

var fieldNamePattern = regexp.MustCompile(`^[a-z][a-z_]{0,39}$`)

// unknownField tells of a field that the schema does not have, by its name when that can only be a name.
func unknownField(name string) fault.Field {
	if !fieldNamePattern.MatchString(name) {
		name = "fields"
	}
	return fault.Field{Field: name, Rule: "unknown field"}
}

// normalise brings the values of a field into canonical form, or names the rules they break.
func normalise(f *schema.Field, in api.OneOrMany[api.Value]) (fieldValues, []fault.Field) {
	out := fieldValues{Field: f, list: in.List}
	switch {
	case in.List && !f.Many:
		return out, []fault.Field{{Field: f.Name, Rule: "one value, not a list"}}
	case len(in.Items) == 0:
		return out, []fault.Field{{Field: f.Name, Rule: "at least 1 value"}}
	case len(in.Items) > f.MaxValues:
		return out, []fault.Field{{Field: f.Name, Rule: tooMany(f)}}
	}
	var broken []fault.Field
	for i, v := range in.Items {
		value, rule := f.Normalise(v)
		if rule != "" {
			at := f.Name
			if in.List {
				at = fmt.Sprintf("%s[%d]", f.Name, i)
			}
			broken = append(broken, fault.Field{Field: at, Rule: rule})
			continue
		}
		out.values = append(out.values, value)
		if f.Searchable {
			out.lookups = append(out.lookups, &lookup{field: f.Name, value: value.Key()})
		}
	}
	return out, broken
}

func tooMany(f *schema.Field) string { return fmt.Sprintf("at most %d values", f.MaxValues) }

func (it *item) add(f fieldValues) {
	it.fields = append(it.fields, f)
	it.lookups = append(it.lookups, f.lookups...)
}

// checkRest checks what an item has beside its fields.
func (it *item) checkRest(call Call) (bad []fault.Field) {
	req := it.request
	if len(req.Fields) == 0 {
		bad = append(bad, fault.Field{Field: "fields", Rule: ruleRequired})
	}
	switch req.OnConflict {
	case "", api.ConflictError, api.ConflictKeep:
	default:
		bad = append(bad, fault.Field{Field: "on_conflict", Rule: `one of ["error" "keep"]`})
	}
	if req.Source != "" && !isCode(req.Source) {
		bad = append(bad, fault.Field{Field: "source", Rule: ruleCode})
	}
	return append(bad, it.checkRef(call)...)
}

// checkRef checks the external_ref and has it looked up.
func (it *item) checkRef(call Call) []fault.Field {
	ref := it.request.ExternalRef
	switch {
	case ref == "":
		return nil
	case !refPattern.MatchString(ref):
		return []fault.Field{{Field: "external_ref", Rule: ruleRef}}
	}
	it.ref = &lookup{field: refField(call.Principal.System), value: ref}
	it.lookups = append(it.lookups, it.ref)
	it.identity = true
	return nil
}

// refuseRepeats fails an item that gives a value of a field twice: a correction says which values there are.
func (it *item) refuseRepeats() {
	for _, f := range it.fields {
		for n, v := range f.values {
			if slices.ContainsFunc(f.values[:n], v.Equal) {
				it.fail(fault.Bad(f.Name, "a value given twice"))
				return
			}
		}
	}
}

// finders are the lookups that belong to one person at most.
func (it *item) finders() []*lookup {
	var all []*lookup
	if it.ref != nil {
		all = append(all, it.ref)
	}
	for _, f := range it.fields {
		if f.Unique {
			all = append(all, f.lookups...)
		}
	}
	return all
}

func (it *item) fieldNames() []string {
	names := make([]string, len(it.fields))
	for i, f := range it.fields {
		names[i] = f.Name
	}
	return names
}

func (it *item) count() (n int) {
	for _, f := range it.fields {
		n += len(f.values)
	}
	return n
}

// warnings are the rules that the values break and their fields forgive.
func (it *item) warnings() (all []fault.Field) {
	for _, f := range it.fields {
		for _, v := range f.values {
			for _, rule := range f.Doubts(v) {
				all = append(all, fault.Field{Field: f.Name, Rule: rule})
			}
		}
	}
	return all
}

// settled reports that the item has its result.
func (it *item) settled() bool { return it.result.Error != nil || it.result.Subject != "" }

// invalid reports that the item broke a rule.
func (it *item) invalid() bool {
	return it.result.Error != nil && it.result.Error.Code == fault.Invalid
}

func (it *item) fail(err error) { *it.result = api.TokenizeResult{Error: itemError(err)} }

func (it *item) succeed(p *plan, consent *api.Consent) {
	*it.result = api.TokenizeResult{
		Subject: p.person.name(p.call.Principal), Created: p.created, Tokens: p.tokens, Differs: p.differs,
		Warnings: it.warnings(),
	}
	it.result.Consent = consent
}

// held is what a person already has in a field.
type held struct {
	records []record               // in the order of slots
	tokens  map[uint16]token.Token // slot → the calling system's token
	indexed map[uint16]store.Pair  // slot → its row of kindIndexed
}

// freeSlot is the lowest slot without a record: as many lie below it as stand before it.
func (h *held) freeSlot() uint16 {
	for i, r := range h.records {
		if int(r.slot) != i {
			return uint16(i)
		}
	}
	return uint16(len(h.records))
}

// plan is an item against one snapshot: whose it is, and what is to be written.
type plan struct {
	item       *item
	call       Call
	person     *person
	provider   string                // who gave the data, if another: the vault-wide id
	held       []held                // beside item.fields; empty for somebody new
	refEntered map[uint16]store.Pair // how the external_ref stands in the index, under slot 0
	issued     []store.Pair          // every system\'s tokens of the person, for a correction
	lacks      []string              // slices that the person has no key for
	fresh      []int                 // which of the fresh keys are the plan's: one for each of lacks, and one for the proof of a consent
	refusal    *fault.Error          // what forbids it
	adds       *fault.Error          // what forbids a correction to add a value to those that are held
	consent    *newConsent           // what the item's consent becomes
	footing    footing               // what the use of the data rests on
	replayed   bool                  // the answer is that of an earlier try: nothing is written
	met        string                // the field whose value has found somebody, if one has
	alerts     []api.Alert           // of canaries that the item names or finds without being about them

	created bool // the person is new to the calling system
	tokens  map[string]api.OneOrMany[string]
	differs []string
}

// answer begins the answer anew.
func (p *plan) answer() {
	p.tokens = make(map[string]api.OneOrMany[string], len(p.item.fields))
	p.differs = nil
}

// texts are the tokens of the answer, as they are remembered under an idempotency key.
func (p *plan) texts() map[string][]string {
	all := make(map[string][]string, len(p.tokens))
	for field, tokens := range p.tokens {
		all[field] = tokens.Items
	}
	return all
}

// heldIn is what the person has in the i-th field.
func (p *plan) heldIn(i int) held {
	if p.held == nil {
		return held{tokens: map[uint16]token.Token{}, indexed: map[uint16]store.Pair{}}
	}
	return p.held[i]
}

// needs is how many fresh keys the plan takes.
func (p *plan) needs() int {
	if p.consent != nil {
		return len(p.lacks) + 1
	}
	return len(p.lacks)
}

// slices lists the slices whose keys the plan needs.
func (p *plan) slices() []string {
	var all []string
	if p.item.identity {
		all = append(all, schema.IdentitySlice)
	}
	for _, f := range p.item.fields {
		all = append(all, f.Slice)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// provide resolves provided_by within the snapshot.
func (s *Service) provide(r store.Reader, p *plan) error {
	text, known := p.item.request.ProvidedBy, &p.call.rules.canaries
	if text == "" {
		return nil
	}
	giver, err := s.resolve(r, p.call.Principal, text)
	if _, ok := errors.AsType[*fault.Error](err); ok {
		if p.alerts, err = s.named(r, known, text); err == nil {
			err = fault.Bad("provided_by", "nobody known to the caller")
		}
	}
	if err != nil {
		return err
	}
	p.provider = giver.id.String()
	p.alerts = append(p.alerts, known.person(p.provider)...)
	return nil
}
