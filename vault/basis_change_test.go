package vault_test

import (
	"slices"
	"time"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
)

// declare declares an emergency, or ends the one that lasts.
func (w *basisWorld) declare() {
	v, call, c := w.on("help")
	if e := c.emergency; e != nil && w.now().Before(e.until) && w.choose("end it", 2) == 0 {
		_, err := v.EndBreakGlass(ctx, call, e.id)
		w.came("end an emergency", err, "")
		c.emergency = nil
		return
	}
	e := &basisEmergency{purpose: w.any("purpose", basisPurposes), until: w.now().Add(5 * time.Minute)}
	req := &api.BreakGlassRequest{Reason: "fire", Minutes: 5, Purpose: e.purpose}
	if e.about = w.somebody(); w.choose("about somebody", 2) == 0 {
		req.Subject = e.about.id
	} else {
		e.about = nil
	}
	want := fault.Code("")
	switch {
	case !w.mayName(c, e.purpose):
		want = fault.Denied
	case c.emergency != nil && w.now().Before(c.emergency.until):
		want = fault.Conflict
	case e.about != nil && e.about.gone:
		want = fault.Erased
	}
	made, err := v.StartBreakGlass(ctx, call, req)
	if w.came("declare an emergency", err, want) {
		e.id, c.emergency = made.BreakGlass, e
	}
}

// basisEnd is a moment at which something ends, and a reading that it ends.
type basisEnd struct {
	at                         time.Time
	person                     *basisPerson
	reader, purpose, recipient string
}

// ends are the moments in the next days at which something ends.
func (w *basisWorld) ends() (ends []basisEnd) {
	soon := func(at time.Time) bool { return at.After(w.now()) && at.Before(w.now().Add(72*time.Hour)) }
	for _, name := range basisParties {
		if r := w.recipients[name]; r.CrossBorder != nil && soon(r.CrossBorder.ValidUntil) {
			ends = append(ends, basisEnd{r.CrossBorder.ValidUntil, w.somebody(), "desk", r.Purposes[0], name})
		}
	}
	for _, p := range w.people {
		for _, c := range p.consents {
			if soon(c.expires) && c.withdrawn.IsZero() {
				purpose := w.any("purpose", c.purposes)
				ends = append(ends, basisEnd{c.expires, p, c.by, purpose, w.recipient(purpose)})
			}
		}
	}
	return ends
}

// wait lets time pass, or goes on to the very moment at which something ends, and reads.
func (w *basisWorld) wait() {
	if ends := w.ends(); len(ends) > 0 && w.choose("until the end of something", 3) > 0 {
		e := ends[w.choose("which", len(ends))]
		w.clock.advance(e.at.Sub(w.now()) - time.Duration(w.choose("just before", 3)/2)*time.Millisecond)
		w.revealTo(e.person, e.reader, e.purpose, e.recipient, api.Plain)
		return
	}
	w.clock.advance([]time.Duration{time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 12 * time.Hour}[w.choose("how long", 5)])
}

// changePurpose changes a purpose, or makes it as it began.
func (w *basisWorld) changePurpose() {
	w.change(w.any("purpose", basisChanging))
}

func (w *basisWorld) change(name string) {
	if !slices.Contains(basisChanging, name) {
		return
	}
	p := *w.purposes[name]
	switch w.choose("change", 16) {
	case 0, 1:
		p.Fields = toggled(p.Fields, w.any("field", basisFields))
	case 2:
		p.Documents = !p.Documents
	case 3, 4:
		p.Retired = !p.Retired
	case 5, 6:
		p.IncompatibleWith = toggled(p.IncompatibleWith, w.any("other", basisChanging))
	case 7, 8:
		p.Obligation = map[bool]string{true: "contract 12"}[p.Obligation == ""]
	case 9:
		p.Recipients = toggled(p.Recipients, w.any("recipient", basisParties))
	case 10:
		p.CrossBorder = !p.CrossBorder
	case 11:
		p.Basis, p.Citation = map[bool]string{true: "law", false: "consent"}[p.Basis == "consent"], "article 3"
	case 12:
		p.OwnConsent = !p.OwnConsent
	case 13:
		p.Discloses = !p.Discloses
	default:
		p = *basisTemplate(name)
	}
	p.IncompatibleWith = slices.DeleteFunc(slices.Clone(p.IncompatibleWith), func(other string) bool { return other == name })
	if p.Basis == "law" {
		p.OwnConsent, p.Obligation = false, ""
	}
	if !p.Discloses {
		p.Recipients, p.CrossBorder = nil, false
	}
	p.Documents = p.Documents || len(p.Fields) == 0
	w.putPurpose(name, &p)
}

func toggled(all []string, one string) []string {
	without := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == one })
	if len(without) < len(all) {
		return without
	}
	return append(without, one)
}

func (w *basisWorld) putPurpose(name string, p *api.Purpose) {
	v, call, _ := w.on("root")
	_, err := v.PutPurpose(ctx, call, name, p)
	if w.came("change a purpose", err, w.wouldChange(name, p)) {
		w.purposes[name] = p
	}
}

// registerSystem registers a system, or changes its registration.
func (w *basisWorld) registerSystem() {
	name := w.any("system", basisSystems)
	s := &api.System{Purposes: slices.Clone(basisPurposes)}
	for range w.choose("without", 3) {
		s.Purposes = slices.DeleteFunc(s.Purposes, func(p string) bool { return p == w.any("purpose", basisChanging) })
	}
	for _, other := range basisSystems {
		if other != name && w.choose("hands off", 4) > 0 {
			s.HandsOffTo = append(s.HandsOffTo, other)
		}
	}
	s.Purposes = slices.DeleteFunc(s.Purposes, func(p string) bool {
		return w.choose("heedless", 8) > 0 && slices.ContainsFunc(s.Purposes, func(q string) bool { return p < q && w.incompatible(p, q) })
	})
	v, call, _ := w.on("root")
	_, err := v.PutSystem(ctx, call, name, s)
	if w.came("register a system", err, w.wouldRegister(s)) {
		w.systems[name] = s
	}
}

// registerRecipient changes the registration of a recipient.
func (w *basisWorld) registerRecipient() {
	name := w.any("recipient", basisParties)
	all := []string{"export", "report", "care"}
	fields := [][]string{nil, nil, {"given_name"}, {"given_name", "phone", "documents"}}[w.choose("fields", 4)]
	w.putRecipient(name, w.recipients[name].Country, all[w.choose("from", 2):2+w.choose("to", 2)], fields, w.border(w.choose("border", 6)))
}

// border is what is on record of a transfer across the border: mostly enough.
func (w *basisWorld) border(how int) *api.CrossBorder {
	b := &api.CrossBorder{Assessment: "A-1", AssessedAt: w.now(), Notification: "N-1", NotifiedAt: w.now()}
	switch how {
	case 0:
		return nil
	case 2:
		b.Assessment = ""
	case 3:
		b.Notification = ""
	case 4:
		b.ValidUntil = w.now().Add(10 * time.Minute)
	}
	return b
}

func (w *basisWorld) putRecipient(name, country string, purposes, fields []string, border *api.CrossBorder) {
	r := &api.Recipient{Title: inThreeLanguages, Country: country, Purposes: purposes, Fields: fields, CrossBorder: border}
	v, call, _ := w.on("root")
	_, err := v.PutRecipient(ctx, call, name, r)
	if w.came("register a recipient", err, "") {
		w.recipients[name] = r
	}
}

// changeText makes a text, or tries to change one.
func (w *basisWorld) changeText() {
	purposes := [][]string{{"care", "export"}, {"promo"}, {"care"}, {"export", "promo"}}[w.choose("covers", 4)]
	w.putText(w.any("text", []string{"t1", "t2", "t3"}), []time.Duration{-time.Hour, 0, time.Hour}[w.choose("effective", 3)], purposes)
}

func (w *basisWorld) putText(version string, from time.Duration, purposes []string) {
	t := &api.ConsentTextRequest{Text: api.Languages{Kazakh: "к", Russian: "р", English: "e"}, EffectiveFrom: w.now().Add(from), Purposes: purposes}
	before := w.texts[version]
	want := fault.Code("")
	switch {
	case !w.consentable(purposes):
		want = fault.Invalid
	case before == nil, before.EffectiveFrom.Equal(t.EffectiveFrom) && slices.Equal(before.Purposes, purposes):
	case !before.EffectiveFrom.After(w.now().Add(5 * time.Minute)):
		want = fault.Conflict
	}
	v, call, _ := w.on("root")
	_, err := v.PutConsentText(ctx, call, version, t)
	if w.came("put a text", err, want) {
		w.texts[version] = t
	}
}
