package vault_test

import (
	"bytes"
	"maps"
	"path/filepath"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/postgres"
	"github.com/sandyq/sandyq/vault/store/postgres/pgserver"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// belongings are what somebody has in a vault, and what the vault keeps of an erasure.
type belongings struct {
	person, gone    api.TokenizeResult
	document, whole string // token, content
	erasure         string
}

// furnish fills a vault with something of every sort.
func (b *belongings) furnish(t *testing.T, v *vaulttest.Vault, shop vault.Call) {
	t.Helper()
	b.person = register(t, v, shop, aigul())
	scan := jpeg(100_000)
	b.document, b.whole = must[*api.Document](t)(v.PutDocument(ctx, shop, upload(b.person.Subject, scan))).Token, string(scan)
	must[*api.Consent](t)(v.RecordConsent(ctx, shop, b.person.Subject, &api.ConsentRequest{
		Text: textBuiltIn, Purposes: []string{"service"}, Channel: "paper", GivenAt: v.Clock.Now(), Evidence: "form 4711",
	}))
	once := shop
	once.Key, once.Body = "key", []byte("body")
	must[*api.TokenizeResponse](t)(v.Tokenize(ctx, once, b.retried()))
	b.gone = register(t, v, shop, fields{"family_name": text("Ахметова")})
	b.erasure = must[*api.Erasure](t)(v.RequestErasure(ctx, shop, &api.ErasureRequest{Subject: b.gone.Subject, Ground: "request", Reason: "asked"})).Erasure
	erased(t, v, shop, b.erasure)
	eventually(t, "the certificate is made", func() bool {
		_, err := v.Certificate(ctx, shop, b.erasure)
		return err == nil
	})
}

func (b *belongings) retried() *api.TokenizeRequest {
	return &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{{Fields: fields{"given_name": text("Айгүл")}}}}
}

// answers are what a vault says of it all, by question.
func (b *belongings) answers(t *testing.T, v *vaulttest.Vault, shop vault.Call) map[string]string {
	t.Helper()
	all := map[string]string{}
	say := func(question string, answer any, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", question, err)
		}
		text, err := json.Marshal(answer, json.Deterministic(true))
		if err != nil {
			t.Fatal(err)
		}
		all[question] = string(text)
	}
	tokens := []string{b.gone.Tokens["family_name"].Items[0]}
	for _, of := range b.person.Tokens {
		tokens = append(tokens, of.Items...)
	}
	for _, token := range tokens {
		read, err := v.Detokenize(ctx, shop, &api.DetokenizeRequest{Purpose: "service", Reason: "test", Tokens: []string{token}})
		say("token "+token, read.Results, err)
	}
	found, err := v.Search(ctx, shop, &api.SearchRequest{Purpose: "service", Reason: "test", Field: "iin", Value: api.Text(iinA)})
	say("search", found.Results, err)
	consents, err := v.ListConsents(ctx, shop, b.person.Subject)
	say("consents", consents, err)
	once := shop
	once.Key, once.Body = "key", []byte("body")
	again, err := v.Tokenize(ctx, once, b.retried())
	say("retry", again.Results, err)
	ended, err := v.Erasure(ctx, shop, b.erasure)
	say("erasure", ended, err)
	certificate, err := v.Certificate(ctx, shop, b.erasure)
	say("certificate", certificate.Document, err)
	entries, err := v.AuditEntries(ctx, shop, api.AuditQuery{Limit: 12})
	say("log", entries.Items, err)
	opened := openDocument(t, v, shop, b.document, 0)
	whole, err := readAll(t, v, shop, opened.Content)
	say("document", bytes.Equal(whole, []byte(b.whole)), err)
	return all
}

// TestWhatWasMovedAnswersAlike moves a vault from Badger to PostgreSQL and back: whatever it is asked, it answers as before.
func TestWhatWasMovedAnswersAlike(t *testing.T) {
	home := t.TempDir()
	stores := []store.Store{ownStore(t, filepath.Join(home, "first")), nil, ownStore(t, filepath.Join(home, "third"))}
	stores[1] = must[*postgres.Store](t)(postgres.Open(ctx, postgres.Options{DSN: pgserver.Shared(t).Database(t)}))
	defer stores[1].Close()
	keys := &hazardousKeys{Provider: ownKeys(t, filepath.Join(home, "keyring"))}
	places := []string{"first", "second", "third"}
	serve := func(n int) *vaulttest.Vault {
		return vaulttest.At(t, home, vaulttest.With(func(o *vault.Options) { o.Store, o.Place, o.Keys = stores[n], places[n], keys }))
	}
	v := serve(0)
	shop := v.As("shop", access.Administrator)
	var b belongings
	b.furnish(t, v, shop)
	before := b.answers(t, v, shop)
	v.Stop()
	for n := range 2 {
		r := &removal{t: t, home: home, keys: keys, from: stores[n], to: stores[n+1], places: [2]string{places[n], places[n+1]}}
		if err := r.try(); err != nil {
			t.Fatal(err)
		}
		v := serve(n + 1)
		if after := b.answers(t, v, shop); !maps.Equal(before, after) {
			for question, answer := range before {
				if after[question] != answer {
					t.Errorf("in the %s store, %s: %s, before %s", places[n+1], question, after[question], answer)
				}
			}
		}
		v.Stop()
	}
}
