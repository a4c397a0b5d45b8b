package vault_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

func billing(v *vaulttest.Vault) vault.Call { return v.As("billing", access.Application) }

// handOff makes a handoff for the contract that must be made.
func handOff(t testing.TB, v *vaulttest.Vault, from vault.Call, subject, to string, fields ...string) string {
	t.Helper()
	return must[*api.Handoff](t)(v.CreateHandoff(ctx, from, &api.CreateHandoffRequest{
		Subject: subject, ToSystem: to, Purpose: "contract", Fields: fields,
	})).Handoff
}

func redeem(v *vaulttest.Vault, as vault.Call, handoff string) (*api.RedeemHandoffResponse, error) {
	return v.RedeemHandoff(ctx, as, &api.RedeemHandoffRequest{Handoff: handoff})
}

// logged lists the entries of an operation, from the oldest.
func logged(t testing.TB, v *vaulttest.Vault, operation string) (all []audit.Entry) {
	t.Helper()
	page := must[*api.Page[api.AuditEntry]](t)(v.AuditEntries(ctx, v.As("log", access.Administrator), api.AuditQuery{Operation: operation, Limit: api.MaxLimit}))
	for _, raw := range page.Items {
		var e audit.Entry
		if err := json.Unmarshal(raw, &e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func TestAHandoffGivesTheOtherSystemItsOwnTokens(t *testing.T) {
	v := vaulttest.New(t)
	shop, other := app(v), billing(v)
	who := register(t, v, shop, aigul())
	got := must[*api.RedeemHandoffResponse](t)(redeem(v, other, handOff(t, v, shop, who.Subject, "billing", "phone", "given_name")))
	if got.Subject == who.Subject || len(got.Tokens) != 2 || len(got.Tokens["phone"].Items) != 2 || !got.Tokens["phone"].List || got.Tokens["given_name"].List {
		t.Fatalf("%+v", got)
	}
	for field, tokens := range got.Tokens {
		for _, token := range tokens.Items {
			if slices.Contains(who.Tokens[field].Items, token) {
				t.Errorf("the giver's own token of %s", field)
			}
		}
	}
	values := detokenize(t, v, other, api.Plain, append(got.Tokens["phone"].Items, got.Tokens["given_name"].Items...)...)
	wantText(t, values[0].Value, phoneA)
	wantText(t, values[1].Value, "+77017654321")
	wantText(t, values[2].Value, "Айгүл")

	// Nothing that the giver knows the person by is good for the other system.
	wantItem(t, detokenize(t, v, other, api.Plain, who.Tokens["phone"].Items[0])[0].Error, fault.NotFound)
	_, err := v.Subject(ctx, other, who.Subject)
	wantCode(t, err, fault.NotFound)

	seen := must[*api.Subject](t)(v.Subject(ctx, other, got.Subject))
	if len(seen.Fields) != 2 || !slices.Equal(seen.Purposes, []string{"contract"}) {
		t.Errorf("it holds more than was handed off: %+v", seen)
	}
	entries := append(logged(t, v, "handoff.create"), logged(t, v, "handoff.redeem")...)
	if len(entries) != 2 || entries[0].Subject == "" || entries[0].Subject != entries[1].Subject || entries[0].Kind != "billing" ||
		entries[1].Kind != "shop" || entries[1].Purpose != "contract" || entries[1].Items != 3 || !slices.Equal(entries[0].Objects, entries[1].Objects) {
		t.Errorf("the log has %+v", entries)
	}
}

// What a system has already stays as it is, and what it did not have is added.
func TestAHandoffToAHolderKeepsItsTokens(t *testing.T) {
	v := vaulttest.New(t)
	shop, other := app(v), billing(v)
	who := register(t, v, shop, aigul())
	mine := register(t, v, other, fields{"iin": text(iinA), "phone": texts(phoneA)})
	got := must[*api.RedeemHandoffResponse](t)(redeem(v, other, handOff(t, v, shop, who.Subject, "billing", "phone")))
	if got.Subject != mine.Subject || len(got.Tokens["phone"].Items) != 2 || got.Tokens["phone"].Items[0] != mine.Tokens["phone"].Items[0] {
		t.Fatalf("%+v after %+v", got, mine)
	}
	register(t, v, shop, fields{"iin": text(iinA), "phone": texts("+77019990000")})
	back := handOff(t, v, other, got.Subject, "shop", "phone")
	if again := must[*api.RedeemHandoffResponse](t)(redeem(v, shop, back)); len(again.Tokens["phone"].Items) != 2 {
		t.Errorf("handed off what the giver has no token of: %v", again.Tokens)
	}
}

func TestAHandoffIsForOneSystemAndOnce(t *testing.T) {
	v := vaulttest.New(t)
	shop, other := app(v), billing(v)
	who := register(t, v, shop, aigul())
	handoff := handOff(t, v, shop, who.Subject, "billing", "phone")
	late := handOff(t, v, shop, who.Subject, "billing", "phone")
	_, missing := redeem(v, other, id.Encode("hnd_", id.New()))
	wantCode(t, missing, fault.NotFound)
	same := func(what string, as vault.Call, handoff string) {
		t.Helper()
		if _, err := redeem(v, as, handoff); err == nil || err.Error() != missing.Error() || !errors.Is(err, fault.NotFound) {
			t.Errorf("%s: %v, want %v", what, err, missing)
		}
	}
	same("another system", v.As("spy", access.Application), handoff)
	same("the giver", shop, handoff)
	same("staff of the same name", v.As("billing", access.Administrator), handoff)
	same("no handoff", other, "hnd_")
	same("another sort of id", other, who.Subject)
	must[*api.RedeemHandoffResponse](t)(redeem(v, other, handoff))
	same("redeemed", other, handoff)
	v.Clock.Advance(10 * time.Minute)
	same("run out", other, late)
	var tried, made []string
	for _, e := range logged(t, v, "handoff.redeem") {
		if e.System == "spy" && e.Decision == audit.Deny {
			tried = append(tried, e.Objects...)
		}
	}
	for _, e := range logged(t, v, "handoff.create") {
		made = append(made, e.Objects...)
	}
	if len(tried) != 1 || !slices.Contains(made, tried[0]) {
		t.Errorf("which handoff was tried is not in the log: %q of %q", tried, made)
	}
}

func TestWhatIsNotHandedOff(t *testing.T) {
	v := vaulttest.New(t)
	shop, spy := app(v), v.As("spy", access.Application)
	who := register(t, v, shop, aigul())
	partly := register(t, v, spy, fields{"iin": text(iinA)})
	ask := func(as vault.Call, subject, to, purpose string, fields ...string) error {
		_, err := v.CreateHandoff(ctx, as, &api.CreateHandoffRequest{Subject: subject, ToSystem: to, Purpose: purpose, Fields: fields})
		return err
	}
	wantCode(t, ask(spy, partly.Subject, "billing", "contract", "iin", "phone"), fault.Denied) // it has no token of the phone
	wantCode(t, ask(spy, who.Subject, "billing", "contract", "iin"), fault.NotFound)           // the other system's id of the person
	wantCode(t, ask(staff(v), logged(t, v, "tokenize")[0].Subject, "billing", "contract", "iin"), fault.Denied)
	wantCode(t, ask(shop, who.Subject, "billing", "marketing", "phone"), fault.Denied) // outside the purpose
	for _, bad := range [][]string{{"shop", "contract", "iin"}, {"", "contract", "iin"}, {"sandyq", "contract", "iin"}, {"billing", "", "iin"}, {"billing", "nothing", "iin"},
		{"billing", "contract"}, {"billing", "contract", "iin", "iin"}, {"billing", "contract", "documents"}} {
		wantCode(t, ask(shop, who.Subject, bad[0], bad[1], bad[2:]...), fault.Invalid)
	}
	for _, p := range rowsOf(t, v.Store, 'f') {
		t.Errorf("a refused handoff left %q", p.Key)
	}
}

// TestWhatEndsAHandoff: all that was asked when it was made is asked again when it is redeemed.
func TestWhatEndsAHandoff(t *testing.T) {
	tests := []struct {
		name string
		code fault.Code
		end  func(v *vaulttest.Vault, shop vault.Call, who api.TokenizeResult) error
	}{
		{"blocked", fault.Blocked, func(v *vaulttest.Vault, shop vault.Call, who api.TokenizeResult) error {
			_, err := v.Block(ctx, shop, who.Subject, &api.BlockRequest{Kind: "dispute", Reason: "claim"})
			return err
		}},
		{"erased", fault.Erased, func(v *vaulttest.Vault, shop vault.Call, who api.TokenizeResult) error {
			_, err := v.RequestErasure(ctx, shop, &api.ErasureRequest{Subject: who.Subject, Ground: "request", Reason: "asked"})
			return err
		}},
		{"the consent was withdrawn", fault.Denied, func(v *vaulttest.Vault, shop vault.Call, who api.TokenizeResult) error {
			given, err := v.RecordConsent(ctx, shop, who.Subject, &api.ConsentRequest{
				Text: "builtin-2026-01", Purposes: []string{"contract"}, Channel: "web_form", GivenAt: v.Clock.Now().Add(-time.Minute),
			})
			if err != nil {
				return err
			}
			_, err = v.WithdrawConsent(ctx, shop, who.Subject, given.Consent, &api.WithdrawRequest{})
			return err
		}},
		{"given up by the giver", fault.Conflict, func(v *vaulttest.Vault, shop vault.Call, who api.TokenizeResult) error {
			_, err := v.RevokeTokens(ctx, shop, &api.TokensRequest{Tokens: who.Tokens["phone"].Items[1:]})
			return err
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			v := vaulttest.New(t)
			shop := app(v)
			who := register(t, v, shop, aigul())
			handoff := handOff(t, v, shop, who.Subject, "billing", "phone")
			if err := test.end(v, shop, who); err != nil {
				t.Fatal(err)
			}
			_, err := redeem(v, billing(v), handoff)
			wantCode(t, err, test.code)
		})
	}
}

func TestARetriedRedemptionAnswersTheSame(t *testing.T) {
	v := vaulttest.New(t)
	shop, other := app(v), billing(v)
	who := register(t, v, shop, aigul())
	handoff := handOff(t, v, shop, who.Subject, "billing", "phone", "iin")
	other.Key, other.Body = "k1", []byte(handoff)
	first := must[*api.RedeemHandoffResponse](t)(redeem(v, other, handoff))
	v.Clock.Advance(time.Hour)
	again := must[*api.RedeemHandoffResponse](t)(redeem(v, other, handoff))
	if again.Subject != first.Subject || !slices.Equal(again.Tokens["phone"].Items, first.Tokens["phone"].Items) || again.Tokens["phone"].List != first.Tokens["phone"].List {
		t.Errorf("%+v, then %+v", first, again)
	}
	must[*api.Subject](t)(v.Block(ctx, shop, who.Subject, &api.BlockRequest{Kind: "dispute", Reason: "claim"}))
	_, err := redeem(v, other, handoff)
	wantCode(t, err, fault.Blocked)
}

// TestARedemptionIsWholeOrNot: an answer that is lost is had again under its key, and what was not written can be redeemed.
func TestARedemptionIsWholeOrNot(t *testing.T) {
	trap := &failing{Store: ownStore(t, t.TempDir()), kind: 'p'}
	v := vaulttest.New(t, vaulttest.With(func(o *vault.Options) { o.Store, o.Place = trap, "here" }))
	shop, other := app(v), billing(v)
	who := register(t, v, shop, aigul())
	handoff := handOff(t, v, shop, who.Subject, "billing", "phone")
	trap.before.Store(true)
	_, err := redeem(v, other, handoff)
	wantCode(t, err, fault.InsufficientStorage)
	trap.before.Store(false)
	if n := len(rowsOf(t, v.Store, 'h')); n != 1 {
		t.Errorf("%d systems hold the person", n)
	}
	other.Key, other.Body = "k1", []byte(handoff)
	trap.after.Store(true)
	_, err = redeem(v, other, handoff)
	wantCode(t, err, fault.Unavailable)
	trap.after.Store(false)
	got := must[*api.RedeemHandoffResponse](t)(redeem(v, other, handoff))
	wantText(t, detokenize(t, v, other, api.Plain, got.Tokens["phone"].Items...)[0].Value, phoneA)
}

// handed is what a test knows of a handoff.
type handed struct {
	id       string
	from, to int // systems
	phones   map[string]bool
	over     bool
	until    time.Time
}

// TestHandoffsGiveExactlyWhatTheGiverHas plays at random with one person whom three systems hold parts of.
func TestHandoffsGiveExactlyWhatTheGiverHas(t *testing.T) {
	v := vaulttest.New(t)
	rnd := rand.New(rand.NewPCG(7, 7))
	names := []string{"shop", "billing", "archive"}
	calls, subjects := make([]vault.Call, 3), make([]string, 3)
	has := make([]map[string]string, 3) // system → phone → its token
	for i, name := range names {
		calls[i], has[i] = v.As(name, access.Application), map[string]string{}
		subjects[i] = register(t, v, calls[i], fields{"iin": text(iinA)}).Subject
	}
	var all []*handed
	redeemed, refused := 0, 0
	for range scaled(400) {
		at := rnd.IntN(3)
		phone := fmt.Sprintf("+7701000000%d", rnd.IntN(5))
		switch rnd.IntN(8) {
		case 0, 1:
			has[at][phone] = register(t, v, calls[at], fields{"iin": text(iinA), "phone": text(phone)}).Tokens["phone"].Items[0]
		case 2:
			if token := has[at][phone]; token != "" {
				must[*api.RevokeResponse](t)(v.RevokeTokens(ctx, calls[at], &api.TokensRequest{Tokens: []string{token}}))
				delete(has[at], phone)
			}
		case 3:
			v.Clock.Advance(time.Minute)
		case 4, 5:
			h := &handed{from: at, to: (at + 1 + rnd.IntN(2)) % 3, phones: map[string]bool{}, until: v.Clock.Now().Add(10*time.Minute - time.Second)}
			for phone := range has[at] {
				h.phones[phone] = true
			}
			made, err := v.CreateHandoff(ctx, calls[at], &api.CreateHandoffRequest{Subject: subjects[at], ToSystem: names[h.to], Purpose: "contract", Fields: []string{"phone"}})
			if (err == nil) != (len(h.phones) > 0) {
				t.Fatalf("handing off %d phones: %v", len(h.phones), err)
			}
			if err == nil {
				h.id = made.Handoff
				all = append(all, h)
			}
		default:
			if len(all) == 0 {
				continue
			}
			h := all[max(0, len(all)-1-rnd.IntN(6))]
			may := h.to == at && !h.over && v.Clock.Now().Before(h.until)
			for phone := range h.phones {
				may = may && has[h.from][phone] != ""
			}
			got, err := redeem(v, calls[at], h.id)
			if (err == nil) != may {
				t.Fatalf("redeemed: %v, want %t: %+v", err, may, h)
			}
			if err != nil {
				refused++
				continue
			}
			redeemed++
			h.over = true
			if got.Subject != subjects[at] || len(got.Tokens["phone"].Items) != len(h.phones) {
				t.Fatalf("%+v of %+v", got, h)
			}
			for i, r := range detokenize(t, v, calls[at], api.Plain, got.Tokens["phone"].Items...) {
				phone, _ := r.Value.Text()
				if before := has[at][phone]; !h.phones[phone] || before != "" && before != got.Tokens["phone"].Items[i] {
					t.Fatalf("another phone, or another token of it")
				}
				has[at][phone] = got.Tokens["phone"].Items[i]
			}
		}
	}
	if redeemed == 0 || refused == 0 {
		t.Errorf("%d redeemed, %d refused", redeemed, refused)
	}
}

func TestOneOfManyRedemptionsWins(t *testing.T) {
	v := vaulttest.New(t)
	shop, other := app(v), billing(v)
	who := register(t, v, shop, aigul())
	for range 10 {
		handoff := handOff(t, v, shop, who.Subject, "billing", "phone")
		won := make(chan *api.RedeemHandoffResponse, 8)
		var all sync.WaitGroup
		for range cap(won) {
			all.Go(func() {
				got, err := redeem(v, other, handoff)
				if err == nil {
					won <- got
				} else if !errors.Is(err, fault.NotFound) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if len(won) != 1 {
			t.Fatalf("%d redeemed it", len(won))
		}
	}
}

// TestAHandoffNeedsNoKeys: nothing is opened for it, so it works while the provider is away.
func TestAHandoffNeedsNoKeys(t *testing.T) {
	v := vaulttest.New(t)
	shop, other := app(v), billing(v)
	who := register(t, v, shop, aigul())
	v.Restart() // and no key is in memory
	eventually(t, "the store is live", func() bool { return len(v.Ready(ctx).Degraded) == 0 })
	if err := v.Keys.Close(); err != nil {
		t.Fatal(err)
	}
	wantItem(t, detokenize(t, v, shop, api.Plain, who.Tokens["given_name"].Items[0])[0].Error, fault.Unavailable)
	handoff := handOff(t, v, shop, who.Subject, "billing", "phone", "given_name")
	other.Key, other.Body = "k1", []byte(handoff)
	if got := must[*api.RedeemHandoffResponse](t)(redeem(v, other, handoff)); len(got.Tokens["phone"].Items) != 2 {
		t.Errorf("%+v", got)
	}
	_, err := redeem(v, other, handoff) // what the key came with is not known
	wantCode(t, err, fault.Unavailable)
}

// TestAHandoffCannotBeRedeemedFromTheStore: the store keeps a digest, and that no longer than the handoff is good.
func TestAHandoffCannotBeRedeemedFromTheStore(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	who := register(t, v, shop, aigul())
	handoff := handOff(t, v, shop, who.Subject, "billing", "phone")
	secret := must[[16]byte](t)(id.Decode("hnd_", handoff))
	for _, row := range allRows(t, v.Store) {
		if whole := row.key + row.value; strings.Contains(whole, handoff) || bytes.Contains([]byte(whole), secret[:]) {
			t.Errorf("the store tells the handoff in %q", row.key)
		}
	}
	if len(rowsOf(t, v.Store, 'f')) != 1 {
		t.Fatal("no handoff in the store")
	}
	v.Clock.Advance(10 * time.Minute)
	eventually(t, "it is removed", func() bool { return len(rowsOf(t, v.Store, 'f')) == 0 })
}

func TestRegistrationsBoundHandoffs(t *testing.T) {
	v := vaulttest.New(t)
	shop, other, admin := app(v), billing(v), v.As("console", access.Administrator)
	who := register(t, v, shop, aigul())
	registered := func(name string, purposes []string, to ...string) {
		t.Helper()
		must[*api.Change](t)(v.PutSystem(ctx, admin, name, &api.System{Purposes: purposes, HandsOffTo: to}))
	}
	ask := func() (string, error) {
		h, err := v.CreateHandoff(ctx, shop, &api.CreateHandoffRequest{Subject: who.Subject, ToSystem: "billing", Purpose: "contract", Fields: []string{"phone"}})
		if err != nil {
			return "", err
		}
		return h.Handoff, nil
	}
	registered("shop", []string{"contract"}, "archive")
	_, err := ask()
	wantCode(t, err, fault.Denied)
	registered("shop", []string{"contract"}, "archive", "billing")
	registered("billing", []string{"notices"})
	_, err = ask()
	wantCode(t, err, fault.Denied)
	registered("billing", []string{"contract"})
	handoff := must[string](t)(ask())
	registered("shop", []string{"contract"})
	_, err = redeem(v, other, handoff)
	wantCode(t, err, fault.Denied)
	registered("shop", []string{"contract"}, "billing")
	must[*api.RedeemHandoffResponse](t)(redeem(v, other, handoff))
}

// rowsOf lists what a store holds of one kind.
func rowsOf(t testing.TB, s store.Store, kind byte) (all []store.Pair) {
	t.Helper()
	err := s.View(ctx, func(r store.Reader) error {
		pairs, err := r.Scan(append([]byte("\x04test"), kind), nil, 10_000)
		all = nil
		for _, p := range pairs {
			all = append(all, store.Pair{Key: bytes.Clone(p.Key), Value: bytes.Clone(p.Value)})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
