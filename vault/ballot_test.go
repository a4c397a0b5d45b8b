package vault_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// approvals has erasures need so many others, of these roles.
func approvals(needed int, roles ...access.Role) vaulttest.Option {
	return vaulttest.With(func(o *vault.Options) {
		o.Approvals = map[string]vault.Approval{vault.ApproveErasure: {Needed: needed, Roles: roles, Life: 24 * time.Hour}}
	})
}

// person is one of the staff whom an issuer knows.
func person(actor, subject string, roles ...access.Role) vault.Call {
	return vault.Call{RequestID: "req-" + actor, Principal: access.Principal{
		Tenant: "test", System: "idp/" + actor, Credential: "oidc:idp/" + subject, Roles: roles, AllSystems: true,
	}}
}

// made is a call by a token that another call's principal makes.
func made(t *testing.T, v *vaulttest.Vault, by vault.Call, system string, role access.Role) vault.Call {
	t.Helper()
	token := must[*api.ServiceToken](t)(v.CreateServiceToken(ctx, by, &api.CreateServiceTokenRequest{System: system, Role: string(role)}))
	return vault.Call{Principal: must[access.Principal](t)(v.Authenticate(ctx, vault.Presented{Bearer: token.Secret})), RequestID: "req-" + system}
}

// trail is the log's entries of an operation.
func trail(t *testing.T, v *vaulttest.Vault, operation string) (all []audit.Entry) {
	t.Helper()
	boss := person("trail", "trail", access.Administrator)
	for cursor := ""; ; {
		page := must[*api.Page[api.AuditEntry]](t)(v.AuditEntries(ctx, boss, api.AuditQuery{Operation: operation, Cursor: cursor, Limit: 1000}))
		for _, raw := range page.Items {
			var e audit.Entry
			if err := json.Unmarshal(raw, &e); err != nil {
				t.Fatal(err)
			}
			all = append(all, e)
		}
		if cursor = page.NextCursor; cursor == "" {
			return all
		}
	}
}

// vaultWide is what staff call the person of an IIN.
func vaultWide(t *testing.T, v *vaulttest.Vault, iin string) string {
	t.Helper()
	found := must[*api.SearchResponse](t)(v.Search(ctx, person("finder", "finder", access.Staff), &api.SearchRequest{
		Purpose: "service", Reason: "check", Field: "iin", Value: api.Text(iin),
	}))
	return found.Results[0].Subject
}

func nothingSaid() *api.ErasureApproval { return &api.ErasureApproval{} }

// TestNobodyApprovesTheirOwnWish, whatever they show themselves with.
func TestNobodyApprovesTheirOwnWish(t *testing.T) {
	v := vaulttest.New(t, approvals(1))
	register(t, v, app(v), aigul())
	boss := v.As("boss", access.Administrator)
	wisher := made(t, v, boss, "wisher", access.Administrator)
	child := made(t, v, wisher, "child", access.Administrator)
	grandchild := made(t, v, child, "grandchild", access.Staff)
	namesake := v.As("wisher", access.Staff)
	rotated := must[*api.ServiceToken](t)(v.RotateServiceToken(ctx, boss, wisher.Principal.Credential, &api.RotateServiceTokenRequest{}))
	anew := vault.Call{Principal: must[access.Principal](t)(v.Authenticate(ctx, vault.Presented{Bearer: rotated.Secret}))}
	e := erase(t, v, wisher, vaultWide(t, v, iinA))
	for name, guise := range map[string]vault.Call{
		"the same credential": wisher, "a token it made": child, "a token that made": grandchild, "what made it": boss,
		"another token of the system": namesake, "the token it was rotated to": anew,
	} {
		if _, err := v.ApproveErasure(ctx, guise, e.Erasure, nothingSaid()); fault.CodeOf(err) != fault.Denied {
			t.Errorf("%s: %v", name, err)
		}
	}
	must[*api.Erasure](t)(v.CancelErasure(ctx, wisher, e.Erasure))

	aigerim := person("aigerim", "1", access.PrivacyOfficer)
	e = erase(t, v, aigerim, vaultWide(t, v, iinA))
	for name, guise := range map[string]vault.Call{"herself": aigerim, "another session of hers": person("aigerim", "2", access.Staff)} {
		if _, err := v.ApproveErasure(ctx, guise, e.Erasure, nothingSaid()); fault.CodeOf(err) != fault.Denied {
			t.Errorf("%s: %v", name, err)
		}
	}
	must[*api.Erasure](t)(v.ApproveErasure(ctx, person("bolat", "3", access.Staff), e.Erasure, nothingSaid()))
	erased(t, v, aigerim, e.Erasure)
}

// TestWhoHandsOutATokenIsItsHolder: the text of a token is shown to whoever asks for it, so it speaks for them as well.
func TestWhoHandsOutATokenIsItsHolder(t *testing.T) {
	v := vaulttest.New(t, approvals(1))
	register(t, v, app(v), aigul())
	rotated := func(by vault.Call, of vault.Call) vault.Call {
		made := must[*api.ServiceToken](t)(v.RotateServiceToken(ctx, by, of.Principal.Credential, &api.RotateServiceTokenRequest{Overlap: 3600}))
		return vault.Call{Principal: must[access.Principal](t)(v.Authenticate(ctx, vault.Presented{Bearer: made.Secret})), RequestID: "req-rotated"}
	}
	boss, maker := v.As("boss", access.Administrator), v.As("maker", access.Administrator)
	another := v.As("boss", access.Administrator) // of the same name as boss
	officer := made(t, v, maker, "officer", access.PrivacyOfficer)
	who := vaultWide(t, v, iinA)
	renewed := person("registrar", "renewed", access.Administrator)
	certified := renewed
	certified.Principal.Credential = "x509:11"
	for name, test := range map[string]struct{ wisher, approver vault.Call }{
		"who has rotated another's token":                  {boss, rotated(boss, officer)},
		"and its maker":                                    {maker, rotated(boss, officer)},
		"who has rotated what was rotated":                 {boss, rotated(maker, rotated(boss, officer))},
		"a name whose other token has made it":             {another, made(t, v, boss, "officer-2", access.PrivacyOfficer)},
		"a name whose other token has rotated it":          {another, rotated(boss, officer)},
		"a name whose certificate was renewed since":       {renewed, made(t, v, certified, "officer-3", access.PrivacyOfficer)},
		"what such a name has made, of what it made since": {made(t, v, made(t, v, boss, "clerk", access.Administrator), "officer-4", access.PrivacyOfficer), another},
	} {
		e := erase(t, v, test.wisher, who)
		if _, err := v.ApproveErasure(ctx, test.approver, e.Erasure, nothingSaid()); fault.CodeOf(err) != fault.Denied {
			t.Errorf("%s: %v", name, err)
			continue
		}
		must[*api.Erasure](t)(v.CancelErasure(ctx, test.wisher, e.Erasure))
	}
	e := erase(t, v, boss, who)
	must[*api.Erasure](t)(v.ApproveErasure(ctx, officer, e.Erasure, nothingSaid())) // their own token still is theirs
}

// TestALineOfTokensIsFollowedToItsBeginning, however long somebody makes it.
func TestALineOfTokensIsFollowedToItsBeginning(t *testing.T) {
	v := vaulttest.New(t, approvals(1))
	register(t, v, app(v), aigul())
	wisher := v.As("wisher", access.Administrator)
	last := wisher
	for n := range 1010 {
		last = made(t, v, last, fmt.Sprintf("link-%d", n), access.Administrator)
	}
	e := erase(t, v, wisher, vaultWide(t, v, iinA))
	_, err := v.ApproveErasure(ctx, last, e.Erasure, nothingSaid())
	wantCode(t, err, fault.Denied)
}

// TestApproversAreDistinctAndOfTheRole: two words are two people's, each with the role when they give it.
func TestApproversAreDistinctAndOfTheRole(t *testing.T) {
	v := vaulttest.New(t, approvals(2, access.PrivacyOfficer))
	register(t, v, app(v), aigul())
	desk := staff(v)
	e := erase(t, v, desk, vaultWide(t, v, iinA))
	if e.ApprovalsNeeded != 2 {
		t.Fatalf("%+v", e)
	}
	approve := func(c vault.Call) error {
		_, err := v.ApproveErasure(ctx, c, e.Erasure, nothingSaid())
		return err
	}
	first := person("first", "1", access.PrivacyOfficer)
	wantCode(t, approve(person("first", "1", access.Staff)), fault.Denied) // who is an officer no more, or not yet
	if err := approve(first); err != nil {
		t.Fatal(err)
	}
	wantCode(t, approve(first), fault.Denied)
	wantCode(t, approve(person("first", "2", access.PrivacyOfficer)), fault.Denied)
	show := must[*api.Erasure](t)(v.Erasure(ctx, desk, e.Erasure))
	if show.State != api.ErasureRequested || show.ApprovalsNeeded != 1 || len(show.Approvals) != 1 ||
		show.Approvals[0].BySystem != "idp/first" || !slices.Equal(show.Approvals[0].Roles, []string{"privacy_officer"}) || show.Approvals[0].Digest != show.Digest {
		t.Fatalf("%+v", show)
	}
	if err := approve(person("second", "3", access.PrivacyOfficer)); err != nil {
		t.Fatal(err)
	}
	erased(t, v, desk, e.Erasure)
}

// TestWhatIsApprovedIsWhatWasShown: the digest is of what staff are shown, a system is not told it, an approval of anything
// else is refused, and the log has it.
func TestWhatIsApprovedIsWhatWasShown(t *testing.T) {
	v := vaulttest.New(t, approvals(1))
	shop, desk, officer := app(v), staff(v), person("officer", "1", access.PrivacyOfficer)
	register(t, v, shop, aigul())
	e := erase(t, v, desk, vaultWide(t, v, iinA))
	w := e.WillDestroy
	sum := sha256.Sum256(fmt.Appendf(nil, "sandyq erasure 1\n%s\n%s\nperson\n%s\n%s\n%d %d %d %d %d %d\n",
		e.Erasure, e.Subject, e.Ground, e.Reason, w.Keys, w.Fields, w.Documents, w.Parts, w.Tokens, w.IndexEntries))
	digest := hex.EncodeToString(sum[:])
	if e.Digest != digest {
		t.Fatalf("the digest %s is not of what is shown: %s", e.Digest, digest)
	}
	_, err := v.ApproveErasure(ctx, officer, e.Erasure, &api.ErasureApproval{Digest: hex.EncodeToString(make([]byte, 32))})
	wantCode(t, err, fault.Conflict)
	must[*api.Erasure](t)(v.ApproveErasure(ctx, officer, e.Erasure, &api.ErasureApproval{Digest: digest}))
	erased(t, v, desk, e.Erasure)
	for operation, entries := range map[string]int{"erasure.request": 1, "erasure.approve": 2} {
		all := trail(t, v, operation)
		if len(all) != entries {
			t.Errorf("%s: %d entries", operation, len(all))
		}
		for _, entry := range all {
			if entry.Digest != digest || !slices.Equal(entry.Objects, []string{e.Erasure}) {
				t.Errorf("%s: %+v", operation, entry)
			}
		}
	}
	who := register(t, v, shop, fields{"iin": text(iinB)})
	e = erase(t, v, shop, who.Subject)
	if e.State != api.ErasureRequested || e.Digest != "" || e.Approvals != nil {
		t.Errorf("a system is told %+v", e)
	}
}

// TestAWordThatIsGivenAgainCountsOnce: under one idempotency key, before the erasure begins and after its end.
func TestAWordThatIsGivenAgainCountsOnce(t *testing.T) {
	v := vaulttest.New(t, approvals(2))
	shop := app(v)
	who := register(t, v, shop, aigul())
	request := func() *api.Erasure {
		t.Helper()
		return must[*api.Erasure](t)(v.RequestErasure(ctx, keyed(shop, "ask"), &api.ErasureRequest{Subject: who.Subject, Ground: "request", Reason: "asked"}))
	}
	e := request()
	if again := request(); again.Erasure != e.Erasure || again.State != api.ErasureRequested {
		t.Errorf("asked again: %+v", again)
	}
	for n, by := range []string{"first", "second"} {
		for range 2 {
			call := keyed(person(by, by, access.Staff), "yes-"+by)
			given := must[*api.Erasure](t)(v.ApproveErasure(ctx, call, e.Erasure, nothingSaid()))
			if len(given.Approvals) != n+1 || (given.State == api.ErasureRequested) != (n == 0) {
				t.Errorf("%s: %+v", by, given)
			}
			if n == 1 {
				erased(t, v, shop, e.Erasure)
			}
		}
	}
	if again := request(); again.Erasure != e.Erasure || again.State != api.ErasureErased {
		t.Errorf("asked again at its end: %+v", again)
	}
}

// TestAnErasureNotApprovedInTimeIsCancelled: its block is lifted, the log says so, and no approval comes too late.
func TestAnErasureNotApprovedInTimeIsCancelled(t *testing.T) {
	v := vaulttest.New(t, approvals(1))
	shop, desk := app(v), staff(v)
	who := register(t, v, shop, aigul())
	e := erase(t, v, desk, vaultWide(t, v, iinA))
	v.Clock.Advance(23 * time.Hour)
	time.Sleep(300 * time.Millisecond) // a few rounds of the sweeper
	if show := must[*api.Erasure](t)(v.Erasure(ctx, desk, e.Erasure)); show.State != api.ErasureRequested || show.ExpiresAt.IsZero() {
		t.Fatalf("%+v", show)
	}
	v.Clock.Advance(2 * time.Hour)
	_, err := v.ApproveErasure(ctx, person("late", "1", access.Staff), e.Erasure, nothingSaid())
	wantCode(t, err, fault.Conflict)
	eventually(t, "it is cancelled", func() bool {
		return must[*api.Erasure](t)(v.Erasure(ctx, desk, e.Erasure)).State == api.ErasureCancelled
	})
	wantItem(t, detokenize(t, v, shop, api.Plain, who.Tokens["iin"].Items[0])[0].Error, "")
	if all := trail(t, v, "erasure.cancelled"); len(all) != 1 || all[0].System != "sandyq" || all[0].Digest != e.Digest {
		t.Errorf("%+v", all)
	}
	if left := waitingList(t, v, desk); len(left) != 0 {
		t.Errorf("%+v still wait", left)
	}
	erase(t, v, desk, vaultWide(t, v, iinA)) // and may be asked for again
}

func waitingList(t *testing.T, v *vaulttest.Vault, call vault.Call) []api.Waiting {
	t.Helper()
	return must[*api.Page[api.Waiting]](t)(v.Waiting(ctx, call, 0, "")).Items
}

// TestWhatWaitsIsListed: in pages, to whom it concerns, until it is decided.
func TestWhatWaitsIsListed(t *testing.T) {
	v := vaulttest.New(t, approvals(1, access.PrivacyOfficer))
	shop, desk := app(v), staff(v)
	var all []string
	for _, iin := range []string{iinA, iinB, iinC} {
		who := register(t, v, shop, fields{"iin": text(iin)})
		all = append(all, erase(t, v, shop, who.Subject).Erasure)
	}
	var listed []string
	for cursor := ""; ; {
		page := must[*api.Page[api.Waiting]](t)(v.Waiting(ctx, desk, 2, cursor))
		for _, w := range page.Items {
			if w.Kind != api.WaitingErasure || w.RequestedBy != "shop" || w.Missing != 1 || w.Digest == "" ||
				!slices.Equal(w.Roles, []string{"privacy_officer"}) || w.Expires.Sub(w.At).Round(time.Second) != 24*time.Hour {
				t.Errorf("%+v", w)
			}
			listed = append(listed, w.ID)
		}
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	slices.Sort(all)
	if slices.Sort(listed); !slices.Equal(listed, all) {
		t.Fatalf("%v wait, listed are %v", all, listed)
	}
	bound := desk
	bound.Principal.AllSystems, bound.Principal.Systems = false, []string{"elsewhere"}
	if seen := waitingList(t, v, bound); len(seen) != 0 {
		t.Errorf("staff of another system see %+v", seen)
	}
	_, err := v.Waiting(ctx, shop, 0, "")
	wantCode(t, err, fault.Denied)
	_, err = v.Waiting(ctx, desk, 0, "cursor")
	wantCode(t, err, fault.Invalid)
	must[*api.Erasure](t)(v.CancelErasure(ctx, shop, all[0]))                                                    // by who asked
	must[*api.Erasure](t)(v.CancelErasure(ctx, desk, all[1]))                                                    // by staff
	must[*api.Erasure](t)(v.ApproveErasure(ctx, person("o", "1", access.PrivacyOfficer), all[2], nothingSaid())) // and approved
	if left := waitingList(t, v, desk); len(left) != 0 {
		t.Errorf("%+v still wait", left)
	}
}

// TestNoGroundSparesTheApproval: who asks names the ground, and nobody has checked it.
func TestNoGroundSparesTheApproval(t *testing.T) {
	v := vaulttest.New(t, approvals(1))
	for name, call := range map[string]vault.Call{"a system": app(v), "staff": person("aigerim", "1", access.PrivacyOfficer)} {
		who := register(t, v, app(v), aigul()).Subject
		if call.Principal.VaultWide() {
			who = vaultWide(t, v, iinA)
		}
		for _, ground := range []string{"request", "withdrawal", "purpose_reached", "unlawful", "court", "other"} {
			e := must[*api.Erasure](t)(v.RequestErasure(ctx, call, &api.ErasureRequest{Subject: who, Ground: ground, Reason: "asked", DryRun: true}))
			if e.ApprovalsNeeded != 1 {
				t.Errorf("%s, %s: %+v", name, ground, e)
			}
		}
	}
}

// TestASharedPersonWaits: no system has others' person destroyed alone, whatever is configured.
func TestASharedPersonWaits(t *testing.T) {
	v := vaulttest.New(t, approvals(0))
	shop := app(v)
	who := register(t, v, shop, aigul())
	would := func() int {
		return must[*api.Erasure](t)(v.RequestErasure(ctx, shop, &api.ErasureRequest{Subject: who.Subject, Ground: "request", Reason: "asked", DryRun: true})).ApprovalsNeeded
	}
	if n := would(); n != 0 {
		t.Errorf("held alone: %d", n)
	}
	register(t, v, v.As("other", access.Application), fields{"iin": text(iinA)})
	if n := would(); n != 1 {
		t.Errorf("held by another, too: %d", n)
	}
}

// TestApprovingAndCancellingAtOnce: one of them wins, and the rest are told so.
func TestApprovingAndCancellingAtOnce(t *testing.T) {
	v := vaulttest.New(t, approvals(1))
	shop, desk := app(v), staff(v)
	won := map[api.ErasureState]int{}
	for n := range scaled(8) {
		f := fields{"family_name": text("Тест" + string(rune('а'+n%30)))}
		e := erase(t, v, shop, register(t, v, shop, f).Subject)
		var work sync.WaitGroup
		results := make([]error, 6)
		for i := range results {
			work.Go(func() {
				if i%2 == 0 {
					_, results[i] = v.CancelErasure(context.Background(), desk, e.Erasure)
				} else {
					_, results[i] = v.ApproveErasure(context.Background(), person(fmt.Sprint("p", i), fmt.Sprint(i), access.Staff), e.Erasure, nothingSaid())
				}
			})
		}
		work.Wait()
		winner := -1
		for i, err := range results {
			switch code := fault.CodeOf(err); {
			case err == nil && winner >= 0:
				t.Errorf("%d and %d both decided", winner, i)
			case err == nil:
				winner = i
			case code != fault.Conflict && code != fault.Unavailable && code != fault.NotFound:
				t.Errorf("%d: %v", i, err)
			}
		}
		if winner < 0 {
			t.Fatalf("nobody decided: %v", results)
		}
		state := must[*api.Erasure](t)(v.Erasure(ctx, desk, e.Erasure)).State
		if (state == api.ErasureCancelled) != (winner%2 == 0) {
			t.Errorf("%d decided, and it is %s", winner, state)
		}
		won[state]++
	}
	t.Log(won)
}
