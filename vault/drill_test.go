package vault_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
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
}
