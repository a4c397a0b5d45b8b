package hashicorp_test

import (
	"bytes"
	"encoding/base64"
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

func TestAnswerLostOnMark(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	w := newWire(t, &p)
	v := p.open(t)
	next := kms.Mark{Entries: 3, Head: [32]byte{3}}
	w.does("PUT", "/mark", 1, loseAnswer)
	if err := v.SetMark(t.Context(), kms.Mark{}, next); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("set the mark, answer lost: %v, want ErrUnavailable", err)
	}
	if err := v.SetMark(t.Context(), kms.Mark{}, next); err != nil {
		t.Errorf("set the mark again: %v", err)
	}
	if now, err := v.Mark(t.Context()); err != nil || now != next {
		t.Errorf("mark %s, want %s (%v)", now, next, err)
	}
}

// TestMarkBetween lets another process set the mark between this one's reading and writing.
func TestMarkBetween(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	other := p.open(t)
	w := newWire(t, &p)
	v := p.open(t)
	theirs := kms.Mark{Entries: 1, Head: [32]byte{1}}
	w.does("PUT", "/mark", 1, func(rw http.ResponseWriter, forward func() *http.Response) {
		if err := other.SetMark(t.Context(), kms.Mark{}, theirs); err != nil {
			t.Error(err)
		}
		pass(rw, forward())
	})
	if err := v.SetMark(t.Context(), kms.Mark{}, kms.Mark{Entries: 1, Head: [32]byte{2}}); !errors.Is(err, kms.ErrClaim) {
		t.Errorf("set the mark after another did: %v, want ErrClaim", err)
	}
	if now, err := v.Mark(t.Context()); err != nil || now != theirs {
		t.Errorf("mark %s, want the other's %s (%v)", now, theirs, err)
	}
}

// TestMarkOutOfSight: only Vault's own absence is the zero mark.
func TestMarkOutOfSight(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	w := newWire(t, &p)
	v := p.open(t)
	for name, do := range map[string]func(http.ResponseWriter, func() *http.Response){
		"a proxy's 404":      answer(404, "<html>not found</html>"),
		"an empty 404":       answer(404, ""),
		"a denial":           answer(403, `{"errors":["permission denied"]}`),
		"sealed":             answer(503, `{"errors":["Vault is sealed"]}`),
		"a deleted version":  answer(404, `{"data":{"data":null,"metadata":{"version":3}}}`),
		"no mark":            answer(200, `{"data":{"metadata":{"version":1}}}`),
		"half a head":        answer(200, `{"data":{"data":{"v":1,"entries":"1","head":"00"},"metadata":{"version":1}}}`),
		"a number too large": answer(200, `{"data":{"data":{"v":1,"entries":"18446744073709551616","head":""}}}`),
		"a cut answer":       cutAnswer,
	} {
		eventually(t, 2*time.Second, "health", func() error { w.harm.Store(nil); return v.Health(t.Context()) })
		w.does("GET", "/mark", always, do)
		if m, err := v.Mark(t.Context()); err == nil {
			t.Errorf("%s reads as the mark %s", name, m)
		}
	}
}

func TestAnswerLostOnSign(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	w := newWire(t, &p)
	v := p.open(t)
	w.does("PUT", "/sign/", 1, loseAnswer)
	signature, err := v.SignAs(t.Context(), 1, []byte("message"))
	if err != nil {
		t.Fatalf("sign, first answer lost: %v, want it repeated", err)
	}
	if again, err := v.SignAs(t.Context(), 1, []byte("message")); err != nil || !bytes.Equal(again, signature) {
		t.Errorf("the repeated signature is another (%v)", err)
	}
	w.does("PUT", "/sign/", always, loseAnswer)
	if _, err := v.SignAs(t.Context(), 1, []byte("message")); !errors.Is(err, kms.ErrUnavailable) || errors.Is(err, kms.ErrVersion) {
		t.Errorf("sign, answers lost: %v, want ErrUnavailable", err)
	}
}

// TestAnswerLostOnRotate: the rotation is sent once, and what it made is found.
func TestAnswerLostOnRotate(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	w := newWire(t, &p)
	v := p.open(t)
	w.does("PUT", "/rotate", always, loseAnswer)
	if version, err := v.RotateSigning(t.Context()); !errors.Is(err, kms.ErrUnavailable) || version != 0 {
		t.Errorf("rotate, answer lost: version %d, %v, want ErrUnavailable", version, err)
	}
	w.harm.Store(nil)
	if public, err := v.PublicKeys(t.Context()); err != nil || len(public) != 2 {
		t.Errorf("%d versions after one rotation, want 2 (%v)", len(public), err)
	}
}

// TestMalformedSigning has the server tell of keys and signatures that cannot be.
func TestMalformedSigning(t *testing.T) {
	p := setUp(t, vaultserver.Shared(t), false)
	w := newWire(t, &p)
	v := p.open(t)
	zeros := base64.StdEncoding.EncodeToString(make([]byte, 64))
	for _, signature := range []string{"", "vault:v1:", "vault:v1:AAAA", "vault:v2:" + zeros, zeros} {
		w.does("PUT", "/sign/", 1, answer(200, `{"data":{"signature":"`+signature+`"}}`))
		if _, err := v.SignAs(t.Context(), 1, nil); !errors.Is(err, kms.ErrUnavailable) {
			t.Errorf("%q as a signature: %v, want ErrUnavailable", signature, err)
		}
		eventually(t, 2*time.Second, "health", func() error { return v.Health(t.Context()) })
	}
	key := `{"public_key":"` + base64.StdEncoding.EncodeToString(make([]byte, 32)) + `"}`
	for _, keys := range []string{
		`{}`,
		`{"latest_version":1}`,
		`{"latest_version":2,"keys":{"2":` + key + `}}`,
		`{"latest_version":2,"keys":{"2":` + key + `,"3":` + key + `}}`,
		`{"latest_version":1,"keys":{"1":{"public_key":"AAAA"}}}`,
	} {
		w.does("GET", "/keys/log-", 1, answer(200, `{"data":`+keys+`}`))
		if _, err := v.PublicKeys(t.Context()); !errors.Is(err, kms.ErrCorrupt) {
			t.Errorf("public keys of %s: %v, want ErrCorrupt", keys, err)
		}
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
