package hashicorp_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp/vaultserver"
	"github.com/sandyq/sandyq/crypto/kms/kmstest"
)

// slack is what a busy test machine may add to a timeout of hashicorp.DefaultTimeout.
const slack = time.Second / 2

// calls makes every call once and returns the errors by name.
func calls(ctx context.Context, v *hashicorp.Vault, claim kms.Claim, id kms.ID) map[string]error {
	errs := map[string]error{"destroy": v.Destroy(ctx, claim, id), "health": v.Health(ctx)}
	_, errs["create"] = v.Create(ctx, kms.NewID())
	_, errs["open"] = v.Open(ctx, id)
	_, errs["MAC"] = v.MAC(ctx, []byte("input"))
	_, errs["sentinel"] = v.Sentinel(ctx)
	_, errs["generation"] = v.Generation(ctx)
	return errs
}

// away checks a server that is away: the first call fails within the timeout, and all soon fail at once.
func away(t *testing.T, v *hashicorp.Vault, claim kms.Claim, id kms.ID) {
	t.Helper()
	for range 2 {
		within(t, hashicorp.DefaultTimeout+slack, "a call while the server is away", func() {
			if _, err := v.Open(t.Context(), id); !errors.Is(err, kms.ErrUnavailable) {
				t.Errorf("open while the server is away: %v, want ErrUnavailable", err)
			}
		})
	}
	within(t, slack, "seven calls while the server is known to be away", func() {
		for name, err := range calls(t.Context(), v, claim, id) {
			if !errors.Is(err, kms.ErrUnavailable) {
				t.Errorf("%s while the server is away: %v, want ErrUnavailable", name, err)
			}
		}
	})
}

func TestSealed(t *testing.T) {
	p := setUp(t, vaultserver.Start(t), false)
	v := p.open(t)
	id, claim := create(t, v), kmstest.Claim(t, v)
	p.server.Seal(t)
	away(t, v, claim, id)
	p.server.Unseal(t)
	eventually(t, time.Second+slack, "recovery after the unseal", func() error { return v.Health(t.Context()) })
	if keys, err := v.Open(t.Context(), id); err != nil || keys[0].Missing() {
		t.Errorf("the key is gone after the unseal (%v)", err)
	}
}

func TestPaused(t *testing.T) {
	p := setUp(t, vaultserver.Start(t), false)
	v := p.open(t)
	id, claim := create(t, v), kmstest.Claim(t, v)
	p.server.Pause(t)
	away(t, v, claim, id)
	p.server.Resume(t)
	eventually(t, 3*time.Second, "recovery after the pause", func() error { return v.Health(t.Context()) })
}

func TestKilled(t *testing.T) {
	p := setUp(t, vaultserver.Start(t), false)
	v := p.open(t)
	id, claim := create(t, v), kmstest.Claim(t, v)
	p.server.Kill(t)
	away(t, v, claim, id)
	p.server.Restart(t)
	eventually(t, 3*time.Second, "recovery after the restart", func() error { return v.Health(t.Context()) })
}

// TestKilledWhileDestroying kills the server at several points of a large destroy. Destroy never says yes too early, and
// repeated after the restart it ends with every key gone.
func TestKilledWhileDestroying(t *testing.T) {
	p := setUp(t, vaultserver.Start(t), false)
	v := p.open(t)
	claim := kmstest.Claim(t, v)
	for _, after := range []time.Duration{5 * time.Millisecond, 50 * time.Millisecond, 150 * time.Millisecond} {
		ids := make([]kms.ID, 500)
		for i := range ids {
			ids[i] = kms.NewID()
		}
		if _, err := v.Create(t.Context(), ids...); err != nil {
			t.Fatal(err)
		}
		result := make(chan error, 1)
		go func() { result <- v.Destroy(t.Context(), claim, ids...) }()
		time.Sleep(after)
		p.server.Kill(t)
		saidYes := <-result == nil
		p.server.Restart(t)
		if saidYes {
			wantMissing(t, v, ids)
		}
		eventually(t, 20*time.Second, "destroy after the restart", func() error {
			return v.Destroy(t.Context(), claim, ids...)
		})
		wantMissing(t, v, ids)
	}
}

// TestSealedAmidADestroy seals the server right after it has deleted a key: nobody is told that it is gone before it was seen to be.
func TestSealedAmidADestroy(t *testing.T) {
	p := setUp(t, vaultserver.Start(t), false)
	w := newWire(t, &p)
	v := p.open(t)
	claim, id := kmstest.Claim(t, v), create(t, v)
	w.does(http.MethodDelete, "/keys/"+id.String(), 1, func(rw http.ResponseWriter, forward func() *http.Response) {
		response := forward()
		p.server.Seal(t)
		pass(rw, response)
	})
	if err := v.Destroy(t.Context(), claim, id); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("destroy: %v, want ErrUnavailable", err)
	}
	p.server.Unseal(t)
	eventually(t, 20*time.Second, "destroy after the unseal", func() error { return v.Destroy(t.Context(), claim, id) })
	wantMissing(t, v, []kms.ID{id})
}

func wantMissing(t *testing.T, v *hashicorp.Vault, ids []kms.ID) {
	t.Helper()
	var keys []kms.Key
	eventually(t, 5*time.Second, "open", func() (err error) {
		keys, err = v.Open(t.Context(), ids...)
		return err
	})
	if slices.ContainsFunc(keys, func(k kms.Key) bool { return !k.Missing() }) {
		t.Error("a key that counts as destroyed is there")
	}
}

func TestServerAwayAtStart(t *testing.T) {
	p := setUp(t, vaultserver.Start(t), false)
	p.server.Kill(t)
	v := p.open(t)
	away(t, v, kms.Claim{}, kms.NewID())
	p.server.Restart(t)
	eventually(t, 3*time.Second, "recovery", func() error { return v.Health(t.Context()) })
}

// TestAbsenceIsNotDestruction takes the keys away in ways that leave "not found" behind.
func TestAbsenceIsNotDestruction(t *testing.T) {
	server := vaultserver.Shared(t)
	remake := func(t *testing.T, p place) {
		if _, err := hashicorp.Setup(t.Context(), p.setupConfig()); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		takeAway func(t *testing.T, p place)
		open     error // what opening then answers; nil: Missing
	}{
		"mount disabled": {func(t *testing.T, p place) {
			remove(t, server, "sys/mounts/"+p.config.Mount)
		}, kms.ErrUnavailable},
		"another mount in its place": {func(t *testing.T, p place) {
			remove(t, server, "sys/mounts/"+p.config.Mount)
			remake(t, p)
		}, nil},
		"generations disabled": {func(t *testing.T, p place) {
			remove(t, server, "sys/mounts/"+p.config.Mount+"-generation")
		}, nil},
		"other generations": {func(t *testing.T, p place) {
			remove(t, server, "sys/mounts/"+p.config.Mount+"-generation")
			remake(t, p)
			kmstest.Claim(t, p.open(t))
		}, nil},
		"sentinel deleted": {func(t *testing.T, p place) {
			remove(t, server, p.config.Mount+"/sentinel")
		}, nil},
		"generation deleted": {func(t *testing.T, p place) {
			remove(t, server, p.config.Mount+"-generation/data/generation")
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := setUp(t, server, false)
			v := p.open(t)
			claim := kmstest.Claim(t, v)
			id := create(t, v)
			remove(t, server, p.config.Mount+"/keys/"+id.String())
			c.takeAway(t, p)
			if err := v.Destroy(t.Context(), claim, id); !errors.Is(err, kms.ErrClaim) {
				t.Errorf("destroy: %v, want ErrClaim", err)
			}
			keys, err := v.Open(t.Context(), id)
			if !errors.Is(err, c.open) || err == nil && !keys[0].Missing() {
				t.Errorf("open: %v, want %v", err, c.open)
			}
		})
	}
}

func remove(t *testing.T, server *vaultserver.Server, path string) {
	t.Helper()
	if status, _ := server.Request(t, "DELETE", path, nil); status != http.StatusNoContent && status != http.StatusOK {
		t.Fatalf("delete %s: status %d", path, status)
	}
}

// TestTokenRevoked ends the tokens of both identities under a running provider.
func TestTokenRevoked(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), true)
	v := p.open(t)
	claim := kmstest.Claim(t, v)
	for range 3 {
		id := create(t, v)
		if n := p.revokeTokens(t); n < 2 {
			t.Fatalf("found %d tokens to revoke, want those of both identities", n)
		}
		if keys, err := v.Open(t.Context(), id); err != nil || keys[0].Missing() {
			t.Fatalf("open after the token was revoked: %v", err)
		}
		p.revokeTokens(t)
		create(t, v)
		p.revokeTokens(t)
		if err := v.Destroy(t.Context(), claim, id); err != nil {
			t.Fatalf("destroy after the token was revoked: %v", err)
		}
	}
}

// revokeTokens ends every token of the place's roles and returns how many there were.
func (p place) revokeTokens(t *testing.T) int {
	t.Helper()
	_, answer := p.server.Request(t, "LIST", "auth/token/accessors", nil)
	var list struct {
		Data struct {
			Keys []string `json:"keys"`
		} `json:"data"`
	}
	if err := json.Unmarshal(answer, &list); err != nil {
		t.Fatal(err)
	}
	revoked := 0
	for _, accessor := range list.Data.Keys {
		body := map[string]any{"accessor": accessor}
		_, answer := p.server.Request(t, "POST", "auth/token/lookup-accessor", body)
		var token struct {
			Data struct {
				Policies []string `json:"policies"`
			} `json:"data"`
		}
		if err := json.Unmarshal(answer, &token); err != nil {
			t.Fatal(err)
		}
		role := p.config.Mount + "-" + p.config.Tenant
		if slices.Contains(token.Data.Policies, role+"-read") || slices.Contains(token.Data.Policies, role+"-erase") {
			p.server.Request(t, "POST", "auth/token/revoke-accessor", body)
			revoked++
		}
	}
	return revoked
}

// TestTokenExpires gives tokens a life of one second, three at most: they are renewed, then replaced.
func TestTokenExpires(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	role := "auth/approle/role/" + p.config.Mount + "-" + p.config.Tenant
	status, _ := p.server.Request(t, "POST", role, map[string]any{"token_ttl": "1s", "token_max_ttl": "3s"})
	if status != http.StatusNoContent {
		t.Fatalf("shorten the tokens' life: status %d", status)
	}
	v := p.open(t)
	ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		if err := v.Health(t.Context()); err != nil {
			t.Fatalf("a token's end shows: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestSecretIDReplaced finds wrong credentials at first.
func TestSecretIDReplaced(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	file := p.credentials("serve").SecretIDFile
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("wrong-secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	v := p.open(t)
	_, err = v.Create(t.Context(), kms.NewID())
	if !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("create under a wrong secret id: %v, want ErrUnavailable", err)
	}
	wantNoSecret(t, err, p)
	if err := os.WriteFile(file, good, 0o600); err != nil {
		t.Fatal(err)
	}
	create(t, v)
}

func TestCloseLeavesNothing(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), true)
	before := goleak.IgnoreCurrent()
	v, err := hashicorp.Open(p.config)
	if err != nil {
		t.Fatal(err)
	}
	id, claim := create(t, v), kmstest.Claim(t, v)
	if err := v.Destroy(t.Context(), claim, id); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, before)
}

// TestCloseCutsOff closes a provider while the server holds a call up.
func TestCloseCutsOff(t *testing.T) {
	p := setUp(t, vaultserver.Start(t), false)
	p.config.Timeout = 30 * time.Second
	v := p.open(t)
	id := create(t, v)
	p.server.Pause(t)
	result := make(chan error, 1)
	go func() {
		_, err := v.Open(t.Context(), id)
		result <- err
	}()
	time.Sleep(50 * time.Millisecond)
	within(t, time.Second, "close", func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := <-result; !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("the call that was cut off: %v, want ErrUnavailable", err)
	}
}
