package vault_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// fourEyes has purposes need the word of one other privacy officer, and the rest of the configuration that of two others.
func fourEyes(t *testing.T) *vaulttest.Vault {
	t.Helper()
	return vaulttest.New(t, vaulttest.With(func(o *vault.Options) {
		o.Approvals = map[string]vault.Approval{
			vault.ApprovePurpose: {Needed: 1, Roles: []access.Role{access.PrivacyOfficer}, Life: time.Hour},
			vault.ApproveConfig:  {Needed: 2},
		}
	}))
}

func approve(v *vaulttest.Vault, call vault.Call, change, digest string) (*api.Change, error) {
	return v.ApproveChange(ctx, call, change, &api.ApproveChangeRequest{Digest: digest})
}

func TestAPurposeNeedsAnotherOfficer(t *testing.T) {
	v := fourEyes(t)
	dpo, other, admin := officer(v, "dpo"), officer(v, "deputy"), v.As("admin", access.Administrator)
	asked := must[*api.Change](t)(v.PutPurpose(ctx, dpo, "delivery", delivery("phone")))
	if asked.State != api.ChangeWaiting || asked.ApprovalsNeeded != 1 || len(asked.Digest) != 64 || asked.From != nil || asked.To.Purpose.Fields[0] != "phone" {
		t.Fatalf("%+v", asked)
	}
	_, err := v.Purpose(ctx, dpo, "delivery")
	wantCode(t, err, fault.NotFound)
	if again := must[*api.Change](t)(v.PutPurpose(ctx, dpo, "delivery", delivery("phone"))); again.Change != asked.Change {
		t.Error("asking for the same again makes another change")
	}
	for name, call := range map[string]vault.Call{"their own": dpo, "of another role": admin} {
		if _, err := approve(v, call, asked.Change, ""); fault.CodeOf(err) != fault.Denied {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = approve(v, other, asked.Change, "00")
	wantCode(t, err, fault.Conflict)
	done := must[*api.Change](t)(approve(v, other, asked.Change, asked.Digest))
	if done.State != api.ChangeEffective || done.Version != 1 || len(done.Approvals) != 1 || done.Approvals[0].BySystem != "deputy" || done.Approvals[0].Digest != asked.Digest {
		t.Fatalf("%+v", done)
	}
	p := must[*api.Purpose](t)(v.Purpose(ctx, dpo, "delivery"))
	if p.Version != 1 || p.Change != asked.Change || p.ChangedBy != "dpo" {
		t.Errorf("%+v", p)
	}
	_, err = approve(v, other, asked.Change, "")
	wantCode(t, err, fault.Conflict)
	_, err = v.CancelChange(ctx, dpo, asked.Change)
	wantCode(t, err, fault.Conflict)

	changed := must[*api.Change](t)(v.PutPurpose(ctx, dpo, "delivery", delivery("phone", "email")))
	if changed.From == nil || changed.From.Purpose.Version != 1 || len(changed.To.Purpose.Fields) != 2 {
		t.Errorf("%+v", changed)
	}
	v.Restart()
	waiting := must[*api.Page[api.Waiting]](t)(v.Waiting(ctx, admin, 0, ""))
	if len(waiting.Items) != 1 || waiting.Items[0].ID != changed.Change || waiting.Items[0].Kind != api.WaitingChange {
		t.Errorf("%+v", waiting)
	}
	if gone := must[*api.Change](t)(v.CancelChange(ctx, dpo, changed.Change)); gone.State != api.ChangeCancelled {
		t.Errorf("%+v", gone)
	}
	_, err = approve(v, other, changed.Change, "")
	wantCode(t, err, fault.Conflict)
	for _, nothing := range []string{"chg_", "chg_00000000000000000000000000", asked.Change + "x", "era" + asked.Change[3:]} {
		_, err = approve(v, other, nothing, "")
		wantCode(t, err, fault.NotFound)
		_, err = v.Change(ctx, other, nothing)
		wantCode(t, err, fault.NotFound)
	}
	entries := logged(t, v, string(access.DecideChange))
	if e := entries[3]; e.Kind != "purpose" || !slices.Equal(e.Objects, []string{"delivery", asked.Change}) || e.Digest != asked.Digest || e.System != "deputy" || e.Outcome != "" {
		t.Errorf("%+v", e)
	}
}

func TestAChangeLapses(t *testing.T) {
	v := fourEyes(t)
	dpo, other := officer(v, "dpo"), officer(v, "deputy")
	asked := must[*api.Change](t)(v.PutPurpose(ctx, dpo, "delivery", delivery("phone")))
	v.Clock.Advance(time.Hour)
	_, err := approve(v, other, asked.Change, asked.Digest)
	wantCode(t, err, fault.Conflict)
	eventually(t, "the change lapses", func() bool {
		return len(must[*api.Page[api.Waiting]](t)(v.Waiting(ctx, dpo, 0, "")).Items) == 0
	})
	if shown := must[*api.Change](t)(v.Change(ctx, dpo, asked.Change)); shown.State != api.ChangeLapsed || shown.DecidedAt.IsZero() {
		t.Errorf("%+v", shown)
	}
	if entries := logged(t, v, "configuration.lapsed"); len(entries) != 1 || entries[0].Objects[1] != asked.Change {
		t.Errorf("%+v", entries)
	}
	if again := must[*api.Change](t)(v.PutPurpose(ctx, dpo, "delivery", delivery("phone"))); again.Change == asked.Change {
		t.Error("a lapsed change is found again")
	}
}

// Of two changes against one version one wins, however close they are; the other says that it came too late.
func TestOfTwoChangesOneWins(t *testing.T) {
	v := fourEyes(t)
	dpo, deputy, third := officer(v, "dpo"), officer(v, "deputy"), officer(v, "third")
	for round := range 5 {
		one := must[*api.Change](t)(v.PutPurpose(ctx, dpo, "delivery", delivery("phone", []string{"email", "iin"}[round%2])))
		two := must[*api.Change](t)(v.PutPurpose(ctx, deputy, "delivery", delivery("phone", []string{"given_name", "family_name"}[round%2])))
		errs := make([]error, 2)
		var work sync.WaitGroup
		for i, change := range []string{one.Change, two.Change} {
			work.Go(func() { _, errs[i] = approve(v, third, change, "") })
		}
		work.Wait()
		won := slices.IndexFunc(errs, func(err error) bool { return err == nil })
		if won < 0 || fault.CodeOf(errs[1-won]) != fault.Conflict {
			t.Fatalf("%v", errs)
		}
		p := must[*api.Purpose](t)(v.Purpose(ctx, dpo, "delivery"))
		want := []*api.Change{one, two}[won].To.Purpose.Fields
		if p.Version != round+1 || !slices.Contains(want, p.Fields[0]) || !slices.Contains(want, p.Fields[1]) {
			t.Fatalf("version %d has %v, want %v", p.Version, p.Fields, want)
		}
	}
}

// What held when a change was asked for is asked again when it takes effect.
func TestAChangeIsCheckedWhenItTakesEffect(t *testing.T) {
	v := fourEyes(t)
	admins := []vault.Call{v.As("a", access.Administrator), v.As("b", access.Administrator), v.As("c", access.Administrator)}
	dpo, deputy := officer(v, "dpo"), officer(v, "deputy")
	put := func(p *api.Purpose, name string) {
		t.Helper()
		asked := must[*api.Change](t)(v.PutPurpose(ctx, dpo, name, p))
		must[*api.Change](t)(approve(v, deputy, asked.Change, ""))
	}
	put(delivery("phone"), "delivery")
	asked := must[*api.Change](t)(v.PutSystem(ctx, admins[0], "shop", &api.System{Purposes: []string{"delivery", "marketing"}}))
	if got := must[*api.Change](t)(approve(v, admins[1], asked.Change, "")); got.State != api.ChangeWaiting || got.ApprovalsNeeded != 1 {
		t.Fatalf("%+v", got)
	}
	_, err := approve(v, admins[1], asked.Change, "")
	wantCode(t, err, fault.Denied)
	excluding := delivery("phone")
	excluding.IncompatibleWith = []string{"marketing"}
	put(excluding, "delivery")
	_, err = approve(v, admins[2], asked.Change, "")
	wantCode(t, err, fault.Conflict)
	if _, err := v.System(ctx, admins[0], "shop"); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("a system holds two purposes that exclude each other: %v", err)
	}
	asked = must[*api.Change](t)(v.PutSystem(ctx, admins[0], "shop", &api.System{Purposes: []string{"delivery"}}))
	must[*api.Change](t)(approve(v, admins[1], asked.Change, ""))
	if got := must[*api.Change](t)(approve(v, admins[2], asked.Change, "")); got.State != api.ChangeEffective {
		t.Fatalf("%+v", got)
	}
}

func TestAnApprovalIsMadeOnce(t *testing.T) {
	v := fourEyes(t)
	admins := []vault.Call{v.As("a", access.Administrator), v.As("b", access.Administrator)}
	asked := must[*api.Change](t)(v.PutSystem(ctx, admins[0], "shop", &api.System{}))
	second := admins[1]
	second.Key, second.Body = "key", []byte("{}")
	for range 2 {
		got := must[*api.Change](t)(approve(v, second, asked.Change, ""))
		if got.ApprovalsNeeded != 1 || len(got.Approvals) != 1 {
			t.Errorf("%+v", got)
		}
	}
}

// TestAFloodOfChanges ends, for one name; others are not kept from theirs.
func TestAFloodOfChanges(t *testing.T) {
	v := fourEyes(t)
	admin, other := v.As("admin", access.Administrator), v.As("other", access.Administrator)
	var first *api.Change
	for n := range 200 {
		asked := must[*api.Change](t)(v.PutSystem(ctx, admin, fmt.Sprint("shop-", n), &api.System{}))
		if first == nil {
			first = asked
		}
	}
	_, err := v.PutSystem(ctx, v.As("admin", access.Administrator), "more", &api.System{})
	wantCode(t, err, fault.Conflict)
	if again := must[*api.Change](t)(v.PutSystem(ctx, admin, "shop-0", &api.System{})); again.Change != first.Change {
		t.Errorf("%+v", again)
	}
	must[*api.Change](t)(v.PutSystem(ctx, other, "more", &api.System{}))
	must[*api.Change](t)(v.CancelChange(ctx, other, first.Change))
	must[*api.Change](t)(v.PutSystem(ctx, admin, "more", &api.System{}))
}

// TestThereAreSoManyObjects of a sort and no more; what there is can be changed.
func TestThereAreSoManyObjects(t *testing.T) {
	v := vaulttest.New(t)
	admin := v.As("admin", access.Administrator)
	for n := range 1000 {
		must[*api.Change](t)(v.PutSystem(ctx, admin, fmt.Sprint("shop-", n), &api.System{}))
	}
	_, err := v.PutSystem(ctx, admin, "more", &api.System{})
	wantCode(t, err, fault.Conflict)
	must[*api.Change](t)(v.PutSystem(ctx, admin, "shop-0", &api.System{Purposes: []string{"service"}}))
}

// TestObjectsAreSoLarge together, and no larger; what is there can be made less.
func TestObjectsAreSoLarge(t *testing.T) {
	v := vaulttest.New(t)
	admin := v.As("admin", access.Administrator)
	large := &api.System{}
	for n := range 8000 {
		large.HandsOffTo = append(large.HandsOffTo, fmt.Sprint("a-system-of-a-name-", n))
	}
	for n := 0; ; n++ {
		_, err := v.PutSystem(ctx, admin, fmt.Sprint("shop-", n), large)
		if err == nil && n < 50 {
			continue
		}
		wantCode(t, err, fault.Conflict)
		break
	}
	must[*api.Change](t)(v.PutSystem(ctx, admin, "shop-0", &api.System{}))
	must[*api.Change](t)(v.PutSystem(ctx, admin, "another", large))
}
