package vault_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/memory"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// TestOnlyALaterConsentRevives: whoever withdrew is not made to have consented by a paper from before the withdrawal, whoever
// brings it and however; a consent that was given since is good.
func TestOnlyALaterConsentRevives(t *testing.T) {
	v := consents(t, vault.ConsentsEnforced, "")
	shop, other := app(v), v.As("loyalty", access.Application)
	made := tokenize1(t, v, shop, api.TokenizeItem{Fields: aigul(), Consent: consentTo(v, "registration", "service")})
	wantItem(t, made.Error, "")
	same := register(t, v, other, fields{"iin": text(iinA)})
	v.Clock.Advance(time.Hour)
	withdraw(t, v, shop, made.Subject, made.Consent)
	v.Clock.Advance(time.Hour)

	old := consentTo(v, "service", "notices")
	old.GivenAt = v.Clock.Now().Add(-61 * time.Minute)
	for _, c := range []struct {
		call    vault.Call
		subject string
	}{{shop, made.Subject}, {other, same.Subject}} {
		_, err := v.RecordConsent(ctx, c.call, c.subject, old)
		wantCode(t, err, fault.Conflict)
		if f := fault.From(err).Fields; len(f) != 1 || f[0].Field != "given_at" {
			t.Errorf("%+v", f)
		}
	}
	r := tokenize1(t, v, shop, api.TokenizeItem{Subject: made.Subject, Fields: fields{"email": text("a@example.com")}, Consent: old})
	wantItem(t, r.Error, fault.Conflict)
	if r.Error.Errors[0].Field != "consent.given_at" {
		t.Errorf("%+v", r.Error)
	}
	if all := must[*api.Page[api.Consent]](t)(v.ListConsents(ctx, shop, made.Subject)).Items; len(all) != 1 {
		t.Errorf("refused and recorded: %+v", all)
	}
	token := made.Tokens["iin"].Items[0]
	wantItem(t, readFor(t, v, shop, "service", token), fault.Denied)

	old.Purposes = []string{"notices"} // which nobody withdrew
	record(t, v, shop, made.Subject, old)
	since := consentTo(v, "service")
	since.GivenAt = v.Clock.Now().Add(-30 * time.Minute)
	record(t, v, other, same.Subject, since)
	wantItem(t, readFor(t, v, shop, "service", token), "")
}

// TestTheNewestOfEqualConsentsCounts: of consents that reach equally far the one given last is what a use rests on.
func TestTheNewestOfEqualConsentsCounts(t *testing.T) {
	v := consents(t, vault.ConsentsEnforced, "")
	shop := app(v)
	made := tokenize1(t, v, shop, api.TokenizeItem{Fields: aigul(), Consent: consentTo(v, "registration")})
	token := made.Tokens["iin"].Items[0]
	var last *api.Consent
	for range 12 {
		v.Clock.Advance(time.Minute)
		last = record(t, v, shop, made.Subject, consentTo(v, "service"))
		wantItem(t, readFor(t, v, shop, "service", token), "")
		all := permittedOf(t, v, "detokenize")
		if e := all[len(all)-1]; e.Consent != last.Consent+"@1" {
			t.Fatalf("it rests on %s, want the newest", e.Consent)
		}
	}
	earlier := consentTo(v, "service")
	earlier.GivenAt = v.Clock.Now().Add(-30 * time.Second)
	record(t, v, shop, made.Subject, earlier)
	wantItem(t, readFor(t, v, shop, "service", token), "")
	all := permittedOf(t, v, "detokenize")
	if e := all[len(all)-1]; e.Consent != last.Consent+"@1" {
		t.Errorf("it rests on %s, want the newest", e.Consent)
	}
}

// TestARetryAfterTheWithdrawalAnswersNothing: what a call answered once is not answered again on the ground of a consent that
// is withdrawn.
func TestARetryAfterTheWithdrawalAnswersNothing(t *testing.T) {
	v := consents(t, vault.ConsentsObserved, "")
	shop := app(v)
	keyed := shop
	keyed.Key = "k1"
	item := api.TokenizeItem{Fields: aigul(), Consent: consentTo(v, "registration")}
	made := tokenize1(t, v, keyed, item)
	wantItem(t, made.Error, "")
	wantItem(t, tokenize1(t, v, keyed, item).Error, "")
	if all := permittedOf(t, v, "tokenize"); len(all) != 2 || all[1].Basis != "consent" || all[1].Consent != made.Consent.Consent+"@1" {
		t.Errorf("%+v", all)
	}
	withdraw(t, v, shop, made.Subject, made.Consent)
	r := tokenize1(t, v, keyed, item)
	wantItem(t, r.Error, fault.Denied)
	if r.Tokens != nil || r.Subject != "" {
		t.Errorf("%+v", r)
	}
}

// TestACorrectionCollectsNothing: where a purpose rests on nothing, what is held may be corrected and removed, and nothing
// is added.
func TestACorrectionCollectsNothing(t *testing.T) {
	v := consents(t, vault.ConsentsEnforced, "")
	shop := app(v)
	made := tokenize1(t, v, shop, api.TokenizeItem{Fields: aigul(), Consent: consentTo(v, "registration")})
	withdraw(t, v, shop, made.Subject, made.Consent)
	correct := func(f fields) error {
		_, err := v.Rectify(ctx, shop, made.Subject, &api.RectifyRequest{
			Purpose: "registration", Evidence: api.Evidence{Kind: "application", Ref: "A-17"}, Fields: f,
		})
		return err
	}
	wantCode(t, correct(fields{"email": text("a@example.com")}), fault.Denied)
	wantCode(t, correct(fields{"phone": texts(phoneA, "+77017654321", "+77017654322")}), fault.Denied)
	if seen := must[*api.Subject](t)(v.Subject(ctx, shop, made.Subject)); seen.Fields["email"].Values != 0 || seen.Fields["phone"].Values != 2 {
		t.Errorf("%+v", seen.Fields)
	}
	for _, f := range []fields{{"given_name": text("Айнұр")}, {"phone": texts(phoneA, "+77017654322")}, {"phone": texts(phoneA)}} {
		if err := correct(f); err != nil {
			t.Error(err)
		}
	}
	record(t, v, shop, made.Subject, consentTo(v, "registration"))
	if err := correct(fields{"email": text("a@example.com")}); err != nil {
		t.Error(err)
	}
	if all := permittedOf(t, v, "subject.rectify"); all[len(all)-1].Basis != "consent" {
		t.Errorf("%+v", all[len(all)-1])
	}
}

// TestAHandleEndsWithTheRules: a document that was opened for a purpose is read no more once the purpose may not be named,
// reaches no documents or rests on what the person did not give, on this node and on others, nor is what is being read.
func TestAHandleEndsWithTheRules(t *testing.T) {
	for name, change := range map[string]func(*api.Purpose){
		"retired":      func(p *api.Purpose) { p.Retired = true },
		"no documents": func(p *api.Purpose) { p.Documents = false },
		"discloses":    func(p *api.Purpose) { p.Discloses = true },
	} {
		t.Run(name, func(t *testing.T) {
			v := consents(t, vault.ConsentsObserved, "")
			shop, root := app(v), v.As("root", access.Administrator)
			who := register(t, v, shop, aigul())
			put := must[*api.Document](t)(v.PutDocument(ctx, shop, upload(who.Subject, jpeg(300_000))))
			visit := delivery("phone")
			visit.Documents = true
			must[*api.Change](t)(v.PutPurpose(ctx, root, "visit", visit))
			opened := must[*api.OpenDocumentResponse](t)(v.OpenDocument(ctx, shop, &api.OpenDocumentRequest{Token: put.Token, Purpose: "visit", Reason: "check"}))
			other := *visit
			other.Title = title("Another")
			must[*api.Change](t)(v.PutPurpose(ctx, root, "another", &other))
			if _, err := readAll(t, v, shop, opened.Content); err != nil {
				t.Errorf("a change of something else ended it: %v", err)
			}
			stream := must[*vault.Content](t)(v.Content(ctx, shop, opened.Content[len("/v1/content/"):]))
			defer stream.Close()
			if n, err := stream.Read(make([]byte, 1000)); n == 0 || err != nil {
				t.Fatal(n, err)
			}
			after := *visit
			change(&after)
			after.Version = 1
			must[*api.Change](t)(v.PutPurpose(ctx, root, "visit", &after))
			if n, err := stream.Read(make([]byte, 1000)); n != 0 || err == nil {
				t.Errorf("%d bytes are read on", n)
			}
			_, err := readAll(t, v, shop, opened.Content)
			wantCode(t, err, fault.NotFound)
		})
	}
}

// interrupting is a store that does something, once it is armed, after the next Update that writes a row of a kind.
type interrupting struct {
	store.Store
	kind  byte
	then  func() // set before it is armed
	armed atomic.Bool
}

func (i *interrupting) Update(ctx context.Context, do func(store.Writer) error) error {
	w := &watchedWriter{}
	err := i.Store.Update(ctx, func(inner store.Writer) error {
		*w = watchedWriter{Writer: inner, kind: i.kind}
		return do(w)
	})
	if w.wrote && i.armed.CompareAndSwap(true, false) {
		i.then()
	}
	return err
}

// TestABatchThatTheRulesInterruptRecordsOnce: a batch goes on under new rules when they change in the middle of it. What it has
// done by then it does not do again.
func TestABatchThatTheRulesInterruptRecordsOnce(t *testing.T) {
	in := &interrupting{Store: memory.New(), kind: 'K'}
	v := consents(t, vault.ConsentsEnforced, "", vaulttest.With(func(o *vault.Options) { o.Store, o.Place = in, "here" }))
	shop, root := app(v), v.As("root", access.Administrator)
	req := &api.TokenizeRequest{Purpose: "registration", Items: make([]api.TokenizeItem, 120)}
	for i := range req.Items {
		req.Items[i] = api.TokenizeItem{Fields: fields{"iin": text(nextIIN())}, Consent: consentTo(v, "registration")}
	}
	in.then = func() { must[*api.Change](t)(v.PutPurpose(ctx, root, "delivery", delivery("phone"))) }
	in.armed.Store(true)
	receipts := map[string]bool{}
	for _, r := range must[*api.TokenizeResponse](t)(v.Tokenize(ctx, shop, req)).Results {
		wantItem(t, r.Error, "")
		if !r.Created {
			t.Fatal("somebody was there already: the batch was made anew from its beginning")
		}
		receipts[r.Consent.Receipt] = true
	}
	if n := len(rowsOf(t, v.Store, 'K')); n != 120 || len(receipts) != 120 || in.armed.Load() {
		t.Errorf("%d consents, %d receipts", n, len(receipts))
	}
}
