package vault_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/budget"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// bell is an observer that remembers which alerts were raised.
type bell struct {
	mu   sync.Mutex
	rung map[string]int
}

func (b *bell) Alert(kind string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rung == nil {
		b.rung = map[string]int{}
	}
	b.rung[kind]++
}

func (b *bell) of(kind string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rung[kind]
}

func (*bell) Backlog(int, time.Duration)          {}
func (*bell) Removals(int, time.Duration)         {}
func (*bell) MissingKey()                         {}
func (*bell) NoBasis()                            {}
func (*bell) Log(int64, time.Duration, time.Time) {}
func (*bell) Live(bool)                           {}
func (*bell) Ledger(bool)                         {}
func (*bell) Anchored(bool)                       {}
func (*bell) Witnessed(bool)                      {}
func (*bell) Nodes(int, bool)                     {}
func (*bell) Drill(time.Time, bool)               {}

// budgeted gives a vault budgets, and a bell.
func budgeted(b *bell, mode budget.Mode, limits ...budget.Limit) vaulttest.Option {
	return vaulttest.With(func(o *vault.Options) { o.Budget, o.Observer = budget.Config{Mode: mode, Limits: limits}, b })
}

func dump(v *vaulttest.Vault, call vault.Call, tokens ...string) (*api.DetokenizeResponse, error) {
	return v.Detokenize(ctx, call, &api.DetokenizeRequest{Purpose: "service", Reason: "support_call", Tokens: tokens})
}

// wantLimited demands that a call was refused for its budget, with nothing in its answer, until the day ends.
func wantLimited[T any](t testing.TB, resp *T, err error) {
	t.Helper()
	wantCode(t, err, fault.Limited)
	if f := fault.From(err); f.RetryAfter <= 0 || f.RetryAfter > 24*time.Hour || resp != nil {
		t.Fatalf("retry after %s, answered %v", f.RetryAfter, resp)
	}
}

// auditLog reads the log.
func auditLog(t testing.TB, v *vaulttest.Vault, q api.AuditQuery) (all []audit.Entry) {
	t.Helper()
	q.Limit = api.MaxLimit
	page, err := v.AuditEntries(ctx, v.As("log", access.Administrator), q)
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range page.Items {
		var e audit.Entry
		if err := json.Unmarshal(raw, &e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// left is what whoami says of a limit.
func left(t testing.TB, v *vaulttest.Vault, call vault.Call, limit string) int64 {
	t.Helper()
	me := must[*api.Whoami](t)(v.Whoami(ctx, call))
	i := slices.IndexFunc(me.Budgets, func(b api.BudgetLeft) bool { return b.Limit == limit })
	if i < 0 {
		t.Fatalf("no budget %s in %+v", limit, me.Budgets)
	}
	return me.Budgets[i].Left
}

func TestBudgetStopsReading(t *testing.T) {
	b := &bell{}
	v := vaulttest.New(t, budgeted(b, budget.Enforce, budget.Limit{Name: "reads", Kind: budget.Read, Day: 10}))
	shop := v.As("shop", access.Application)
	tokens := register(t, v, shop, aigul()).Tokens
	iin, phone := tokens["iin"].Items[0], tokens["phone"].Items[0]

	six := []string{iin, phone, iin, phone, iin, phone}
	if resp, err := dump(v, shop, six...); err != nil || resp.Results[5].Value == nil {
		t.Fatalf("%+v, %v", resp, err)
	}
	if n := left(t, v, shop, "reads"); n != 4 {
		t.Errorf("%d left", n)
	}
	for range 3 { // all or nothing: six do not fit into four
		resp, err := dump(v, shop, six...)
		wantLimited(t, resp, err)
	}
	if _, err := dump(v, shop, six[:4]...); err != nil {
		t.Fatal(err)
	}
	v.Restart()
	resp, err := dump(v, shop, iin)
	wantLimited(t, resp, err)
	revealed, err := v.Reveal(ctx, shop, must[*api.DescribeResponse](t)(v.DescribeTokens(ctx, shop, &api.TokensRequest{Tokens: []string{iin}})).Results[0].Subject,
		&api.RevealRequest{Purpose: "service", Reason: "support_call", Fields: []string{"iin"}})
	wantLimited(t, revealed, err)

	if other := v.As("other", access.Application); left(t, v, other, "reads") != 10 {
		t.Error("another system has no budget of its own")
	}
	if n := b.of("budget"); n != 1 {
		t.Errorf("%d alerts of one account", n)
	}
	refused := 0
	for _, e := range auditLog(t, v, api.AuditQuery{Actor: "shop"}) {
		if e.Outcome == fault.Limited {
			refused++
			if e.Decision != audit.Deny || !slices.Contains(e.Policies, "rule:limited") {
				t.Errorf("%+v", e)
			}
		}
	}
	if refused != 5 {
		t.Errorf("%d refusals in the log", refused)
	}
	v.Clock.Advance(24 * time.Hour)
	if _, err := dump(v, shop, iin); err != nil {
		t.Errorf("the next day: %v", err)
	}
}

// A call of many Updates is charged before the first of them.
func TestLargeCallIsShownWholeOrNotAtAll(t *testing.T) {
	v := vaulttest.New(t, budgeted(&bell{}, budget.Enforce, budget.Limit{Name: "reads", Kind: budget.Read, Day: 300}))
	shop := v.As("shop", access.Application)
	iin := register(t, v, shop, aigul()).Tokens["iin"].Items[0]
	many := slices.Repeat([]string{iin}, 301)
	resp, err := dump(v, shop, many...)
	wantLimited(t, resp, err)
	for _, e := range auditLog(t, v, api.AuditQuery{Operation: string(access.Detokenize)}) {
		if e.Decision != audit.Deny || e.Items != 301 {
			t.Errorf("%+v", e)
		}
	}
	if _, err := dump(v, shop, many[:300]...); err != nil {
		t.Errorf("nothing of it was spent, but %v", err)
	}
	if n := left(t, v, shop, "reads"); n != 0 {
		t.Errorf("%d left", n)
	}
}

// What tokens stand for is told whole or not at all, too: what does not fit is refused with nothing spent, and once in the log.
func TestLargeDescriptionIsChargedWholeOrNotAtAll(t *testing.T) {
	v := vaulttest.New(t, budgeted(&bell{}, budget.Enforce, budget.Limit{Name: "searches", Kind: budget.Search, Day: 120}))
	shop, bank := v.As("shop", access.Application), v.As("bank", access.Application)
	foreign := register(t, v, bank, aigul()).Tokens["iin"].Items[0]
	many := slices.Repeat([]string{foreign}, 121)
	resp, err := v.DescribeTokens(ctx, shop, &api.TokensRequest{Tokens: many})
	wantLimited(t, resp, err)
	if n := left(t, v, shop, "searches"); n != 120 {
		t.Errorf("%d left after a refusal", n)
	}
	log := auditLog(t, v, api.AuditQuery{Operation: string(access.DescribeTokens)})
	if len(log) != 1 || log[0].Items != len(many) || log[0].Outcome != fault.Limited {
		t.Errorf("%+v", log)
	}
	must[*api.DescribeResponse](t)(v.DescribeTokens(ctx, shop, &api.TokensRequest{Tokens: many[:120]}))
	if n := left(t, v, shop, "searches"); n != 0 {
		t.Errorf("%d left", n)
	}
}

func TestObservedBudgetRefusesNothing(t *testing.T) {
	b := &bell{}
	v := vaulttest.New(t, budgeted(b, budget.Observe, budget.Limit{Name: "reads", Kind: budget.Read, Minute: 2, Day: 2}))
	shop := v.As("shop", access.Application)
	iin := register(t, v, shop, aigul()).Tokens["iin"].Items[0]
	for range 5 {
		if _, err := dump(v, shop, iin, iin); err != nil {
			t.Fatal(err)
		}
	}
	v.Restart()
	if _, err := dump(v, shop, iin); err != nil {
		t.Fatal(err)
	}
	if n := b.of("budget"); n < 2 || n > 4 { // the minute and the day; the minute may have turned
		t.Errorf("%d alerts of two accounts", n)
	}
	auditor := v.As("reviewer", access.Administrator)
	use := must[*api.Budgets](t)(v.BudgetUse(ctx, auditor, 1, 1))
	day := slices.IndexFunc(use.Accounts, func(a api.BudgetAccount) bool { return a.Window == "day" && a.System == "shop" })
	if day < 0 || use.Accounts[day].Most < 11 || use.Enforced {
		t.Errorf("%+v", use)
	}
	if s := use.Suggested[0]; s.Day < 100 || s.Minute < 10 || s.Name != "reads" {
		t.Errorf("suggested %+v", s)
	}
}

// What each call costs, as the page on budgets says.
func TestWhatIsCharged(t *testing.T) {
	all := []budget.Limit{
		{Name: "search", Kind: budget.Search, Day: 1000}, {Name: "read", Kind: budget.Read, Day: 1000},
		{Name: "identity", Kind: budget.Read, Category: "identity", Day: 1000},
		{Name: "contact", Kind: budget.Read, Category: "contact", Day: 1000},
		{Name: "person", Kind: budget.Read, Category: "person", Day: 1000},
		{Name: "document", Kind: budget.Read, Category: "document", Day: 1000},
	}
	v := vaulttest.New(t, budgeted(&bell{}, budget.Enforce, all...))
	shop, bank, staff := v.As("shop", access.Application), v.As("bank", access.Application), v.As("desk", access.Staff)
	her := register(t, v, shop, aigul())
	iin, phone := her.Tokens["iin"].Items[0], her.Tokens["phone"].Items[0]
	document := must[*api.Document](t)(v.PutDocument(ctx, shop, upload(her.Subject, jpeg(5000))))
	foreign := register(t, v, bank, fields{"iin": text(iinB)}).Tokens["iin"].Items[0]
	retired := register(t, v, shop, fields{"iin": text(iinC)}).Tokens["iin"].Items[0]
	must[*api.RevokeResponse](t)(v.RevokeTokens(ctx, shop, &api.TokensRequest{Tokens: []string{retired}}))
	wide := auditLog(t, v, api.AuditQuery{Operation: string(access.PutDocument)})[0].Subject

	for _, c := range []struct {
		name string
		who  vault.Call
		do   func(vault.Call) error
		want string
	}{
		{"two values", shop, func(c vault.Call) error { _, err := dump(v, c, iin, phone); return err }, "read 2 identity 1 contact 1"},
		{"tokens that are nobody's", shop, func(c vault.Call) error {
			_, err := dump(v, c, "sdq_p_nonsense", foreign, retired, iin)
			return err
		}, "search 3 read 1 identity 1"},
		{"a purpose that does not need it", shop, func(c vault.Call) error {
			_, err := v.Detokenize(ctx, c, &api.DetokenizeRequest{Purpose: "marketing", Reason: "x", Tokens: []string{iin}})
			return err
		}, ""},
		{"reveal", shop, func(c vault.Call) error {
			_, err := v.Reveal(ctx, c, her.Subject, &api.RevealRequest{Purpose: "service", Reason: "x", Fields: []string{"iin", "phone"}})
			return err
		}, "read 3 identity 1 contact 2"},
		{"open", shop, func(c vault.Call) error {
			_, err := v.OpenDocument(ctx, c, &api.OpenDocumentRequest{Token: document.Token, Purpose: "service", Reason: "x"})
			return err
		}, "read 1 document 1"},
		{"open what is nobody's", shop, func(c vault.Call) error {
			_, err := v.OpenDocument(ctx, c, &api.OpenDocumentRequest{Token: foreign, Purpose: "service", Reason: "x"})
			wantCode(t, err, fault.NotFound)
			return nil
		}, "search 1"},
		{"describe", shop, func(c vault.Call) error {
			_, err := v.DescribeTokens(ctx, c, &api.TokensRequest{Tokens: []string{iin, foreign, retired}})
			return err
		}, "search 2"},
		{"search that finds one", shop, func(c vault.Call) error { return search(v, c, iinA) }, "search 2"},
		{"search that finds nobody", shop, func(c vault.Call) error { return search(v, c, iinB) }, "search 1"},
		{"new people", shop, func(c vault.Call) error {
			items := make([]api.TokenizeItem, 120)
			for i := range items {
				items[i].Fields = fields{"phone": texts(fmt.Sprintf("+7701%07d", i))}
			}
			_, err := v.Tokenize(ctx, c, &api.TokenizeRequest{Purpose: "registration", Items: items})
			return err
		}, ""},
		{"people who are there", bank, func(c vault.Call) error {
			register(t, v, c, fields{"iin": text(iinA)})
			wantItem(t, tokenize1(t, v, c, api.TokenizeItem{Fields: fields{"iin": text(iinA), "given_name": text("Бота")}}).Error, fault.Conflict)
			return nil
		}, "search 2"},
		{"a value that differs", bank, func(c vault.Call) error {
			who := register(t, v, c, fields{"given_name": text("Ерлан")})
			r := tokenize1(t, v, c, api.TokenizeItem{Subject: who.Subject, OnConflict: api.ConflictKeep, Fields: fields{"given_name": text("Бота")}})
			if len(r.Differs) != 1 {
				t.Errorf("%+v", r)
			}
			return nil
		}, "search 1"},
		{"staff look at a person", staff, func(c vault.Call) error { _, err := v.Subject(ctx, c, wide); return err }, "read 1 person 1"},
		{"a system looks at its own", shop, func(c vault.Call) error { _, err := v.Subject(ctx, c, her.Subject); return err }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := map[string]int64{}
			for _, l := range all {
				before[l.Name] = left(t, v, c.who, l.Name)
			}
			if err := c.do(c.who); err != nil {
				t.Fatal(err)
			}
			var spent []string
			for _, l := range all {
				if n := before[l.Name] - left(t, v, c.who, l.Name); n != 0 {
					spent = append(spent, fmt.Sprintf("%s %d", l.Name, n))
				}
			}
			if got := strings.Join(spent, " "); got != c.want {
				t.Errorf("spent %q, want %q", got, c.want)
			}
		})
	}
}

func search(v *vaulttest.Vault, call vault.Call, iin string) error {
	_, err := v.Search(ctx, call, &api.SearchRequest{Field: "iin", Value: api.Text(iin), Purpose: "service", Reason: "x"})
	return err
}

// A call that goes stale, or whose rules change under it, is made anew and charged once.
func TestCallMadeAnewIsChargedOnce(t *testing.T) {
	v := vaulttest.New(t, budgeted(&bell{}, budget.Enforce, budget.Limit{Name: "reads", Kind: budget.Read, Day: 100_000}))
	shop, root := v.As("shop", access.Application), v.As("root", access.Administrator)
	her := register(t, v, shop, aigul())
	iin := her.Tokens["iin"].Items[0]
	wide := auditLog(t, v, api.AuditQuery{Operation: string(access.Tokenize)})[0].Subject
	stop, changing := make(chan struct{}), sync.WaitGroup{}
	changing.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			block := &api.BlockRequest{Kind: "unlawful", Reason: "x"}
			_, err := v.Block(ctx, root, wide, block)
			if err == nil {
				_, err = v.Unblock(ctx, root, wide, block)
			}
			if err == nil && n%3 == 0 {
				_, err = v.MarkCanary(ctx, root, &api.MarkCanaryRequest{Subject: wide})
			}
			if err == nil && n%3 == 1 {
				if _, err = v.UnmarkCanary(ctx, root, wide); errors.Is(err, fault.NotFound) {
					err = nil
				}
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	const calls = 300
	answered := int64(0)
	for range calls {
		resp, err := dump(v, shop, iin)
		if err != nil && !errors.Is(err, fault.Unavailable) {
			t.Fatal(err)
		}
		if err == nil && resp.Results[0].Value != nil {
			answered++
		}
	}
	close(stop)
	changing.Wait()
	if spent := 100_000 - left(t, v, shop, "reads"); spent < answered || spent > calls {
		t.Errorf("%d values shown in %d calls, %d charged", answered, calls, spent)
	}
}

// Of windows that are long past nothing is kept; days are kept for suggestions.
func TestOldBudgetsAreForgotten(t *testing.T) {
	v := vaulttest.New(t, budgeted(&bell{}, budget.Observe, budget.Limit{Name: "reads", Kind: budget.Read, Minute: 10, Hour: 10, Day: 10}))
	shop, root := v.As("shop", access.Application), v.As("root", access.Administrator)
	iin := register(t, v, shop, aigul()).Tokens["iin"].Items[0]
	if _, err := dump(v, shop, iin); err != nil {
		t.Fatal(err)
	}
	windows := func() (all []string) {
		for _, a := range must[*api.Budgets](t)(v.BudgetUse(ctx, root, 35, 1)).Accounts {
			all = append(all, a.Window)
		}
		return all
	}
	eventually := func(want ...string) {
		t.Helper()
		var got []string
		for range 200 {
			if got = windows(); slices.Equal(got, want) {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Fatalf("kept %v, want %v", got, want)
	}
	eventually("minute", "hour", "day")
	v.Clock.Advance(3 * 24 * time.Hour)
	eventually("day")
	v.Clock.Advance(34 * 24 * time.Hour)
	eventually()
}
