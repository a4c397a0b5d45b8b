package vault_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/cedar"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// pager takes alerts.
type pager struct {
	mu  sync.Mutex
	got map[string]api.Alert // by id
}

func (r *pager) Receivers() int { return 1 }

func (r *pager) Backoff(int) time.Duration { return time.Second }

func (r *pager) Send(_ context.Context, _ int, id string, body []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var a api.Alert
	if err := json.Unmarshal(body, &a); err != nil {
		return err
	}
	if r.got == nil {
		r.got = map[string]api.Alert{}
	}
	r.got[id] = a
	return nil
}

// of lists the operations of the alerts about an object.
func (r *pager) of(object string) (operations []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.got {
		if a.Kind == "break_glass" && a.Object == object {
			operations = append(operations, a.Operation)
		}
	}
	slices.Sort(operations)
	return operations
}

// heard reports whether an alert of a kind has come.
func (r *pager) heard(kind string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.got {
		if a.Kind == kind {
			return true
		}
	}
	return false
}

// guarded is a vault that decides by the policies of production, needs reviews, and tells the pager.
func guarded(t *testing.T, to *pager) *vaulttest.Vault {
	t.Helper()
	return vaulttest.New(t, vaulttest.FourEyes(), vaulttest.With(func(o *vault.Options) {
		o.Decider = cedar.Default(cedar.Options{Category: schema.Default().CategoryOf, Now: o.Clock})
		o.Messenger = to
	}))
}

// plainly reveals a person's first name in full, which support may not without an emergency.
func plainly(v *vaulttest.Vault, call vault.Call, purpose, subject string) error {
	_, err := v.Reveal(ctx, call, subject, &api.RevealRequest{Purpose: purpose, Reason: "accident", Form: api.Plain, Fields: []string{"given_name"}})
	return err
}

func breakGlass(t *testing.T, v *vaulttest.Vault, call vault.Call, subject string) *api.BreakGlass {
	t.Helper()
	return must[*api.BreakGlass](t)(v.StartBreakGlass(ctx, call, &api.BreakGlassRequest{Purpose: "service", Reason: "accident", Minutes: 30, Subject: subject}))
}

func wantPlain(t *testing.T, what string, err error, code fault.Code) {
	t.Helper()
	if (err != nil || code != "") && fault.CodeOf(err) != code {
		t.Errorf("%s: %v, want %q", what, err, code)
	}
}

// TestAnEmergency: from its acknowledgement until it runs out, of its purpose, of its principal; it is alerted of at its start
// and its first use, and everything done in it is marked and counted.
func TestAnEmergency(t *testing.T) {
	to := &pager{}
	v := guarded(t, to)
	shop := app(v)
	register(t, v, shop, aigul())
	who := vaultWide(t, v, iinA)
	anna, bota := v.As("anna", access.Support), v.As("bota", access.Support)
	wantPlain(t, "before", plainly(v, anna, "service", who), fault.Denied)
	b := breakGlass(t, v, anna, "")
	if b.ExpiresAt.Sub(b.StartedAt) != 30*time.Minute || b.ReviewsNeeded != 1 || b.System != "anna" {
		t.Errorf("%+v", b)
	}
	for range 3 {
		wantPlain(t, "in it", plainly(v, anna, "service", who), "")
	}
	wantPlain(t, "of another purpose", plainly(v, anna, "contract", who), fault.Denied)
	wantPlain(t, "of somebody else", plainly(v, bota, "service", who), fault.Denied)
	wantPlain(t, "by another token of the same system", plainly(v, v.As("anna", access.Support), "service", who), fault.Denied)
	eventually(t, "both alerts come", func() bool { return len(to.of(b.BreakGlass)) >= 2 })
	if got := to.of(b.BreakGlass); !slices.Equal(got, []string{"breakglass.start", "reveal"}) {
		t.Errorf("alerts %v", got)
	}
	officer := v.As("officer", access.SecurityOfficer)
	if all := listed(t, v, officer, true); len(all) != 1 || all[0].Uses != 3 {
		t.Errorf("%+v", all)
	}
	v.Clock.Advance(30 * time.Minute)
	wantPlain(t, "when it has run out", plainly(v, anna, "service", who), fault.Denied)
	eventually(t, "the sweeper says so", func() bool { return len(trail(t, v, "breakglass.expired")) == 1 })
	marked := 0
	for _, e := range trail(t, v, "reveal") {
		if e.BreakGlass == b.BreakGlass && e.Decision == "allow" && slices.Contains(e.Policies, "break_glass.read") {
			marked++
		} else if e.BreakGlass != "" {
			t.Errorf("%+v", e)
		}
	}
	if marked != 3 {
		t.Errorf("%d entries are marked", marked)
	}
	breakGlass(t, v, anna, "") // and may be declared again
}

func listed(t *testing.T, v *vaulttest.Vault, call vault.Call, open bool) []api.BreakGlass {
	t.Helper()
	return must[*api.Page[api.BreakGlass]](t)(v.BreakGlass(ctx, call, &open, 0, "")).Items
}

// TestLawRulesInAnEmergency: it opens nobody who is blocked or erased, and no purpose that does not reach a field.
func TestLawRulesInAnEmergency(t *testing.T) {
	v := guarded(t, &pager{})
	shop := app(v)
	own := register(t, v, shop, aigul())
	who := vaultWide(t, v, iinA)
	anna := v.As("anna", access.Support)
	must[*api.BreakGlass](t)(v.StartBreakGlass(ctx, anna, &api.BreakGlassRequest{Purpose: "quality", Reason: "accident", Minutes: 30}))
	wantPlain(t, "outside the purpose", plainly(v, anna, "quality", who), fault.Denied)
	must[*api.BreakGlass](t)(v.EndBreakGlass(ctx, anna, listed(t, v, v.As("officer", access.SecurityOfficer), true)[0].BreakGlass))
	breakGlass(t, v, anna, "")
	must[*api.Subject](t)(v.Block(ctx, shop, own.Subject, &api.BlockRequest{Kind: "dispute", Reason: "claim"}))
	wantPlain(t, "blocked", plainly(v, anna, "service", who), fault.Blocked)
	must[*api.Subject](t)(v.Unblock(ctx, shop, own.Subject, &api.BlockRequest{Kind: "dispute", Reason: "claim"}))
	wantPlain(t, "not any more", plainly(v, anna, "service", who), "")
	e := erase(t, v, shop, own.Subject)
	must[*api.Erasure](t)(v.ApproveErasure(ctx, staff(v), e.Erasure, nothingSaid()))
	wantPlain(t, "erased", plainly(v, anna, "service", who), fault.Erased)
}

// TestAnEmergencyAboutOnePerson opens nobody else, token by token; its note dies with the person.
func TestAnEmergencyAboutOnePerson(t *testing.T) {
	v := guarded(t, &pager{})
	shop := app(v)
	a, b := register(t, v, shop, aigul()), register(t, v, shop, fields{"iin": text(iinB), "given_name": text("Болат")})
	hers, his := vaultWide(t, v, iinA), vaultWide(t, v, iinB)
	anna := v.As("anna", access.Support)
	start := &api.BreakGlassRequest{Purpose: "service", Reason: "accident", Minutes: 30, Note: "the hospital called"}
	_, err := v.StartBreakGlass(ctx, anna, start)
	wantCode(t, err, fault.Invalid)
	start.Subject = hers
	must[*api.BreakGlass](t)(v.StartBreakGlass(ctx, anna, start))
	if all := trail(t, v, "breakglass.start"); len(all) != 1 || all[0].Subject != hers || len(all[0].Note) == 0 {
		t.Errorf("%+v", all)
	}
	wantPlain(t, "hers", plainly(v, anna, "service", hers), "")
	wantPlain(t, "his", plainly(v, anna, "service", his), fault.Denied)
	for range 4 {
		got := detokenize(t, v, anna, api.Plain, b.Tokens["given_name"].Items[0], a.Tokens["given_name"].Items[0], b.Tokens["given_name"].Items[0])
		wantItem(t, got[0].Error, fault.Denied)
		wantItem(t, got[1].Error, "")
		wantItem(t, got[2].Error, fault.Denied)
	}
}

// TestWhoDeclaresEmergencies: staff, one at a time, of a purpose that there is, for hours at most.
func TestWhoDeclaresEmergencies(t *testing.T) {
	v := guarded(t, &pager{})
	shop, anna := app(v), v.As("anna", access.Support)
	good := api.BreakGlassRequest{Purpose: "service", Reason: "accident", Minutes: 240}
	start := func(call vault.Call, change func(*api.BreakGlassRequest)) error {
		req := good
		if change != nil {
			change(&req)
		}
		_, err := v.StartBreakGlass(ctx, call, &req)
		return err
	}
	wantCode(t, start(shop, nil), fault.Denied)
	wantCode(t, start(v.As("auditor", access.Auditor), nil), fault.Denied)
	for name, change := range map[string]func(*api.BreakGlassRequest){
		"no minutes":     func(r *api.BreakGlassRequest) { r.Minutes = 0 },
		"too long":       func(r *api.BreakGlassRequest) { r.Minutes = 241 },
		"no purpose":     func(r *api.BreakGlassRequest) { r.Purpose = "nothing" },
		"a reason's IIN": func(r *api.BreakGlassRequest) { r.Reason = "for_" + iinA },
	} {
		if err := start(anna, change); fault.CodeOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantCode(t, start(anna, func(r *api.BreakGlassRequest) { r.Subject = "sub_" }), fault.NotFound)
	var begun atomic.Int32
	var work sync.WaitGroup
	for range 6 {
		work.Go(func() {
			if start(anna, nil) == nil {
				begun.Add(1)
			}
		})
	}
	work.Wait()
	if begun.Load() != 1 {
		t.Errorf("%d emergencies of one principal last", begun.Load())
	}
	wantCode(t, start(anna, nil), fault.Conflict)
	again := v.As("bota", access.Support)
	again.Key, again.Body = "once", []byte("x")
	one, two := must[*api.BreakGlass](t)(v.StartBreakGlass(ctx, again, &good)), must[*api.BreakGlass](t)(v.StartBreakGlass(ctx, again, &good))
	if one.BreakGlass != two.BreakGlass {
		t.Errorf("a retry declared another: %s and %s", one.BreakGlass, two.BreakGlass)
	}
}

// TestAnEmergencyIsReviewed by somebody else, of the role, once it is over; until then it is in the lists.
func TestAnEmergencyIsReviewed(t *testing.T) {
	v := guarded(t, &pager{})
	shop := app(v)
	register(t, v, shop, aigul())
	hers := vaultWide(t, v, iinA)
	chief := person("chief", "1", access.SecurityOfficer, access.Support)
	b := breakGlass(t, v, chief, hers)
	officer := v.As("officer", access.PrivacyOfficer)
	review := func(call vault.Call, note string) error {
		_, err := v.ReviewBreakGlass(ctx, call, b.BreakGlass, &api.BreakGlassReviewRequest{Outcome: "misuse", Note: note})
		return err
	}
	wantCode(t, review(officer, ""), fault.Conflict) // it lasts
	_, err := v.EndBreakGlass(ctx, v.As("bota", access.Support), b.BreakGlass)
	wantCode(t, err, fault.NotFound) // she may not know of it
	ended := must[*api.BreakGlass](t)(v.EndBreakGlass(ctx, officer, b.BreakGlass))
	again := must[*api.BreakGlass](t)(v.EndBreakGlass(ctx, chief, b.BreakGlass))
	if ended.EndedAt.IsZero() || !again.EndedAt.Equal(ended.EndedAt) {
		t.Errorf("%+v, then %+v", ended, again)
	}
	wantPlain(t, "ended", plainly(v, chief, "service", hers), fault.Denied)

	v.Restart()
	v.Clock.Advance(30 * 24 * time.Hour) // a review waits for ever
	if open, waits := listed(t, v, officer, true), waitingList(t, v, officer); len(open) != 1 || len(waits) != 1 || waits[0].ID != b.BreakGlass || waits[0].Missing != 1 {
		t.Fatalf("%+v, %+v", open, waits)
	}
	wantCode(t, review(chief, ""), fault.Denied)
	wantCode(t, review(person("chief", "2", access.PrivacyOfficer), ""), fault.Denied)
	wantCode(t, review(v.As("auditor", access.Auditor), ""), fault.Denied)
	if err := review(officer, "there was no accident"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, review(person("late", "3", access.PrivacyOfficer), ""), fault.Conflict)
	done := listed(t, v, officer, false)
	if len(done) != 1 || len(done[0].Reviews) != 1 || done[0].Reviews[0].Outcome != "misuse" || done[0].Reviews[0].BySystem != "officer" || done[0].Subject != hers {
		t.Errorf("%+v", done)
	}
	if open, waits := listed(t, v, officer, true), waitingList(t, v, officer); len(open) != 0 || len(waits) != 0 {
		t.Errorf("%+v, %+v", open, waits)
	}
	for _, e := range trail(t, v, "breakglass.review") {
		if e.Decision == "allow" && (e.Kind != "misuse" || len(e.Note) == 0 || e.Digest == "") {
			t.Errorf("%+v", e)
		}
	}
	_, err = v.ReviewBreakGlass(ctx, officer, "brk_", &api.BreakGlassReviewRequest{Outcome: "justified"})
	wantCode(t, err, fault.NotFound)
}

// TestNothingIsReadOnceAnEmergencyHasEnded: what begins after the acknowledgement of the end is refused.
func TestNothingIsReadOnceAnEmergencyHasEnded(t *testing.T) {
	v := guarded(t, &pager{})
	shop := app(v)
	register(t, v, shop, aigul())
	who := vaultWide(t, v, iinA)
	anna := v.As("anna", access.Support)
	for range scaled(3) {
		b := breakGlass(t, v, anna, "")
		var ended atomic.Bool
		var work sync.WaitGroup
		var read atomic.Int32
		for range 3 {
			work.Go(func() {
				for {
					late := ended.Load()
					if plainly(v, anna, "service", who) == nil {
						read.Add(1)
						if late {
							t.Error("read in an emergency that had ended")
						}
					}
					if late {
						return
					}
				}
			})
		}
		for read.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		must[*api.BreakGlass](t)(v.EndBreakGlass(ctx, anna, b.BreakGlass))
		ended.Store(true)
		work.Wait()
	}
}

// TestAFloodOfEmergencies ends where reviewers have to come first, and every start until then is alerted of.
func TestAFloodOfEmergencies(t *testing.T) {
	to := &pager{}
	v := guarded(t, to)
	anna, bota, officer := v.As("anna", access.Support), v.As("bota", access.Support), v.As("officer", access.SecurityOfficer)
	again := v.As("anna", access.Support) // another token of hers
	var all []string
	for n := range 10 {
		b := breakGlass(t, v, []vault.Call{anna, again}[n%2], "")
		must[*api.BreakGlass](t)(v.EndBreakGlass(ctx, anna, b.BreakGlass))
		all = append(all, b.BreakGlass)
	}
	start := &api.BreakGlassRequest{Purpose: "service", Reason: "accident", Minutes: 30}
	for _, call := range []vault.Call{anna, again} {
		_, err := v.StartBreakGlass(ctx, call, start)
		wantCode(t, err, fault.Conflict)
	}
	breakGlass(t, v, bota, "")
	for _, b := range all {
		eventually(t, "the alert comes", func() bool { return len(to.of(b)) == 1 })
	}
	must[*api.BreakGlass](t)(v.ReviewBreakGlass(ctx, officer, all[0], &api.BreakGlassReviewRequest{Outcome: "misuse"}))
	breakGlass(t, v, anna, "")
}
