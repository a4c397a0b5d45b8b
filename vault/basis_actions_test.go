package vault_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
)

// somebody draws a person.
func (w *basisWorld) somebody() *basisPerson {
	return w.people[w.choose("person", len(w.people))]
}

// recipient draws whom a purpose may disclose to: mostly as it must be.
func (w *basisWorld) recipient(purpose string) string {
	right := w.purposes[purpose].Discloses
	if w.choose("wrong recipient", 12) == 0 {
		right = !right
	}
	if !right {
		return ""
	}
	return w.any("recipient", basisParties)
}

// consent draws a consent, mostly a good one. No two of one person reach equally far.
func (w *basisWorld) consent(p *basisPerson) (*api.ConsentRequest, *basisConsent) {
	some := [][]string{{"care"}, {"care"}, {"promo"}, {"export"}, {"care", "export"}, {"care", "export"}}
	if w.choose("out of place", 12) == 0 {
		some = [][]string{{"duty"}, {"care", "promo"}}
	}
	purposes := some[w.choose("consent to", len(some))]
	req := &api.ConsentRequest{
		Text: "t1", Purposes: purposes, Channel: "web_form", GivenAt: w.now(),
		CrossBorder: w.choose("abroad", 3) > 0,
	}
	switch w.choose("given", 12) {
	case 0:
		req.GivenAt = w.now().Add(-40 * time.Hour) // before there was the text
	case 1, 2:
		req.GivenAt = w.now().Add(-time.Minute)
	}
	if slices.Contains(purposes, "promo") != (w.choose("wrong text", 12) == 0) {
		req.Text = "t2"
	}
	if w.choose("parties", 3) > 0 {
		req.ThirdParties = basisParties[:1+w.choose("how many", 2)]
	}
	w.serial++
	forever := p != nil && slices.ContainsFunc(p.consents, func(c *basisConsent) bool { return c.expires.IsZero() })
	if term := w.choose("term", 4); term > 0 || forever {
		terms := []time.Duration{100 * 24 * time.Hour, time.Minute, time.Hour, 48 * time.Hour}
		req.ExpiresAt = w.now().Add(terms[term] + time.Duration(w.serial)*time.Second)
	}
	return req, &basisConsent{
		version: 1, purposes: purposes, parties: req.ThirdParties, abroad: req.CrossBorder, given: req.GivenAt, expires: req.ExpiresAt,
	}
}

var basisPhones atomic.Int64

// tokenize brings somebody's values in, with a consent or without.
func (w *basisWorld) tokenize() {
	system, purpose, p := w.any("system", basisSystems), w.any("purpose", []string{"intake", "care", "duty", "promo"}), w.somebody()
	if p.gone || w.choose("new", 8) == 0 {
		p = nil
	}
	w.take(system, purpose, p, w.choose("with a consent", 2) == 0)
}

// take brings in the values of somebody, or of somebody new.
func (w *basisWorld) take(system, purpose string, p *basisPerson, consenting bool) {
	created := p == nil
	if created {
		p = &basisPerson{
			ids: map[string]string{}, tokens: map[string]map[string]string{}, documents: map[string]string{}, scans: map[string][]byte{},
			blocks: map[string]bool{},
			values: map[string]string{"given_name": nextName(), "iin": nextIIN(), "phone": fmt.Sprintf("+7702%07d", basisPhones.Add(1))},
		}
	}
	item := api.TokenizeItem{Fields: fields{}}
	for _, f := range basisFields {
		item.Fields[f] = text(p.values[f])
	}
	var given *basisConsent
	if consenting {
		item.Consent, given = w.consent(p)
	}
	v, call, c := w.on(system)
	resp, err := v.Tokenize(ctx, call, &api.TokenizeRequest{Purpose: purpose, Items: []api.TokenizeItem{item}})
	want := fault.Code("")
	if !w.mayName(c, purpose) {
		want = fault.Denied
	}
	if !w.came("tokenize", err, want) {
		return
	}
	r := resp.Results[0]
	on, want := w.rests(p, "intake", "")
	switch {
	case given != nil && !w.recordable(c, item.Consent):
		want = fault.Invalid
	case slices.ContainsFunc(basisFields, func(f string) bool { return !w.reaches(purpose, "", f) }):
		want = fault.Denied
	case want == "" && given != nil && p.revives(given):
		want = fault.Conflict
	case want == "":
		all := p.consents
		if given != nil {
			if r.Consent != nil {
				given.id = r.Consent.Consent
			}
			all = append(slices.Clone(all), given)
		}
		on, want = w.basis(all, purpose, "")
	}
	if !w.came("tokenize an item", itemErr(r.Error), want) {
		return
	}
	w.bring(p, system, r)
	if given != nil {
		given.by = system
		p.consents = append(p.consents, given)
		p.changed++
	}
	was := w.request
	if created {
		w.meet(p)
	}
	w.request = was
	w.used("tokenize", c, purpose, "", basisUse{p, on, basisFields})
}

// bring takes in the answer of a tokenize.
func (w *basisWorld) bring(p *basisPerson, system string, r api.TokenizeResult) {
	p.ids[system] = r.Subject
	p.tokens[system] = map[string]string{}
	for _, f := range basisFields {
		p.tokens[system][f] = r.Tokens[f].Items[0]
	}
}

// meet finds out the vault-wide id of somebody new.
func (w *basisWorld) meet(p *basisPerson) {
	v, call, c := w.on("root")
	found, err := v.Search(ctx, call, &api.SearchRequest{Purpose: "find", Reason: "check", Field: "iin", Value: api.Text(p.values["iin"])})
	if !w.came("search", err, "") {
		return
	}
	if len(found.Results) != 1 {
		w.Fatalf("somebody new is found %d times", len(found.Results))
	}
	p.id = found.Results[0].Subject
	w.people = append(w.people, p)
	w.used("search", c, "find", "", basisUse{p, basisOf{basis: "law"}, []string{"iin"}})
}

// put puts a document.
func (w *basisWorld) put() {
	if system, p := w.any("system", basisSystems), w.somebody(); p.ids[system] != "" && p.documents[system] == "" {
		w.upload(system, w.any("purpose", []string{"intake", "care", "duty"}), p)
	}
}

func (w *basisWorld) upload(system, purpose string, p *basisPerson) {
	scan := jpeg(200)
	u := upload(p.ids[system], scan)
	u.Purpose = purpose
	v, call, c := w.on(system)
	put, err := v.PutDocument(ctx, call, u)
	on, want := w.rests(p, purpose, "")
	if !w.mayName(c, purpose) || !w.reaches(purpose, "", "documents") {
		want = fault.Denied
	}
	if w.came("put a document", err, want) {
		p.documents[system], p.scans[system] = put.Token, scan
		w.used("document.put", c, purpose, "", basisUse{p, on, []string{"documents"}})
	}
}

// reader draws somebody who reads, and for what.
func (w *basisWorld) reader() (caller, purpose, recipient string, form api.Form) {
	caller = w.any("caller", []string{"shop", "shop", "club", "desk", "branch", "trainee", "help", "help"})
	purpose = w.any("purpose", append([]string{"care", "care", "export", "export", "report"}, basisPurposes...))
	form = []api.Form{api.Plain, api.Masked, api.Allowed}[w.choose("form", 3)]
	if caller == "help" && w.callers[caller].emergency != nil && w.choose("in the emergency", 2) == 0 {
		purpose = w.callers[caller].emergency.purpose
	}
	return caller, purpose, w.recipient(purpose), form
}

// refusedEarly is what a reading comes to whoever it is about.
func (w *basisWorld) refusedEarly(c *basisCaller, purpose, recipient string, form api.Form) fault.Code {
	want := w.asked(c, purpose, recipient)
	if _, permitted := w.form(c, form, purpose, nil); want == "" && !permitted {
		want = fault.Denied
	}
	return want
}

// detokenize reads tokens of one system or another, of one person or of several.
func (w *basisWorld) detokenize() {
	type asked struct {
		person        *basisPerson
		system, field string
	}
	var all []asked
	req := &api.DetokenizeRequest{Reason: "check"}
	for range 1 + w.choose("tokens", 4) {
		p, system, field := w.somebody(), w.any("system", basisSystems), w.any("field", basisFields)
		if p.tokens[system][field] != "" {
			all = append(all, asked{p, system, field})
			req.Tokens = append(req.Tokens, p.tokens[system][field])
		}
	}
	if len(all) == 0 {
		return
	}
	caller, purpose, recipient, form := w.reader()
	req.Purpose, req.Recipient, req.Form = purpose, recipient, form
	v, call, c := w.on(caller)
	resp, err := v.Detokenize(ctx, call, req)
	if !w.came("detokenize", err, w.refusedEarly(c, purpose, recipient, form)) {
		return
	}
	uses := map[*basisPerson]*basisUse{}
	for i, a := range all {
		r := resp.Results[i]
		in, on, want := w.value(c, a.person, a.system, a.field, purpose, recipient, form)
		if !w.came("detokenize a token", itemErr(r.Error), want) {
			continue
		}
		if !a.person.shown(a.field, in, *r.Value) || form == api.Allowed && r.Form != in {
			w.Fatalf("%s came back as another value, or in another form", a.field)
		}
		if uses[a.person] == nil {
			uses[a.person] = &basisUse{person: a.person, basisOf: on}
		}
		uses[a.person].fields = append(uses[a.person].fields, a.field)
	}
	var told []basisUse
	for _, u := range uses {
		told = append(told, *u)
	}
	w.used("detokenize", c, purpose, recipient, told...)
}

// reveal reads without tokens.
func (w *basisWorld) reveal() {
	p := w.somebody()
	caller, purpose, recipient, form := w.reader()
	w.revealTo(p, caller, purpose, recipient, form)
}

func (w *basisWorld) revealTo(p *basisPerson, caller, purpose, recipient string, form api.Form) {
	named := basisFields[:1+w.choose("fields", 3)]
	v, call, c := w.on(caller)
	resp, err := v.Reveal(ctx, call, c.calls(p), &api.RevealRequest{Purpose: purpose, Recipient: recipient, Reason: "check", Form: form, Fields: named})
	on, want := w.about(c, p, purpose, recipient, named...)
	in, permitted := w.form(c, form, purpose, p)
	if want[0] == "" && !permitted {
		want[0] = fault.Denied
	}
	if early := w.refusedEarly(c, purpose, recipient, form); early != "" {
		want = []fault.Code{early}
	}
	if !w.came("reveal", err, want...) {
		return
	}
	u := basisUse{person: p, basisOf: on}
	for _, f := range named {
		got := resp.Fields[f].Items
		if c.readable(p, f) != (len(got) == 1) || len(got) == 1 && !p.shown(f, in, got[0]) {
			w.Fatalf("reveal: %d values of %s, or another", len(got), f)
		}
		if len(got) > 0 {
			u.fields = append(u.fields, f)
		}
	}
	shown := u.fields
	u.fields = named // what was asked for
	if recipient != "" {
		w.sent("reveal", c, purpose, recipient, u, shown)
		return
	}
	w.used("reveal", c, purpose, recipient, u)
}

// sent is used for an operation whose entry names what was asked for and whose transfer what was shown.
func (w *basisWorld) sent(operation string, c *basisCaller, purpose, recipient string, u basisUse, shown []string) {
	_, transfers := w.witness.of(w.request)
	if len(shown) == 0 {
		if len(transfers) > 0 {
			w.Fatalf("%s: a transfer of nothing", operation)
		}
		return
	}
	if len(transfers) == 1 && sameSet(transfers[0].Fields, shown) {
		transfers[0].Fields = u.fields
	}
	w.used(operation, c, purpose, recipient, u)
}

// about says what a use of somebody comes to whom the caller names. Of somebody who is gone, staff with grants are told that,
// or nothing once it is forgotten who held them.
func (w *basisWorld) about(c *basisCaller, p *basisPerson, purpose, recipient string, named ...string) (basisOf, []fault.Code) {
	on, want := w.rests(p, purpose, recipient)
	switch {
	case !c.sees(p):
		return on, []fault.Code{fault.NotFound}
	case p.gone && !c.application() && !c.AllSystems:
		return on, []fault.Code{fault.Erased, fault.NotFound}
	case want == "" && slices.ContainsFunc(named, func(f string) bool { return !w.reaches(purpose, recipient, f) }):
		want = fault.Denied
	}
	return on, []fault.Code{want}
}

// search finds people by a value.
func (w *basisWorld) search() {
	p, field := w.somebody(), w.any("field", []string{"iin", "phone"})
	caller, purpose, _, _ := w.reader()
	v, call, c := w.on(caller)
	resp, err := v.Search(ctx, call, &api.SearchRequest{Purpose: purpose, Reason: "check", Field: field, Value: api.Text(p.values[field])})
	want := fault.Code("")
	if !w.mayName(c, purpose) || !w.reaches(purpose, "", field) {
		want = fault.Denied
	}
	if !w.came("search", err, want) {
		return
	}
	on, refused := w.basis(p.consents, purpose, "") // somebody who is blocked is found, so that the block can be lifted
	if p.gone || refused != "" || !c.readable(p, field) {
		if len(resp.Results) > 0 {
			w.Fatalf("search for %s: somebody is found who must not be", purpose)
		}
		return
	}
	if len(resp.Results) != 1 || resp.Results[0].Subject != c.calls(p) {
		w.Fatalf("search for %s: %d people found, want 1", purpose, len(resp.Results))
	}
	w.used("search", c, purpose, "", basisUse{p, on, []string{field}})
}

// openDocument opens a document, to be read now or later.
func (w *basisWorld) openDocument() {
	p := w.somebody()
	if len(p.documents) == 0 {
		return
	}
	system := w.any("whose", slices.Sorted(maps.Keys(p.documents)))
	caller, purpose, recipient, _ := w.reader()
	if w.choose("its own", 2) == 0 {
		caller = system
	}
	v, call, c := w.on(caller)
	opened, err := v.OpenDocument(ctx, call, &api.OpenDocumentRequest{Token: p.documents[system], Purpose: purpose, Recipient: recipient, Reason: "check"})
	on, want := w.rests(p, purpose, recipient)
	if !c.reads(system) {
		want = fault.NotFound
	}
	if early := w.asked(c, purpose, recipient); early != "" {
		want = early
	} else if c.Has(access.Support) || !w.reaches(purpose, recipient, "documents") {
		want = fault.Denied
	}
	if !w.came("open a document", err, want) {
		return
	}
	w.used("document.open", c, purpose, recipient, basisUse{p, on, []string{"documents"}})
	w.handles = append(w.handles, &basisHandle{
		w.node, c, p, system, opened.Content[len("/v1/content/"):], purpose, recipient, w.now().Add(2 * time.Minute), p.changed, false,
	})
	h := w.handles[len(w.handles)-1]
	switch w.choose("and then", 8) {
	case 0, 1:
		w.wait()
	case 2, 3, 4:
		w.change(purpose)
	case 5:
		w.registerRecipient()
	}
	w.read(h, h.node)
}

// content reads what was opened before: all that permitted it must stand still.
func (w *basisWorld) content() {
	if len(w.handles) == 0 {
		return
	}
	h := w.handles[len(w.handles)-1-w.choose("handle", min(len(w.handles), 3))]
	if node := h.node; w.choose("another node", 4) > 0 {
		w.read(h, node)
		return
	}
	w.read(h, w.choose("node", len(w.nodes)))
}

// permitsStill reports whether the law permits what was opened.
func (w *basisWorld) permitsStill(h *basisHandle) bool {
	_, refused := w.rests(h.person, h.purpose, h.recipient)
	return refused == "" && h.changed == h.person.changed && w.asked(h.caller, h.purpose, h.recipient) == "" &&
		w.reaches(h.purpose, h.recipient, "documents")
}

func (w *basisWorld) read(h *basisHandle, node int) {
	_, call, _ := w.on(h.caller.System)
	w.node = node
	c, err := w.nodes[node].Content(ctx, call, h.path)
	want := []fault.Code{""}
	switch {
	case !w.now().Before(h.until) || !w.permitsStill(h):
		want[0] = fault.NotFound
	case h.ended:
		want = append(want, fault.NotFound)
	}
	if !w.came("content", err, want...) {
		return
	}
	defer c.Close()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, h.person.scans[h.system]) {
		w.Fatalf("another document came back: %v", err)
	}
}

// record records a consent.
func (w *basisWorld) record() {
	caller, p := w.any("caller", []string{"shop", "shop", "club", "desk", "branch"}), w.somebody()
	req, given := w.consent(p)
	v, call, c := w.on(caller)
	made, err := v.RecordConsent(ctx, call, c.calls(p), req)
	_, want := w.about(c, p, "find", "")
	if !w.recordable(c, req) {
		want = []fault.Code{fault.Invalid}
	} else if want[0] == "" && p.revives(given) {
		want[0] = fault.Conflict
	}
	if w.came("record a consent", err, want...) {
		given.id, given.by = made.Consent, caller
		p.consents = append(p.consents, given)
		p.changed++
	}
}

// withdrawOne ends a consent.
func (w *basisWorld) withdrawOne() {
	caller, p := w.any("caller", []string{"shop", "club", "desk", "branch"}), w.somebody()
	if len(p.consents) == 0 {
		return
	}
	g := p.consents[w.choose("consent", len(p.consents))]
	v, call, c := w.on(caller)
	got, err := v.WithdrawConsent(ctx, call, c.calls(p), g.id, &api.WithdrawRequest{})
	_, want := w.about(c, p, "find", "")
	if want[0] == fault.Blocked {
		want[0] = "" // which does not hold a withdrawal up
	}
	if want[0] == "" && c.application() && g.by != caller {
		want[0] = fault.NotFound
	}
	if want[0] == "" {
		before := g.version
		want[0] = w.withdraw(g)
		if g.version > before {
			p.changed++
		}
	}
	if w.came("withdraw", err, want...) && got.Version != g.version {
		w.Fatalf("withdraw: version %d, want %d", got.Version, g.version)
	}
	purpose := w.any("read for", g.purposes)
	w.revealTo(p, g.by, purpose, w.recipient(purpose), api.Plain)
}

// block stops processing, or lets it go on.
func (w *basisWorld) block() {
	system, p := w.any("system", basisSystems), w.somebody()
	if blocked := slices.Collect(maps.Keys(p.blocks)); len(blocked) > 0 && w.choose("who blocked", 4) > 0 {
		_, system, _ = strings.Cut(blocked[0], "/")
	}
	if p.ids[system] == "" {
		return
	}
	v, call, _ := w.on(system)
	req, at := &api.BlockRequest{Kind: "dispute", Reason: "claim"}, "dispute/"+system
	change, want, lift := v.Block, fault.Code(""), len(p.blocks) > 0
	if lift {
		change = v.Unblock
		if !p.blocks[at] {
			want = fault.Denied
		}
	}
	if p.gone {
		want = fault.Erased
	}
	if _, err := change(ctx, call, p.ids[system], req); !w.came("block", err, want) {
		return
	}
	p.changed++
	if lift {
		delete(p.blocks, at)
	} else {
		p.blocks[at] = true
	}
}

// unblock lets go on what was stopped, if there is such.
func (w *basisWorld) unblock() {
	if slices.ContainsFunc(w.people, func(p *basisPerson) bool { return len(p.blocks) > 0 }) {
		w.block()
	}
}

// erase erases somebody whom one system holds.
func (w *basisWorld) erase() {
	p := w.somebody()
	if len(p.ids) != 1 || w.choose("indeed", 3) > 0 {
		return
	}
	v, call, c := w.on(slices.Collect(maps.Keys(p.ids))[0])
	_, err := v.RequestErasure(ctx, call, &api.ErasureRequest{Subject: c.calls(p), Ground: "request", Reason: "asked"})
	_, want := w.rests(p, "find", "")
	if w.came("erase", err, want) {
		p.gone = true
	}
}

// hand makes a handoff.
func (w *basisWorld) hand() {
	from, p, purpose := w.any("system", basisSystems), w.somebody(), w.any("purpose", basisPurposes)
	to, named := "club", basisFields[:1+w.choose("fields", 3)]
	if from == to {
		to = "shop"
	}
	v, call, c := w.on(from)
	made, err := v.CreateHandoff(ctx, call, &api.CreateHandoffRequest{Subject: c.calls(p), ToSystem: to, Purpose: purpose, Fields: named})
	on, want := w.about(c, p, purpose, "", named...)
	if want[0] == "" && slices.ContainsFunc(named, func(f string) bool { return p.tokens[from][f] == "" }) {
		want[0] = fault.Denied
	}
	if w.handsOff(from, to, purpose) != "" {
		want[0] = fault.Denied
	}
	if w.came("make a handoff", err, want...) {
		w.used("handoff.create", c, purpose, "", basisUse{p, on, named})
		w.handoffs = append(w.handoffs, &basisHandoff{
			id: made.Handoff, from: from, to: to, purpose: purpose, person: p, fields: named, until: w.now().Add(10 * time.Minute),
		})
	}
}

// redeem redeems a handoff.
func (w *basisWorld) redeem() {
	if len(w.handoffs) == 0 {
		return
	}
	h, system := w.handoffs[w.choose("handoff", len(w.handoffs))], w.any("system", basisSystems)
	v, call, c := w.on(system)
	got, err := v.RedeemHandoff(ctx, call, &api.RedeemHandoffRequest{Handoff: h.id})
	on, want := w.rests(h.person, h.purpose, "")
	switch {
	case h.over, h.to != system, !w.now().Before(h.until):
		want = fault.NotFound
	case want == "" && (w.handsOff(h.from, h.to, h.purpose) != "" || slices.ContainsFunc(h.fields, func(f string) bool { return !w.reaches(h.purpose, "", f) })):
		want = fault.Denied
	}
	if !w.came("redeem a handoff", err, want) {
		return
	}
	h.over = true
	h.person.ids[system] = got.Subject
	if h.person.tokens[system] == nil {
		h.person.tokens[system] = map[string]string{}
	}
	for _, f := range h.fields {
		h.person.tokens[system][f] = got.Tokens[f].Items[0]
	}
	w.used("handoff.redeem", c, h.purpose, "", basisUse{h.person, on, h.fields})
}

// recordTransfer records a disclosure that happened elsewhere.
func (w *basisWorld) recordTransfer() {
	p, caller, purpose := w.somebody(), w.any("caller", []string{"shop", "club", "desk", "branch"}), w.any("purpose", []string{"export", "report", "care"})
	recipient, named := w.recipient(purpose), basisFields[:1+w.choose("fields", 3)]
	v, call, c := w.on(caller)
	_, err := v.RecordTransfer(ctx, call, c.calls(p), &api.RecordTransferRequest{
		Recipient: recipient, Purpose: purpose, Reason: "order", At: w.now(), Fields: named,
	})
	on, want := w.about(c, p, purpose, recipient, named...)
	switch early := w.asked(c, purpose, recipient); {
	case early != "":
		want = []fault.Code{early}
	case recipient == "":
		want = []fault.Code{fault.Invalid}
	case slices.ContainsFunc(named, func(f string) bool { return !w.reaches(purpose, recipient, f) }):
		want = []fault.Code{fault.Denied}
	}
	if w.came("record a transfer", err, want...) {
		w.used("transfer.record", c, purpose, recipient, basisUse{p, on, named})
	}
}
