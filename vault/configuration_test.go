package vault_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store/badgerdb"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// officer is a privacy officer whom the policies of development let do everything.
func officer(v *vaulttest.Vault, name string) vault.Call {
	call := v.As(name, access.Administrator)
	call.Principal.Roles = append(call.Principal.Roles, access.PrivacyOfficer)
	return call
}

func title(s string) api.Title { return api.Title{KK: s, RU: s, EN: s} }

// delivery is a purpose on these fields.
func delivery(fields ...string) *api.Purpose {
	return &api.Purpose{Title: title("Delivery"), Basis: "consent", Fields: fields, Retention: api.Retention{After: "relationship_end"}}
}

// two opens two services on one store, as two nodes would (see nodeStore), the second one after somebody was registered with
// the first.
func two(t *testing.T) (one, other *vaulttest.Vault, shop vault.Call, who api.TokenizeResult) {
	t.Helper()
	home := t.TempDir()
	disk := must[*badgerdb.Store](t)(badgerdb.Open(badgerdb.Options{Dir: filepath.Join(home, "store")}))
	t.Cleanup(func() { disk.Close() })
	place := must[string](t)(disk.Place())
	node := func(title []byte, keys kms.Provider) vaulttest.Option {
		return vaulttest.With(func(o *vault.Options) {
			o.Store, o.Place, o.Keys, o.SweepEvery = &nodeStore{Store: disk, title: title}, place, keys, time.Hour
		})
	}
	one = vaulttest.At(t, home, node(nil, nil))
	shop = app(one)
	who = register(t, one, shop, aigul())
	return one, vaulttest.At(t, home, node([]byte{1}, &nodeKeys{Provider: one.Keys})), shop, who
}

func read(t testing.TB, v *vaulttest.Vault, call vault.Call, purpose string, tokens ...string) []api.DetokenizeResult {
	t.Helper()
	resp, err := v.Detokenize(ctx, call, &api.DetokenizeRequest{Purpose: purpose, Reason: "delivery", Tokens: tokens})
	if err != nil {
		t.Fatal(err)
	}
	return resp.Results
}

// A purpose binds from the answer on, on every node.
func TestAChangedPurposeBindsAtOnceEverywhere(t *testing.T) {
	v, other, shop, who := two(t)
	dpo := officer(v, "dpo")
	made := must[*api.Change](t)(v.PutPurpose(ctx, dpo, "delivery", delivery("given_name", "phone")))
	if made.State != api.ChangeEffective || made.Version != 1 || made.Kind != "purpose" || made.Name != "delivery" {
		t.Fatalf("%+v", made)
	}
	name, phone := who.Tokens["given_name"].Items[0], who.Tokens["phone"].Items[0]
	nodes := []*vaulttest.Vault{v, other}
	for round := range 6 { // the field comes and goes, changed by either node
		fields, want := []string{"given_name"}, fault.Denied
		if round%2 == 1 {
			fields, want = []string{"given_name", "phone"}, ""
		}
		must[*api.Change](t)(nodes[round/2%2].PutPurpose(ctx, dpo, "delivery", delivery(fields...)))
		for _, node := range nodes {
			got := read(t, node, shop, "delivery", name, phone)
			wantText(t, got[0].Value, "Айгүл")
			wantItem(t, got[1].Error, want)
		}
	}
	retired := delivery("given_name")
	retired.Retired = true
	must[*api.Change](t)(v.PutPurpose(ctx, dpo, "delivery", retired))
	for _, node := range nodes {
		_, err := node.Detokenize(ctx, shop, &api.DetokenizeRequest{Purpose: "delivery", Reason: "delivery", Tokens: []string{name}})
		wantCode(t, err, fault.Denied)
		_, err = node.Tokenize(ctx, shop, &api.TokenizeRequest{Purpose: "delivery", Items: []api.TokenizeItem{{Fields: fields{"given_name": text("А")}}}})
		wantCode(t, err, fault.Denied)
	}
	if shown := must[*api.Purpose](t)(other.Purpose(ctx, shop, "delivery")); !shown.Retired || shown.Version != 8 {
		t.Errorf("%+v", shown)
	}
}

func TestPurposesHaveVersions(t *testing.T) {
	v := vaulttest.New(t)
	dpo := officer(v, "dpo")
	full := &api.Purpose{
		Name: "delivery", Title: api.Title{KK: "Жеткізу", RU: "Доставка", EN: "Delivery"}, Basis: "law", Citation: "Law, article 1",
		CrossBorder: true, Discloses: true, Recipients: []string{"courier"}, IncompatibleWith: []string{"marketing"},
		AllFields: true, Documents: true, Retention: api.Retention{After: "collection", Years: 1, Months: 2, Days: 3},
	}
	must[*api.Change](t)(v.PutPurpose(ctx, dpo, "delivery", full))
	shown := must[*api.Purpose](t)(v.Purpose(ctx, dpo, "delivery"))
	if shown.Version != 1 || shown.ManagedBy != api.ManagedByAPI || shown.ChangedBy != "dpo" || shown.ChangedAt.IsZero() || len(shown.Fields) < 10 {
		t.Fatalf("%+v", shown)
	}
	if again := must[*api.Change](t)(v.PutPurpose(ctx, dpo, "delivery", shown)); again.State != api.ChangeSame || again.Version != 1 {
		t.Fatalf("what is shown is not what was put: %+v", again)
	}
	changed := *shown
	changed.Citation = "Law, article 2"
	must[*api.Change](t)(v.PutPurpose(ctx, dpo, "delivery", &changed))
	_, err := v.PutPurpose(ctx, dpo, "delivery", shown) // against version 1
	wantCode(t, err, fault.Conflict)
	v.Restart()
	page := must[*api.Page[api.Purpose]](t)(v.PurposeVersions(ctx, dpo, "delivery"))
	if len(page.Items) != 2 || page.Items[0].Citation != "Law, article 1" || page.Items[1].Citation != "Law, article 2" || page.Items[1].Version != 2 {
		t.Fatalf("%+v", page.Items)
	}
	a, b := page.Items[0], page.Items[1]
	a.Citation, a.Version, a.ChangedAt = b.Citation, b.Version, b.ChangedAt
	if fmt.Sprintf("%+v", a) != fmt.Sprintf("%+v", b) {
		t.Errorf("%+v\n%+v", a, b)
	}
	list := must[*api.Page[api.Purpose]](t)(v.Purposes(ctx, dpo))
	if last := list.Items[len(list.Items)-1]; last.Name != "delivery" || len(list.Items) != 11 || list.Items[0].ManagedBy != api.ManagedByFile {
		t.Errorf("%d purposes, the last is %+v", len(list.Items), last)
	}
	if one := must[*api.Page[api.Purpose]](t)(v.PurposeVersions(ctx, dpo, "marketing")); len(one.Items) != 1 || !one.Items[0].OwnConsent {
		t.Errorf("%+v", one)
	}
	_, err = v.PurposeVersions(ctx, dpo, "nothing")
	wantCode(t, err, fault.NotFound)
	entries := logged(t, v, string(access.ChangePurpose))
	if got := entries[0]; got.Kind != "purpose" || !slices.Equal(got.Objects, []string{"delivery@1"}) || got.Decision != audit.Allow {
		t.Errorf("%+v", got)
	}
	if len(entries) != 3 || entries[2].Outcome != fault.Conflict {
		t.Errorf("%d entries, the last %+v", len(entries), entries[len(entries)-1])
	}
}

func TestWhatNoPurposeCanBe(t *testing.T) {
	v := vaulttest.New(t)
	dpo := officer(v, "dpo")
	for field, spoil := range map[string]func(*api.Purpose){
		"titles":             func(p *api.Purpose) { p.Title.KK = "" },
		"titles ":            func(p *api.Purpose) { p.Title.RU = strings.Repeat("б", 300) },
		"basis":              func(p *api.Purpose) { p.Basis = "850312113646" },
		"citation":           func(p *api.Purpose) { p.Basis = "law" },
		"citation ":          func(p *api.Purpose) { p.Citation = strings.Repeat("x", 501) },
		"own_consent":        func(p *api.Purpose) { p.Basis, p.Citation, p.OwnConsent = "law", "x", true },
		"obligation":         func(p *api.Purpose) { p.Basis, p.Citation, p.Obligation = "law", "x", "x" },
		"fields":             func(p *api.Purpose) { p.Fields = nil },
		"fields ":            func(p *api.Purpose) { p.Fields = []string{"850312113646"} },
		"fields  ":           func(p *api.Purpose) { p.Fields = []string{"phone", "phone"} },
		"recipients":         func(p *api.Purpose) { p.Recipients = []string{"courier"} },
		"recipients ":        func(p *api.Purpose) { p.Discloses, p.Recipients = true, []string{"a850312113646"} },
		"incompatible_with":  func(p *api.Purpose) { p.IncompatibleWith = []string{"delivery"} },
		"incompatible_with ": func(p *api.Purpose) { p.IncompatibleWith = []string{"no_such_purpose"} },
		"retention":          func(p *api.Purpose) { p.Retention.After = "never" },
		"retention ":         func(p *api.Purpose) { p.Retention.Years = -1 },
		"name":               func(p *api.Purpose) { p.Name = "another" },
	} {
		p := delivery("phone")
		spoil(p)
		_, err := v.PutPurpose(ctx, dpo, "delivery", p)
		wantBad(t, field, err, strings.TrimSpace(field))
	}
	for _, name := range []string{"", "Delivery", "1a", "a-b", "a850312113646", strings.Repeat("a", 41), "a\x00b"} {
		_, err := v.PutPurpose(ctx, dpo, name, delivery("phone"))
		wantBad(t, name, err, "name")
	}
	for _, name := range []string{"marketing", "service"} {
		_, err := v.PutPurpose(ctx, dpo, name, delivery("phone"))
		wantCode(t, err, fault.Conflict)
	}
	if page := must[*api.Page[api.Purpose]](t)(v.Purposes(ctx, dpo)); len(page.Items) != 10 {
		t.Errorf("%d purposes", len(page.Items))
	}
}

// wantBad demands that a request was refused for one field, and that the refusal does not repeat what was sent.
func wantBad(t testing.TB, what string, err error, field string) {
	t.Helper()
	f := fault.From(err)
	if err == nil || f.Code != fault.Invalid || len(f.Fields) != 1 || f.Fields[0].Field != field {
		t.Errorf("%q: %v, want %s", what, err, field)
	} else if strings.Contains(err.Error(), "850312113646") || strings.Contains(err.Error(), "no_such_purpose") {
		t.Errorf("%q: the refusal repeats what was sent: %v", what, err)
	}
}

func TestASystemNamesItsPurposes(t *testing.T) {
	v := vaulttest.New(t)
	shop, admin, desk := app(v), v.As("admin", access.Administrator), staff(v)
	must[*api.Change](t)(v.PutPurpose(ctx, officer(v, "dpo"), "scoring", &api.Purpose{
		Title: title("Scoring"), Basis: "consent", Fields: []string{"iin"}, IncompatibleWith: []string{"marketing"},
		Retention: api.Retention{After: "consent_end"},
	}))
	tokenizing := func(call vault.Call, purpose string) error {
		_, err := v.Tokenize(ctx, call, &api.TokenizeRequest{Purpose: purpose, Items: []api.TokenizeItem{{ExternalRef: "1"}}})
		return err
	}
	may := func(call vault.Call, yes bool, purposes ...string) {
		t.Helper()
		me := must[*api.Whoami](t)(v.Whoami(ctx, call))
		for _, p := range purposes {
			err := tokenizing(call, p)
			if yes && err != nil || !yes && fault.CodeOf(err) != fault.Denied {
				t.Errorf("%s names %s: %v", call.Principal.System, p, err)
			}
			if !yes && (len(fault.From(err).Fields) != 1 || fault.From(err).Fields[0].Field != "purpose") {
				t.Errorf("%s names %s: %v", call.Principal.System, p, err)
			}
			if slices.Contains(me.Purposes, p) != yes {
				t.Errorf("%s is told of %v", call.Principal.System, me.Purposes)
			}
		}
	}
	may(shop, true, "service", "contract")
	may(shop, false, "marketing", "scoring") // what excludes another needs a registration
	_, err := v.PutSystem(ctx, admin, "shop", &api.System{Purposes: []string{"service", "marketing", "scoring"}})
	wantBad(t, "both", err, "purposes")
	must[*api.Change](t)(v.PutSystem(ctx, admin, "shop", &api.System{Purposes: []string{"service", "marketing"}}))
	may(shop, true, "service", "marketing")
	may(shop, false, "contract", "scoring")
	may(v.As("other", access.Application), true, "contract")
	must[*api.Change](t)(v.PutSystem(ctx, admin, "shop", &api.System{Purposes: []string{}}))
	may(shop, false, "service", "marketing", "contract")
	if me := must[*api.Whoami](t)(v.Whoami(ctx, desk)); len(me.Purposes) != 11 {
		t.Errorf("staff may name %v", me.Purposes)
	}
	must[*api.Change](t)(v.PutSystem(ctx, admin, "shop", &api.System{Purposes: []string{"service", "marketing"}}))
	_, err = v.PutPurpose(ctx, officer(v, "dpo"), "scoring", &api.Purpose{
		Title: title("Scoring"), Basis: "consent", Fields: []string{"iin"}, IncompatibleWith: []string{"marketing", "service"},
		Retention: api.Retention{After: "consent_end"},
	})
	if err != nil {
		t.Error("two purposes that the new one excludes are not themselves incompatible", err)
	}
	must[*api.Change](t)(v.PutSystem(ctx, admin, "scorer", &api.System{Purposes: []string{"scoring", "contract"}}))
	_, err = v.PutPurpose(ctx, officer(v, "dpo"), "scoring", &api.Purpose{
		Title: title("Scoring"), Basis: "consent", Fields: []string{"iin"}, IncompatibleWith: []string{"contract"},
		Retention: api.Retention{After: "consent_end"},
	})
	wantCode(t, err, fault.Conflict)
	refused := slices.DeleteFunc(logged(t, v, string(access.Tokenize)), func(e audit.Entry) bool { return e.Decision == audit.Allow })
	if len(refused) != 7 || refused[0].Purpose != "marketing" || refused[0].System != "shop" || refused[0].Outcome != fault.Denied {
		t.Errorf("%d refusals are in the log: %+v", len(refused), refused)
	}
}

func TestWhatNoRecipientAndNoSystemCanBe(t *testing.T) {
	v := vaulttest.New(t)
	admin := v.As("admin", access.Administrator)
	for field, spoil := range map[string]func(*api.Recipient){
		"titles":                    func(r *api.Recipient) { r.Title.EN = "" },
		"country":                   func(r *api.Recipient) { r.Country = "XX" },
		"country ":                  func(r *api.Recipient) { r.Country = "nl" },
		"purposes":                  func(r *api.Recipient) { r.Purposes = nil },
		"purposes ":                 func(r *api.Recipient) { r.Purposes = []string{"no_such_purpose"} },
		"fields":                    func(r *api.Recipient) { r.Fields = []string{"850312113646"} },
		"cross_border.assessment":   func(r *api.Recipient) { r.CrossBorder.Assessment = "of 850312113646" },
		"cross_border.assessment ":  func(r *api.Recipient) { r.CrossBorder.Assessment = strings.Repeat("x", 201) },
		"cross_border.notification": func(r *api.Recipient) { r.CrossBorder.Notification = "a\nb" },
		"name":                      func(r *api.Recipient) { r.Name = "another" },
	} {
		r := &api.Recipient{Title: title("Registrar"), Country: "NL", Purposes: []string{"domain_registration"}, CrossBorder: &api.CrossBorder{}}
		spoil(r)
		_, err := v.PutRecipient(ctx, admin, "registrar", r)
		wantBad(t, field, err, strings.TrimSpace(field))
	}
	for field, s := range map[string]*api.System{
		"purposes":      {Purposes: []string{"no_such_purpose"}},
		"purposes ":     {Purposes: []string{"service", "service"}},
		"hands_off_to":  {HandsOffTo: []string{"shop"}},
		"hands_off_to ": {HandsOffTo: []string{"Other"}},
		"name":          {Name: "another"},
	} {
		_, err := v.PutSystem(ctx, admin, "shop", s)
		wantBad(t, field, err, strings.TrimSpace(field))
	}
	for _, name := range []string{"", "sandyq", "oidc/someone", "A"} {
		_, err := v.PutSystem(ctx, admin, name, &api.System{})
		wantBad(t, name, err, "name")
	}
	for _, call := range []vault.Call{app(v), staff(v)} {
		_, err := v.PutSystem(ctx, call, "shop", &api.System{})
		wantCode(t, err, fault.Denied)
		_, err = v.PutRecipient(ctx, call, "registrar", &api.Recipient{})
		wantCode(t, err, fault.Denied)
		_, err = v.PutPurpose(ctx, call, "delivery", delivery("phone"))
		wantCode(t, err, fault.Denied)
		_, err = v.PutPolicies(ctx, call, &api.Policies{})
		wantCode(t, err, fault.Denied)
	}
	must[*api.Change](t)(v.PutRecipient(ctx, admin, "registrar", &api.Recipient{
		Title: title("Registrar"), Country: "NL", Purposes: []string{"domain_registration"}, Fields: []string{"email", "documents"},
		CrossBorder: &api.CrossBorder{Assessment: "A-17", AssessedAt: time.Unix(1_790_000_000, 0).UTC()},
	}))
	v.Restart()
	r := must[*api.Recipient](t)(v.Recipient(ctx, admin, "registrar"))
	if r.Version != 1 || r.CrossBorder.Assessment != "A-17" || !slices.Equal(r.Fields, []string{"email", "documents"}) {
		t.Errorf("%+v", r)
	}
	if all := must[*api.Page[api.Recipient]](t)(v.Recipients(ctx, admin)); len(all.Items) != 1 || all.Items[0].Name != "registrar" {
		t.Errorf("%+v", all)
	}
	_, err := v.Recipient(ctx, admin, "nobody")
	wantCode(t, err, fault.NotFound)
	_, err = v.System(ctx, admin, "shop")
	wantCode(t, err, fault.NotFound)
}

// Whoever changes the configuration while others use it: every call is decided by one generation, none fails.
func TestChangesWhileTheVaultIsUsed(t *testing.T) {
	v := vaulttest.New(t)
	shop, dpo := app(v), officer(v, "dpo")
	must[*api.Change](t)(v.PutPurpose(ctx, dpo, "delivery", delivery("given_name", "phone")))
	who := register(t, v, shop, aigul())
	token := who.Tokens["phone"].Items[0]
	var work sync.WaitGroup
	work.Go(func() {
		for n := range 30 {
			fields := []string{"given_name", "phone"}[:1+n%2]
			if _, err := v.PutPurpose(ctx, dpo, "delivery", delivery(fields...)); err != nil {
				t.Error(err)
			}
		}
	})
	for range 3 {
		work.Go(func() {
			for range 30 {
				resp, err := v.Detokenize(ctx, shop, &api.DetokenizeRequest{Purpose: "delivery", Reason: "delivery", Tokens: []string{token}})
				if fault.CodeOf(err) == fault.Unavailable {
					continue // it lost four generations in a row
				}
				if err != nil {
					t.Error(err)
				} else if e := resp.Results[0].Error; e != nil && e.Code != fault.Denied {
					t.Errorf("%+v", e)
				}
			}
		})
	}
	work.Wait()
}
