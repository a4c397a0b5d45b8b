package hashicorp_test

import (
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp/vaultserver"
	"github.com/sandyq/sandyq/crypto/kms/kmstest"
)

func TestAnswerLostOnCreate(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	w := newWire(t, &p)
	v := p.open(t)
	claim := kmstest.Claim(t, v)
	id := kms.NewID()
	w.does("PUT", "/keys/", always, loseAnswer)
	if _, err := v.Create(t.Context(), id); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("create whose answer is lost: %v, want ErrUnavailable", err)
	}
	if left := w.harm.Load().times.Load(); left != always-1 {
		t.Errorf("the create was sent %d times, want once", always-left)
	}
	w.harm.Store(nil)
	if keys, err := v.Open(t.Context(), id); err != nil || keys[0].Missing() {
		t.Fatalf("the server did not do its work (%v)", err)
	}
	if _, err := v.Create(t.Context(), id); !errors.Is(err, kms.ErrExists) {
		t.Errorf("create again: %v, want ErrExists", err)
	}
	if err := v.Destroy(t.Context(), claim, id); err != nil {
		t.Fatal(err)
	}
	wantMissing(t, v, []kms.ID{id})
}

func TestAnswerLostOnDestroy(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	w := newWire(t, &p)
	v := p.open(t)
	claim := kmstest.Claim(t, v)
	id := create(t, v)
	w.does("DELETE", "/keys/", 1, loseAnswer)
	if err := v.Destroy(t.Context(), claim, id); err != nil {
		t.Errorf("destroy whose first answer is lost: %v, want it repeated", err)
	}
	wantMissing(t, v, []kms.ID{id})

	id = create(t, v)
	w.does("DELETE", "/keys/", always, loseAnswer)
	if err := v.Destroy(t.Context(), claim, id); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("destroy whose answers are lost: %v, want ErrUnavailable", err)
	}
	w.harm.Store(nil)
	eventually(t, 2*time.Second, "destroy again", func() error { return v.Destroy(t.Context(), claim, id) })
}

func TestAnswerLostOnAdvance(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	w := newWire(t, &p)
	v := p.open(t)
	from := kmstest.Claim(t, v).Generation
	next := kms.Generation{Number: from.Number + 1, Instance: kms.NewID()}
	w.does("PUT", "/generation", 1, loseAnswer)
	if err := v.Advance(t.Context(), from, next); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("advance whose answer is lost: %v, want ErrUnavailable", err)
	}
	if err := v.Advance(t.Context(), from, next); err != nil {
		t.Errorf("advance again: %v", err)
	}
}

// TestDestroyNeedsVaultsOwnAbsence answers the read that proves destruction with everything but Vault's own "absent",
// while the key is there.
func TestDestroyNeedsVaultsOwnAbsence(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	w := newWire(t, &p)
	v := p.open(t)
	claim := kmstest.Claim(t, v)
	id := create(t, v)
	path := "/keys/" + id.String()
	for name, do := range map[string]func(http.ResponseWriter, func() *http.Response){
		"a proxy's 404":            answer(404, "<html>not found</html>"),
		"an empty 404":             answer(404, ""),
		"a 404 of another JSON":    answer(404, `{}`),
		"a 404 of null":            answer(404, `{"errors":null}`),
		"no handler for the route": answer(404, `{"errors":["no handler for route"]}`),
		"a denial":                 answer(403, `{"errors":["permission denied"]}`),
		"gone":                     answer(410, `{"errors":[]}`),
		"sealed":                   answer(503, `{"errors":["Vault is sealed"]}`),
		"bad gateway":              answer(502, ""),
		"a redirect":               answer(307, "", "Location", "http://127.0.0.1:1/"),
		"nothing":                  answer(204, ""),
		"a cut answer":             cutAnswer,
	} {
		eventually(t, 2*time.Second, "health", func() error { w.harm.Store(nil); return v.Health(t.Context()) })
		w.does("GET", path, always, do)
		if err := v.Destroy(t.Context(), claim, id); !errors.Is(err, kms.ErrUnavailable) {
			t.Errorf("%s counts as absence: %v", name, err)
		}
		if keys, err := v.Open(t.Context(), id); err == nil && keys[0].Missing() {
			t.Errorf("%s reads as missing", name)
		}
	}
}

// TestTLS reaches the server through one that speaks TLS with a certificate of its own.
func TestTLS(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	target, err := url.Parse(p.config.Address)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }})
	front.Config.ErrorLog = log.New(io.Discard, "", 0) // the refused handshake is what is wanted
	front.StartTLS()
	t.Cleanup(front.Close)
	p.config.Address = front.URL
	if err := p.open(t).Health(t.Context()); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("a certificate that nobody vouches for: %v, want ErrUnavailable", err)
	}
	p.config.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw})
	if err := os.WriteFile(p.config.CAFile, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	create(t, p.open(t))
}

// TestSentinelOutOfSight tells a server that is away from one that has no sentinel: only the second loses the title.
func TestSentinelOutOfSight(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	w := newWire(t, &p)
	v := p.open(t)
	create(t, v)
	for _, path := range []string{"/sentinel", "/generation"} {
		for _, status := range []int{403, 404, 500, 503} {
			eventually(t, 2*time.Second, "health", func() error { w.harm.Store(nil); return v.Health(t.Context()) })
			w.does("GET", path, always, answer(status, "<html>"))
			if err := v.Destroy(t.Context(), kms.Claim{}); !errors.Is(err, kms.ErrUnavailable) || errors.Is(err, kms.ErrClaim) {
				t.Errorf("a proxy's %d for %s: %v, want ErrUnavailable", status, path, err)
			}
		}
	}
}

// TestClaimCheckedAfter lets another store take the title while a destroy is under way.
func TestClaimCheckedAfter(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	other := p.open(t)
	w := newWire(t, &p)
	v := p.open(t)
	claim := kmstest.Claim(t, v)
	id := create(t, v)
	w.does("DELETE", "/keys/", 1, func(rw http.ResponseWriter, forward func() *http.Response) {
		kmstest.Claim(t, other)
		pass(rw, forward())
	})
	if err := v.Destroy(t.Context(), claim, id); !errors.Is(err, kms.ErrClaim) {
		t.Errorf("destroy under a title that was lost meanwhile: %v, want ErrClaim", err)
	}
}

func TestTurnedAwayIsRepeated(t *testing.T) {
	for _, status := range []int{429, 412} {
		p := setUp(t, vaultserver.Shared(t), false)
		w := newWire(t, &p)
		v := p.open(t)
		w.does("PUT", "/keys/", 2, answer(status, `{"errors":["later"]}`))
		create(t, v)
		w.does("PUT", "/keys/", always, answer(status, `{"errors":["later"]}`))
		if _, err := v.Create(t.Context(), kms.NewID()); !errors.Is(err, kms.ErrUnavailable) {
			t.Errorf("status %d all the time: %v, want ErrUnavailable", status, err)
		}
		if err := v.Health(t.Context()); err != nil {
			t.Errorf("status %d to one request keeps the others away: %v", status, err)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	p.config.Timeout = 5 * time.Second
	w := newWire(t, &p)
	v := p.open(t)
	create(t, v)
	w.does("PUT", "/keys/", 1, answer(429, `{"errors":["quota"]}`, "Retry-After", "1"))
	start := time.Now()
	create(t, v)
	if waited := time.Since(start); waited < time.Second {
		t.Errorf("repeated after %v, the server asked for 1 s", waited)
	}
	w.does("PUT", "/keys/", always, answer(429, `{"errors":["quota"]}`, "Retry-After", "60"))
	within(t, time.Second, "a call that the server wants later than the timeout", func() {
		if _, err := v.Create(t.Context(), kms.NewID()); !errors.Is(err, kms.ErrUnavailable) {
			t.Errorf("create over quota: %v, want ErrUnavailable", err)
		}
	})
}

func TestPartialBatch(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	w := newWire(t, &p)
	v := p.open(t)
	claim := kmstest.Claim(t, v)
	ids := make([]kms.ID, 120)
	for i := range ids {
		ids[i] = kms.NewID()
	}
	w.does("PUT", "/keys/"+ids[70].String(), always, answer(500, `{"errors":["disk"]}`))
	if keys, err := v.Create(t.Context(), ids...); !errors.Is(err, kms.ErrUnavailable) || keys != nil {
		t.Errorf("create of which one fails: %d keys, %v; want ErrUnavailable", len(keys), err)
	}
	if err := v.Destroy(t.Context(), claim, ids...); err != nil {
		t.Fatal(err)
	}
	wantMissing(t, v, ids)
}

// TestServersTextIsNotRepeated has the server, or a proxy, answer with what must not reach a log.
func TestServersTextIsNotRepeated(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	w := newWire(t, &p)
	v := p.open(t)
	create(t, v)
	for _, status := range []int{400, 403, 404, 500, 503, 200} {
		w.does("PUT", "/hmac/", always, answer(status, `{"errors":["canary"], "data":{"batch_results":[{"hmac":"canary"}]}}`))
		_, err := v.MAC(t.Context(), []byte("input"))
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("status %d: %v", status, err)
		}
	}
}

func TestMalformedMAC(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	w := newWire(t, &p)
	v := p.open(t)
	for _, hmac := range []string{
		"", "vault:v1:", "vault:v1:AAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"vault:v2:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"vault:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=", // not canonical
	} {
		w.does("PUT", "/hmac/", 1, answer(200, `{"data":{"batch_results":[{"hmac":"`+hmac+`"}]}}`))
		if sums, err := v.MAC(t.Context(), nil); err == nil {
			t.Errorf("%q is taken for a MAC: %x", hmac, sums)
		}
		eventually(t, 2*time.Second, "health", func() error { return v.Health(t.Context()) })
	}
}

// TestProxyRefuses reads a proxy's dislike of a request for what it is: keys that are whole are not called corrupt.
func TestProxyRefuses(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	w := newWire(t, &p)
	v := p.open(t)
	id := create(t, v)
	for _, status := range []int{http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge} {
		w.does(http.MethodPut, "/decrypt/", always, answer(status, "no"))
		if _, err := v.Open(t.Context(), id); !errors.Is(err, kms.ErrUnavailable) || errors.Is(err, kms.ErrCorrupt) {
			t.Errorf("status %d: %v", status, err)
		}
	}
}
