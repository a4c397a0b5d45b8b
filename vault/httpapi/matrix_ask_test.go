package httpapi_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/deploy/policies"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/backup"
	"github.com/sandyq/sandyq/vault/id"
)

// ask is how a route is asked about something.
type ask struct {
	// states are how a person may stand who is asked about; nil: it is about nobody.
	states []state
	// thing routes name something that there may not be, and that is no person's to their callers.
	thing bool
	// token routes name a person by a token, which goes on telling whose it was when the person is erased.
	token bool
	// private routes name a person by a word that the owner alone knows: of anybody else it is another's.
	private bool
	// given routes are about what another system made for the caller: of its own people nothing is the caller's.
	given bool
	// prepare is done while the person still is active.
	prepare func(w *world, c caller, f *figure)
	// request makes the request about a person, or about a thing of the owner's; there is none when f.owner is "".
	request func(w *world, c caller, f *figure) request
}

// request is a request to a route, and what its success leaves behind to be tidied up.
type request struct {
	path   []string // what the segments of the pattern are; then the query
	query  string
	body   string
	header []string
	after  func()
}

var (
	anyState   = []state{active, blocked, waits, erasing, erased, withdrawn}
	ofErasures = []state{waits, erasing, erased}
)

// name is what a caller calls a person. A stranger has one name.
func (f *figure) nameFor(c caller) string {
	if f.owner != "" && c.Principal.VaultWide() {
		return f.wide
	}
	return f.subject
}

// missing is what there is nothing under.
func missing(prefix string) string { return id.Encode(prefix, id.New()) }

func object(members string, values ...any) string { return "{" + fmt.Sprintf(members, values...) + "}" }

const (
	forPurpose = `"purpose":"` + matrixPurpose + `"`
	forReason  = `,"reason":"asked"`
)

// aboutPerson is an ask about a person, in any state, whom the path names.
func aboutPerson(body string) ask {
	return ask{states: anyState, request: func(_ *world, c caller, f *figure) request {
		return request{path: []string{f.nameFor(c)}, body: body}
	}}
}

// aboutToken is an ask about a token, in the body.
func aboutToken(of func(*figure) string, members string) ask {
	return ask{states: anyState, token: true, request: func(_ *world, _ caller, f *figure) request {
		return request{body: object(members, of(f))}
	}}
}

// aboutErasure is an ask about an erasure.
func aboutErasure(body string) ask {
	return ask{states: ofErasures, request: func(_ *world, _ caller, f *figure) request { return request{path: []string{f.erasure}, body: body} }}
}

// atItsEnd is an ask about an erasure of which there is nothing to be told before its end.
func atItsEnd(a ask) ask {
	a.states = []state{erased}
	return a
}

// plainly is an ask about nobody.
func plainly(query, body string) ask {
	return ask{request: func(*world, caller, *figure) request { return request{query: query, body: body} }}
}

// aboutThing is an ask about something that make makes, in the path.
func aboutThing(prefix, body string, make func(*world, caller, string) string) ask {
	return ask{thing: true, request: func(w *world, c caller, f *figure) request {
		name := missing(prefix)
		if f.owner != "" {
			name = make(w, c, f.owner)
		}
		return request{path: []string{name}, body: body}
	}}
}

// named is an ask about a configured thing by its name.
func named(name string) ask {
	return ask{thing: true, request: func(_ *world, _ caller, f *figure) request {
		if f.owner == "" {
			return request{path: []string{"nonesuch"}}
		}
		return request{path: []string{name}}
	}}
}

// putting is an ask to configure something new.
func putting(body string) ask {
	return ask{request: func(w *world, _ caller, _ *figure) request {
		return request{path: []string{fmt.Sprintf("put%d", w.number())}, body: body}
	}}
}

const matrixTitle = `"titles":{"kk":"Жеткізу","ru":"Доставка","en":"Delivery"}`

// asks is how each route is asked, by operation.
func asks() map[string]ask {
	const fields = `"fields":{"given_name":"Айгүл"}`
	return map[string]ask{
		"tokenize": {states: anyState, request: func(_ *world, _ caller, f *figure) request {
			return request{body: object(forPurpose+`,"items":[{"fields":{"iin":%q}}]`, f.iin)}
		}},
		"detokenize":      aboutToken(func(f *figure) string { return f.token }, forPurpose+forReason+`,"form":"allowed","tokens":[%q]`),
		"tokens.describe": aboutToken(func(f *figure) string { return f.token }, `"tokens":[%q]`),
		"tokens.revoke":   aboutToken(func(f *figure) string { return f.token }, `"tokens":[%q]`),
		"search": {states: anyState, request: func(_ *world, _ caller, f *figure) request {
			return request{body: object(forPurpose+forReason+`,"field":"iin","value":%q`, f.iin)}
		}},

		"document.put": {states: anyState, request: func(_ *world, c caller, f *figure) request {
			return request{
				path: []string{f.nameFor(c)}, query: "kind=identity_card&side=front", body: "%PDF-1.7 ",
				header: []string{"Content-Type", "application/pdf", api.HeaderPurpose, matrixPurpose, api.HeaderCapture, "digital"},
			}
		}},
		"document.open": aboutToken(func(f *figure) string { return f.document }, forPurpose+forReason+`,"token":%q`),
		"document.content": {states: anyState, prepare: (*world).openDocument, request: func(_ *world, _ caller, f *figure) request {
			return request{path: []string{strings.TrimPrefix(f.handle, "/v1/content/")}}
		}},

		"subject.create": {states: anyState, private: true, request: func(_ *world, _ caller, f *figure) request {
			return request{body: object(forPurpose+`,"external_ref":%q`, f.ref)}
		}},
		"subject.show":    aboutPerson(""),
		"reveal":          aboutPerson(object(forPurpose + forReason + `,"form":"allowed","fields":["given_name"]`)),
		"subject.rectify": aboutPerson(object(forPurpose + `,"evidence":{"kind":"application","ref":"A-17"},` + fields)),
		"subject.block":   aboutPerson(object(`"kind":"other","reason":"asked"`)),
		"subject.unblock": aboutPerson(object(`"kind":"dispute","reason":"asked"`)),

		"recipients.list": aboutPerson(""),
		"transfer.record": {states: anyState, request: func(w *world, c caller, f *figure) request {
			at := w.Clock.Now().UTC().Format("2006-01-02T15:04:05Z")
			return request{path: []string{f.nameFor(c)}, body: object(`"recipient":"courier","purpose":"delivery","reason":"sent","at":%q,"fields":["given_name"]`, at)}
		}},
		"handoff.create": {states: anyState, request: func(_ *world, c caller, f *figure) request {
			return request{body: object(forPurpose+`,"subject":%q,"to_system":%q,"fields":["given_name"]`, f.nameFor(c), third)}
		}},
		"handoff.redeem": {states: anyState, given: true, request: func(_ *world, _ caller, f *figure) request {
			return request{body: object(`"handoff":%q`, f.handoff)}
		}},

		"consent.record": {states: anyState, request: func(w *world, c caller, f *figure) request {
			at := w.Clock.Now().UTC().Format("2006-01-02T15:04:05Z")
			return request{path: []string{f.nameFor(c)}, body: object(`"text":"builtin-2026-01","purposes":["notices"],"channel":"paper","given_at":%q`, at)}
		}},
		"consent.list": aboutPerson(""),
		"consent.withdraw": {states: anyState, request: func(_ *world, c caller, f *figure) request {
			return request{path: []string{f.nameFor(c), f.consent}, body: "{}"}
		}},
		"consent.proof": {states: anyState, thing: true, request: func(_ *world, _ caller, f *figure) request {
			return request{body: object(`"receipt":%q`, f.receipt)}
		}},
		"consent.missing": plainly("purpose="+matrixPurpose, ""),

		"consent_text.list":   plainly("", ""),
		"consent_text.show":   named("builtin-2026-01"),
		"consent_text.change": {request: putText},

		"erasure.request": {states: anyState, request: func(_ *world, c caller, f *figure) request {
			return request{body: object(`"subject":%q,"ground":"request","reason":"asked"`, f.nameFor(c))}
		}},
		"erasure.show":        aboutErasure(""),
		"erasure.certificate": atItsEnd(aboutErasure("")),
		"erasure.approve":     aboutErasure(""),
		"erasure.cancel":      aboutErasure(""),

		"approval.list":     plainly("", ""),
		"audit.read":        plainly("limit=1", ""),
		"log.checkpoint":    plainly("", ""),
		"log.tile":          {request: func(*world, caller, *figure) request { return request{path: []string{"0/000.p/1"}} }},
		"log.keys":          plainly("", ""),
		"log.rotate_key":    plainly("", ""),
		"access.review":     plainly("", ""),
		"budget.read":       plainly("", ""),
		"backup.take":       {request: askForBackup},
		"keys.snapshot":     plainly("", `{"begun_at":"2026-01-01T00:00:00Z"}`),
		"keys.show":         plainly("", ""),
		"keys.missing":      plainly("", ""),
		"drill.run":         plainly("", ""),
		"drill.list":        plainly("", ""),
		"breakglass.list":   plainly("", ""),
		"breakglass.start":  {request: startEmergency},
		"breakglass.end":    aboutThing("brk_", "", (*world).emergencyOf),
		"breakglass.review": aboutThing("brk_", `{"outcome":"justified"}`, (*world).emergencyOver),

		"credential.create": plainly("", `{"system":"new","role":"application"}`),
		"credential.list":   plainly("", ""),
		"credential.rotate": aboutThing("cred_", `{"overlap_seconds":0}`, (*world).credential),
		"credential.revoke": aboutThing("cred_", "", (*world).credential),

		"canary.mark": {states: []state{active}, request: func(_ *world, _ caller, f *figure) request {
			name := f.wide
			if f.owner == "" {
				name = f.subject
			}
			return request{body: object(`"subject":%q`, name)}
		}},
		"index.show":    plainly("", ""),
		"index.rotate":  plainly("", ""),
		"canary.list":   plainly("", ""),
		"canary.unmark": aboutThing("cny_", "", (*world).canary),

		"fields.list":      plainly("", ""),
		"whoami":           plainly("", ""),
		"purposes.list":    plainly("", ""),
		"purpose.show":     named("delivery"),
		"purpose.versions": named("delivery"),
		"purpose.change":   putting(object(matrixTitle + `,"basis":"consent","fields":["phone"],"retention":{"after":"relationship_end"}`)),
		"recipient.list":   plainly("", ""),
		"recipient.show":   named("courier"),
		"recipient.change": putting(object(matrixTitle + `,"country":"KZ","purposes":["delivery"]`)),
		"system.list":      plainly("", ""),
		"system.show":      named("registered"),
		"system.change":    putting(`{"purposes":["delivery"]}`),
		"policies.show":    plainly("", ""),
		"policies.change":  {request: putPolicies},

		"configuration.show":    aboutThing("chg_", "", (*world).change),
		"configuration.approve": aboutThing("chg_", "", (*world).change),
		"configuration.cancel":  aboutThing("chg_", "", (*world).change),
	}
}

// openDocument has a caller open the document of a person of the asked system, or the owner for another's.
func (w *world) openDocument(c caller, f *figure) {
	w.t.Helper()
	in := &api.OpenDocumentRequest{Token: f.document, Purpose: matrixPurpose, Reason: "asked"}
	if f.owner == asked {
		if opened, err := w.OpenDocument(w.t.Context(), c.Call, in); err == nil {
			f.handle = opened.Content
			return
		}
	}
	f.handle = need(w.OpenDocument(w.t.Context(), w.owners[f.owner], in))(w.t).Content
}

func putText(w *world, _ caller, _ *figure) request {
	from := w.Clock.Now().AddDate(1, 0, 0).UTC().Format("2006-01-02T15:04:05Z")
	return request{path: []string{fmt.Sprintf("put%d", w.number())}, body: object(
		`"text":{"kk":"Келісемін.","ru":"Я согласен.","en":"I consent."},"purposes":[%q],"effective_from":%q`, matrixPurpose, from)}
}

func putPolicies(w *world, _ caller, _ *figure) request {
	set := api.Policies{Files: map[string]string{"mine.cedar": fmt.Sprintf("// %d\n", w.number())}}
	for name, text := range policies.BuiltIn() {
		set.Files[name] = string(text)
	}
	b := need(json.Marshal(set))(w.t)
	return request{body: string(b)}
}

// begin has somebody declare an emergency.
func (w *world) begin(call vault.Call) (*api.BreakGlass, error) {
	return w.StartBreakGlass(w.t.Context(), call, &api.BreakGlassRequest{Reason: "asked", Minutes: 1, Purpose: "contract"})
}

func (w *world) end(call vault.Call, emergency string) {
	w.t.Helper()
	need(w.EndBreakGlass(w.t.Context(), call, emergency))(w.t)
}

func startEmergency(w *world, c caller, _ *figure) request {
	return request{body: `{"reason":"asked","minutes":1,"purpose":"contract"}`, after: func() {
		open := true
		for _, e := range need(w.BreakGlass(w.t.Context(), w.hands[access.SecurityOfficer], &open, 0, ""))(w.t).Items {
			if e.System == c.Principal.System && e.EndedAt.IsZero() {
				w.end(c.Call, e.BreakGlass)
			}
		}
	}}
}

// emergencyOf is an emergency that lasts: of the caller's, if it may have one, or of somebody else.
func (w *world) emergencyOf(c caller, owner string) string {
	w.t.Helper()
	if owner == asked {
		if e, err := w.begin(c.Call); err == nil {
			return e.BreakGlass
		}
	}
	return need(w.begin(w.alarmed()))(w.t).BreakGlass
}

// emergencyOver is one of somebody else, which has ended.
func (w *world) emergencyOver(caller, string) string {
	w.t.Helper()
	somebody := w.alarmed()
	e := need(w.begin(somebody))(w.t)
	w.end(somebody, e.BreakGlass)
	return e.BreakGlass
}

// alarmed is somebody who has declared no emergency yet: one has only so many that were not reviewed.
func (w *world) alarmed() vault.Call {
	w.t.Helper()
	return w.As(fmt.Sprintf("alarmed%d", w.number()), access.Staff)
}

func (w *world) credential(caller, string) string {
	w.t.Helper()
	return need(w.CreateServiceToken(w.t.Context(), w.root(), &api.CreateServiceTokenRequest{System: "spare", Role: string(access.Application)}))(w.t).ID
}

func (w *world) canary(_ caller, owner string) string {
	w.t.Helper()
	f := w.person(owner, active)
	return need(w.MarkCanary(w.t.Context(), w.hands[access.SecurityOfficer], &api.MarkCanaryRequest{Subject: f.wide}))(w.t).ID
}

// change is a change that waits, and that another asked for.
func (w *world) change(caller, string) string {
	w.t.Helper()
	name := fmt.Sprintf("waits%d", w.number())
	return need(w.PutSystem(w.t.Context(), w.hands[access.Administrator], name, &api.System{Purposes: []string{"delivery"}}))(w.t).Change
}

// segments fills a pattern.
func (q request) segments(pattern string) string {
	rest := slices.Clone(q.path)
	if before, ok := strings.CutSuffix(pattern, "{path...}"); ok {
		return before + rest[0]
	}
	path := anySegment.ReplaceAllStringFunc(pattern, func(string) string {
		next := rest[0]
		rest = rest[1:]
		return next
	})
	if q.query != "" {
		path += "?" + q.query
	}
	return path
}

// askForBackup asks for a backup to a new repository.
func askForBackup(_ *world, _ caller, _ *figure) request {
	_, recipient, err := backup.Generate()
	if err != nil {
		panic(err)
	}
	ask := fmt.Sprintf(`{"recipients":[%q]}`, recipient)
	return request{
		body:   "q" + string(binary.BigEndian.AppendUint32(nil, uint32(len(ask)))) + ask,
		header: []string{"Content-Type", backup.MediaType},
	}
}
