package vault_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
)

// The model of these tests says what a use of a person's data rests on, from what docs/consents.md, docs/disclosure.md and
// docs/schema.md say and nothing else: people with what they agreed to, and the law of the operator, which staff configure.
// It has no epochs, no generations, no nodes and no bases in rows; whatever those do must not show.
type (
	// basisConsent is what a person agreed to.
	basisConsent struct {
		id                 string
		version            int
		by                 string // the system that recorded it
		purposes, parties  []string
		abroad             bool
		given              time.Time
		expires, withdrawn time.Time // zero: never
		kept               []string  // purposes that the withdrawal left
	}
	basisPerson struct {
		id        string                       // vault-wide
		ids       map[string]string            // system → what it calls the person
		values    map[string]string            // field → value
		tokens    map[string]map[string]string // system → field → token
		documents map[string]string            // system → token
		scans     map[string][]byte            // system → what it put
		blocks    map[string]bool              // kind/system
		consents  []*basisConsent
		gone      bool
		changed   int // how often what decisions rest on has changed: an opened document rests on that
	}
	// basisEmergency is what somebody declared.
	basisEmergency struct {
		id, purpose string
		about       *basisPerson // nil: anybody
		until       time.Time
	}
	// basisCaller is somebody who calls.
	basisCaller struct {
		access.Principal
		emergency *basisEmergency
	}
	// basisLaw is what staff have configured, and the mode.
	basisLaw struct {
		enforced   bool
		now        func() time.Time
		purposes   map[string]*api.Purpose
		systems    map[string]*api.System
		recipients map[string]*api.Recipient
		texts      map[string]*api.ConsentTextRequest
	}
	// basisOf is what a use rests on.
	basisOf struct{ basis, consent string }
)

// basisFields are the fields of these people.
var basisFields = []string{"given_name", "iin", "phone"}

func (c *basisCaller) application() bool { return c.Has(access.Application) }

// sees reports whether the caller may know of the person.
func (c *basisCaller) sees(p *basisPerson) bool {
	if c.application() || !c.AllSystems {
		return slices.ContainsFunc(c.reach(), func(system string) bool { return p.ids[system] != "" })
	}
	return true
}

// reach are the systems whose tokens the caller may open.
func (c *basisCaller) reach() []string {
	if c.application() {
		return []string{c.System}
	}
	return c.Systems
}

// reads reports whether the caller may read the tokens of a system.
func (c *basisCaller) reads(system string) bool {
	return c.AllSystems || slices.Contains(c.reach(), system)
}

// readable reports whether the caller may see the person's value of a field at all.
func (c *basisCaller) readable(p *basisPerson, field string) bool {
	return c.AllSystems || slices.ContainsFunc(c.reach(), func(system string) bool { return p.tokens[system][field] != "" })
}

// calls is what the caller calls the person.
func (c *basisCaller) calls(p *basisPerson) string {
	if c.application() {
		return p.ids[c.System]
	}
	return p.id
}

// emergencyFor reports whether the caller acts in an emergency: about somebody, or before it is known about whom.
func (l *basisLaw) emergencyFor(c *basisCaller, purpose string, p *basisPerson) bool {
	e := c.emergency
	return e != nil && l.now().Before(e.until) && e.purpose == purpose && (p == nil || e.about == nil || e.about == p)
}

// form is the form in which policies show the caller a value; false when they do not. Support sees masked values, and plain
// ones in an emergency.
func (l *basisLaw) form(c *basisCaller, asked api.Form, purpose string, p *basisPerson) (api.Form, bool) {
	switch {
	case !c.Has(access.Support) || l.emergencyFor(c, purpose, p):
		if asked == api.Allowed {
			asked = api.Plain
		}
		return asked, true
	case asked == api.Plain:
		return "", false
	default:
		return api.Masked, true
	}
}

// incompatible reports that no system may hold both purposes.
func (l *basisLaw) incompatible(a, b string) bool {
	says := func(one, other string) bool {
		return l.purposes[one] != nil && slices.Contains(l.purposes[one].IncompatibleWith, other)
	}
	return says(a, b) || says(b, a)
}

// named reports whether a system may name a purpose.
func (l *basisLaw) named(system, purpose string) bool {
	registered := l.systems[system]
	if registered == nil {
		for other := range l.purposes {
			if l.incompatible(purpose, other) {
				return false
			}
		}
		return true
	}
	return slices.Contains(registered.Purposes, purpose) &&
		!slices.ContainsFunc(registered.Purposes, func(other string) bool { return l.incompatible(purpose, other) })
}

// mayName reports whether a caller may use a purpose.
func (l *basisLaw) mayName(c *basisCaller, purpose string) bool {
	return !l.purposes[purpose].Retired && (!c.application() || l.named(c.System, purpose))
}

// party says what stands against a recipient of a purpose, whoever it is about: a wrong question, or a refusal.
func (l *basisLaw) party(purpose, recipient string) fault.Code {
	p, r := l.purposes[purpose], l.recipients[recipient]
	switch {
	case p.Discloses != (recipient != ""):
		return fault.Invalid
	case recipient == "":
		return ""
	case r == nil, len(p.Recipients) > 0 && !slices.Contains(p.Recipients, recipient), !slices.Contains(r.Purposes, purpose),
		l.abroad(purpose, recipient) && !l.prepared(r):
		return fault.Denied
	}
	return ""
}

func (l *basisLaw) abroad(purpose, recipient string) bool {
	return recipient != "" && (l.purposes[purpose].CrossBorder || l.recipients[recipient].Country != "KZ")
}

// prepared reports whether all is on record that must be before data crosses the border.
func (l *basisLaw) prepared(r *api.Recipient) bool {
	b := r.CrossBorder
	return b != nil && b.Assessment != "" && b.Notification != "" && (b.ValidUntil.IsZero() || l.now().Before(b.ValidUntil))
}

// reaches reports whether a purpose, and a recipient, get a field.
func (l *basisLaw) reaches(purpose, recipient, field string) bool {
	p := l.purposes[purpose]
	if recipient != "" {
		if r := l.recipients[recipient]; r != nil && len(r.Fields) > 0 && !slices.Contains(r.Fields, field) {
			return false
		}
	}
	if field == "documents" {
		return p.Documents
	}
	return slices.Contains(p.Fields, field)
}

// stands reports whether a consent carries a purpose at a moment.
func (c *basisConsent) stands(purpose string, now time.Time) bool {
	return slices.Contains(c.purposes, purpose) && (c.withdrawn.IsZero() || slices.Contains(c.kept, purpose)) &&
		(c.expires.IsZero() || now.Before(c.expires))
}

// rests says what a use of a person's data rests on, or why it rests on nothing. These people never have two consents that
// reach equally far.
func (l *basisLaw) rests(p *basisPerson, purpose, recipient string) (basisOf, fault.Code) {
	switch {
	case p.gone:
		return basisOf{}, fault.Erased
	case len(p.blocks) > 0:
		return basisOf{}, fault.Blocked
	}
	return l.basis(p.consents, purpose, recipient)
}

func (l *basisLaw) basis(consents []*basisConsent, purpose, recipient string) (basisOf, fault.Code) {
	of := l.purposes[purpose]
	if of.Basis != "consent" {
		return basisOf{basis: of.Basis}, ""
	}
	var furthest *basisConsent
	ever := false
	for _, c := range consents {
		ever = ever || slices.Contains(c.purposes, purpose)
		if c.stands(purpose, l.now()) && (furthest == nil || c.expires.IsZero() || !furthest.expires.IsZero() && c.expires.After(furthest.expires)) {
			furthest = c
		}
	}
	switch {
	case furthest == nil && (ever || l.enforced):
		return basisOf{}, fault.Denied
	case furthest == nil:
		return basisOf{basis: "none"}, ""
	case recipient != "" && (!slices.Contains(furthest.parties, recipient) || l.abroad(purpose, recipient) && !furthest.abroad):
		return basisOf{}, fault.Denied
	}
	return basisOf{"consent", fmt.Sprintf("%s@%d", furthest.id, furthest.version)}, ""
}

// asked says what a question comes to before anybody's data is looked at.
func (l *basisLaw) asked(c *basisCaller, purpose, recipient string) fault.Code {
	if !l.mayName(c, purpose) {
		return fault.Denied
	}
	return l.party(purpose, recipient)
}

// value says what one token comes to, and in which form.
func (l *basisLaw) value(c *basisCaller, p *basisPerson, system, field, purpose, recipient string, asked api.Form) (api.Form, basisOf, fault.Code) {
	if !c.reads(system) {
		return "", basisOf{}, fault.NotFound
	}
	on, code := l.rests(p, purpose, recipient)
	if code == "" && !l.reaches(purpose, recipient, field) {
		code = fault.Denied
	}
	form, permitted := l.form(c, asked, purpose, p)
	if code == "" && !permitted {
		code = fault.Denied
	}
	return form, on, code
}

// handsOff says what the law has against a handoff for a purpose.
func (l *basisLaw) handsOff(from, to, purpose string) fault.Code {
	giver := l.systems[from]
	if l.purposes[purpose].Retired || !l.named(from, purpose) || !l.named(to, purpose) || giver != nil && !slices.Contains(giver.HandsOffTo, to) {
		return fault.Denied
	}
	return ""
}

// consentable reports whether there may be a consent to these purposes.
func (l *basisLaw) consentable(purposes []string) bool {
	return len(purposes) > 0 && !slices.ContainsFunc(purposes, func(name string) bool {
		p := l.purposes[name]
		return p.Basis != "consent" || p.OwnConsent && len(purposes) > 1
	})
}

// recordable reports whether a consent keeps the rules.
func (l *basisLaw) recordable(c *basisCaller, req *api.ConsentRequest) bool {
	text := l.texts[req.Text]
	if text == nil || req.GivenAt.Before(text.EffectiveFrom) || !l.consentable(req.Purposes) {
		return false
	}
	return !slices.ContainsFunc(req.Purposes, func(p string) bool { return !slices.Contains(text.Purposes, p) || !l.mayName(c, p) })
}

// revives reports whether the person withdrew their consent to one of these purposes after they gave this one.
func (p *basisPerson) revives(given *basisConsent) bool {
	return slices.ContainsFunc(p.consents, func(c *basisConsent) bool {
		return given.given.Before(c.withdrawn) && slices.ContainsFunc(given.purposes, func(name string) bool {
			return slices.Contains(c.purposes, name) && !slices.Contains(c.kept, name)
		})
	})
}

// withdraw ends a consent as far as no obligation keeps it.
func (l *basisLaw) withdraw(c *basisConsent) fault.Code {
	stands := c.purposes
	if !c.withdrawn.IsZero() {
		stands = c.kept
	}
	var kept []string
	for _, p := range stands {
		if l.purposes[p].Obligation != "" {
			kept = append(kept, p)
		}
	}
	switch {
	case len(kept) < len(stands):
		c.withdrawn, c.kept = l.now(), kept
		c.version++
	case c.withdrawn.IsZero():
		return fault.Held
	}
	return ""
}

// wouldChange says what a change of a purpose comes to.
func (l *basisLaw) wouldChange(name string, to *api.Purpose) fault.Code {
	for _, s := range l.systems {
		if slices.Contains(s.Purposes, name) && slices.ContainsFunc(to.IncompatibleWith, func(p string) bool { return slices.Contains(s.Purposes, p) }) {
			return fault.Conflict
		}
	}
	return ""
}

// wouldRegister says what a registration comes to.
func (l *basisLaw) wouldRegister(s *api.System) fault.Code {
	for _, p := range s.Purposes {
		if slices.ContainsFunc(s.Purposes, func(other string) bool { return l.incompatible(p, other) }) {
			return fault.Invalid
		}
	}
	return ""
}

// shown reports whether what was shown is the value in that form.
func (p *basisPerson) shown(field string, form api.Form, got api.Value) bool {
	text, _ := got.Text()
	if form == api.Masked {
		return strings.Contains(text, "•••") && !strings.Contains(text, p.values[field])
	}
	return text == p.values[field]
}
