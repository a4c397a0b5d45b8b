package vault_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/vaulttest"
	"github.com/sandyq/sandyq/vault/webhook"
)

// hook is a webhook's receiver: it takes what is signed with its secret, once.
type hook struct {
	t      testing.TB
	secret []byte
	url    string

	mu       sync.Mutex
	away     bool // it refuses everything
	seen     map[string]int
	received []api.Alert
}

func newHook(t testing.TB) *hook {
	t.Helper()
	r := &hook{t: t, secret: []byte(strings.Repeat("s", webhook.MinSecret)), seen: map[string]int{}}
	server := httptest.NewServer(r)
	r.url = server.URL
	t.Cleanup(server.Close)
	return r
}

func (r *hook) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err == nil {
		err = webhook.Verify(r.secret, req.Header, body, clock.System(), time.Minute)
	}
	var a api.Alert
	if err == nil {
		err = json.Unmarshal(body, &a)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil || a.ID != req.Header.Get(webhook.HeaderID) || a.Count < 1:
		r.t.Errorf("%v: %s", err, body)
	case r.away:
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case r.seen[a.ID] == 0:
		r.received = append(r.received, a)
	}
	r.seen[a.ID]++
}

func (r *hook) goAway(away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = away
}

func (r *hook) alerts(kind string) (all []api.Alert) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.received {
		if a.Kind == kind {
			all = append(all, a)
		}
	}
	return all
}

// await waits until so many alerts of a kind have come.
func (r *hook) await(kind string, n int) []api.Alert {
	r.t.Helper()
	for range 500 {
		if all := r.alerts(kind); len(all) >= n {
			return all
		}
		time.Sleep(20 * time.Millisecond)
	}
	r.t.Fatalf("%d alerts of %s, want %d", len(r.alerts(kind)), kind, n)
	return nil
}

// impatient is a sender that does not wait long.
type impatient struct{ *webhook.Sender }

func (impatient) Backoff(int) time.Duration { return 10 * time.Millisecond }

// telling gives a vault receivers.
func telling(t testing.TB, b *bell, receivers ...*hook) vaulttest.Option {
	t.Helper()
	var targets []webhook.Target
	for _, r := range receivers {
		targets = append(targets, webhook.Target{URL: r.url, Secret: secret.New(r.secret)})
	}
	sender, err := webhook.New(targets, webhook.Options{Now: clock.System})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sender.Close)
	return vaulttest.With(func(o *vault.Options) { o.Messenger, o.Observer = impatient{sender}, b })
}

// wideID is the vault-wide id of the last person that was tokenized.
func wideID(t testing.TB, v *vaulttest.Vault) string {
	t.Helper()
	all := auditLog(t, v, api.AuditQuery{Operation: string(access.Tokenize)})
	return all[len(all)-1].Subject
}

// Every way to a canary alerts, whoever takes it and whatever they are told, and nobody is told more than of anybody else.
func TestEveryUseOfACanaryAlerts(t *testing.T) {
	b := &bell{}
	v := vaulttest.New(t, telling(t, b))
	shop, bank, desk := v.As("shop", access.Application), v.As("bank", access.Application), v.As("desk", access.Staff)
	soc := v.As("soc", access.Administrator)

	plain, plainWide := register(t, v, shop, fields{"iin": text(iinB), "phone": texts(phoneA)}), wideID(t, v)
	bait, wide := register(t, v, shop, fields{"iin": text(iinA), "phone": texts(phoneA)}), wideID(t, v)
	scans := map[string]string{}
	for _, who := range []string{plain.Subject, bait.Subject} {
		scans[who] = must[*api.Document](t)(v.PutDocument(ctx, shop, upload(who, jpeg(3000)))).Token
	}
	marked := must[*api.Canary](t)(v.MarkCanary(ctx, soc, &api.MarkCanaryRequest{Subject: wide}))
	if again := must[*api.Canary](t)(v.MarkCanary(ctx, soc, &api.MarkCanaryRequest{Subject: wide})); *again != *marked {
		t.Errorf("marked again: %+v, %+v", again, marked)
	}
	if b.of("canary") != 0 {
		t.Error("marking alerts")
	}
	ways := []struct {
		name string
		use  func(who api.TokenizeResult, wide, iin string) (any, error)
	}{
		{"detokenize", func(who api.TokenizeResult, _, _ string) (any, error) {
			r, err := dump(v, shop, who.Tokens["phone"].Items[0])
			return len(r.Results), err
		}},
		{"detokenize by another", func(who api.TokenizeResult, _, _ string) (any, error) {
			r, err := dump(v, bank, who.Tokens["phone"].Items[0])
			return r.Results[0].Error.Code, err
		}},
		{"reveal", func(who api.TokenizeResult, _, _ string) (any, error) {
			r, err := v.Reveal(ctx, shop, who.Subject, &api.RevealRequest{Purpose: "service", Reason: "x", Fields: []string{"phone"}})
			return len(r.Fields), err
		}},
		{"reveal by another", func(who api.TokenizeResult, _, _ string) (any, error) {
			_, err := v.Reveal(ctx, bank, who.Subject, &api.RevealRequest{Purpose: "service", Reason: "x", Fields: []string{"phone"}})
			return fault.CodeOf(err), nil
		}},
		{"open", func(who api.TokenizeResult, _, _ string) (any, error) {
			r, err := v.OpenDocument(ctx, shop, &api.OpenDocumentRequest{Token: scans[who.Subject], Purpose: "service", Reason: "x"})
			return r.Size, err
		}},
		{"open by another", func(who api.TokenizeResult, _, _ string) (any, error) {
			_, err := v.OpenDocument(ctx, bank, &api.OpenDocumentRequest{Token: scans[who.Subject], Purpose: "service", Reason: "x"})
			return fault.CodeOf(err), nil
		}},
		{"describe", func(who api.TokenizeResult, _, _ string) (any, error) {
			r, err := v.DescribeTokens(ctx, shop, &api.TokensRequest{Tokens: who.Tokens["phone"].Items})
			return r.Results[0].State, err
		}},
		{"describe by another", func(who api.TokenizeResult, _, _ string) (any, error) {
			r, err := v.DescribeTokens(ctx, bank, &api.TokensRequest{Tokens: who.Tokens["phone"].Items})
			return r.Results[0].Error.Code, err
		}},
		{"revoke by another", func(who api.TokenizeResult, _, _ string) (any, error) {
			r, err := v.RevokeTokens(ctx, bank, &api.TokensRequest{Tokens: who.Tokens["phone"].Items})
			return r.Results[0].Error.Code, err
		}},
		{"show", func(who api.TokenizeResult, _, _ string) (any, error) {
			s, err := v.Subject(ctx, shop, who.Subject)
			return fmt.Sprint(s.State, s.Purposes, s.Blocks, s.Fields["iin"].Values, len(s.Documents)), err
		}},
		{"show to staff", func(_ api.TokenizeResult, wide, _ string) (any, error) {
			s, err := v.Subject(ctx, desk, wide)
			return fmt.Sprint(s.State, s.Purposes, s.Blocks, s.Fields["iin"].Values, len(s.Documents)), err
		}},
		{"search", func(_ api.TokenizeResult, _, iin string) (any, error) {
			r, err := v.Search(ctx, shop, &api.SearchRequest{Field: "iin", Value: api.Text(iin), Purpose: "service", Reason: "x"})
			return len(r.Results), err
		}},
		{"search by another", func(_ api.TokenizeResult, _, iin string) (any, error) {
			r, err := v.Search(ctx, bank, &api.SearchRequest{Field: "iin", Value: api.Text(iin), Purpose: "service", Reason: "x"})
			return len(r.Results), err
		}},
		{"name as somebody else", func(who api.TokenizeResult, _, _ string) (any, error) {
			r := tokenize1(t, v, bank, api.TokenizeItem{Subject: who.Subject, Fields: fields{"iin": text(iinC)}})
			return r.Error.Code, nil
		}},
		{"correct to their value", func(_ api.TokenizeResult, _, iin string) (any, error) {
			mine := register(t, v, bank, fields{"phone": texts(phoneA)})
			_, err := v.Rectify(ctx, bank, mine.Subject, &api.RectifyRequest{
				Purpose: "service", Evidence: api.Evidence{Kind: "application", Ref: "A-17"}, Fields: fields{"iin": text(iin)},
			})
			return fault.CodeOf(err), nil
		}},
		{"name as who gave data", func(who api.TokenizeResult, _, _ string) (any, error) {
			r := tokenize1(t, v, shop, api.TokenizeItem{ProvidedBy: who.Subject, Fields: fields{"phone": texts(phoneA)}})
			return r.Created && r.Error == nil, nil
		}},
		{"name another's as who gave data", func(who api.TokenizeResult, _, _ string) (any, error) {
			r := tokenize1(t, v, bank, api.TokenizeItem{ProvidedBy: who.Subject, Fields: fields{"phone": texts(phoneA)}})
			return r.Error.Code, nil
		}},
		{"tokenize", func(_ api.TokenizeResult, _, iin string) (any, error) {
			return register(t, v, bank, fields{"iin": text(iin)}).Created, nil
		}},
	}
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			ordinary, err := w.use(plain, plainWide, iinB)
			if err != nil || b.of("canary") != 0 {
				t.Fatalf("%v, %d alerts", err, b.of("canary"))
			}
			same, err := w.use(bait, wide, iinA)
			if err != nil || same != ordinary {
				t.Errorf("told %v, of another %v: %v", same, ordinary, err)
			}
			if n := b.of("canary"); n != 1 {
				t.Errorf("%d alerts", n)
			}
			b.mu.Lock()
			clear(b.rung)
			b.mu.Unlock()
		})
	}
	for _, e := range auditLog(t, v, api.AuditQuery{Subject: wide}) {
		if e.Operation == string(access.MarkCanary) {
			t.Error("the person's own log tells of the mark")
		}
	}
	if e := auditLog(t, v, api.AuditQuery{Operation: string(access.MarkCanary)}); len(e) != 2 || !slices.Contains(e[0].Objects, marked.ID) {
		t.Errorf("%+v", e)
	}
	must[*api.Canary](t)(v.UnmarkCanary(ctx, soc, wide))
	if _, err := dump(v, shop, bait.Tokens["iin"].Items[0]); err != nil || b.of("canary") != 0 {
		t.Errorf("unmarked: %v, %d alerts", err, b.of("canary"))
	}
	_, err := v.UnmarkCanary(ctx, soc, marked.ID)
	wantCode(t, err, fault.NotFound)
}

// A token that is marked stays a canary when it is retired, and when its person is erased; the person's others are none.
func TestCanaryTokenOutlivesWhatItStandsFor(t *testing.T) {
	b := &bell{}
	v := vaulttest.New(t, telling(t, b))
	shop, bank, soc := v.As("shop", access.Application), v.As("bank", access.Application), v.As("soc", access.Administrator)
	her := register(t, v, shop, aigul())
	bait := her.Tokens["iin"].Items[0]
	marked := must[*api.Canary](t)(v.MarkCanary(ctx, soc, &api.MarkCanaryRequest{Token: bait}))
	if marked.Kind != api.CanaryToken || marked.System != "shop" || marked.Field != "iin" {
		t.Errorf("%+v", marked)
	}
	rings := 0
	present := func(by vault.Call, token string, ring bool, code fault.Code) {
		t.Helper()
		r, err := dump(v, by, token)
		if err != nil {
			t.Fatal(err)
		}
		wantItem(t, r.Results[0].Error, code)
		if ring {
			rings++
		}
		if n := b.of("canary"); n != rings {
			t.Fatalf("%d alerts, want %d", n, rings)
		}
	}
	present(shop, bait, true, "")
	present(bank, bait, true, fault.NotFound)
	present(shop, her.Tokens["phone"].Items[0], false, "")
	v.Restart()
	present(shop, bait, true, "")
	must[*api.RevokeResponse](t)(v.RevokeTokens(ctx, shop, &api.TokensRequest{Tokens: []string{bait}}))
	rings++
	present(shop, bait, true, fault.NotFound)
	present(bank, bait, true, fault.NotFound)
	listed := must[*api.Page[api.Canary]](t)(v.Canaries(ctx, soc)).Items
	if len(listed) != 1 || listed[0] != *marked {
		t.Errorf("listed %+v", listed)
	}
	for _, bad := range []api.MarkCanaryRequest{{}, {Subject: her.Subject, Token: bait}} {
		_, err := v.MarkCanary(ctx, soc, &bad)
		wantCode(t, err, fault.Invalid)
	}
	for _, nobody := range []api.MarkCanaryRequest{{Subject: her.Subject}, {Token: bait}, {Token: "sdq_p_x"}} { // pairwise, retired, mistyped
		_, err := v.MarkCanary(ctx, soc, &nobody)
		wantCode(t, err, fault.NotFound)
	}
	for _, role := range []access.Role{access.Application, access.Staff, access.Auditor} {
		call := v.As("nosy-"+string(role[:3]), role)
		_, err := v.Canaries(ctx, call)
		wantCode(t, err, fault.Denied)
		_, err = v.MarkCanary(ctx, call, &api.MarkCanaryRequest{Token: her.Tokens["phone"].Items[0]})
		wantCode(t, err, fault.Denied)
	}
}

// A flood of uses becomes two messages a minute to each receiver, one that is away for a while gets them later, and no
// receiver gets one twice while nothing fails.
func TestFloodOfAlerts(t *testing.T) {
	b := &bell{}
	quick, slow := newHook(t), newHook(t)
	slow.goAway(true)
	v := vaulttest.New(t, telling(t, b, quick, slow))
	shop, soc := v.As("shop", access.Application), v.As("soc", access.Administrator)
	iin := register(t, v, shop, aigul()).Tokens["iin"].Items[0]
	wide := wideID(t, v)
	marked := must[*api.Canary](t)(v.MarkCanary(ctx, soc, &api.MarkCanaryRequest{Subject: wide}))

	now := v.Clock.Now()
	v.Clock.Advance(now.Truncate(time.Minute).Add(time.Minute + time.Second).Sub(now)) // early in a minute
	const uses = 40
	for n := range uses {
		if _, err := dump(v, shop, iin); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			first := quick.await("canary", 1)[0]
			if first.Count != 1 || first.Subject != wide || first.Object != marked.ID || first.System != "shop" || first.Operation != "detokenize" {
				t.Errorf("%+v", first)
			}
		}
	}
	if b.of("canary") != uses || len(quick.alerts("canary")) != 1 {
		t.Errorf("%d counted, told of %d", b.of("canary"), len(quick.alerts("canary")))
	}
	v.Restart() // nothing is lost that was not told
	slow.goAway(false)
	if first := slow.await("canary", 1)[0]; first != quick.alerts("canary")[0] {
		t.Errorf("one was told %+v, the other %+v", first, quick.alerts("canary")[0])
	}
	v.Clock.Advance(time.Minute)
	for _, r := range []*hook{quick, slow} {
		if rest := r.await("canary", 2); rest[1].Count != uses-1 || rest[1].ID == rest[0].ID {
			t.Errorf("%+v", rest)
		}
	}
	time.Sleep(300 * time.Millisecond) // several rounds more
	if n := len(quick.alerts("canary")); n != 2 {
		t.Errorf("%d messages", n)
	}
	quick.mu.Lock()
	defer quick.mu.Unlock()
	for id, times := range quick.seen {
		if times != 1 {
			t.Errorf("%s was sent %d times", id, times)
		}
	}
}

// An alert whose receivers can't be reached is given up after a week; others go on meanwhile.
func TestAlertIsGivenUp(t *testing.T) {
	gone := newHook(t)
	gone.goAway(true)
	v := vaulttest.New(t, telling(t, &bell{}, gone))
	shop, soc := v.As("shop", access.Application), v.As("soc", access.Administrator)
	iin := register(t, v, shop, aigul()).Tokens["iin"].Items[0]
	must[*api.Canary](t)(v.MarkCanary(ctx, soc, &api.MarkCanaryRequest{Subject: wideID(t, v)}))
	if _, err := dump(v, shop, iin); err != nil {
		t.Fatal(err)
	}
	v.Clock.Advance(8 * 24 * time.Hour)
	time.Sleep(300 * time.Millisecond)
	gone.goAway(false)
	time.Sleep(300 * time.Millisecond)
	if n := len(gone.alerts("canary")); n != 0 {
		t.Errorf("%d alerts a week later", n)
	}
}
