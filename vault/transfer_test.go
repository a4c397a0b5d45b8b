package vault_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// disclosing is a vault with third parties: the registry at home, and the registrar abroad. Data goes to them for reporting,
// which a law demands, and for domain_registration, which leaves the country and rests on consent.
type disclosing struct {
	*vaulttest.Vault
	shop, admin vault.Call
	who         api.TokenizeResult
	document    string // a token
}

var inThreeLanguages = api.Title{KK: "а", RU: "б", EN: "c"}

// newDisclosing sets one up. Nothing is on record yet of the registrar's protection.
func newDisclosing(t *testing.T, options ...vaulttest.Option) *disclosing {
	t.Helper()
	v := vaulttest.New(t, options...)
	d := &disclosing{Vault: v, shop: app(v), admin: v.As("console", access.Administrator)}
	must[*api.Change](t)(v.PutPurpose(ctx, d.admin, "reporting", &api.Purpose{
		Title: inThreeLanguages, Basis: "law", Citation: "article 1", Discloses: true, Recipients: []string{"registry"},
		Fields: []string{"iin", "family_name", "given_name", "phone"}, Documents: true, Retention: api.Retention{After: "relationship_end"},
	}))
	d.register(t, api.Recipient{Name: "registry", Country: "KZ", Purposes: []string{"reporting"}, Fields: []string{"given_name", "phone", "documents"}})
	d.register(t, api.Recipient{Name: "registrar", Country: "US", Purposes: []string{"domain_registration", "reporting"}})
	d.who = register(t, v, d.shop, aigul())
	d.document = must[*api.Document](t)(v.PutDocument(ctx, d.shop, upload(d.who.Subject, jpeg(1000)))).Token
	return d
}

func (d *disclosing) register(t *testing.T, r api.Recipient) {
	t.Helper()
	r.Title = inThreeLanguages
	must[*api.Change](t)(d.PutRecipient(ctx, d.admin, r.Name, &r))
}

// transfers lists what is recorded of the person, to staff.
func (d *disclosing) transfers(t *testing.T) []api.Transfer {
	t.Helper()
	subject := logged(t, d.Vault, "tokenize")[0].Subject
	return must[*api.SubjectRecipients](t)(d.SubjectRecipients(ctx, d.admin, subject, 0, "")).Transfers
}

// wayToDisclose is one operation that discloses given_name, or a document.
type wayToDisclose struct {
	name  string
	field string
	call  func(d *disclosing, purpose, recipient string) error
}

var waysToDisclose = []wayToDisclose{
	{"detokenize", "given_name", func(d *disclosing, purpose, recipient string) error {
		out, err := d.Detokenize(ctx, d.shop, &api.DetokenizeRequest{Purpose: purpose, Recipient: recipient, Reason: "order", Tokens: d.who.Tokens["given_name"].Items})
		if err == nil && out.Results[0].Error != nil {
			return out.Results[0].Error.Err()
		}
		return err
	}},
	{"reveal", "given_name", func(d *disclosing, purpose, recipient string) error {
		_, err := d.Reveal(ctx, d.shop, d.who.Subject, &api.RevealRequest{Purpose: purpose, Recipient: recipient, Reason: "order", Fields: []string{"given_name"}})
		return err
	}},
	{"open", "documents", func(d *disclosing, purpose, recipient string) error {
		_, err := d.OpenDocument(ctx, d.shop, &api.OpenDocumentRequest{Purpose: purpose, Recipient: recipient, Reason: "order", Token: d.document})
		return err
	}},
	{"record", "given_name", func(d *disclosing, purpose, recipient string) error {
		_, err := d.RecordTransfer(ctx, d.shop, d.who.Subject, &api.RecordTransferRequest{
			Purpose: purpose, Recipient: recipient, Reason: "order", Fields: []string{"given_name"}, At: d.Clock.Now(),
		})
		return err
	}},
}

func TestEveryWayToDiscloseNamesAndRecordsTheRecipient(t *testing.T) {
	for _, way := range waysToDisclose {
		t.Run(way.name, func(t *testing.T) {
			d := newDisclosing(t)
			for _, refused := range []struct {
				purpose, recipient string
				code               fault.Code
			}{
				{"reporting", "", fault.Invalid},         // it discloses
				{"service", "registry", fault.Invalid},   // it does not
				{"reporting", "nobody", fault.Denied},    // not registered
				{"reporting", iinA, fault.Denied},        // and not repeated in the log
				{"reporting", "registrar", fault.Denied}, // not the purpose's
				{"domain_registration", "registry", fault.Denied},
			} {
				err := way.call(d, refused.purpose, refused.recipient)
				f := fault.From(err)
				if !errors.Is(err, refused.code) || len(f.Fields) == 0 || f.Fields[0].Field != "recipient" {
					t.Errorf("%s to %q: %v %v, want %s", refused.purpose, refused.recipient, err, f, refused.code)
				}
			}
			if got := d.transfers(t); len(got) != 0 {
				t.Fatalf("refused, and recorded as disclosed: %+v", got)
			}
			for _, row := range allRows(t, d.Store) {
				if strings.Contains(row.value, iinA) {
					t.Errorf("the store tells what stood for a recipient in %q", row.key)
				}
			}
			if err := way.call(d, "reporting", "registry"); err != nil {
				t.Fatal(err)
			}
			got := d.transfers(t)
			if len(got) != 1 {
				t.Fatalf("recorded %+v", got)
			}
			one := got[0]
			if one.Recipient != "registry" || one.RecipientVersion != 1 || one.Purpose != "reporting" || one.Basis != "law" || one.CrossBorder ||
				!slices.Equal(one.Fields, []string{way.field}) || one.System != "shop" || one.RequestID != "req-shop" || one.Outside != (way.name == "record") {
				t.Errorf("recorded %+v", one)
			}
			entries := logged(t, d.Vault, map[string]string{"detokenize": "detokenize", "reveal": "reveal", "open": "document.open", "record": "transfer.record"}[way.name])
			if last := entries[len(entries)-1]; last.Recipient != "registry" || last.Decision != "allow" || last.Subject == "" {
				t.Errorf("the log has %+v", last)
			}
		})
	}
}

// TestARecipientGetsItsFieldsOnly: one token outside takes nothing else with it; a reveal is refused whole.
func TestARecipientGetsItsFieldsOnly(t *testing.T) {
	d := newDisclosing(t)
	out := must[*api.DetokenizeResponse](t)(d.Detokenize(ctx, d.shop, &api.DetokenizeRequest{
		Purpose: "reporting", Recipient: "registry", Reason: "order", Tokens: []string{
			d.who.Tokens["family_name"].Items[0], d.who.Tokens["given_name"].Items[0], d.who.Tokens["residence_address"].Items[0], d.who.Tokens["phone"].Items[1], d.document,
		},
	}))
	for i, want := range []fault.Code{fault.Denied, "", fault.Denied, "", fault.NotFound} {
		wantItem(t, out.Results[i].Error, want)
	}
	_, err := d.Reveal(ctx, d.shop, d.who.Subject, &api.RevealRequest{Purpose: "reporting", Recipient: "registry", Reason: "order", Fields: []string{"given_name", "iin"}})
	wantCode(t, err, fault.Denied)
	got := d.transfers(t)
	if len(got) != 1 || got[0].Items != 2 || !slices.Equal(got[0].Fields, []string{"given_name", "phone"}) {
		t.Errorf("recorded %+v", got)
	}
	_, err = d.Reveal(ctx, d.shop, register(t, d.Vault, d.shop, fields{"iin": text(iinB)}).Subject, &api.RevealRequest{
		Purpose: "reporting", Recipient: "registry", Reason: "order", Fields: []string{"given_name"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(rowsOf(t, d.Store, 'z')); n != 1 {
		t.Errorf("%d transfers: nothing was disclosed of somebody who has nothing of it", n)
	}
}

func TestNothingCrossesTheBorderUnprepared(t *testing.T) {
	d := newDisclosing(t)
	past, until := d.Clock.Now().Add(-time.Hour), d.Clock.Now().Add(24*time.Hour)
	ask := func() error { return waysToDisclose[0].call(d, "domain_registration", "registrar") }
	wantMissing := func(missing string) {
		t.Helper()
		err := ask()
		wantCode(t, err, fault.Denied)
		if f := fault.From(err).Fields; len(f) != 1 || !strings.Contains(f[0].Rule, missing) {
			t.Errorf("%v does not name the missing %s", f, missing)
		}
	}
	border := api.CrossBorder{Notification: "N-1", NotifiedAt: past, ValidUntil: until}
	change := func() {
		t.Helper()
		copied := border
		d.register(t, api.Recipient{Name: "registrar", Country: "US", Purposes: []string{"domain_registration"}, CrossBorder: &copied})
	}
	wantMissing("cross_border")
	change()
	wantMissing("assessment")
	border.Assessment, border.AssessedAt, border.Notification = "A-1", past, ""
	change()
	wantMissing("notification")
	border.Notification = "N-1"
	change()
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	if got := d.transfers(t); len(got) != 1 || !got[0].CrossBorder || got[0].RecipientVersion != 4 || got[0].Basis != "none" {
		t.Errorf("recorded %+v", got)
	}
	d.Clock.Advance(24 * time.Hour)
	wantMissing("valid_until")

	// A purpose whose data leaves the country asks the same of whoever it goes to.
	d.register(t, api.Recipient{Name: "agent", Country: "KZ", Purposes: []string{"domain_registration"}})
	wantCode(t, waysToDisclose[0].call(d, "domain_registration", "agent"), fault.Denied)
}

// TestAConsentNamesTheThirdParties: where the disclosure rests on a consent, this must name the third party, and that the
// data may leave the country.
func TestAConsentNamesTheThirdParties(t *testing.T) {
	for _, way := range waysToDisclose {
		if way.name == "open" {
			continue // the purpose reaches no documents
		}
		t.Run(way.name, func(t *testing.T) {
			d := newDisclosing(t)
			past := d.Clock.Now().Add(-time.Hour)
			d.register(t, api.Recipient{Name: "registrar", Country: "US", Purposes: []string{"domain_registration"}, CrossBorder: &api.CrossBorder{
				Assessment: "A-1", AssessedAt: past, Notification: "N-1", NotifiedAt: past,
			}})
			var last *api.Consent
			consent := func(abroad bool, parties ...string) {
				t.Helper()
				if last != nil {
					must[*api.Consent](t)(d.WithdrawConsent(ctx, d.shop, d.who.Subject, last.Consent, &api.WithdrawRequest{}))
				}
				last = must[*api.Consent](t)(d.RecordConsent(ctx, d.shop, d.who.Subject, &api.ConsentRequest{
					Text: "builtin-2026-01", Purposes: []string{"domain_registration"}, Channel: "web_form", GivenAt: d.Clock.Now(),
					ThirdParties: parties, CrossBorder: abroad,
				}))
			}
			ask := func() error { return way.call(d, "domain_registration", "registrar") }
			consent(true, "registry")
			wantCode(t, ask(), fault.Denied)
			consent(false, "registrar")
			wantCode(t, ask(), fault.Denied)
			if got := d.transfers(t); len(got) != 0 {
				t.Fatalf("refused, and recorded: %+v", got)
			}
			consent(true, "registry", "registrar")
			if err := ask(); err != nil {
				t.Fatal(err)
			}
			got := d.transfers(t)
			if len(got) != 1 || got[0].Basis != "consent" || got[0].Consent != fmt.Sprintf("%s@%d", last.Consent, last.Version) {
				t.Errorf("recorded %+v", got)
			}
			must[*api.Consent](t)(d.WithdrawConsent(ctx, d.shop, d.who.Subject, last.Consent, &api.WithdrawRequest{}))
			wantCode(t, ask(), fault.Denied)
		})
	}
}

// TestAThousandTokensToARecipient: fields inside and outside, of 250 people, somebody blocked and a foreign token among them.
func TestAThousandTokensToARecipient(t *testing.T) {
	d := newDisclosing(t)
	spy := register(t, d.Vault, d.As("spy", access.Application), fields{"given_name": text("Икс")})
	req := &api.TokenizeRequest{Purpose: "registration"}
	for i := range 249 {
		req.Items = append(req.Items, api.TokenizeItem{Fields: fields{
			"family_name": text("Сәрсенова"), "given_name": text("Айгүл"), "phone": text(fmt.Sprintf("+7701555%04d", i)), "email": text(fmt.Sprintf("a%d@example.kz", i)),
		}})
	}
	read := &api.DetokenizeRequest{Purpose: "reporting", Recipient: "registry", Reason: "order"}
	want := map[string]fault.Code{}
	codes := map[string]fault.Code{"family_name": fault.Denied, "given_name": "", "phone": "", "email": fault.Denied}
	for i, r := range must[*api.TokenizeResponse](t)(d.Tokenize(ctx, d.shop, req)).Results {
		wantItem(t, r.Error, "")
		if i == 7 {
			must[*api.Subject](t)(d.Block(ctx, d.shop, r.Subject, &api.BlockRequest{Kind: "dispute", Reason: "claim"}))
		}
		for field, tokens := range r.Tokens {
			read.Tokens = append(read.Tokens, tokens.Items[0])
			want[tokens.Items[0]] = codes[field]
			if i == 7 {
				want[tokens.Items[0]] = fault.Blocked
			}
		}
	}
	read.Tokens = append(read.Tokens, spy.Tokens["given_name"].Items[0])
	want[spy.Tokens["given_name"].Items[0]] = fault.NotFound
	for _, r := range must[*api.DetokenizeResponse](t)(d.Detokenize(ctx, d.shop, read)).Results {
		wantItem(t, r.Error, want[r.Token])
	}
	// A person whose tokens lie in two chunks is recorded twice.
	if n := len(rowsOf(t, d.Store, 'z')); n < 248 || n > 248+10 {
		t.Errorf("%d transfers for 248 people", n)
	}
}

// refusing is policies that keep phones from third parties.
type refusing struct{ access.Decider }

func (p refusing) Decide(ctx context.Context, r access.Request) (access.Decision, error) {
	if r.Recipient != "" && slices.Contains(r.Fields, "phone") {
		return access.Deny(fault.New(fault.Denied, "no phones"), "no_phones"), nil
	}
	return access.Allow("all"), nil
}

func TestWhatAPolicyRefusesIsNotRecorded(t *testing.T) {
	d := newDisclosing(t, vaulttest.With(func(o *vault.Options) { o.Decider = refusing{} }))
	out := must[*api.DetokenizeResponse](t)(d.Detokenize(ctx, d.shop, &api.DetokenizeRequest{
		Purpose: "reporting", Recipient: "registry", Reason: "order", Tokens: []string{d.who.Tokens["given_name"].Items[0], d.who.Tokens["phone"].Items[0]},
	}))
	wantItem(t, out.Results[0].Error, "")
	wantItem(t, out.Results[1].Error, fault.Denied)
	if got := d.transfers(t); len(got) != 1 || !slices.Equal(got[0].Fields, []string{"given_name"}) || got[0].Items != 1 {
		t.Errorf("recorded %+v", got)
	}
}

// recordedFirst is a provider that looks, whenever it opens people's keys, whether a transfer is in the store.
type recordedFirst struct {
	kms.Provider
	store          store.Store
	armed          atomic.Bool
	people         []kms.ID // set before it is armed
	opened, before atomic.Int32
}

func (p *recordedFirst) Open(ctx context.Context, ids ...kms.ID) ([]kms.Key, error) {
	if p.armed.Load() && slices.ContainsFunc(ids, func(id kms.ID) bool { return slices.Contains(p.people, id) }) {
		p.opened.Add(1)
		_ = p.store.View(ctx, func(r store.Reader) error {
			found, err := r.Scan([]byte("\x04testz"), nil, 1)
			p.before.Add(int32(len(found)))
			return err
		})
	}
	return p.Provider.Open(ctx, ids...)
}

// TestADisclosureIsRecordedBeforeAKeyIsOpened: a crash in between leaves a transfer that told too much, never one too few.
func TestADisclosureIsRecordedBeforeAKeyIsOpened(t *testing.T) {
	for _, way := range waysToDisclose[:3] {
		t.Run(way.name, func(t *testing.T) {
			home := t.TempDir()
			keys := &recordedFirst{Provider: ownKeys(t, filepath.Join(home, "keys")), store: ownStore(t, filepath.Join(home, "store"))}
			d := newDisclosing(t, vaulttest.With(func(o *vault.Options) { o.Keys, o.Store, o.Place = keys, keys.store, "here" }))
			d.Restart() // and no key is in memory
			keys.people = keysOfTenant(t, d.Vault)
			keys.armed.Store(true)
			if err := way.call(d, "reporting", "registry"); err != nil {
				t.Fatal(err)
			}
			if keys.opened.Load() == 0 || keys.before.Load() != keys.opened.Load() {
				t.Errorf("%d keys opened, %d of them with the transfer in the store", keys.opened.Load(), keys.before.Load())
			}
		})
	}
}

// failing is a store of which an Update that writes a row of a kind fails, before or after its effect.
type failing struct {
	store.Store
	kind          byte
	before, after atomic.Bool
}

func (f *failing) Update(ctx context.Context, do func(store.Writer) error) error {
	w := &watchedWriter{}
	err := f.Store.Update(ctx, func(inner store.Writer) error {
		*w = watchedWriter{Writer: inner, kind: f.kind}
		err := do(w)
		if w.wrote && f.before.Load() {
			return store.ErrNoSpace
		}
		return err
	})
	if w.wrote && f.after.Load() {
		return errors.Join(err, store.ErrClosed)
	}
	return err
}

// watchedWriter notes whether a row of a kind is written.
type watchedWriter struct {
	store.Writer
	kind  byte
	wrote bool
}

func (w *watchedWriter) Set(key, value []byte) error {
	w.wrote = w.wrote || kindOf(key) == w.kind
	return w.Writer.Set(key, value)
}

func TestWhatCannotBeRecordedIsNotDisclosed(t *testing.T) {
	for _, way := range waysToDisclose {
		t.Run(way.name, func(t *testing.T) {
			trap := &failing{Store: ownStore(t, t.TempDir()), kind: 'z'}
			d := newDisclosing(t, vaulttest.With(func(o *vault.Options) { o.Store, o.Place = trap, "here" }))
			trap.before.Store(true)
			if err := way.call(d, "reporting", "registry"); err == nil {
				t.Error("disclosed, and nothing was written")
			}
			trap.before.Store(false)
			if n := len(rowsOf(t, d.Store, 'z')); n != 0 {
				t.Errorf("%d transfers", n)
			}
			trap.after.Store(true)
			if err := way.call(d, "reporting", "registry"); err == nil {
				t.Error("disclosed, and it is unknown whether that was written")
			}
			trap.after.Store(false)
			if n := len(rowsOf(t, d.Store, 'z')); n != 1 {
				t.Errorf("%d transfers", n)
			}
		})
	}
}

func TestRecipientsOfAPerson(t *testing.T) {
	d := newDisclosing(t)
	other := billing(d.Vault)
	mine := register(t, d.Vault, other, fields{"iin": text(iinA), "given_name": text("Айгүл")})
	for range 3 {
		must[*api.DetokenizeResponse](t)(d.Detokenize(ctx, d.shop, &api.DetokenizeRequest{Purpose: "reporting", Recipient: "registry", Reason: "order", Tokens: d.who.Tokens["given_name"].Items}))
	}
	must[*api.DetokenizeResponse](t)(d.Detokenize(ctx, other, &api.DetokenizeRequest{Purpose: "reporting", Recipient: "registry", Reason: "order", Tokens: mine.Tokens["given_name"].Items}))

	own := must[*api.SubjectRecipients](t)(d.SubjectRecipients(ctx, other, mine.Subject, 0, ""))
	if own.Subject != mine.Subject || len(own.Systems) != 1 || own.Systems[0].System != "billing" || own.Systems[0].Tokens != 2 || len(own.Transfers) != 1 {
		t.Errorf("a system is told %+v", own)
	}
	_, err := d.SubjectRecipients(ctx, other, d.who.Subject, 0, "")
	wantCode(t, err, fault.NotFound)

	subject := logged(t, d.Vault, "tokenize")[0].Subject
	var seen []string
	for cursor, pages := "", 0; ; pages++ {
		page := must[*api.SubjectRecipients](t)(d.SubjectRecipients(ctx, d.admin, subject, 3, cursor))
		if len(page.Systems) != 2 || page.Systems[1].System != "shop" || page.Systems[1].Tokens != 7 {
			t.Errorf("staff are told %+v", page.Systems)
		}
		for _, one := range page.Transfers {
			seen = append(seen, one.Transfer)
		}
		if cursor = page.NextCursor; cursor == "" || pages > 2 {
			break
		}
	}
	if len(seen) != 4 || !slices.IsSorted(seen) || len(slices.Compact(seen)) != 4 {
		t.Errorf("the pages have %v", seen)
	}
	ofBilling := d.admin
	ofBilling.Principal.AllSystems, ofBilling.Principal.Systems = false, []string{"billing"}
	some := must[*api.SubjectRecipients](t)(d.SubjectRecipients(ctx, ofBilling, subject, 0, ""))
	if len(some.Systems) != 1 || some.Systems[0].System != "billing" || len(some.Transfers) != 1 || some.Transfers[0].System != "billing" {
		t.Errorf("staff of one system are told %+v", some)
	}
	for _, bad := range []string{"x", subject} {
		_, err = d.SubjectRecipients(ctx, d.admin, subject, 0, bad)
		wantCode(t, err, fault.Invalid)
	}
}

func TestADisclosureOutsideTheVault(t *testing.T) {
	d := newDisclosing(t)
	at := d.Clock.Now().Add(-48 * time.Hour).UTC().Truncate(time.Millisecond)
	req := &api.RecordTransferRequest{Recipient: "registry", Purpose: "reporting", Reason: "order", At: at, Fields: []string{"given_name", "documents"}, Evidence: "courier Оспанов"}
	keyed := d.shop
	keyed.Key, keyed.Body = "k1", []byte("x")
	first := must[*api.Transfer](t)(d.RecordTransfer(ctx, keyed, d.who.Subject, req))
	again := must[*api.Transfer](t)(d.RecordTransfer(ctx, keyed, d.who.Subject, req))
	if first.Transfer != again.Transfer || !first.At.Equal(at) || !again.At.Equal(at) || len(d.transfers(t)) != 1 {
		t.Errorf("%+v, then %+v", first, again)
	}
	somebody := register(t, d.Vault, d.shop, fields{"iin": text(iinB)})
	_, err := d.RecordTransfer(ctx, keyed, somebody.Subject, req)
	wantCode(t, err, fault.Unprocessable)
	for _, row := range allRows(t, d.Store) {
		if strings.Contains(row.value, "Оспанов") {
			t.Errorf("the evidence lies open in %q", row.key)
		}
	}
	broken := func(change func(*api.RecordTransferRequest)) error {
		r := *req
		change(&r)
		_, err := d.RecordTransfer(ctx, d.shop, d.who.Subject, &r)
		return err
	}
	for _, change := range []func(*api.RecordTransferRequest){
		func(r *api.RecordTransferRequest) { r.At = time.Time{} },
		func(r *api.RecordTransferRequest) { r.At = d.Clock.Now().Add(time.Hour) },
		func(r *api.RecordTransferRequest) { r.Fields = nil },
		func(r *api.RecordTransferRequest) { r.Fields = []string{"documents", "documents"} },
		func(r *api.RecordTransferRequest) { r.Fields = []string{"given_name", "nothing"} },
		func(r *api.RecordTransferRequest) { r.Reason = "" },
		func(r *api.RecordTransferRequest) { r.Purpose, r.Recipient = "service", "" },
		func(r *api.RecordTransferRequest) { r.Evidence = strings.Repeat("x", api.MaxNote+1) },
	} {
		wantCode(t, broken(change), fault.Invalid)
	}
	wantCode(t, broken(func(r *api.RecordTransferRequest) { r.Fields = []string{"iin"} }), fault.Denied)
	_, err = d.RecordTransfer(ctx, billing(d.Vault), d.who.Subject, req)
	wantCode(t, err, fault.NotFound)
	must[*api.Subject](t)(d.Block(ctx, d.shop, d.who.Subject, &api.BlockRequest{Kind: "dispute", Reason: "claim"}))
	wantCode(t, broken(func(*api.RecordTransferRequest) {}), fault.Blocked)
}

func TestTransfersGoWithThePerson(t *testing.T) {
	d := newDisclosing(t)
	for _, way := range waysToDisclose {
		if err := way.call(d, "reporting", "registry"); err != nil {
			t.Fatal(err)
		}
	}
	erased(t, d.Vault, d.shop, erase(t, d.Vault, d.shop, d.who.Subject).Erasure)
	if rows := rowsOf(t, d.Store, 'z'); len(rows) != 0 {
		t.Errorf("%d transfers outlived the person", len(rows))
	}
	_, err := d.SubjectRecipients(ctx, d.shop, d.who.Subject, 0, "")
	wantCode(t, err, fault.Erased)
}
