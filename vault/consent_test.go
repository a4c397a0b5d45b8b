package vault_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/cedar"
	"github.com/sandyq/sandyq/crypto/kms/local"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/consent"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/purpose"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/memory"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

const (
	textBuiltIn   = "builtin-2026-01"
	textMarketing = "builtin-marketing-2026-01"
)

// consents are a vault in a mode, over purposes of its own when there are any.
func consents(t *testing.T, mode vault.ConsentMode, purposes string, options ...vaulttest.Option) *vaulttest.Vault {
	t.Helper()
	return vaulttest.At(t, inMemory(t), append(options, vaulttest.With(func(o *vault.Options) {
		o.Consents = mode
		if purposes != "" {
			o.Purposes = must[*purpose.Registry](t)(purpose.Parse(strings.NewReader(purposes), schema.Default()))
		}
	}))...)
}

// consentTo is a consent to the built-in text, given now.
func consentTo(v *vaulttest.Vault, purposes ...string) *api.ConsentRequest {
	version := textBuiltIn
	if slices.Contains(purposes, "marketing") {
		version = textMarketing
	}
	return &api.ConsentRequest{Text: version, Purposes: purposes, Channel: "web_form", GivenAt: v.Clock.Now()}
}

func record(t *testing.T, v *vaulttest.Vault, call vault.Call, subject string, req *api.ConsentRequest) *api.Consent {
	t.Helper()
	return must[*api.Consent](t)(v.RecordConsent(ctx, call, subject, req))
}

func withdraw(t *testing.T, v *vaulttest.Vault, call vault.Call, subject string, c *api.Consent) *api.Consent {
	t.Helper()
	return must[*api.Consent](t)(v.WithdrawConsent(ctx, call, subject, c.Consent, &api.WithdrawRequest{Reason: "asked"}))
}

// readFor reads a token for a purpose and returns why it could not.
func readFor(t *testing.T, v *vaulttest.Vault, call vault.Call, purpose, token string) *api.ItemError {
	t.Helper()
	resp := must[*api.DetokenizeResponse](t)(v.Detokenize(ctx, call, &api.DetokenizeRequest{Purpose: purpose, Reason: "check", Tokens: []string{token}}))
	return resp.Results[0].Error
}

// TestConsentCarriesAReading: what rests on consent is read while a consent stands and refused from its withdrawal on, and
// the log says which consent it was.
func TestConsentCarriesAReading(t *testing.T) {
	v := consents(t, vault.ConsentsEnforced, "")
	shop := app(v)
	refused := tokenize1(t, v, shop, api.TokenizeItem{Fields: aigul()})
	wantItem(t, refused.Error, fault.Denied)

	made := tokenize1(t, v, shop, api.TokenizeItem{Fields: aigul(), Consent: consentTo(v, "registration")})
	wantItem(t, made.Error, "")
	c := made.Consent
	if c.State != api.ConsentGiven || c.Version != 1 || !strings.HasPrefix(c.Consent, "cns_") || !strings.HasPrefix(c.Receipt, "rcp_") ||
		c.RecordedBy != "shop" || c.GivenBy != "self" || len(c.SHA256.Kazakh) != 64 || !slices.Contains(c.Fields, "documents") {
		t.Fatalf("%+v", c)
	}
	token := made.Tokens["iin"].Items[0]
	wantItem(t, readFor(t, v, shop, "service", token), fault.Denied)
	service := record(t, v, shop, made.Subject, consentTo(v, "service", "notices"))
	wantItem(t, readFor(t, v, shop, "service", token), "")
	entries := permittedOf(t, v, "detokenize")
	if last := entries[len(entries)-1]; last.Consent != service.Consent+"@1" || last.Basis != "consent" {
		t.Errorf("the entry names %q, %q", last.Consent, last.Basis)
	}
	entries = permittedOf(t, v, "consent.record")
	if len(entries) != 2 || entries[0].Consent != c.Consent+"@1" || entries[0].Kind != textBuiltIn || entries[1].Consent != service.Consent+"@1" {
		t.Errorf("%+v", entries)
	}

	gone := withdraw(t, v, shop, made.Subject, service)
	if gone.State != api.ConsentWithdrawn || gone.Version != 2 || !slices.Equal(gone.Stopped, []string{"service", "notices"}) || gone.Kept != nil || gone.Receipt != "" {
		t.Errorf("%+v", gone)
	}
	wantItem(t, readFor(t, v, shop, "service", token), fault.Denied)
	wantItem(t, readFor(t, v, shop, "registration", token), "")
	again := withdraw(t, v, shop, made.Subject, service)
	if !again.WithdrawnAt.Equal(gone.WithdrawnAt) || again.Version != 2 || !slices.Equal(again.Stopped, gone.Stopped) {
		t.Errorf("withdrawn again: %+v", again)
	}
	entries = permittedOf(t, v, "consent.withdraw")
	if len(entries) != 2 || entries[0].Consent != service.Consent+"@2" || entries[1].Consent != service.Consent+"@2" {
		t.Errorf("%+v", entries)
	}
}

// permittedOf is the log's entries of an operation that was permitted.
func permittedOf(t *testing.T, v *vaulttest.Vault, operation string) (all []audit.Entry) {
	t.Helper()
	for _, e := range logged(t, v, operation) {
		if e.Decision == audit.Allow {
			all = append(all, e)
		}
	}
	return all
}

// TestConsentItemIsAllOrNothing: an item whose consent breaks a rule, or may not be recorded, leaves nothing of either, and
// one whose data is refused leaves no consent.
func TestConsentItemIsAllOrNothing(t *testing.T) {
	v := consents(t, vault.ConsentsObserved, "")
	shop := app(v)
	wrong := consentTo(v, "service")
	wrong.Text = "nowhere"
	r := tokenize1(t, v, shop, api.TokenizeItem{Fields: aigul(), Consent: wrong})
	wantItem(t, r.Error, fault.Invalid)
	if r.Error.Errors[0].Field != "consent.text" {
		t.Errorf("%+v", r.Error)
	}
	who := register(t, v, shop, aigul())
	if !who.Created {
		t.Error("the refused item left somebody")
	}
	r = tokenize1(t, v, shop, api.TokenizeItem{Fields: fields{"iin": text(iinA), "given_name": text("Айнұр")}, Consent: consentTo(v, "service")})
	wantItem(t, r.Error, fault.Conflict)
	if all := must[*api.Page[api.Consent]](t)(v.ListConsents(ctx, shop, who.Subject)).Items; len(all) != 0 {
		t.Errorf("the refused item left %+v", all)
	}
}

// TestConsentAnswersARetryTheSame: a call that comes again under its idempotency key makes no second consent, and its answer
// has the receipt.
func TestConsentAnswersARetryTheSame(t *testing.T) {
	v := consents(t, vault.ConsentsEnforced, "")
	shop := app(v)
	keyed := shop
	keyed.Key = "k1"
	item := api.TokenizeItem{Fields: aigul(), Consent: consentTo(v, "registration")}
	first, second := tokenize1(t, v, keyed, item), tokenize1(t, v, keyed, item)
	if first.Error != nil || second.Error != nil || first.Consent.Consent != second.Consent.Consent || first.Consent.Receipt != second.Consent.Receipt {
		t.Errorf("%+v\n%+v", first, second)
	}
	keyed.Key = "k2"
	req := consentTo(v, "service")
	a, b := record(t, v, keyed, first.Subject, req), record(t, v, keyed, first.Subject, req)
	if a.Receipt == "" || a.Receipt != b.Receipt || a.Consent != b.Consent {
		t.Errorf("%+v\n%+v", a, b)
	}
	all := must[*api.Page[api.Consent]](t)(v.ListConsents(ctx, shop, first.Subject)).Items
	if len(all) != 2 || all[0].Receipt != "" {
		t.Errorf("%+v", all)
	}
}

func TestConsentRules(t *testing.T) {
	v := consents(t, vault.ConsentsObserved, "")
	shop := app(v)
	who := register(t, v, shop, aigul())
	now := v.Clock.Now()
	for _, c := range []struct {
		name, field string
		change      func(*api.ConsentRequest)
	}{
		{"no text", "text", func(r *api.ConsentRequest) { r.Text = "" }},
		{"unknown text", "text", func(r *api.ConsentRequest) { r.Text = "x" }},
		{"not yet effective", "text", func(r *api.ConsentRequest) { r.GivenAt = time.Date(2025, 12, 31, 0, 0, 0, 0, time.UTC) }},
		{"not covered", "text", func(r *api.ConsentRequest) { r.Purposes = []string{"marketing"} }},
		{"no purpose", "purposes", func(r *api.ConsentRequest) { r.Purposes = nil }},
		{"twice", "purposes", func(r *api.ConsentRequest) { r.Purposes = []string{"service", "service"} }},
		{"unknown purpose", "purposes", func(r *api.ConsentRequest) { r.Purposes = []string{"x"} }},
		{"rests on law", "purposes", func(r *api.ConsentRequest) { r.Purposes = []string{"legal_duty"} }},
		{"own consent beside others", "purposes", func(r *api.ConsentRequest) { r.Purposes = []string{"service", "marketing"} }},
		{"no channel", "channel", func(r *api.ConsentRequest) { r.Channel = "" }},
		{"no moment", "given_at", func(r *api.ConsentRequest) { r.GivenAt = time.Time{} }},
		{"tomorrow", "given_at", func(r *api.ConsentRequest) { r.GivenAt = now.Add(24 * time.Hour) }},
		{"ends before", "expires_at", func(r *api.ConsentRequest) { r.ExpiresAt = r.GivenAt }},
		{"long evidence", "evidence", func(r *api.ConsentRequest) { r.Evidence = strings.Repeat("x", 201) }},
		{"outside", "fields", func(r *api.ConsentRequest) { r.Purposes, r.Fields = []string{"notices"}, []string{"iin"} }},
		{"field twice", "fields", func(r *api.ConsentRequest) { r.Fields = []string{"iin", "iin"} }},
		{"a person as a party", "third_parties", func(r *api.ConsentRequest) { r.ThirdParties = []string{iinA} }},
		{"who", "given_by", func(r *api.ConsentRequest) { r.GivenBy = &api.GivenBy{Kind: "neighbour"} }},
		{"on what", "given_by", func(r *api.ConsentRequest) { r.GivenBy = &api.GivenBy{Kind: "representative"} }},
		{"of oneself", "given_by", func(r *api.ConsentRequest) { r.GivenBy = &api.GivenBy{Kind: "self", Evidence: "12"} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := consentTo(v, "service")
			c.change(req)
			_, err := v.RecordConsent(ctx, shop, who.Subject, req)
			wantCode(t, err, fault.Invalid)
			f := fault.From(err)
			if !slices.ContainsFunc(f.Fields, func(b fault.Field) bool { return b.Field == c.field }) {
				t.Errorf("%+v, want %s", f.Fields, c.field)
			}
			for _, b := range f.Fields {
				if strings.Contains(b.Rule, iinA) {
					t.Error("a rule repeats what was sent")
				}
			}
		})
	}
	if all := must[*api.Page[api.Consent]](t)(v.ListConsents(ctx, shop, who.Subject)).Items; len(all) != 0 {
		t.Errorf("refused and recorded: %+v", all)
	}
	record(t, v, shop, who.Subject, consentTo(v, "marketing"))
	ahead := consentTo(v, "service")
	ahead.GivenAt = now.Add(4 * time.Minute)
	record(t, v, shop, who.Subject, ahead)
}

// TestConsentsOfOthers: a system lists and withdraws what it recorded; to others a consent of its is not there. Staff see all,
// with what is sealed.
// TestASubjectsPageListsConsents: all of them to staff, its own to a system.
func TestASubjectsPageListsConsents(t *testing.T) {
	v := vaulttest.New(t)
	shop, crm, staff := app(v), v.As("crm", access.Application), v.As("staff", access.Staff)
	person := register(t, v, shop, aigul())
	other := register(t, v, crm, fields{"iin": text(iinA)})
	made := record(t, v, shop, person.Subject, consentTo(v, "service"))
	shown := must[*api.Subject](t)(v.Subject(ctx, shop, person.Subject)).Consents
	if len(shown) != 1 || shown[0].Consent != made.Consent || shown[0].State != api.ConsentGiven || !slices.Equal(shown[0].Purposes, []string{"service"}) {
		t.Errorf("its own: %+v", shown)
	}
	if shown := must[*api.Subject](t)(v.Subject(ctx, crm, other.Subject)).Consents; len(shown) != 0 {
		t.Errorf("another system's: %+v", shown)
	}
	wide := detokenize(t, v, staff, api.Plain, person.Tokens["iin"].Items[0])[0].Subject
	if shown := must[*api.Subject](t)(v.Subject(ctx, staff, wide)).Consents; len(shown) != 1 {
		t.Errorf("to staff: %+v", shown)
	}
}

func TestConsentsOfOthers(t *testing.T) {
	v := consents(t, vault.ConsentsObserved, "")
	shop, other, root := app(v), v.As("loyalty", access.Application), v.As("root", access.PrivacyOfficer)
	who := register(t, v, shop, aigul())
	same := register(t, v, other, fields{"iin": text(iinA)})
	req := consentTo(v, "service")
	req.Evidence, req.GivenBy = "form 4711", &api.GivenBy{Kind: "representative", Evidence: "power of attorney 8"}
	req.ThirdParties, req.CrossBorder, req.Publication, req.Fields = []string{"courier"}, true, true, []string{"phone"}
	mine := record(t, v, shop, who.Subject, req)
	if got := must[*api.Page[api.Consent]](t)(v.ListConsents(ctx, other, same.Subject)).Items; len(got) != 0 {
		t.Errorf("another system sees %+v", got)
	}
	_, err := v.WithdrawConsent(ctx, other, same.Subject, mine.Consent, &api.WithdrawRequest{})
	wantCode(t, err, fault.NotFound)
	_, err = v.WithdrawConsent(ctx, other, same.Subject, "cns_00000000000000000000000000", &api.WithdrawRequest{})
	wantCode(t, err, fault.NotFound)

	subject := must[*api.Page[api.MissingConsent]](t)(v.MissingConsents(ctx, root, "", 10, "")).Items[0].Subject
	got := must[*api.Page[api.Consent]](t)(v.ListConsents(ctx, root, subject)).Items
	if len(got) != 1 || got[0].Evidence != "form 4711" || got[0].Authority != "power of attorney 8" || got[0].GivenBy != "representative" ||
		!got[0].CrossBorder || !got[0].Publication || !slices.Equal(got[0].Fields, []string{"phone"}) || !slices.Equal(got[0].ThirdParties, []string{"courier"}) {
		t.Errorf("%+v", got)
	}
	if got := withdraw(t, v, root, subject, mine); got.State != api.ConsentWithdrawn {
		t.Errorf("%+v", got)
	}
	for _, row := range must[[]store.Pair](t)(rows(v.Store)) {
		if strings.Contains(string(row.Value), "form 4711") || strings.Contains(string(row.Value), "power of attorney") {
			t.Error("evidence lies in the clear")
		}
	}
}

// TestFurthestConsentCounts: of several consents to one purpose the one that reaches furthest carries it; a consent ends by
// itself when its time has come, and withdrawing one of two stops nothing.
func TestFurthestConsentCounts(t *testing.T) {
	v := consents(t, vault.ConsentsEnforced, "")
	shop := app(v)
	made := tokenize1(t, v, shop, api.TokenizeItem{Fields: aigul(), Consent: consentTo(v, "registration")})
	token := made.Tokens["iin"].Items[0]
	term := func(d time.Duration) *api.ConsentRequest {
		req := consentTo(v, "service")
		req.ExpiresAt = v.Clock.Now().Add(d)
		return req
	}
	short, long := record(t, v, shop, made.Subject, term(time.Hour)), record(t, v, shop, made.Subject, term(3*time.Hour))
	record(t, v, shop, made.Subject, term(time.Minute))
	v.Clock.Advance(2 * time.Hour)
	wantItem(t, readFor(t, v, shop, "service", token), "")
	if got := withdraw(t, v, shop, made.Subject, short); got.Stopped != nil {
		t.Errorf("stopped %v, which another consent carries", got.Stopped)
	}
	wantItem(t, readFor(t, v, shop, "service", token), "")
	v.Clock.Advance(time.Hour)
	wantItem(t, readFor(t, v, shop, "service", token), fault.Denied)
	states := map[string]api.ConsentState{}
	for _, c := range must[*api.Page[api.Consent]](t)(v.ListConsents(ctx, shop, made.Subject)).Items {
		states[c.Consent] = c.State
	}
	if states[long.Consent] != api.ConsentExpired || states[short.Consent] != api.ConsentWithdrawn {
		t.Errorf("%v", states)
	}
	forever := record(t, v, shop, made.Subject, consentTo(v, "service"))
	wantItem(t, readFor(t, v, shop, "service", token), "")
	if got := withdraw(t, v, shop, made.Subject, forever); !slices.Equal(got.Stopped, []string{"service"}) {
		t.Errorf("stopped %v", got.Stopped)
	}
	wantItem(t, readFor(t, v, shop, "service", token), fault.Denied)
}

// TestWithdrawnIsNotCollectedFor: whoever withdrew, or whose consent expired, gives no more data for the purpose, in either
// mode, unless they consent anew.
func TestWithdrawnIsNotCollectedFor(t *testing.T) {
	for _, mode := range []vault.ConsentMode{vault.ConsentsObserved, vault.ConsentsEnforced} {
		t.Run(string(mode), func(t *testing.T) {
			v := consents(t, mode, "")
			shop := app(v)
			made := tokenize1(t, v, shop, api.TokenizeItem{Fields: fields{"iin": text(iinA)}, Consent: consentTo(v, "registration")})
			more := api.TokenizeItem{Subject: made.Subject, Fields: fields{"email": text("a@example.com")}}
			withdraw(t, v, shop, made.Subject, made.Consent)
			wantItem(t, tokenize1(t, v, shop, more).Error, fault.Denied)
			more.Consent = consentTo(v, "service")
			wantItem(t, tokenize1(t, v, shop, more).Error, fault.Denied)
			more.Consent = consentTo(v, "registration")
			more.Consent.ExpiresAt = v.Clock.Now().Add(time.Hour)
			wantItem(t, tokenize1(t, v, shop, more).Error, "")
			v.Clock.Advance(2 * time.Hour)
			more.Consent = nil
			wantItem(t, tokenize1(t, v, shop, more).Error, fault.Denied)
			must[*api.Subject](t)(v.CreateSubject(ctx, shop, &api.CreateSubjectRequest{Purpose: "registration"}))
		})
	}
}

// TestHandleEndsWithItsConsent: a document that is opened on the ground of a consent is read until that ends and no longer.
func TestHandleEndsWithItsConsent(t *testing.T) {
	v := consents(t, vault.ConsentsEnforced, "")
	shop := app(v)
	term := consentTo(v, "registration", "service", "contract")
	term.ExpiresAt = v.Clock.Now().Add(30 * time.Second).Truncate(time.Millisecond)
	made := tokenize1(t, v, shop, api.TokenizeItem{Fields: aigul(), Consent: term})
	wantItem(t, made.Error, "")
	put := must[*api.Document](t)(v.PutDocument(ctx, shop, upload(made.Subject, jpeg(1000))))
	opened := openDocument(t, v, shop, put.Token, 0)
	if !opened.ExpiresAt.Equal(term.ExpiresAt) {
		t.Errorf("the handle ends at %s, the consent at %s", opened.ExpiresAt, term.ExpiresAt)
	}
	if _, err := readAll(t, v, shop, opened.Content); err != nil {
		t.Error(err)
	}
	v.Clock.Advance(time.Minute)
	_, err := readAll(t, v, shop, opened.Content)
	wantCode(t, err, fault.NotFound)
}

// obliged is two purposes of which an obligation keeps one.
const obliged = `
bases: [{name: consent, consent: true, title: {kk: а, ru: б, en: c}}]
purposes:
  - {name: service, title: {kk: а, ru: б, en: c}, basis: consent, fields: all, retention: {after: relationship_end}}
  - {name: contract, title: {kk: а, ru: б, en: c}, basis: consent, fields: all, obligation: "contract 12, unpaid", retention: {after: relationship_end}}
  - {name: registration, title: {kk: а, ru: б, en: c}, basis: consent, fields: all, retention: {after: relationship_end}}
`

func TestObligationStandsAgainstAWithdrawal(t *testing.T) {
	v := consents(t, vault.ConsentsEnforced, obliged)
	shop := app(v)
	made := tokenize1(t, v, shop, api.TokenizeItem{Fields: aigul(), Consent: consentTo(v, "registration", "service", "contract")})
	wantItem(t, made.Error, "")
	token := made.Tokens["iin"].Items[0]
	alone := record(t, v, shop, made.Subject, consentTo(v, "contract"))
	_, err := v.WithdrawConsent(ctx, shop, made.Subject, alone.Consent, &api.WithdrawRequest{})
	wantCode(t, err, fault.Held)
	if !strings.Contains(err.Error(), "contract 12, unpaid") {
		t.Errorf("%v does not cite", err)
	}
	got := withdraw(t, v, shop, made.Subject, made.Consent)
	if !slices.Equal(got.Stopped, []string{"registration", "service"}) || len(got.Kept) != 1 || got.Kept[0] != (api.KeptUse{Purpose: "contract", Citation: "contract 12, unpaid"}) {
		t.Errorf("%+v", got)
	}
	wantItem(t, readFor(t, v, shop, "service", token), fault.Denied)
	wantItem(t, readFor(t, v, shop, "contract", token), "")
	proof := must[*api.ConsentProof](t)(v.ConsentProof(ctx, v.As("dpo", access.PrivacyOfficer), &api.ProofRequest{Receipt: made.Consent.Receipt}))
	if proof.WithdrawnAt.IsZero() || !slices.Equal(proof.KeptFor, []string{"contract"}) {
		t.Errorf("%+v", proof)
	}
}

// TestConsentsAreBounded holds how many there may be of one person.
func TestConsentsAreBounded(t *testing.T) {
	v := consents(t, vault.ConsentsObserved, "")
	shop := app(v)
	who := register(t, v, shop, aigul())
	for range 200 {
		record(t, v, shop, who.Subject, consentTo(v, "service"))
	}
	_, err := v.RecordConsent(ctx, shop, who.Subject, consentTo(v, "service"))
	wantCode(t, err, fault.Conflict)
	r := tokenize1(t, v, shop, api.TokenizeItem{Fields: fields{"iin": text(iinA)}, Consent: consentTo(v, "service")})
	wantItem(t, r.Error, fault.Conflict)
	all := must[*api.Page[api.Consent]](t)(v.ListConsents(ctx, shop, who.Subject)).Items
	if len(all) != 200 {
		t.Errorf("%d consents", len(all))
	}
	erased(t, v, shop, erase(t, v, shop, who.Subject).Erasure)
}

// TestBatchOfConsents: each item of a batch has its own consent, key and receipt.
func TestBatchOfConsents(t *testing.T) {
	v := consents(t, vault.ConsentsEnforced, "")
	shop := app(v)
	req := &api.TokenizeRequest{Purpose: "registration", Items: make([]api.TokenizeItem, 120)}
	for i := range req.Items {
		req.Items[i] = api.TokenizeItem{Fields: fields{"given_name": text(nextName())}, Consent: consentTo(v, "registration")}
		if i%10 == 9 {
			req.Items[i].Consent = nil
		}
	}
	receipts := map[string]bool{}
	for i, r := range must[*api.TokenizeResponse](t)(v.Tokenize(ctx, shop, req)).Results {
		if i%10 == 9 {
			wantItem(t, r.Error, fault.Denied)
			continue
		}
		wantItem(t, r.Error, "")
		receipts[r.Consent.Receipt] = true
		wantItem(t, readFor(t, v, shop, "registration", r.Tokens["given_name"].Items[0]), "")
	}
	if len(receipts) != 108 {
		t.Errorf("%d receipts", len(receipts))
	}
}

// TestMissingConsents lists whom enforcing would refuse, and nobody else, in pages.
func TestMissingConsents(t *testing.T) {
	v := consents(t, vault.ConsentsObserved, "")
	shop, dpo := app(v), v.As("dpo", access.PrivacyOfficer)
	for i := range 7 {
		item := api.TokenizeItem{Fields: fields{"iin": text(nextIIN())}}
		if i%3 == 0 {
			item.Consent = consentTo(v, "registration")
		}
		wantItem(t, tokenize1(t, v, shop, item).Error, "")
	}
	found := map[string]bool{}
	cursor := ""
	for page := 0; page == 0 || cursor != ""; page++ {
		got := must[*api.Page[api.MissingConsent]](t)(v.MissingConsents(ctx, dpo, "registration", 2, cursor))
		for _, m := range got.Items {
			if found[m.Subject] || !slices.Equal(m.Purposes, []string{"registration"}) {
				t.Errorf("%+v", m)
			}
			found[m.Subject] = true
		}
		cursor = got.NextCursor
	}
	if len(found) != 4 {
		t.Errorf("%d people", len(found))
	}
	if none := must[*api.Page[api.MissingConsent]](t)(v.MissingConsents(ctx, dpo, "marketing", 2, "")); len(none.Items) != 0 || none.NextCursor != "" {
		t.Errorf("%+v", none)
	}
	_, err := v.MissingConsents(ctx, shop, "", 2, "")
	wantCode(t, err, fault.Denied)
	_, err = v.MissingConsents(ctx, dpo, "x", 2, "")
	wantCode(t, err, fault.Invalid)
}

// countsNoBasis counts uses that rest on nothing.
type countsNoBasis struct {
	vault.Observer
	n int
}

func (c *countsNoBasis) NoBasis()                            { c.n++ }
func (c *countsNoBasis) Backlog(int, time.Duration)          {}
func (*countsNoBasis) Removals(int, time.Duration)           {}
func (c *countsNoBasis) Log(int64, time.Duration, time.Time) {}
func (c *countsNoBasis) Live(bool)                           {}
func (*countsNoBasis) Ledger(bool)                           {}
func (*countsNoBasis) Anchored(bool)                         {}
func (*countsNoBasis) Witnessed(bool)                        {}
func (*countsNoBasis) Nodes(int, bool)                       {}
func (*countsNoBasis) Drill(time.Time, bool)                 {}

func TestObserveCounts(t *testing.T) {
	seen := &countsNoBasis{}
	v := consents(t, vault.ConsentsObserved, "", vaulttest.With(func(o *vault.Options) { o.Observer = seen }))
	shop := app(v)
	who := tokenize1(t, v, shop, api.TokenizeItem{Fields: aigul(), Consent: consentTo(v, "registration")})
	before := seen.n
	wantItem(t, readFor(t, v, shop, "registration", who.Tokens["iin"].Items[0]), "")
	wantItem(t, readFor(t, v, shop, "legal_duty", who.Tokens["iin"].Items[0]), "")
	if seen.n != before {
		t.Errorf("%d uses that rest on something were counted", seen.n-before)
	}
	wantItem(t, readFor(t, v, shop, "service", who.Tokens["iin"].Items[0]), "")
	if seen.n != before+1 {
		t.Errorf("%d counted, want 1", seen.n-before)
	}
}

// TestConsentTexts: a text is made, changed until people may have seen it, and then never again.
func TestConsentTexts(t *testing.T) {
	v := consents(t, vault.ConsentsObserved, "")
	shop, root := app(v), v.As("root", access.Administrator)
	who := register(t, v, shop, aigul())
	soon := &api.ConsentTextRequest{
		Text: api.Languages{Kazakh: "к", Russian: "р", English: "e"}, EffectiveFrom: v.Clock.Now().Add(time.Hour), Purposes: []string{"service"},
	}
	_, err := v.PutConsentText(ctx, shop, "own-1", soon)
	wantCode(t, err, fault.Denied)
	put := func() *api.ConsentText {
		t.Helper()
		if c := must[*api.Change](t)(v.PutConsentText(ctx, root, "own-1", soon)); c.Change != "" || c.Kind != "consent_text" {
			t.Errorf("%+v", c)
		}
		return must[*api.ConsentText](t)(v.ConsentText(ctx, root, "own-1"))
	}
	made := put()
	if made.Final || made.ManagedBy != "api" || made.Text.Kazakh != "к" || made.SHA256.English == made.SHA256.Kazakh {
		t.Errorf("%+v", made)
	}
	early := consentTo(v, "service")
	early.Text = "own-1"
	_, err = v.RecordConsent(ctx, shop, who.Subject, early)
	wantCode(t, err, fault.Invalid)
	soon.Text.English = "E"
	changed := put()
	if changed.SHA256.English == made.SHA256.English {
		t.Error("the change is not there")
	}
	v.Clock.Advance(2 * time.Hour)
	early.GivenAt = v.Clock.Now()
	c := record(t, v, shop, who.Subject, early)
	if c.SHA256 != changed.SHA256 {
		t.Errorf("%+v", c)
	}
	if same := put(); !same.Final || same.SHA256 != changed.SHA256 {
		t.Errorf("%+v", same)
	}
	for _, change := range []func(*api.ConsentTextRequest){
		func(r *api.ConsentTextRequest) { r.Text.English = "x" },
		func(r *api.ConsentTextRequest) { r.EffectiveFrom = r.EffectiveFrom.Add(24 * time.Hour) },
		func(r *api.ConsentTextRequest) { r.Purposes = []string{"service", "contract"} },
	} {
		other := *soon
		change(&other)
		_, err = v.PutConsentText(ctx, root, "own-1", &other)
		wantCode(t, err, fault.Conflict)
		_, err = v.PutConsentText(ctx, root, textBuiltIn, &other)
		wantCode(t, err, fault.Conflict)
	}
	for _, purposes := range [][]string{{"legal_duty"}, {"x"}, {"service", "marketing"}, nil} {
		other := *soon
		other.Purposes = purposes
		_, err = v.PutConsentText(ctx, root, "own-2", &other)
		wantCode(t, err, fault.Invalid)
	}
	v.Restart()
	shown := must[*api.ConsentText](t)(v.ConsentText(ctx, shop, "own-1"))
	if !shown.Final || shown.Text.English != "E" {
		t.Errorf("%+v", shown)
	}
	var versions []string
	for _, one := range must[*api.Page[api.ConsentText]](t)(v.ConsentTexts(ctx, shop)).Items {
		versions = append(versions, fmt.Sprint(one.Version, " ", one.ManagedBy, " ", one.Text == nil))
	}
	if want := []string{textBuiltIn + " file true", textMarketing + " file true", "own-1 api true"}; !slices.Equal(versions, want) {
		t.Errorf("%v", versions)
	}
	_, err = v.ConsentText(ctx, shop, "own-3")
	wantCode(t, err, fault.NotFound)
}

// TestOneVersionIsOneText: a file that has another text under a version that is in the store is not served.
func TestOneVersionIsOneText(t *testing.T) {
	kept := memory.New()
	v := consents(t, vault.ConsentsObserved, "", vaulttest.With(func(o *vault.Options) { o.Store, o.Place = kept, "here" }))
	must[*api.Change](t)(v.PutConsentText(ctx, v.As("root", access.Administrator), "own-1", &api.ConsentTextRequest{
		Text: api.Languages{Kazakh: "к", Russian: "р", English: "e"}, Purposes: []string{"service"},
		EffectiveFrom: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}))
	v.Stop()
	keys := must[*local.Keyring](t)(vaulttest.Keyring(filepath.Join(v.Home, "keyring")))
	defer keys.Close()
	for english, same := range map[string]bool{"e": true, "other": false} {
		file := "texts: [{version: own-1, effective_from: 2026-01-01T00:00:00Z, purposes: [service], text: {kk: к, ru: р, en: " + english + "}}]"
		texts := must[*consent.Registry](t)(consent.Load(fstest.MapFS{"own.yaml": {Data: []byte(file)}}))
		s, err := vault.Open(ctx, vault.Options{
			Tenant: "test", Store: kept, Place: "here", Blobs: blobless{}, Keys: keys, Clock: v.Clock.Now, Log: slog.New(slog.DiscardHandler),
			Decider: cedar.Development(cedar.Options{Category: schema.Default().CategoryOf, Now: v.Clock.Now}), Texts: texts,
			Ledger: vaulttest.Ledger(filepath.Join(v.Home, "ledger"), "test", keys),
		})
		if (err == nil) != same {
			t.Errorf("%q: %v", english, err)
		}
		if s != nil {
			s.Close()
		}
	}
}

// blobless is no store of documents.
type blobless struct{ blob.Store }

func (blobless) List(context.Context, func(blob.Info) error) error { return nil }
