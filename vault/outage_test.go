package vault_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp/vaultserver"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// bound is how soon what cannot be done while the keys are away says so, with what a busy machine adds.
const bound = 2*time.Second + 500*time.Millisecond

// recovery is how soon what waits for the keys is done once they are back.
const recovery = 10 * time.Second

// outage is a way in which HashiCorp Vault goes away and comes back.
type outage struct {
	name       string
	away, back func(*vaultserver.Server, testing.TB)
	before     func(*vaultserver.Server, testing.TB) // nil: nothing has to be prepared
}

var outages = []outage{
	{name: "sealed", away: (*vaultserver.Server).Seal, back: (*vaultserver.Server).Unseal},
	{name: "killed", away: (*vaultserver.Server).Kill, back: (*vaultserver.Server).Restart},
	{name: "stopped", away: (*vaultserver.Server).Pause, back: (*vaultserver.Server).Resume},
	{name: "over quota", away: limit, back: unlimit},
	auditBlocked(),
}

// limit has the server turn everything away with 429, but what its root asks to end that. It lets one request in an hour through,
// which is used up here.
func limit(server *vaultserver.Server, t testing.TB) {
	for _, mount := range []string{"sandyq", "sandyq-transit", "sandyq-generation"} {
		request(t, server, http.MethodPost, "sys/quotas/rate-limit/"+mount, map[string]any{"path": mount, "rate": 0.001, "interval": "1h"})
		eventually(t, "the quota is used up", func() bool {
			got, _ := server.Request(t, http.MethodGet, mount+"/config", nil)
			return got == http.StatusTooManyRequests
		})
	}
}

func unlimit(server *vaultserver.Server, t testing.TB) {
	for _, mount := range []string{"sandyq", "sandyq-transit", "sandyq-generation"} {
		request(t, server, http.MethodDelete, "sys/quotas/rate-limit/"+mount, nil)
	}
}

// auditBlocked is a server whose one audit device stops taking entries: it answers nothing until they are taken again.
func auditBlocked() outage {
	var pipe *os.File
	var reading sync.WaitGroup
	drain := func() {
		reading.Go(func() { _, _ = io.Copy(io.Discard, pipe) }) // until a deadline or the end
	}
	return outage{
		name: "audit device blocked",
		before: func(server *vaultserver.Server, t testing.TB) {
			path := filepath.Join(t.TempDir(), "audit")
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
			var err error
			if pipe, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = pipe.SetReadDeadline(time.Unix(1, 0))
				reading.Wait()
				_ = pipe.Close()
			})
			drain()
			request(t, server, http.MethodPut, "sys/audit/file", map[string]any{"type": "file", "options": map[string]string{"file_path": path}})
		},
		away: func(server *vaultserver.Server, t testing.TB) {
			_ = pipe.SetDeadline(time.Unix(1, 0))
			reading.Wait()
			_ = pipe.SetDeadline(time.Time{})
			filled := bytes.Repeat([]byte("\n"), 4096)
			_ = pipe.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			for {
				if _, err := pipe.Write(filled); err != nil {
					return
				}
			}
		},
		back: func(*vaultserver.Server, testing.TB) { drain() },
	}
}

// TestOutage holds the promise of what works, and what does not, while HashiCorp Vault is away.
func TestOutage(t *testing.T) {
	for _, o := range outages {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			server := vaultserver.Start(t)
			v := vaulttest.New(t, withKeys(keysIn(t, server)), vaulttest.With(func(o *vault.Options) {
				o.SweepEvery = time.Second
				o.Keyring.Lease = 4 * time.Minute
			}))
			ready(t, v)
			if o.before != nil {
				o.before(server, t)
			}
			p := meetPeople(t, v)
			o.away(server, t)
			erasure := p.whileAway(t)
			o.back(server, t)
			began := time.Now()
			erased(t, v, p.shop, erasure)
			if took := time.Since(began); took > recovery {
				t.Errorf("the erasure ended %s after the keys were back", took)
			} else {
				t.Logf("the erasure ended %s after the keys were back", took.Round(time.Millisecond))
			}
			eventually(t, "cold people are read again", func() bool {
				return detokenize(t, v, p.shop, api.Plain, p.cold.Tokens["given_name"].Items[0])[0].Value != nil
			})
			eventually(t, "people are registered again", func() bool {
				return tokenize1(t, v, p.shop, api.TokenizeItem{Fields: fields{"iin": text(iinC)}}).Error == nil
			})
		})
	}
}

// acquainted are people whose keys are in use, and others.
type acquainted struct {
	*vaulttest.Vault
	shop, desk             vault.Call
	leased, leaves, cold   api.TokenizeResult
	coldDocument, coldMany []string // tokens
}

// meetPeople registers people and makes the keys of all but two of them cold.
func meetPeople(t *testing.T, v *vaulttest.Vault) *acquainted {
	t.Helper()
	p := &acquainted{Vault: v, shop: app(v), desk: v.As("desk", access.Staff)}
	p.leased = register(t, v, p.shop, aigul())
	p.leaves = register(t, v, p.shop, fields{"given_name": text("Болат")})
	p.cold = register(t, v, p.shop, fields{"iin": text(iinB), "given_name": text("Дана")})
	put := must[*api.Document](t)(v.PutDocument(ctx, p.shop, upload(p.cold.Subject, jpeg(1000))))
	p.coldDocument = []string{put.Token}
	req := &api.TokenizeRequest{Purpose: "registration", Items: make([]api.TokenizeItem, 200)}
	for i := range req.Items {
		req.Items[i].Fields = fields{"given_name": text(nextName())}
	}
	for _, r := range must[*api.TokenizeResponse](t)(v.Tokenize(ctx, p.shop, req)).Results {
		wantItem(t, r.Error, "")
		p.coldMany = append(p.coldMany, r.Tokens["given_name"].Items[0])
	}
	keyed := p.shop
	keyed.Key = "before the outage" // which makes the day's key
	must[*api.Subject](t)(v.CreateSubject(ctx, keyed, &api.CreateSubjectRequest{Purpose: "registration"}))
	v.Restart()
	ready(t, v)
	for _, who := range []api.TokenizeResult{p.leased, p.leaves} {
		wantItem(t, detokenize(t, v, p.shop, api.Plain, who.Tokens["given_name"].Items[0])[0].Error, "")
	}
	return p
}

// soon demands that f, which does not wait for keys, ends at once, or within the bound.
func soon(t *testing.T, what string, f func()) {
	t.Helper()
	began := time.Now()
	f()
	took := time.Since(began)
	t.Logf("%s: %s", what, took.Round(time.Millisecond))
	if took > bound {
		t.Errorf("%s took %s", what, took)
	}
}

func (p *acquainted) whileAway(t *testing.T) (erasure string) {
	t.Helper()
	v, shop := p.Vault, p.shop
	name := func(r api.TokenizeResult) string { return r.Tokens["given_name"].Items[0] }
	unavailable := func(what string, f func() error) {
		t.Helper()
		soon(t, what, func() {
			if err := f(); !errors.Is(err, fault.Unavailable) {
				t.Errorf("%s: %v, want unavailable", what, err)
			}
		})
	}
	registers := func(f fields) error {
		return tokenize1(t, v, shop, api.TokenizeItem{Fields: f}).Error.Err()
	}

	// What works.
	soon(t, "read a leased key", func() { wantText(t, detokenize(t, v, shop, api.Plain, name(p.leased))[0].Value, "Айгүл") })
	soon(t, "register without searchable fields", func() {
		r := register(t, v, shop, fields{"given_name": text("Ерлан")})
		wantText(t, detokenize(t, v, shop, api.Plain, name(r))[0].Value, "Ерлан")
	})
	block := &api.BlockRequest{Kind: "dispute", Reason: "claim"}
	soon(t, "block", func() {
		must[*api.Subject](t)(v.Block(ctx, shop, p.cold.Subject, block))
		wantItem(t, detokenize(t, v, shop, api.Plain, name(p.cold))[0].Error, fault.Blocked)
	})
	keyed := shop
	keyed.Key = "outage"
	soon(t, "unblock under an idempotency key", func() { must[*api.Subject](t)(v.Unblock(ctx, keyed, p.cold.Subject, block)) })

	// What does not, and says so soon.
	unavailable("register with searchable fields", func() error { return registers(fields{"iin": text(iinC)}) })
	unavailable("read a cold key", func() error { return detokenize(t, v, shop, api.Plain, name(p.cold))[0].Error.Err() })
	unavailable("read 200 cold keys", func() error {
		return detokenize(t, v, shop, api.Plain, p.coldMany...)[199].Error.Err()
	})
	unavailable("open a cold document", func() error {
		_, err := v.OpenDocument(ctx, shop, &api.OpenDocumentRequest{Token: p.coldDocument[0], Purpose: "service", Reason: "check"})
		return err
	})
	unavailable("search", func() error {
		_, err := v.Search(ctx, p.desk, &api.SearchRequest{Purpose: "service", Reason: "check", Field: "iin", Value: api.Text(iinA)})
		return err
	})
	unavailable("register under an idempotency key", func() error {
		_, err := v.CreateSubject(ctx, keyed, &api.CreateSubjectRequest{Purpose: "registration"})
		return err
	})
	eventually(t, "the vault knows that its keys are away", func() bool {
		r := v.Ready(ctx)
		return r.Ready && len(r.Degraded) == 1 && r.Degraded[0] == "keys"
	})

	// What waits.
	var e *api.Erasure
	soon(t, "erase", func() { e = erase(t, v, shop, p.leaves.Subject) })
	time.Sleep(time.Second)
	if got := must[*api.Erasure](t)(v.Erasure(ctx, shop, e.Erasure)); got.State != api.ErasureErasing {
		t.Errorf("the erasure went on to %s", got.State)
	}
	wantItem(t, detokenize(t, v, shop, api.Plain, name(p.leaves))[0].Error, fault.Erased)
	return e.Erasure
}

// TestStartWhileKeysAreAway: the vault starts, blocks, and is itself again once the keys are back.
func TestStartWhileKeysAreAway(t *testing.T) {
	t.Parallel()
	server := vaultserver.Start(t)
	v := vaulttest.New(t, withKeys(keysIn(t, server)))
	ready(t, v)
	shop := app(v)
	who := register(t, v, shop, aigul())
	server.Kill(t)
	v.Stop()
	soon(t, "start", func() { v.Restart() })
	soon(t, "block", func() {
		must[*api.Subject](t)(v.Block(ctx, shop, who.Subject, &api.BlockRequest{Kind: "dispute", Reason: "claim"}))
	})
	wantItem(t, detokenize(t, v, shop, api.Plain, who.Tokens["iin"].Items[0])[0].Error, fault.Blocked)
	must[*api.Subject](t)(v.Unblock(ctx, shop, who.Subject, &api.BlockRequest{Kind: "dispute", Reason: "settled"}))
	e := erase(t, v, shop, who.Subject)
	server.Restart(t)
	erased(t, v, shop, e.Erasure)
	ready(t, v)
}
