package vault_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// The model of these tests: people in a list, values in slots, tokens on the values. It has no store, no keys, no epochs
// and no index; whatever those do must not show.
type (
	modelValue struct {
		text   string
		tokens map[string]string // system → token
	}
	modelDocument struct {
		id     string
		parts  [][]byte
		tokens map[string]string
	}
	modelPerson struct {
		ids       map[string]string        // system → what it calls the person
		refs      map[string]string        // system → its own key
		values    map[string][]*modelValue // field → by slot; nil: the slot is free
		documents []*modelDocument
		blocks    map[string]string // kind/system that placed it → kind
		gone      bool
	}
	// modelToken is what a token that was given out stands for; neither when it is revoked or its value removed.
	modelToken struct {
		system   string
		person   *modelPerson
		value    *modelValue
		field    string
		document *modelDocument
	}
)

// model is a vault beside the model of it.
type model struct {
	*vaulttest.Vault
	calls                    map[string]vault.Call // by system; the desk is staff
	people                   []*modelPerson
	tokens                   map[string]*modelToken
	issued                   []string // the tokens in the order in which they were given out
	iins, phones, names, ref []string // the values of this run
	keys                     int      // idempotency keys used
}

var modelFields = []string{"given_name", "iin", "phone"} // in the order in which an item is worked through

const desk = "desk"

// find is the person who has a unique value or a system's own key.
func (m *model) find(f func(*modelPerson) bool) *modelPerson {
	for _, p := range m.people {
		if !p.gone && f(p) {
			return p
		}
	}
	return nil
}

func (p *modelPerson) has(field, text string) *modelValue {
	for _, v := range p.held(field) {
		if v.text == text {
			return v
		}
	}
	return nil
}

// held are the values that there are.
func (p *modelPerson) held(field string) []*modelValue {
	return slices.DeleteFunc(slices.Clone(p.values[field]), func(v *modelValue) bool { return v == nil })
}

// holders is how many systems hold the person.
func (p *modelPerson) holders() int { return len(p.ids) }

// refusal is what a use of the person's data answers.
func (p *modelPerson) refusal() fault.Code {
	switch {
	case p.gone:
		return fault.Erased
	case len(p.blocks) > 0:
		return fault.Blocked
	}
	return ""
}

// modelItem is what a tokenize brings.
type modelItem struct {
	system, ref string
	subject     *modelPerson
	values      map[string][]string
	keep        bool
}

// owner says whose values an item brings (nil: somebody new), or what forbids it.
func (m *model) owner(it modelItem) (*modelPerson, fault.Code) {
	who := it.subject
	if who != nil && who.gone {
		return nil, fault.Erased
	}
	for _, found := range []*modelPerson{
		m.find(func(p *modelPerson) bool { return it.ref != "" && p.refs[it.system] == it.ref }),
		m.find(func(p *modelPerson) bool {
			return len(it.values["iin"]) > 0 && p.has("iin", it.values["iin"][0]) != nil
		}),
	} {
		if found == nil {
			continue
		}
		if who != nil && who != found {
			return nil, fault.Conflict
		}
		who = found
	}
	if who == nil {
		return nil, ""
	}
	if code := who.refusal(); code != "" {
		return nil, code
	}
	if old := who.refs[it.system]; it.ref != "" && old != "" && old != it.ref {
		return nil, fault.Conflict
	}
	for _, f := range []string{"given_name", "iin"} {
		if v := it.values[f]; len(v) > 0 && len(who.held(f)) > 0 && who.has(f, v[0]) == nil && !it.keep {
			return nil, fault.Conflict
		}
	}
	return who, ""
}

// take lets the model follow a tokenize that went well, and compares the answer.
func (m *model) take(t *rapid.T, it modelItem, who *modelPerson, r api.TokenizeResult) {
	if who == nil {
		who = &modelPerson{
			ids: map[string]string{}, refs: map[string]string{}, values: map[string][]*modelValue{}, blocks: map[string]string{},
		}
		m.people = append(m.people, who)
	}
	m.holds(t, it.system, who, r.Subject, r.Created)
	if it.ref != "" {
		who.refs[it.system] = it.ref
	}
	var differs []string
	for _, f := range modelFields {
		for n, text := range it.values[f] {
			v := who.has(f, text)
			if held := who.held(f); v == nil && f != "phone" && len(held) > 0 {
				v = held[0]
				differs = append(differs, f)
				if v.tokens[it.system] == "" {
					if len(r.Tokens[f].Items) > 0 {
						t.Fatalf("a token of another system's %s", f)
					}
					continue
				}
			}
			if v == nil {
				v = who.add(f, text)
			}
			m.named(t, it.system, who, f, v, r.Tokens[f].Items[n])
		}
	}
	if !slices.Equal(differs, r.Differs) {
		t.Fatalf("differs %v, want %v", r.Differs, differs)
	}
}

func (p *modelPerson) add(field, text string) *modelValue {
	v := &modelValue{text, map[string]string{}}
	if free := slices.Index(p.values[field], nil); free >= 0 {
		p.values[field][free] = v
	} else {
		p.values[field] = append(p.values[field], v)
	}
	return v
}

// holds compares what a system is told of whom it holds.
func (m *model) holds(t *rapid.T, system string, who *modelPerson, id string, created bool) {
	before, held := who.ids[system]
	if held == created || held && id != before {
		t.Fatalf("the person was held %v, and is created %v", held, created)
	}
	for _, p := range m.people {
		for _, other := range p.ids {
			if !held && other == id {
				t.Fatal("an id that was given out before")
			}
		}
	}
	who.ids[system] = id
}

// named compares the token of a value: the same as ever, or one that never was.
func (m *model) named(t *rapid.T, system string, who *modelPerson, field string, v *modelValue, token string) {
	if before, ok := v.tokens[system]; ok {
		if before != token {
			t.Fatalf("another token of %s", field)
		}
		return
	}
	if m.tokens[token] != nil {
		t.Fatal("a token that was given out before")
	}
	v.tokens[system] = token
	m.issue(token, &modelToken{system: system, person: who, value: v, field: field})
}

func (m *model) issue(token string, stands *modelToken) {
	m.tokens[token] = stands
	m.issued = append(m.issued, token)
}

// code compares a failure; it returns whether the call went well.
func code(t *rapid.T, what string, err error, want fault.Code) bool {
	t.Helper()
	got := fault.Code("")
	if err != nil {
		got = fault.CodeOf(err)
	}
	if got != want {
		t.Fatalf("%s: %v, want %q", what, err, want)
	}
	return got == ""
}

func (m *model) system(t *rapid.T) string {
	return rapid.SampledFrom([]string{"shop", "club"}).Draw(t, "system")
}

// somebody draws a person whom a system holds; nil when there is none.
func (m *model) somebody(t *rapid.T, system string) *modelPerson {
	var held []*modelPerson
	for _, p := range m.people {
		if p.ids[system] != "" {
			held = append(held, p)
		}
	}
	if len(held) == 0 {
		return nil
	}
	return held[rapid.IntRange(0, len(held)-1).Draw(t, "person")]
}

// anyToken draws a token of some kind; nil when there is none.
func (m *model) anyToken(t *rapid.T, that func(*modelToken) bool) (string, *modelToken) {
	var all []string
	for _, token := range m.issued {
		if that(m.tokens[token]) {
			all = append(all, token)
		}
	}
	if len(all) == 0 {
		return "", nil
	}
	token := all[rapid.IntRange(0, len(all)-1).Draw(t, "token")]
	return token, m.tokens[token]
}

func (m *model) drawValues(t *rapid.T) map[string][]string {
	values := map[string][]string{}
	if rapid.Bool().Draw(t, "has a name") {
		values["given_name"] = []string{rapid.SampledFrom(m.names).Draw(t, "name")}
	}
	if rapid.Bool().Draw(t, "has an IIN") {
		values["iin"] = []string{rapid.SampledFrom(m.iins).Draw(t, "IIN")}
	}
	phones := rapid.SliceOfNDistinct(rapid.SampledFrom(m.phones), 0, 3, rapid.ID).Draw(t, "phones")
	if len(phones) > 0 {
		values["phone"] = phones
	}
	if len(values) == 0 {
		values["given_name"] = m.names[:1]
	}
	return values
}

func wireFields(values map[string][]string) fields {
	f := fields{}
	for name, all := range values {
		f[name] = text(all[0])
		if name == "phone" {
			f[name] = texts(all...)
		}
	}
	return f
}

// tokenize brings values in, and sometimes repeats the call under its idempotency key.
func (m *model) tokenize(t *rapid.T) {
	it := modelItem{system: m.system(t), values: m.drawValues(t), keep: rapid.Bool().Draw(t, "keep")}
	req := api.TokenizeItem{Fields: wireFields(it.values)}
	if it.keep {
		req.OnConflict = api.ConflictKeep
	}
	switch rapid.IntRange(0, 3).Draw(t, "by") {
	case 0:
		it.ref = rapid.SampledFrom(m.ref).Draw(t, "external_ref")
		req.ExternalRef = it.ref
	case 1:
		if it.subject = m.somebody(t, it.system); it.subject != nil {
			req.Subject = it.subject.ids[it.system]
		}
	}
	call := m.calls[it.system]
	again := rapid.IntRange(0, 3).Draw(t, "again") == 0
	if again {
		m.keys++
		call.Key = fmt.Sprint("key-", m.keys)
	}
	who, refused := m.owner(it)
	ask := func() api.TokenizeResult {
		resp, err := m.Tokenize(ctx, call, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{req}})
		code(t, "tokenize", err, "")
		return resp.Results[0]
	}
	r := ask()
	if !code(t, "tokenize", itemErr(r.Error), refused) {
		return
	}
	m.take(t, it, who, r)
	if again {
		if second := ask(); second.Subject != r.Subject || second.Created != r.Created || fmt.Sprint(second.Tokens) != fmt.Sprint(r.Tokens) {
			t.Fatal("the repetition answers another")
		}
	}
}

func itemErr(e *api.ItemError) error {
	if e == nil {
		return nil
	}
	return e.Err()
}

// seen is what a token answers to a system.
func (tok *modelToken) seen(system string) fault.Code {
	switch {
	case tok.person == nil, system != desk && tok.system != system:
		return fault.NotFound
	case tok.person.gone:
		return fault.Erased
	}
	return ""
}

// detokenize reads a token as one system or another, or as staff.
func (m *model) detokenize(t *rapid.T) {
	token, stands := m.anyToken(t, func(*modelToken) bool { return true })
	if stands == nil {
		return
	}
	system := rapid.SampledFrom([]string{"shop", "club", desk}).Draw(t, "reader")
	want := stands.seen(system)
	if want == "" && stands.document != nil {
		want = fault.NotFound
	} else if want == "" {
		want = stands.person.refusal()
	}
	resp, err := m.Detokenize(ctx, m.calls[system], &api.DetokenizeRequest{Purpose: "service", Reason: "check", Tokens: []string{token}})
	code(t, "detokenize", err, "")
	if r := resp.Results[0]; code(t, "detokenize", itemErr(r.Error), want) {
		if got, _ := r.Value.Text(); got != stands.value.text || r.Field != stands.field {
			t.Fatalf("%s came back as another value", stands.field)
		}
	}
}

// describe asks what a token stands for.
func (m *model) describe(t *rapid.T) {
	token, stands := m.anyToken(t, func(*modelToken) bool { return true })
	if stands == nil {
		return
	}
	system := m.system(t)
	resp, err := m.DescribeTokens(ctx, m.calls[system], &api.TokensRequest{Tokens: []string{token}})
	code(t, "describe", err, "")
	if r := resp.Results[0]; code(t, "describe", itemErr(r.Error), stands.seen(system)) {
		state := api.StateActive
		if len(stands.person.blocks) > 0 {
			state = api.StateBlocked
		}
		if r.Field != stands.field || r.State != string(state) || r.Subject != stands.person.ids[system] {
			t.Fatalf("%+v", r)
		}
	}
}

// revoke retires a token.
func (m *model) revoke(t *rapid.T) {
	token, stands := m.anyToken(t, func(*modelToken) bool { return true })
	if stands == nil {
		return
	}
	system := m.system(t)
	resp, err := m.RevokeTokens(ctx, m.calls[system], &api.TokensRequest{Tokens: []string{token}})
	code(t, "revoke", err, "")
	want := stands.seen(system)
	if stands.person == nil && stands.system == system {
		want = "" // it is retired already
	}
	if !code(t, "revoke", itemErr(resp.Results[0].Error), want) || stands.person == nil {
		return
	}
	if stands.document != nil {
		delete(stands.document.tokens, system)
	} else {
		delete(stands.value.tokens, system)
	}
	stands.person = nil
}

// reveal reads without tokens.
func (m *model) reveal(t *rapid.T) {
	system := m.system(t)
	who := m.somebody(t, system)
	if who == nil {
		return
	}
	resp, err := m.Reveal(ctx, m.calls[system], who.ids[system], &api.RevealRequest{Purpose: "service", Reason: "check", Fields: modelFields})
	if !code(t, "reveal", err, who.refusal()) {
		return
	}
	for _, f := range modelFields {
		var want, got []string
		for _, v := range who.held(f) {
			if v.tokens[system] != "" {
				want = append(want, v.text)
			}
		}
		for _, v := range resp.Fields[f].Items {
			s, _ := v.Text()
			got = append(got, s)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%d values of %s, want %d", len(got), f, len(want))
		}
	}
}

// rectify replaces values: those held stay, the others take the slots that are left over, and what is left then goes.
func (m *model) rectify(t *rapid.T) {
	system := m.system(t)
	who, values := m.somebody(t, system), m.drawValues(t)
	if who == nil {
		return
	}
	refused := fault.Code("")
	if v := values["iin"]; len(v) > 0 {
		if owner := m.find(func(p *modelPerson) bool { return p.has("iin", v[0]) != nil }); owner != nil && owner != who {
			refused = fault.Conflict
		}
	}
	for _, f := range []string{"given_name", "iin"} {
		if held := who.held(f); values[f] != nil && len(held) > 0 && held[0].text != values[f][0] && !held[0].alone(system) {
			refused = fault.Conflict // other systems rely on it
		}
	}
	if who.gone {
		refused = fault.Erased
	}
	r, err := m.Rectify(ctx, m.calls[system], who.ids[system], &api.RectifyRequest{
		Purpose: "registration", Evidence: api.Evidence{Kind: "document", Ref: "12"}, Fields: wireFields(values),
	})
	if !code(t, "rectify", err, refused) {
		return
	}
	for _, f := range modelFields {
		if values[f] != nil {
			for n, v := range m.correct(system, who, f, values[f]) {
				m.named(t, system, who, f, v, r.Tokens[f].Items[n])
			}
		}
	}
}

// alone reports whether a system has a token of the value and no other has.
func (v *modelValue) alone(system string) bool { return v.tokens[system] != "" && len(v.tokens) == 1 }

// correct is what rectify does to one field of what the system alone has tokens of; it returns the values' places.
func (m *model) correct(system string, who *modelPerson, field string, values []string) []*modelValue {
	places := make([]*modelValue, len(values))
	var left, shared []*modelValue
	for _, v := range who.held(field) {
		switch at := slices.Index(values, v.text); {
		case at >= 0:
			places[at] = v
		case v.alone(system):
			left = append(left, v)
		case v.tokens[system] != "":
			shared = append(shared, v)
		}
	}
	for n, text := range values {
		if places[n] == nil && len(left) > 0 {
			places[n], left = left[0], left[1:]
			places[n].text = text
		}
	}
	for _, v := range append(left, shared...) {
		m.tokens[v.tokens[system]].person = nil
		delete(v.tokens, system)
		if len(v.tokens) == 0 {
			who.values[field][slices.Index(who.values[field], v)] = nil
		}
	}
	for n, text := range values {
		if places[n] == nil {
			places[n] = who.add(field, text)
		}
	}
	return places
}

// block stops processing.
func (m *model) block(t *rapid.T) {
	system, kind := m.system(t), rapid.SampledFrom([]string{"dispute", "unlawful"}).Draw(t, "kind")
	who := m.somebody(t, system)
	if who == nil {
		return
	}
	want := fault.Code("")
	if who.gone {
		want = fault.Erased
	}
	_, err := m.Block(ctx, m.calls[system], who.ids[system], &api.BlockRequest{Kind: kind, Reason: "claim"})
	if code(t, "block", err, want) {
		who.blocks[kind+"/"+system] = kind
	}
}

// unblock lifts a block.
func (m *model) unblock(t *rapid.T) {
	system, kind := m.system(t), rapid.SampledFrom([]string{"dispute", "unlawful"}).Draw(t, "kind")
	who := m.somebody(t, system)
	if who == nil {
		return
	}
	want := fault.Code("")
	switch {
	case who.gone:
		want = fault.Erased
	case !slices.Contains(slices.Collect(maps.Values(who.blocks)), kind):
		want = fault.Conflict
	case who.blocks[kind+"/"+system] == "":
		want = fault.Denied
	}
	_, err := m.Unblock(ctx, m.calls[system], who.ids[system], &api.BlockRequest{Kind: kind, Reason: "settled"})
	if code(t, "unblock", err, want) {
		delete(who.blocks, kind+"/"+system)
	}
}

// put puts a document, or a part to one.
func (m *model) put(t *rapid.T) {
	system := m.system(t)
	who := m.somebody(t, system)
	if who == nil {
		return
	}
	scan := jpeg(500)
	u := upload(who.ids[system], scan)
	doc, want := &modelDocument{tokens: map[string]string{}}, who.refusal()
	if len(who.documents) > 0 && rapid.Bool().Draw(t, "a part") {
		doc = who.documents[rapid.IntRange(0, len(who.documents)-1).Draw(t, "document")]
		u.Document = doc.id
		if want == "" && doc.tokens[system] == "" {
			want = fault.NotFound
		}
	}
	put, err := m.PutDocument(ctx, m.calls[system], u)
	if !code(t, "put a document", err, want) {
		return
	}
	doc.parts = append(doc.parts, scan)
	if u.Document == "" {
		doc.id = put.Document
		doc.tokens[system] = put.Token
		who.documents = append(who.documents, doc)
		m.issue(put.Token, &modelToken{system: system, person: who, document: doc})
	}
	if put.Document != doc.id || put.Token != doc.tokens[system] || put.Part != len(doc.parts) {
		t.Fatalf("%+v", put)
	}
}

// open reads a part of a document.
func (m *model) open(t *rapid.T) {
	token, stands := m.anyToken(t, func(tok *modelToken) bool { return tok.document != nil })
	if stands == nil {
		return
	}
	system := m.system(t)
	part := rapid.IntRange(1, len(stands.document.parts)+1).Draw(t, "part")
	want := stands.seen(system)
	switch {
	case want != "":
	case part > len(stands.document.parts):
		want = fault.NotFound
	default:
		want = stands.person.refusal()
	}
	opened, err := m.OpenDocument(ctx, m.calls[system], &api.OpenDocumentRequest{Token: token, Purpose: "service", Reason: "check", Part: part})
	if !code(t, "open a document", err, want) {
		return
	}
	c, err := m.Content(ctx, m.calls[system], opened.Content[len("/v1/content/"):])
	code(t, "content", err, "")
	defer c.Close()
	got := make([]byte, c.Size)
	if _, err := c.Read(got); err != nil || !bytes.Equal(got, stands.document.parts[part-1]) {
		t.Fatalf("another document came back: %v", err)
	}
}

// erase erases a person to the end.
func (m *model) erase(t *rapid.T) {
	system := m.system(t)
	who := m.somebody(t, system)
	if who == nil {
		return
	}
	e, err := m.RequestErasure(ctx, m.calls[system], &api.ErasureRequest{Subject: who.ids[system], Ground: "request", Reason: "asked"})
	if !code(t, "erase", err, who.refusal()) {
		return
	}
	fields, documents := who.tokensOf(system)
	if w := e.WillDestroy; w.Fields != fields || w.Documents != documents || w.Tokens != fields+documents {
		t.Fatalf("%+v will be destroyed of %d values and %d documents", w, fields, documents)
	}
	if who.holders() > 1 && !m.approved(t, system, who, e) {
		return
	}
	for range 1000 {
		if e, err = m.Erasure(ctx, m.calls[system], e.Erasure); err != nil || e.State == api.ErasureErased {
			break
		}
	}
	if code(t, "follow the erasure", err, "") && e.State != api.ErasureErased {
		t.Fatalf("the erasure is %s", e.State)
	}
	who.gone = true
}

// tokensOf counts the values and documents that a system has tokens of.
func (p *modelPerson) tokensOf(system string) (fields, documents int) {
	for f := range p.values {
		for _, v := range p.held(f) {
			if v.tokens[system] != "" {
				fields++
			}
		}
	}
	for _, d := range p.documents {
		if d.tokens[system] != "" {
			documents++
		}
	}
	return fields, documents
}

// approved decides an erasure that waits because others hold the person too: staff approve it, or the system takes it
// back. Until then the person's data cannot be used.
func (m *model) approved(t *rapid.T, system string, who *modelPerson, e *api.Erasure) bool {
	if e.State != api.ErasureRequested || e.ApprovalsNeeded != 1 {
		t.Fatalf("of a person whom others hold: %+v", e)
	}
	_, err := m.Reveal(ctx, m.calls[system], who.ids[system], &api.RevealRequest{Purpose: "service", Reason: "check", Fields: modelFields})
	code(t, "reveal while an erasure waits", err, fault.Blocked)
	if rapid.Bool().Draw(t, "take back") {
		_, err := m.CancelErasure(ctx, m.calls[system], e.Erasure)
		code(t, "cancel an erasure", err, "")
		return false
	}
	_, err = m.ApproveErasure(ctx, m.calls[desk], e.Erasure, &api.ErasureApproval{})
	return code(t, "approve an erasure", err, "")
}

// show shows what a system holds.
func (m *model) show(t *rapid.T) {
	system := m.system(t)
	who := m.somebody(t, system)
	if who == nil {
		return
	}
	want := fault.Code("")
	if who.gone {
		want = fault.Erased
	}
	got, err := m.Subject(ctx, m.calls[system], who.ids[system])
	if !code(t, "show", err, want) {
		return
	}
	for _, f := range modelFields {
		held := 0
		for _, v := range who.held(f) {
			if v.tokens[system] != "" {
				held++
			}
		}
		if got.Fields[f].Values != held || len(got.Tokens[f].Items) != held {
			t.Fatalf("%s: %d values and %d tokens, want %d", f, got.Fields[f].Values, len(got.Tokens[f].Items), held)
		}
	}
	_, documents := who.tokensOf(system)
	if len(got.Documents) != documents || len(got.Blocks) != len(who.blocks) {
		t.Fatalf("%d documents and %d blocks, want %d and %d", len(got.Documents), len(got.Blocks), documents, len(who.blocks))
	}
}

// search finds people by a phone or an IIN.
func (m *model) search(t *rapid.T) {
	system, field := m.system(t), rapid.SampledFrom([]string{"phone", "iin"}).Draw(t, "field")
	value := rapid.SampledFrom(map[string][]string{"phone": m.phones, "iin": m.iins}[field]).Draw(t, "value")
	resp, err := m.Search(ctx, m.calls[system], &api.SearchRequest{Purpose: "service", Reason: "check", Field: field, Value: api.Text(value)})
	code(t, "search", err, "")
	var want, got []string
	for _, p := range m.people {
		if v := p.has(field, value); !p.gone && v != nil && v.tokens[system] != "" {
			want = append(want, p.ids[system])
		}
	}
	for _, r := range resp.Results {
		got = append(got, r.Subject)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Fatalf("%d people found, want %d", len(got), len(want))
	}
}

// TestLikeTheModel does everything in every order, and compares with the model.
func TestLikeTheModel(t *testing.T) {
	v := vaulttest.At(t, inMemory(t))
	runs, calls := 0, 0
	for range scaled(1) {
		rapid.Check(t, func(rt *rapid.T) {
			runs++
			m := newModel(t, v, runs)
			for range rapid.IntRange(10, 80).Draw(rt, "calls") {
				modelActions[rapid.IntRange(0, len(modelActions)-1).Draw(rt, "action")](m, rt)
				calls++
			}
		})
	}
	wantTallies(t, v)
	t.Logf("%d runs, %d calls", runs, calls)
}

// modelActions are drawn from; what stands twice is done twice as often.
var modelActions = []func(*model, *rapid.T){
	(*model).tokenize, (*model).tokenize, (*model).tokenize, (*model).detokenize, (*model).detokenize, (*model).describe,
	(*model).revoke, (*model).reveal, (*model).rectify, (*model).rectify, (*model).block, (*model).unblock, (*model).unblock,
	(*model).put, (*model).open, (*model).erase, (*model).show, (*model).search,
}

func newModel(t *testing.T, v *vaulttest.Vault, run int) *model {
	m := &model{Vault: v, tokens: map[string]*modelToken{}, calls: map[string]vault.Call{
		"shop": v.As(fmt.Sprint("shop-", run), access.Application), "club": v.As(fmt.Sprint("club-", run), access.Application),
		desk: v.As("desk", access.Staff),
	}}
	for n := range 3 {
		m.iins = append(m.iins, nextIIN())
		m.phones = append(m.phones, fmt.Sprintf("+7701%07d", run*4+n))
		m.names = append(m.names, nextName())
		m.ref = append(m.ref, fmt.Sprint("client/", n))
	}
	m.phones = append(m.phones, fmt.Sprintf("+7701%07d", run*4+3))
	return m
}
