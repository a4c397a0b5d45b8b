package vault_test

import (
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/blob/file"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store/memory"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

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
	witness  *witness
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
		player: play, clock: &stillClock{}, witness: newWitness(memory.New()), tally: tally,
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
			s := &nodeStore{Store: w.witness}
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
	entries, _ := w.witness.of(w.request)
	if !slices.ContainsFunc(entries, func(e audit.Entry) bool { return e.Decision == audit.Deny && e.Outcome == got }) {
		w.Fatalf("%s: the refusal is not in the log", what)
	}
	return false
}

// used demands that the log tells of these uses and no others, and that a transfer is on record of each that went to a
// recipient.
func (w *basisWorld) used(operation string, c *basisCaller, purpose, recipient string, uses ...basisUse) {
	entries, transfers := w.witness.of(w.request)
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
		if !slices.ContainsFunc(transfers, func(t seenTransfer) bool {
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
				w.play(rapid.IntRange(10, 40).Draw(rt, "actions"))
			})
		}
	})
	t.Run("seeds", func(t *testing.T) {
		tally, worlds := map[string]int{}, scaled(30)
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
