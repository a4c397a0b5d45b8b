package metrics_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/keyring"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/kms/local"
	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/metrics"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/audit/witness"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/httpapi"
	"github.com/sandyq/sandyq/vault/store/badgerdb"
	"github.com/sandyq/sandyq/vault/store/postgres"
)

// What a Registry is for.
var (
	_ httpapi.Observer  = (*metrics.Registry)(nil).Request
	_ vault.Observer    = (*metrics.Vault)(nil)
	_ badgerdb.Observer = (*metrics.Registry)(nil)
	_ postgres.Observer = (*metrics.Registry)(nil)
	_ keyring.Observer  = (*metrics.Registry)(nil)
)

// scrape gives the lines of a scrape.
func scrape(t *testing.T, r *metrics.Registry) []string {
	t.Helper()
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	b, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != http.StatusOK {
		t.Fatal(w.Code, err)
	}
	return strings.Split(string(b), "\n")
}

func expect(t *testing.T, r *metrics.Registry, want ...string) {
	t.Helper()
	lines := scrape(t, r)
	for _, line := range want {
		if !slices.Contains(lines, line) {
			t.Errorf("no line %s", line)
		}
	}
}

// use has everything counted once, and gives the vault that counted.
func use(t *testing.T, r *metrics.Registry) *metrics.Vault {
	t.Helper()
	v := r.Vault()
	r.Request("tokenize", http.StatusOK, 3*time.Millisecond)
	r.Request("", http.StatusNotFound, time.Millisecond)
	r.Called(keyring.OpMAC, 40, time.Millisecond, nil)
	r.Trouble(errors.New("trouble"))
	v.ObserveKeyring(func() keyring.Stats {
		return keyring.Stats{Hits: 1, Misses: 2, Cached: 3, Ready: 4, Doomed: 5, LockedBytes: 6, UnlockedBytes: 7}
	})
	r.Committed(badgerdb.Group{Updates: 7, Writes: 20, Bytes: 900, Commit: 2 * time.Millisecond})
	r.Connections(2, 1)
	r.Connections(-1, -1)
	r.CommittedRows(3, 2*time.Millisecond)
	r.Retried(postgres.Conflict)
	r.TookOver()
	v.Backlog(2, 90*time.Second)
	v.Removals(3, time.Hour)
	v.MissingKey()
	v.NoBasis()
	v.Alert("canary")
	v.Asked("w.example", witness.Cosigned)
	v.Witnessed(true)
	v.Log(12, time.Second, time.UnixMilli(1_772_366_400_500))
	v.Live(true)
	_, err := r.Keys(broken{err: kms.ErrCorrupt}, clock.System).Open(t.Context())
	if !errors.Is(err, kms.ErrCorrupt) {
		t.Errorf("the error does not come through: %v", err)
	}
	return v
}

func TestFigures(t *testing.T) {
	r := metrics.New("v1", "abc")
	v := use(t, r)
	expect(t, r,
		`sandyq_build_info{revision="abc",version="v1"} 1`,
		`sandyq_http_requests_total{code="200",operation="tokenize"} 1`,
		`sandyq_http_requests_total{code="404",operation="none"} 1`,
		`sandyq_http_request_seconds_bucket{operation="tokenize",le="0.0025"} 0`,
		`sandyq_http_request_seconds_bucket{operation="tokenize",le="0.005"} 1`,
		`sandyq_keyring_batch_items_sum{operation="mac"} 40`,
		`sandyq_keyring_troubles_total 1`,
		`sandyq_keyring_hits_total 1`,
		`sandyq_keyring_misses_total 2`,
		`sandyq_keyring_cached 3`,
		`sandyq_keyring_pool_ready 4`,
		`sandyq_keyring_doomed 5`,
		`sandyq_keyring_locked_bytes 6`,
		`sandyq_keyring_unlocked_bytes 7`,
		`sandyq_store_commit_seconds_count 2`,
		`sandyq_store_group_updates_sum 8`,
		`sandyq_store_writes_total 23`,
		`sandyq_store_connections{state="in_use"} 1`,
		`sandyq_store_connections{state="waiting"} 0`,
		`sandyq_store_retries_total{cause="conflict"} 1`,
		`sandyq_store_takeovers_total 1`,
		`sandyq_store_written_bytes_total 900`,
		`sandyq_erasures_unfinished 2`,
		`sandyq_erasures_oldest_seconds 90`,
		`sandyq_erasures_removal_pending 3`,
		`sandyq_erasures_removal_oldest_seconds 3600`,
		`sandyq_missing_keys_total 1`,
		`sandyq_live 1`,
	)
	v.Live(false)
	v.Backlog(0, 0)
	expect(t, r, "sandyq_live 0", "sandyq_erasures_unfinished 0", "sandyq_erasures_oldest_seconds 0")
}

// TestSeveralVaults: what one tenant's vault says does not hide what another's does, and no line tells them apart.
func TestSeveralVaults(t *testing.T) {
	r := metrics.New("", "")
	expect(t, r, "sandyq_live 0")
	one, two := use(t, r), r.Vault()
	expect(t, r, "sandyq_live 0", "sandyq_erasures_unfinished 2", "sandyq_keyring_cached 3")
	two.Live(true)
	two.Backlog(5, time.Second)
	two.Removals(1, 2*time.Hour)
	two.MissingKey()
	two.ObserveKeyring(func() keyring.Stats {
		return keyring.Stats{Hits: 10, Misses: 20, Cached: 30, Ready: 40, Doomed: 50, LockedBytes: 60, UnlockedBytes: 70}
	})
	both := []string{
		"sandyq_live 1", "sandyq_erasures_unfinished 7", "sandyq_erasures_oldest_seconds 90", "sandyq_missing_keys_total 2",
		"sandyq_erasures_removal_pending 4", "sandyq_erasures_removal_oldest_seconds 7200",
		"sandyq_keyring_hits_total 11", "sandyq_keyring_misses_total 22", "sandyq_keyring_cached 33", "sandyq_keyring_pool_ready 44",
		"sandyq_keyring_doomed 55", "sandyq_keyring_locked_bytes 66", "sandyq_keyring_unlocked_bytes 77",
	}
	expect(t, r, both...)
	two.Backlog(0, 0)
	one.Live(false)
	expect(t, r, "sandyq_live 0", "sandyq_erasures_unfinished 2", "sandyq_erasures_oldest_seconds 90")
	one.Close()
	expect(t, r, "sandyq_live 1", "sandyq_erasures_unfinished 0", "sandyq_keyring_cached 30", "sandyq_missing_keys_total 2")
}

func TestInFlight(t *testing.T) {
	r := metrics.New("", "")
	h := r.InFlight(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		expect(t, r, "sandyq_http_requests_in_flight 1")
		panic(http.ErrAbortHandler)
	}))
	func() {
		defer func() { _ = recover() }()
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	}()
	expect(t, r, "sandyq_http_requests_in_flight 0")
}

// TestKeys: a real provider does behind the decorator what it does alone, and every call is counted.
func TestKeys(t *testing.T) {
	dir := t.TempDir() + "/keys"
	opened, err := local.Create(dir, local.Passphrase(secret.New([]byte("correct horse battery staple"))))
	if err != nil {
		t.Fatal(err)
	}
	r := metrics.New("", "")
	keys := r.Keys(opened, clock.System)
	id := kms.NewID()
	made, err := keys.Create(t.Context(), id)
	if err != nil || made[0].Missing() {
		t.Fatal(err)
	}
	if _, err := keys.Create(t.Context(), id); !errors.Is(err, kms.ErrExists) {
		t.Errorf("created twice: %v", err)
	}
	if found, err := keys.Open(t.Context(), id); err != nil || found[0].Missing() {
		t.Errorf("open: %v", err)
	}
	if macs, err := keys.MAC(t.Context(), []byte("a"), []byte("b")); err != nil || len(macs) != 2 {
		t.Errorf("MAC: %v", err)
	}
	sentinel, err := keys.Sentinel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	none, err := keys.Generation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first := kms.Generation{Number: 1, Instance: kms.NewID()}
	if err := keys.Advance(t.Context(), none, first); err != nil {
		t.Error(err)
	}
	if err := keys.Destroy(t.Context(), kms.Claim{}, id); !errors.Is(err, kms.ErrClaim) {
		t.Errorf("destroyed without title: %v", err)
	}
	if err := keys.Destroy(t.Context(), kms.Claim{Sentinel: sentinel, Generation: first}, id); err != nil {
		t.Error(err)
	}
	mark := kms.Mark{Entries: 1}
	if err := keys.SetMark(t.Context(), kms.Mark{}, mark); err != nil {
		t.Error(err)
	}
	if now, err := keys.Mark(t.Context()); err != nil || now != mark {
		t.Errorf("mark %s: %v", now, err)
	}
	if version, err := keys.RotateSigning(t.Context()); err != nil || version != 2 {
		t.Errorf("rotate: %d, %v", version, err)
	}
	public, err := keys.PublicKeys(t.Context())
	if err != nil || len(public) != 2 {
		t.Fatalf("%d public keys: %v", len(public), err)
	}
	signature, err := keys.SignAs(t.Context(), 2, []byte("a"))
	if err != nil || !ed25519.Verify(public[1], []byte("a"), signature) {
		t.Errorf("sign: %v", err)
	}
	if _, err := keys.SignAs(t.Context(), 3, []byte("a")); !errors.Is(err, kms.ErrVersion) {
		t.Errorf("sign as no version: %v", err)
	}
	if err := keys.Close(); err != nil {
		t.Error(err)
	}
	if _, err := keys.Sentinel(t.Context()); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("after Close: %v", err)
	}
	for operation, calls := range map[string]int{"create": 2, "open": 1, "mac": 1, "sentinel": 2, "generation": 1, "advance": 1, "destroy": 2,
		"mark": 1, "set_mark": 1, "public_keys": 1, "sign": 2, "rotate_signing": 1} {
		expect(t, r, fmt.Sprintf(`sandyq_keys_call_seconds_count{operation=%q} %d`, operation, calls))
	}
	for operation, cause := range map[string]string{"create": "exists", "destroy": "claim", "sentinel": "unavailable", "sign": "version"} {
		expect(t, r, fmt.Sprintf(`sandyq_keys_errors_total{cause=%q,operation=%q} 1`, cause, operation))
	}
}

// broken is a provider that fails.
type broken struct {
	kms.Provider
	err error
}

func (b broken) Open(context.Context, ...kms.ID) ([]kms.Key, error) { return nil, b.err }

func TestCauses(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("%w: %w", kms.ErrUnavailable, context.Canceled), "canceled"},
		{fmt.Errorf("%w: %w", kms.ErrUnavailable, context.DeadlineExceeded), "unavailable"},
		{fmt.Errorf("open: %w", kms.ErrCorrupt), "corrupt"},
		{errors.New("a text that names nobody, but must not be a label"), "other"},
	} {
		r := metrics.New("", "")
		if _, err := r.Keys(broken{err: c.err}, clock.System).Open(t.Context()); !errors.Is(err, c.err) {
			t.Errorf("the error was changed: %v", err)
		}
		expect(t, r, fmt.Sprintf(`sandyq_keys_errors_total{cause=%q,operation="open"} 1`, c.want))
	}
}

// TestDocs: docs/operations.md lists exactly what is exposed, with its type, and alarms rest on nothing else.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(sandyq_[a-z_]+)` \\| ([a-z]+) \\|").FindAllStringSubmatch(string(page), -1) {
		documented[row[1]] = row[2]
	}
	r := metrics.New("", "")
	use(t, r)
	exposed := map[string]string{}
	for _, line := range scrape(t, r) {
		if words := strings.Fields(line); len(words) == 4 && words[1] == "TYPE" && strings.HasPrefix(words[2], "sandyq_") {
			exposed[words[2]] = words[3]
		}
	}
	for name, kind := range exposed {
		if documented[name] != kind {
			t.Errorf("%s is a %s; the page says %q", name, kind, documented[name])
		}
	}
	for name := range documented {
		if exposed[name] == "" {
			t.Errorf("the page lists %s, which is not exposed", name)
		}
	}
	for _, name := range regexp.MustCompile(`sandyq_[a-z_]+`).FindAllString(string(page), -1) {
		if exposed[name] == "" {
			t.Errorf("the page speaks of %s, which is not exposed", name)
		}
	}
}
