package vault_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/blob/file"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/memory"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// player chooses what is done next, and is told what went wrong: rapid, which shortens what went wrong, or a seed.
type player interface {
	choose(what string, n int) int // one of n
	Fatalf(format string, args ...any)
}

// rapidPlayer is rapid.
type rapidPlayer struct{ *rapid.T }

// choose draws from more than there are, since rapid prefers small numbers.
func (p rapidPlayer) choose(what string, n int) int {
	return int(rapid.Uint64Range(0, 1<<32).Draw(p.T, what) % uint64(n))
}

// seededPlayer is a seed. What goes wrong ends the play, see hunt.
type seededPlayer struct{ *rand.Rand }

func (p seededPlayer) choose(_ string, n int) int { return p.IntN(n) }

// wentWrong is what a seededPlayer was told.
type wentWrong string

func (seededPlayer) Fatalf(format string, args ...any) {
	panic(wentWrong(fmt.Sprintf(format, args...)))
}

// hunt plays a world by a seed, and returns what went wrong.
func hunt(t testing.TB, seed uint64, actions int, tally map[string]int, mutate func(node int, o *vault.Options)) (wrong string) {
	w := newBasisWorld(seededPlayer{rand.New(rand.NewPCG(seed, 0))}, tally)
	defer w.close()
	defer func() {
		found := recover()
		if told, ok := found.(wentWrong); ok {
			wrong = string(told)
		} else if found != nil {
			panic(found)
		}
	}()
	w.begin(t, mutate)
	w.play(actions)
	return ""
}

// stillClock stands until it is moved, so that what ends does so at a moment that the model knows.
type stillClock struct{ at atomic.Int64 }

func (c *stillClock) now() time.Time          { return time.UnixMilli(c.at.Load()).UTC() }
func (c *stillClock) advance(d time.Duration) { c.at.Add(d.Milliseconds()) }

// ledger is a store that remembers what was written down in it: the entries of the log, and the transfers.
type ledger struct {
	store.Store
	mu        sync.Mutex
	entries   map[string][]audit.Entry    // by request
	transfers map[string][]ledgerTransfer // by request
}

// ledgerTransfer is what a transfer's row says, see docs/formats.md.
type ledgerTransfer struct {
	Recipient string   `cbor:"3,keyasint"`
	Purpose   string   `cbor:"5,keyasint"`
	Basis     string   `cbor:"6,keyasint"`
	Consent   string   `cbor:"7,keyasint"`
	Fields    []string `cbor:"8,keyasint"`
	RequestID string   `cbor:"13,keyasint"`
}

func newLedger(s store.Store) *ledger {
	return &ledger{Store: s, entries: map[string][]audit.Entry{}, transfers: map[string][]ledgerTransfer{}}
}

func (l *ledger) Update(ctx context.Context, f func(store.Writer) error) error {
	var written []store.Pair
	err := l.Store.Update(ctx, func(w store.Writer) error {
		written = written[:0] // f may run again
		return f(ledgerWriter{w, &written})
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range written {
		var e audit.Entry
		var t ledgerTransfer
		switch kindOf(p.Key) {
		case 'a':
			if err := json.Unmarshal(p.Value, &e); err != nil {
				return err
			}
			l.entries[e.RequestID] = append(l.entries[e.RequestID], e)
		case 'z':
			if err := cbor.Unmarshal(p.Value, &t); err != nil {
				return err
			}
			l.transfers[t.RequestID] = append(l.transfers[t.RequestID], t)
		}
	}
	return nil
}

// of is what was written down for a request.
func (l *ledger) of(request string) ([]audit.Entry, []ledgerTransfer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.entries[request], l.transfers[request]
}

type ledgerWriter struct {
	store.Writer
	written *[]store.Pair
}

func (w ledgerWriter) Set(key, value []byte) error {
	*w.written = append(*w.written, store.Pair{Key: bytes.Clone(key), Value: bytes.Clone(value)})
	return w.Writer.Set(key, value)
}

// nodeStore is the store as one of several nodes has it. One process has a store open at a time: a node takes keys that
// another made ahead for left by an earlier process, and the other for one that has superseded it. So each node finds its own
// keys only, and has a title of its own to them.
type nodeStore struct {
	store.Store
	title []byte   // what tells the node's title from the first node's
	mine  sync.Map // the pool's rows that the node wrote
}

// own makes the keys of rows those that this node means.
func (n *nodeStore) own(keys [][]byte) [][]byte {
	owned := slices.Clone(keys)
	for i, k := range keys {
		if n.title != nil && kindOf(k) == 'm' && bytes.HasSuffix(k, []byte("mtitle\x00")) {
			owned[i] = slices.Concat(k, n.title)
		}
	}
	return owned
}

// nodeKeys are the keys as another node than the first has them: it is live by a generation of its own.
type nodeKeys struct {
	kms.Provider
	mu      sync.Mutex
	current kms.Generation
}

func (k *nodeKeys) Generation(context.Context) (kms.Generation, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.current, nil
}

func (k *nodeKeys) Advance(_ context.Context, _, next kms.Generation) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.current = next
	return nil
}

func (k *nodeKeys) Destroy(ctx context.Context, claim kms.Claim, ids ...kms.ID) error {
	var err error
	if claim.Generation, err = k.Provider.Generation(ctx); err != nil {
		return err
	}
	return k.Provider.Destroy(ctx, claim, ids...)
}

func (n *nodeStore) View(ctx context.Context, f func(store.Reader) error) error {
	return n.Store.View(ctx, func(r store.Reader) error { return f(nodeReader{r, n}) })
}

func (n *nodeStore) Update(ctx context.Context, f func(store.Writer) error) error {
	return n.Store.Update(ctx, func(w store.Writer) error { return f(nodeWriter{w, n}) })
}

type nodeReader struct {
	store.Reader
	*nodeStore
}

func (r nodeReader) Get(keys ...[]byte) ([][]byte, error) { return r.Reader.Get(r.own(keys)...) }

func (r nodeReader) Scan(prefix, after []byte, limit int) ([]store.Pair, error) {
	pairs, err := r.Reader.Scan(prefix, after, limit)
	if kindOf(prefix) == 'q' {
		pairs = slices.DeleteFunc(pairs, func(p store.Pair) bool { _, mine := r.mine.Load(string(p.Key)); return !mine })
	}
	return pairs, err
}

type nodeWriter struct {
	store.Writer
	*nodeStore
}

func (w nodeWriter) Get(keys ...[]byte) ([][]byte, error) { return w.Writer.Get(w.own(keys)...) }

func (w nodeWriter) Set(key, value []byte) error {
	if kindOf(key) == 'q' {
		w.mine.Store(string(key), true)
	}
	return w.Writer.Set(w.own([][]byte{key})[0], value)
}

type (
	// basisHandle is an opened document.
	basisHandle struct {
		node               int
		caller             *basisCaller
		person             *basisPerson
		system             string // whose document it is
		path               string
		purpose, recipient string
		until              time.Time
		changed            int
		ended              bool // something forbade it for a while: whether it is good again is not said
	}
	basisHandoff struct {
		id, from, to, purpose string
		person                *basisPerson
		fields                []string
		until                 time.Time
		over                  bool
	}
	// basisUse is a use that the log must have.
	basisUse struct {
		person *basisPerson
		basisOf
		fields []string
	}
)

// basisWorld is a vault of two nodes beside the model of it.
type basisWorld struct {
	basisLaw
	player
	nodes    []*vaulttest.Vault
	clock    *stillClock
	ledger   *ledger
	tally    map[string]int // of what happened, over all worlds
	callers  map[string]*basisCaller
	people   []*basisPerson
	handles  []*basisHandle
	handoffs []*basisHandoff
	serial   int

	request string // the id of the call that is made
	node    int    // on which
}

var (
	basisChanging = []string{"care", "promo", "duty", "export", "report"} // the purposes that change
	basisPurposes = append(slices.Clone(basisChanging), "intake", "find")
	basisSystems  = []string{"shop", "club"}
	basisParties  = []string{"registrar", "registry"}
	basisBegin    = time.Date(2026, 6, 1, 9, 0, 0, 0, time.UTC)
)

// basisTemplate is a purpose as it begins.
func basisTemplate(name string) *api.Purpose {
	p := &api.Purpose{
		Title: inThreeLanguages, Basis: "consent", Fields: slices.Clone(basisFields), Retention: api.Retention{After: "relationship_end"},
	}
	switch name {
	case "care":
		p.Documents = true
	case "promo":
		p.OwnConsent, p.Fields = true, []string{"given_name", "phone"}
	case "export":
		p.Discloses, p.CrossBorder = true, true
	case "report":
		p.Basis, p.Citation, p.Documents, p.Discloses, p.Recipients = "law", "article 1", true, true, []string{"registry"}
	default:
		p.Basis, p.Citation, p.Documents = "law", "article 2", true
	}
	return p
}

// newBasisWorld makes a world in which nothing is there yet but who calls.
func newBasisWorld(play player, tally map[string]int) *basisWorld {
	w := &basisWorld{
		player: play, clock: &stillClock{}, ledger: newLedger(memory.New()), tally: tally,
		basisLaw: basisLaw{
			enforced: play.choose("enforce", 2) == 1, purposes: map[string]*api.Purpose{}, systems: map[string]*api.System{},
			recipients: map[string]*api.Recipient{}, texts: map[string]*api.ConsentTextRequest{},
		},
		callers: map[string]*basisCaller{},
	}
	w.clock.at.Store(basisBegin.UnixMilli())
	w.now = w.clock.now
	for _, c := range []access.Principal{
		{System: "shop", Roles: []access.Role{access.Application}}, {System: "club", Roles: []access.Role{access.Application}},
		{System: "desk", Roles: []access.Role{access.Staff}, AllSystems: true},
		{System: "branch", Roles: []access.Role{access.Staff}, Systems: []string{"shop"}},
		{System: "trainee", Roles: []access.Role{access.Staff}},
		{System: "help", Roles: []access.Role{access.Support}, AllSystems: true},
		{System: "root", Roles: []access.Role{access.Administrator}, AllSystems: true},
	} {
		c.Tenant, c.Credential = "test", "crd_"+c.System
		w.callers[c.System] = &basisCaller{Principal: c}
	}
	return w
}

// begin opens the nodes, which mutate may spoil, and configures what there is at the beginning.
func (w *basisWorld) begin(t testing.TB, mutate func(node int, o *vault.Options)) {
	w.open(t, mutate)
	for _, name := range basisPurposes {
		w.putPurpose(name, basisTemplate(name))
	}
	w.putRecipient("registrar", "US", []string{"export"}, nil, w.border(1))
	w.putRecipient("registry", "KZ", []string{"report"}, nil, nil)
	w.putText("t1", -24*time.Hour, []string{"care", "export"})
	w.putText("t2", -24*time.Hour, []string{"promo"})
	for n := range 3 {
		w.take("shop", "intake", nil, false)
		w.upload("shop", "intake", w.people[n])
	}
	w.take("club", "intake", w.people[0], false)
	w.take("club", "intake", w.people[1], false)
	w.upload("club", "intake", w.people[1])
}

// open opens the nodes.
func (w *basisWorld) open(t testing.TB, mutate func(node int, o *vault.Options)) {
	home := inMemory(t)
	keys := must[kms.Provider](t)(vaulttest.Keyring(filepath.Join(home, "keyring")))
	blobs := must[*file.Store](t)(file.Open(filepath.Join(home, "documents"), 0))
	t.Cleanup(func() { keys.Close() }) // after the nodes
	for node := range 2 {
		w.nodes = append(w.nodes, vaulttest.At(t, home, vaulttest.With(func(o *vault.Options) {
			s := &nodeStore{Store: w.ledger}
			o.Store, o.Place, o.Keys, o.Blobs, o.Clock = s, "test", keys, blobs, w.clock.now
			if node > 0 {
				s.title, o.Keys = []byte{byte(node)}, &nodeKeys{Provider: keys}
			}
			o.Log, o.SweepEvery, o.Keyring.PoolSize = slog.New(slog.DiscardHandler), time.Hour, 16
			if w.enforced {
				o.Consents = vault.ConsentsEnforced
			}
			if mutate != nil {
				mutate(node, o)
			}
		})))
	}
}

// close stops the nodes.
func (w *basisWorld) close() {
	for _, v := range w.nodes {
		v.Stop()
	}
}

// on makes the next call: on some node, in somebody's name.
func (w *basisWorld) on(caller string) (*vaulttest.Vault, vault.Call, *basisCaller) {
	w.serial++
	w.request, w.node = fmt.Sprint("op-", w.serial), w.choose("node", len(w.nodes))
	c := w.callers[caller]
	return w.nodes[w.node], vault.Call{Principal: c.Principal, RequestID: w.request}, c
}

// any draws one of some.
func (w *basisWorld) any(what string, of []string) string { return of[w.choose(what, len(of))] }

// came compares how a call ended. It returns whether it went well.
func (w *basisWorld) came(what string, err error, want ...fault.Code) bool {
	got := fault.Code("")
	if err != nil {
		got = fault.CodeOf(err)
	}
	if !slices.Contains(want, got) {
		w.Fatalf("%s on node %d: %v, want %q", what, w.node, err, want)
	}
	if got == "" {
		w.tally[what]++
		return true
	}
	w.tally["refused: "+string(got)]++
	w.tally[what+" refused: "+string(got)]++
	if got == fault.Invalid || what == "content" {
		return false
	}
	entries, _ := w.ledger.of(w.request)
	if !slices.ContainsFunc(entries, func(e audit.Entry) bool { return e.Decision == audit.Deny && e.Outcome == got }) {
		w.Fatalf("%s: the refusal is not in the log", what)
	}
	return false
}

// used demands that the log tells of these uses and no others, and that a transfer is on record of each that went to a
// recipient.
func (w *basisWorld) used(operation string, c *basisCaller, purpose, recipient string, uses ...basisUse) {
	entries, transfers := w.ledger.of(w.request)
	var allowed []audit.Entry
	for _, e := range entries {
		if e.Decision == audit.Allow && e.Operation == operation && e.Subject != "" {
			allowed = append(allowed, e)
		}
	}
	if len(allowed) != len(uses) {
		w.Fatalf("%s: %d people in the log, want %d", operation, len(allowed), len(uses))
	}
	sent := 0
	for _, u := range uses {
		w.tally["basis: "+u.basis]++
		if !slices.ContainsFunc(allowed, func(e audit.Entry) bool {
			return e.Subject == u.person.id && e.Purpose == purpose && e.Recipient == recipient && e.Basis == u.basis && e.Consent == u.consent &&
				sameSet(e.Fields, u.fields) && (e.BreakGlass != "") == w.emergencyFor(c, purpose, u.person)
		}) {
			w.Fatalf("%s for %s: the log has %+v, want %+v of %s", operation, purpose, allowed, u.basisOf, u.person.id)
		}
		if recipient == "" || len(u.fields) == 0 {
			continue
		}
		sent++
		w.tally["transfers"]++
		if !slices.ContainsFunc(transfers, func(t ledgerTransfer) bool {
			return t.Recipient == recipient && t.Purpose == purpose && t.Basis == u.basis && t.Consent == u.consent && sameSet(t.Fields, u.fields)
		}) {
			w.Fatalf("%s: nothing of the transfer of %v is on record: %+v", operation, u.fields, transfers)
		}
	}
	if len(transfers) != sent {
		w.Fatalf("%s: %d transfers on record, want %d", operation, len(transfers), sent)
	}
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Compact(slices.Sorted(slices.Values(a))), slices.Compact(slices.Sorted(slices.Values(b))))
}

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
	_, transfers := w.ledger.of(w.request)
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
	case node != h.node || !w.now().Before(h.until) || !w.permitsStill(h):
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

// emergency declares one, or ends it.
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

// basisActions are drawn from; what stands twice is done twice as often.
var basisActions = []func(*basisWorld){
	(*basisWorld).tokenize, (*basisWorld).tokenize, (*basisWorld).put, (*basisWorld).put,
	(*basisWorld).detokenize, (*basisWorld).detokenize, (*basisWorld).detokenize, (*basisWorld).detokenize,
	(*basisWorld).reveal, (*basisWorld).reveal, (*basisWorld).reveal, (*basisWorld).search, (*basisWorld).search,
	(*basisWorld).openDocument, (*basisWorld).openDocument, (*basisWorld).content, (*basisWorld).content,
	(*basisWorld).record, (*basisWorld).record, (*basisWorld).record, (*basisWorld).withdrawOne, (*basisWorld).withdrawOne,
	(*basisWorld).block, (*basisWorld).unblock, (*basisWorld).unblock, (*basisWorld).erase, (*basisWorld).hand, (*basisWorld).hand, (*basisWorld).redeem, (*basisWorld).redeem,
	(*basisWorld).recordTransfer, (*basisWorld).declare, (*basisWorld).wait, (*basisWorld).changePurpose, (*basisWorld).changePurpose,
	(*basisWorld).registerSystem, (*basisWorld).registerRecipient, (*basisWorld).changeText,
}

// play does so much at random.
func (w *basisWorld) play(actions int) {
	for range actions {
		basisActions[w.choose("action", len(basisActions))](w)
		w.tally["actions"]++
		for _, h := range w.handles {
			h.ended = h.ended || !w.permitsStill(h)
		}
	}
}

// TestNothingIsDisclosedWithoutABasis does everything in every order, on two nodes, and compares each answer, each entry of
// the log and each transfer with what the model says.
func TestNothingIsDisclosedWithoutABasis(t *testing.T) {
	t.Run("rapid", func(t *testing.T) {
		for range scaled(1) {
			rapid.Check(t, func(rt *rapid.T) {
				w := newBasisWorld(rapidPlayer{rt}, map[string]int{})
				defer w.close()
				w.begin(t, nil)
				w.play(rapid.IntRange(20, 50).Draw(rt, "actions"))
			})
		}
	})
	t.Run("seeds", func(t *testing.T) {
		tally, worlds := map[string]int{}, scaled(40)
		for seed := range worlds {
			if wrong := hunt(t, uint64(seed), 100, tally, nil); wrong != "" {
				t.Errorf("seed %d: %s", seed, wrong)
			}
		}
		for _, what := range slices.Sorted(maps.Keys(tally)) {
			t.Logf("%7d %s", tally[what], what)
		}
		for what, least := range basisLeast {
			if tally[what]*40 < least*worlds {
				t.Errorf("%s: %d times, too few to tell anything", what, tally[what])
			}
		}
	})
}

// basisLeast is how often things happen in 40 worlds at the least, so that their not going wrong says something.
var basisLeast = map[string]int{
	"detokenize a token": 80, "reveal": 80, "search": 150, "open a document": 40, "content": 30, "redeem a handoff": 5, "transfers": 40,
	"record a transfer": 4, "record a consent": 60, "withdraw": 30, "block": 60, "erase": 4, "declare an emergency": 20,
	"basis: consent": 40, "basis: none": 50, "basis: law": 500, "refused: denied": 400, "refused: blocked": 80, "refused: erased": 8,
	"refused: not_found": 200, "refused: invalid": 150, "refused: conflict": 20, "refused: held": 1, "content refused: not_found": 30,
}

// TestAnItemIsJudgedByTheRulesOfTheMoment: an item that breaks a rule leaves nothing in the store, by which a node would
// notice that the rule is not the current one. It looks before it says so.
func TestAnItemIsJudgedByTheRulesOfTheMoment(t *testing.T) {
	v, other, shop, _ := two(t)
	must[*api.Change](t)(v.PutConsentText(ctx, officer(v, "dpo"), "t1", &api.ConsentTextRequest{
		Text: api.Languages{Kazakh: "к", Russian: "р", English: "e"}, EffectiveFrom: v.Clock.Now().Add(-time.Hour), Purposes: []string{"registration"},
	}))
	req := consentTo(v, "registration")
	req.Text = "t1"
	wantItem(t, tokenize1(t, other, shop, api.TokenizeItem{Fields: fields{"iin": text(iinA)}, Consent: req}).Error, "")
}

// TestTheSameIsTheSameOfTheMoment: a node that has not noticed a change does not answer that there is nothing to change back.
func TestTheSameIsTheSameOfTheMoment(t *testing.T) {
	v, other, shop, who := two(t)
	dpo, name := officer(v, "dpo"), who.Tokens["given_name"].Items[0]
	must[*api.Change](t)(v.PutPurpose(ctx, dpo, "delivery", delivery("phone")))
	wantItem(t, read(t, other, shop, "delivery", name)[0].Error, fault.Denied)
	must[*api.Change](t)(v.PutPurpose(ctx, dpo, "delivery", delivery("phone", "given_name")))
	if back := must[*api.Change](t)(other.PutPurpose(ctx, dpo, "delivery", delivery("phone"))); back.State != api.ChangeEffective {
		t.Errorf("changed back: %s", back.State)
	}
	for _, node := range []*vaulttest.Vault{v, other} {
		wantItem(t, read(t, node, shop, "delivery", name)[0].Error, fault.Denied)
	}
}

// TestAnOpenedDocumentEndsWithWhatPermitsIt: what was opened for a consent is not read beyond its end, nor for a purpose that
// does not reach it any more.
func TestAnOpenedDocumentEndsWithWhatPermitsIt(t *testing.T) {
	v := vaulttest.At(t, inMemory(t))
	shop, dpo := app(v), officer(v, "dpo")
	who := register(t, v, shop, aigul())
	put := must[*api.Document](t)(v.PutDocument(ctx, shop, upload(who.Subject, jpeg(1000))))
	scans := delivery("phone")
	scans.Documents = true
	must[*api.Change](t)(v.PutPurpose(ctx, dpo, "delivery", scans))
	must[*api.Change](t)(v.PutConsentText(ctx, dpo, "t1", &api.ConsentTextRequest{
		Text: api.Languages{Kazakh: "к", Russian: "р", English: "e"}, EffectiveFrom: v.Clock.Now().Add(-time.Hour), Purposes: []string{"delivery"},
	}))
	open := func() string {
		return must[*api.OpenDocumentResponse](t)(v.OpenDocument(ctx, shop, &api.OpenDocumentRequest{Token: put.Token, Purpose: "delivery", Reason: "check"})).Content
	}
	changed := open()
	must[[]byte](t)(readAll(t, v, shop, changed))
	must[*api.Change](t)(v.PutPurpose(ctx, dpo, "delivery", delivery("phone")))
	_, err := readAll(t, v, shop, changed)
	wantCode(t, err, fault.NotFound)
	must[*api.Change](t)(v.PutPurpose(ctx, dpo, "delivery", scans))

	req := consentTo(v, "delivery")
	req.Text, req.ExpiresAt = "t1", v.Clock.Now().Add(time.Minute)
	record(t, v, shop, who.Subject, req)
	expiring := open()
	must[[]byte](t)(readAll(t, v, shop, expiring))
	v.Clock.Advance(time.Minute)
	_, err = readAll(t, v, shop, expiring)
	wantCode(t, err, fault.NotFound)
}
