package vault_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/blob/file"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// beset is a person whom everybody is at while slices of theirs, and maybe they themselves, are erased.
type beset struct {
	t           testing.TB
	v           *vaulttest.Vault
	shop, bank  vault.Call
	officer     vault.Call // whose word an erasure needs of somebody whom several systems hold
	subject     string
	iin         string
	handoff     string
	mu          sync.Mutex
	names       map[string]bool   // every value that given_name ever had
	tokens      map[string]string // token → the field it stands for
	holders     map[string]vault.Call
	documents   map[string][]byte // token → what was sent up
	erasures    []string
	wholeErased bool
}

func (p *beset) learn(call vault.Call, tokens map[string]api.OneOrMany[string]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for field, all := range tokens {
		for _, tk := range all.Items {
			p.tokens[tk], p.holders[tk] = field, call
		}
	}
}

// expected are the refusals that whoever meets an erasure may get.
func (p *beset) expected(what string, err error) {
	for _, code := range []fault.Code{fault.Erased, fault.Unavailable, fault.Conflict, fault.NotFound, fault.Blocked} {
		if errors.Is(err, code) {
			return
		}
	}
	if err != nil {
		p.t.Errorf("%s: %v", what, err)
	}
}

func (p *beset) name() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := nextName()
	p.names[name] = true
	return name
}

func (p *beset) rectify() {
	r, err := p.v.Rectify(ctx, p.shop, p.subject, &api.RectifyRequest{
		Purpose: "registration", Evidence: api.Evidence{Kind: "document", Ref: "A-1"}, Fields: fields{"given_name": text(p.name())},
	})
	if p.expected("rectify", err); err == nil {
		p.learn(p.shop, r.Tokens)
	}
}

func (p *beset) write() {
	r, err := p.v.Tokenize(ctx, p.shop, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{{
		Subject: p.subject, Fields: fields{"phone": texts(fmt.Sprintf("+7702%07d", rand.N(10_000_000)))},
	}}})
	if p.expected("tokenize", err); err != nil {
		return
	}
	if e := r.Results[0].Error; e != nil {
		p.expected("tokenize", fault.New(e.Code, ""))
		return
	}
	p.learn(p.shop, r.Results[0].Tokens)
}

func (p *beset) put() {
	content := jpeg(2000 + rand.N(5000))
	d, err := p.v.PutDocument(ctx, p.shop, upload(p.subject, content))
	if p.expected("put a document", err); err == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.documents[d.Token] = content
	}
}

func (p *beset) redeem() {
	r, err := redeem(p.v, p.bank, p.handoff)
	if p.expected("redeem", err); err == nil {
		p.learn(p.bank, r.Tokens)
	}
}

func (p *beset) consent() {
	req := consentTo(p.v, "service")
	req.Evidence, req.GivenBy = "form 4711", &api.GivenBy{Kind: "representative", Evidence: "power of attorney 8"}
	_, err := p.v.RecordConsent(ctx, p.shop, p.subject, req)
	p.expected("consent", err)
}

func (p *beset) erase(scope ...string) {
	req := &api.ErasureRequest{Subject: p.subject, Ground: "request", Reason: "asked"}
	if scope != nil {
		req.Scope = &api.Scope{Slices: scope}
	}
	e, err := p.v.RequestErasure(ctx, p.shop, req)
	if err == nil && e.State == api.ErasureRequested { // the bank holds the person by now
		e, err = p.v.ApproveErasure(ctx, p.officer, e.Erasure, nothingSaid())
	}
	if p.expected("erase", err); err == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.erasures = append(p.erasures, e.Erasure)
		p.wholeErased = p.wholeErased || scope == nil
	}
}

// storm has everybody at the person at once.
func (p *beset) storm(whole bool) {
	acts := []func(){
		p.rectify, p.write, p.write, p.put, p.put, p.consent, p.redeem,
		func() { p.erase("identity") }, func() { p.erase("documents") }, func() { p.erase("documents", "identity") },
	}
	if whole {
		acts = append(acts, func() { p.erase() })
	}
	var all sync.WaitGroup
	for _, act := range acts {
		all.Go(func() {
			for range 4 {
				time.Sleep(rand.N(4 * time.Millisecond))
				act()
			}
		})
	}
	all.Wait()
	for _, e := range p.erasures {
		var at *api.Erasure
		for range 1000 {
			if at = must[*api.Erasure](p.t)(p.v.Erasure(ctx, p.shop, e)); at.State == api.ErasureErased {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if at.State != api.ErasureErased {
			p.t.Fatalf("an erasure does not end: %+v, of %d", at, len(p.erasures))
		}
	}
}

// settle holds what everybody was given to what it may come to: the value that was written, or nothing.
func (p *beset) settle() (alive int) {
	p.t.Helper()
	for tk, field := range p.tokens {
		r := detokenize(p.t, p.v, p.holders[tk], api.Plain, tk)[0]
		switch {
		case r.Error != nil && (r.Error.Code == fault.Erased || r.Error.Code == fault.NotFound && p.holders[tk].Principal.System == "bank"):
		case r.Error != nil:
			p.t.Errorf("a token of %s: %+v", field, r.Error)
		case p.wholeErased:
			p.t.Errorf("a token of %s of an erased person answers", field)
		default:
			alive++
			if got, _ := r.Value.Text(); field == "given_name" && !p.names[got] || field == "iin" && got != p.iin {
				p.t.Errorf("a token of %s answers another's value", field)
			}
		}
	}
	for tk, content := range p.documents {
		opened, err := p.v.OpenDocument(ctx, p.shop, &api.OpenDocumentRequest{Token: tk, Purpose: "service", Reason: "check"})
		if errors.Is(err, fault.Erased) {
			continue
		}
		if err != nil || p.wholeErased {
			p.t.Errorf("a document: %v", err)
			continue
		}
		alive++
		if got := must[[]byte](p.t)(readAll(p.t, p.v, p.shop, opened.Content)); !bytes.Equal(got, content) {
			p.t.Error("a document is another's")
		}
	}
	return alive
}

// agree demands that the rows of a vault agree with one another, and with keys and blobs.
func agree(t testing.TB, v *vaulttest.Vault) error {
	t.Helper()
	kept := must[*file.Store](t)(file.Open(v.Home+"/documents", 0))
	defer kept.Close()
	wrong := []error{(&site{home: v.Home, store: v.Store, blobs: kept}).account()}
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	of := map[byte]map[string][]byte{}
	for _, p := range must[[]store.Pair](t)(rows(v.Store)) {
		k := kindOf(p.Key)
		if of[k] == nil {
			of[k] = map[string][]byte{}
		}
		of[k][string(p.Key[2+len(v.Tenant):])] = p.Value
	}
	issued := map[string]bool{}
	for key, tk := range of['k'] {
		row, ok := of['t'][string(tk)+"\x00"]
		if !ok || member[bool](row, 7) || member[bool](row, 8) {
			complain("a token that is issued is not there, erased or retired")
		}
		issued[string(tk)+"\x00"] = true
		_, part, _ := strings.Cut(key[16:], "\x00")
		where := of['r']
		if strings.HasPrefix(part, "documents\x00") {
			where, part = of['d'], part[len("documents\x00"):]
		}
		if _, ok := where[key[:16]+part]; !ok {
			complain("a token stands for nothing")
		}
	}
	for tk, row := range of['t'] {
		if !member[bool](row, 7) && !member[bool](row, 8) && !issued[tk] {
			complain("a token of %s is in no list of its person's", member[string](row, 4))
		}
	}
	for key, row := range of['r'] {
		if !bytes.Contains(of['s'][key[:16]], member[[]byte](row, 1)) {
			complain("a record is under a key that its person does not name")
		}
	}
	entries := 0
	for key, entry := range of['i'] {
		field, slot := key[16:len(key)-2], key[len(key)-2:]
		u, unique := of['u'][field+string(entry[1:])]
		_, lookup := of['x'][field+string(entry[1:])+key[:16]+slot]
		if unique && string(u) != key[:16]+slot || !unique && !lookup {
			complain("somebody is not found by a value that is theirs")
		}
		entries++
	}
	if n := len(of['u']) + len(of['x']); n != entries {
		complain("%d index entries, and the lists of people have %d", n, entries)
	}
	return errors.Join(wrong...)
}

// TestErasuresOfSlicesInAStorm: whatever writes, corrects, uploads, redeems, consents, erases other slices or the person and
// turns the index at the same time, everything agrees in the end, and no token answers anything but its own.
func TestErasuresOfSlicesInAStorm(t *testing.T) {
	v := vaulttest.New(t, vaulttest.With(turning), vaulttest.With(func(o *vault.Options) { o.Keyring.PoolSize, o.UploadLife = 8, time.Minute }))
	shop, bank, officer := app(v), v.As("bank", access.Application), v.As("officer", access.PrivacyOfficer)
	alive, died := 0, 0
	for round := range scaled(25) {
		number := nextIIN()
		p := &beset{
			t: t, v: v, shop: shop, bank: bank, officer: officer, iin: number,
			names: map[string]bool{}, tokens: map[string]string{}, holders: map[string]vault.Call{}, documents: map[string][]byte{},
		}
		who := tokenize1(t, v, shop, api.TokenizeItem{ExternalRef: "storm/" + number, Fields: fields{"iin": text(number), "given_name": text(p.name())}})
		p.subject = who.Subject
		p.learn(shop, who.Tokens)
		p.put()
		p.handoff = handOff(t, v, shop, who.Subject, "bank", "given_name")
		p.storm(round%3 == 2)
		alive += p.settle()
		if p.wholeErased {
			died++
		} else {
			p.again()
		}
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	v.Clock.Advance(10 * time.Minute)
	var err error
	for range 300 {
		if err = agree(t, v); err == nil && kinds(t, v)['Q'] == 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	if n := kinds(t, v)['Q']; n > 0 {
		t.Errorf("%d erasures are not certified", n)
	}
	wantTallies(t, v)
	t.Logf("%d rounds, %d people erased whole, %d tokens answer still", scaled(25), died, alive)
}

// again writes to every slice of a person who stays, and compares what the vault counts of them with what there is.
func (p *beset) again() {
	p.t.Helper()
	r, err := p.v.Tokenize(ctx, p.shop, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{{
		Subject: p.subject, Fields: fields{"phone": texts("+77020000000")},
	}}})
	if err != nil || r.Results[0].Error != nil {
		p.t.Fatal(err, r)
	}
	wantItem(p.t, detokenize(p.t, p.v, p.shop, api.Plain, r.Results[0].Tokens["phone"].Items[0])[0].Error, "")
	put := must[*api.Document](p.t)(p.v.PutDocument(ctx, p.shop, upload(p.subject, jpeg(1000))))
	openDocument(p.t, p.v, p.shop, put.Token, 0)
	dry := &api.ErasureRequest{Subject: p.subject, Ground: "request", Reason: "asked", DryRun: true}
	whole := must[*api.Erasure](p.t)(p.v.RequestErasure(ctx, p.shop, dry)).WillDestroy
	seen := must[*api.Subject](p.t)(p.v.Subject(ctx, p.shop, p.subject))
	if whole.Documents != len(seen.Documents) || whole.Fields < len(seen.Fields) {
		p.t.Errorf("counted %+v, and there are %d documents and %d fields", whole, len(seen.Documents), len(seen.Fields))
	}
}

// TestErasuresOfOneMomentAreCertified: however fast an erasure comes to its end, the log has its steps in their order.
func TestErasuresOfOneMomentAreCertified(t *testing.T) {
	moment := time.Now()
	v := vaulttest.New(t, vaulttest.With(func(o *vault.Options) { o.Clock = func() time.Time { return moment } }))
	shop := app(v)
	for range 12 { // entries of one time are in the log as chance has it
		erased(t, v, shop, eraseSlices(t, v, shop, register(t, v, shop, fields{"given_name": text("Айгүл")}).Subject, "identity").Erasure)
	}
	eventually(t, "every certificate", func() bool { return kinds(t, v)['Q'] == 0 })
}
