package vault_test

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp/vaultserver"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// drilled gives a vault a place for drills.
func drilled(t testing.TB) vaulttest.Option {
	dir := filepath.Join(t.TempDir(), "drills")
	return vaulttest.With(func(o *vault.Options) {
		o.Drills = &vault.Drills{Dir: dir, Scratch: vaulttest.Scratch, Most: 30 * time.Second}
	})
}

// drill runs a drill to its end.
func drill(t testing.TB, v *vaulttest.Vault) api.Drill {
	t.Helper()
	call := admin(v)
	begun := must[*api.Drill](t)(v.RunDrill(ctx, call))
	return drillEnded(t, v, call, begun.Drill)
}

func drillEnded(t testing.TB, v *vaulttest.Vault, call vault.Call, id string) (d api.Drill) {
	t.Helper()
	eventually(t, "the drill is over", func() bool {
		for _, d = range must[*api.Page[api.Drill]](t)(v.ListDrills(ctx, call)).Items {
			if d.Drill == id && d.State != api.DrillRunning {
				return true
			}
		}
		time.Sleep(50 * time.Millisecond)
		return false
	})
	return d
}

func TestADrillPasses(t *testing.T) {
	v := vaulttest.New(t, drilled(t))
	shop := app(v)
	who := register(t, v, shop, aigul())
	d := drill(t, v)
	if d.State != api.DrillPassed || d.Failure != "" {
		t.Fatalf("%+v", d)
	}
	t.Logf("%+v", d)
	var steps []string
	for _, s := range d.Steps {
		steps = append(steps, s.Step)
	}
	if got := strings.Join(steps, " "); got != "leftovers register backup control erase certificate live restore copy replay clear" {
		t.Error(got)
	}
	wantText(t, detokenize(t, v, shop, api.Plain, who.Tokens["iin"].Items[0])[0].Value, iinA)
	if n := living(t, v); n != 1 {
		t.Errorf("%d people live", n)
	}
	entries := must[*api.Page[api.AuditEntry]](t)(v.AuditEntries(ctx, admin(v), api.AuditQuery{Limit: 200}))
	for _, raw := range entries.Items {
		var e audit.Entry
		if err := json.Unmarshal(raw, &e); err != nil {
			t.Fatal(err)
		}
		ours := strings.HasPrefix(e.Operation, "drill.") && e.Operation != "drill.run"
		if (e.System == "sandyq") != (ours || strings.HasPrefix(e.Operation, "erasure.") || strings.HasPrefix(e.Operation, "log.")) {
			t.Errorf("%s of %s", e.Operation, e.System)
		}
	}
}

// quietly keeps what fails on purpose out of a test's output.
func quietly() vaulttest.Option {
	return vaulttest.With(func(o *vault.Options) { o.Log = slog.New(slog.NewTextHandler(io.Discard, nil)) })
}

func TestADrillPassesOverHashiCorpVault(t *testing.T) {
	server := vaultserver.Start(t)
	v := vaulttest.New(t, drilled(t), withKeys(keysIn(t, server)))
	ready(t, v)
	if d := drill(t, v); d.State != api.DrillPassed {
		t.Fatalf("%+v", d)
	}
}

func TestOneDrillRunsAtATime(t *testing.T) {
	hold := make(chan struct{})
	v := vaulttest.New(t, drilled(t), restoringInto(func(s store.Store) store.Store { <-hold; return s }))
	call := admin(v)
	first := must[*api.Drill](t)(v.RunDrill(ctx, call))
	second := must[*api.Drill](t)(v.RunDrill(ctx, call))
	close(hold)
	if first.Drill != second.Drill || second.State != api.DrillRunning {
		t.Errorf("%+v beside %+v", second, first)
	}
	if d := drillEnded(t, v, call, first.Drill); d.State != api.DrillPassed {
		t.Errorf("%+v", d)
	}
}

func TestDrillsRunByThemselves(t *testing.T) {
	v := vaulttest.New(t, drilled(t), vaulttest.With(func(o *vault.Options) { o.Drills.Every = time.Hour }))
	call := admin(v)
	passed := func(n int) func() bool {
		return func() bool {
			time.Sleep(20 * time.Millisecond)
			all := must[*api.Page[api.Drill]](t)(v.ListDrills(ctx, call)).Items
			return len(all) == n && all[0].State == api.DrillPassed
		}
	}
	time.Sleep(200 * time.Millisecond)
	if early := must[*api.Page[api.Drill]](t)(v.ListDrills(ctx, call)).Items; len(early) > 0 {
		t.Fatalf("a drill ran before its time: %+v", early)
	}
	v.Clock.Advance(11 * time.Minute)
	eventually(t, "a first drill has passed", passed(1))
	v.Clock.Advance(61 * time.Minute)
	eventually(t, "another has", passed(2))
}

// TestWhomADrillLeftTheNextErases: the process ends in the midst of a drill.
func TestWhomADrillLeftTheNextErases(t *testing.T) {
	reached, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	v := vaulttest.New(t, drilled(t), quietly(), vaulttest.With(func(o *vault.Options) {
		o.Drills.Scratch = func(dir string) (store.Store, blob.Store, func() error, error) {
			fell := false
			once.Do(func() {
				close(reached)
				<-release
				fell = true
			})
			if fell {
				return nil, nil, nil, errScratch
			}
			return vaulttest.Scratch(dir)
		}
	}))
	call := admin(v)
	fallen := must[*api.Drill](t)(v.RunDrill(ctx, call))
	<-reached
	time.AfterFunc(100*time.Millisecond, func() { close(release) })
	v.Restart()
	if n := living(t, v); n == 0 {
		t.Fatal("nobody was left: this proves nothing")
	}
	if again := must[*api.Drill](t)(v.RunDrill(ctx, call)); again.Drill != fallen.Drill {
		t.Error("a second drill began while the row is the first's")
	}
	v.Clock.Advance(time.Hour)
	if d := drill(t, v); d.State != api.DrillPassed {
		t.Fatalf("%+v", d)
	}
	if n := living(t, v); n != 0 {
		t.Errorf("%d people were left", n)
	}
	if d := drillEnded(t, v, call, fallen.Drill); d.State != api.DrillFailed || d.Failure != "fell" {
		t.Errorf("%+v", d)
	}
}

// overheard is a key provider that hears for which IIN of the nineteenth century an entry of the index was asked.
type overheard struct {
	kms.Provider
	mu  sync.Mutex
	all []string
}

var oldIIN = regexp.MustCompile(`[0-9]{6}[12][0-9]{5}`)

func (o *overheard) MAC(ctx context.Context, inputs ...[]byte) ([][]byte, error) {
	o.mu.Lock()
	for _, in := range inputs {
		if found := oldIIN.Find(in); found != nil {
			o.all = append(o.all, string(found))
		}
	}
	o.mu.Unlock()
	return o.Provider.MAC(ctx, inputs...)
}

// TestADrillErasesNobodyWhomASystemHolds: a system registers, in the midst of a drill, the IIN of whoever was made up.
func TestADrillErasesNobodyWhomASystemHolds(t *testing.T) {
	keys := &overheard{Provider: must[kms.Provider](t)(vaulttest.Keyring(t.TempDir() + "/keyring"))}
	t.Cleanup(func() { _ = keys.Close() })
	var v *vaulttest.Vault
	var shop vault.Call
	var token string
	v = vaulttest.New(t, drilled(t), quietly(), vaulttest.With(func(o *vault.Options) { o.Keys = keys }),
		restoringInto(func(s store.Store) store.Store {
			keys.mu.Lock()
			all := keys.all
			keys.mu.Unlock()
			token = register(t, v, shop, fields{"iin": text(all[len(all)-1])}).Tokens["iin"].Items[0]
			return s
		}))
	shop = app(v)
	d := drill(t, v)
	if d.State != api.DrillFailed || d.Failure != "held_by_others" {
		t.Errorf("%+v", d)
	}
	if r := detokenize(t, v, shop, api.Plain, token)[0]; r.Error != nil {
		t.Errorf("a drill took away what a system holds: %+v", r.Error)
	}
}

// TestNobodyPassesForADrill: neither its name nor its credential lets anybody in.
func TestNobodyPassesForADrill(t *testing.T) {
	hold := make(chan struct{})
	v := vaulttest.New(t, drilled(t), restoringInto(func(s store.Store) store.Store { <-hold; return s }))
	who := register(t, v, app(v), aigul())
	ask := &api.DetokenizeRequest{Purpose: "service", Reason: "check", Tokens: []string{who.Tokens["iin"].Items[0]}}
	as := func(credential string) vault.Call {
		return vault.Call{RequestID: "x", Principal: access.Principal{
			Tenant: v.Tenant, System: "sandyq", Credential: credential, Roles: []access.Role{access.Administrator}, AllSystems: true,
		}}
	}
	other := "drl_22sb5s16cw0ppqzpn4es9hb1kn"
	reads := func(c vault.Call) error { _, err := v.Detokenize(ctx, c, ask); return err }
	wantCode(t, reads(as(other)), fault.Denied)
	call := admin(v)
	d := must[*api.Drill](t)(v.RunDrill(ctx, call))
	wantCode(t, reads(as(other)), fault.Denied)
	_, err := v.Subject(ctx, as(d.Drill), who.Subject)
	wantCode(t, err, fault.Denied)
	close(hold)
	drillEnded(t, v, call, d.Drill)
}

func TestADrillTouchesNobodyReal(t *testing.T) {
	v := vaulttest.New(t, drilled(t))
	who := register(t, v, app(v), aigul())
	if err := v.DrillTakes(ctx, iinA); err == nil {
		t.Error("a drill registered somebody who was known already")
	}
	var wide string
	for _, row := range must[[]store.Pair](t)(rows(v.Store)) {
		if kindOf(row.Key) == 's' {
			wide = vault.SubjectID(row.Key[len(row.Key)-16:]).String()
		}
	}
	if err := v.DrillErases(ctx, wide); err == nil {
		t.Error("a drill began to erase somebody it had not made")
	}
	wantText(t, detokenize(t, v, app(v), api.Plain, who.Tokens["iin"].Items[0])[0].Value, iinA)
}
