package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/httpapi"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// holdings are the ids and tokens that a tenant's answers told of, by prefix, and the names that it configured.
type holdings map[string][]string

var (
	anyID     = regexp.MustCompile(`\b([a-z]{3,4}_)[0-9a-z]{16,}\b`)
	anyDigest = regexp.MustCompile(`\b[0-9a-f]{64}\b`) // of what names ids
	anyMoment = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[0-9.]*Z`)
	notHeld   = []string{"req_", "sst_"} // told, but nothing that a request may name
)

const names = "name" // the kind of what a tenant named itself

// learn keeps what an answer tells of.
func (h holdings) learn(body string) {
	for _, found := range anyID.FindAllStringSubmatch(body, -1) {
		if id, prefix := found[0], found[1]; !slices.Contains(notHeld, prefix) && !slices.Contains(h[prefix], id) {
			h[prefix] = append(h[prefix], id)
		}
	}
}

// party is a tenant with somebody in each role who calls over HTTP.
type party struct {
	*vaulttest.Vault
	url    string
	bearer map[access.Role]string
	holds  holdings
}

var partyRoles = []access.Role{access.Application, access.Administrator}

func newParty(t *testing.T, v *vaulttest.Vault, url string) *party {
	t.Helper()
	p := &party{v, url, map[access.Role]string{}, holdings{}}
	p.admit(t)
	return p
}

// admit gives everybody a new service token.
func (p *party) admit(t *testing.T) {
	t.Helper()
	root := vault.Call{Principal: access.Principal{Tenant: p.Tenant, System: "test", Roles: []access.Role{access.Administrator}}, RequestID: "test"}
	for _, role := range partyRoles {
		made, err := p.CreateServiceToken(t.Context(), root, &api.CreateServiceTokenRequest{System: string(role), Role: string(role)})
		if err != nil {
			t.Fatal(err)
		}
		p.bearer[role] = made.Secret
	}
}

func (p *party) send(t *testing.T, role access.Role, method, path, body string, header ...string) answer {
	t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	return send(t, method, p.url+path, in, append(header, "Authorization", "Bearer "+p.bearer[role])...)
}

// furnish has the tenant hold something of everything that a route can be asked about.
func (p *party) furnish(t *testing.T, seed uint64, name string) {
	t.Helper()
	h := &hostility{rand.New(rand.NewPCG(seed, 1)), map[string][]string{}}
	d := describe(t)
	h.configure(t, p.Vault, 4)
	for _, role := range partyRoles {
		h.furnish(t, p.Vault, string(role))
		for range 8 {
			for _, r := range httpapi.Routes() {
				body, header := h.request(t, r, example(d, r))
				a := send(t, r.Method, p.url+h.path(r), body, append(header, "Authorization", "Bearer "+p.bearer[role])...)
				if a.StatusCode < 300 {
					h.learn(a.body)
					p.holds.learn(a.body)
				}
			}
		}
	}
	h.furnish(t, p.Vault, "last") // whom nothing has happened to
	for _, told := range h.real {
		p.holds.learn(fmt.Sprintf("%q", told))
	}
	p.holds[names] = []string{name}
	p.admit(t) // tokens that no request revoked
	p.openDocument(t, h.real["sub_"][len(h.real["sub_"])-1])
	p.declare(t)
}

// declare makes an emergency and a canary that no request ended.
func (p *party) declare(t *testing.T) {
	t.Helper()
	began := p.send(t, access.Administrator, http.MethodPost, "/v1/break-glass", `{"reason":"test","minutes":5,"purpose":"contract"}`)
	if began.StatusCode != http.StatusCreated {
		t.Fatal(began.StatusCode, began.body)
	}
	token := p.holds["sdq_"][len(p.holds["sdq_"])-1]
	marked := p.send(t, access.Administrator, http.MethodPost, "/v1/canaries", fmt.Sprintf(`{"token":%q}`, token))
	if marked.StatusCode != http.StatusOK {
		t.Fatal(marked.StatusCode, marked.body)
	}
	p.holds.learn(began.body)
	p.holds.learn(marked.body)
}

// What is sent of a document.
const (
	ofDocument = "?kind=identity_card&side=front"
	document   = "%PDF-1.7 "
)

var documentHeader = []string{"Content-Type", "application/pdf", api.HeaderPurpose, "contract", api.HeaderCapture, "digital"}

// openDocument has the application store a document of somebody, and open it.
func (p *party) openDocument(t *testing.T, subject string) {
	t.Helper()
	put := p.send(t, access.Application, http.MethodPost, "/v1/subjects/"+subject+"/documents"+ofDocument, document, documentHeader...)
	var stored api.Document
	if err := json.Unmarshal([]byte(put.body), &stored); err != nil || put.StatusCode != http.StatusCreated {
		t.Fatal(put.StatusCode, put.body, err)
	}
	opened := p.send(t, access.Application, http.MethodPost, "/v1/documents/open", fmt.Sprintf(`{"token":%q,"purpose":"contract","reason":"test"}`, stored.Token))
	if opened.StatusCode != http.StatusOK {
		t.Fatal(opened.StatusCode, opened.body)
	}
	p.holds.learn(put.body)
	p.holds.learn(opened.body)
}

func example(d *description, r httpapi.Route) any {
	return at(d.root, "paths", r.Pattern, strings.ToLower(r.Method), "requestBody", "content", "application/json")["example"]
}

// naming gives the paths and bodies of requests to a route that name what h holds, the k-th last of each kind.
func (h holdings) naming(t *testing.T, d *description, r httpapi.Route, k int) (paths []string, body string) {
	t.Helper()
	pick := func(kind string) string {
		told := h[kind]
		return told[max(0, len(told)-1-k)]
	}
	if r.In != nil {
		b, err := json.Marshal(example(d, r), json.Deterministic(true))
		if err != nil {
			t.Fatal(err)
		}
		body = anyID.ReplaceAllStringFunc(string(b), func(id string) string {
			prefix := id[:strings.Index(id, "_")+1]
			if len(h[prefix]) == 0 {
				return id
			}
			return pick(prefix)
		})
	}
	pattern := r.Pattern
	if isUpload(r) {
		pattern, body = pattern+ofDocument, document
	}
	if !anySegment.MatchString(pattern) {
		return []string{pattern}, body
	}
	for _, kind := range slices.Sorted(maps.Keys(h)) { // what it is an id of, the segment does not say
		paths = append(paths, anySegment.ReplaceAllString(pattern, url.PathEscape(pick(kind))))
	}
	return paths, body
}

// most is how many ids there are of the kind of which there are most.
func (h holdings) most() (n int) {
	for _, ids := range h {
		n = max(n, len(ids))
	}
	return n
}

// changes is 1 of a route that changes something, otherwise 0.
func changes(r httpapi.Route) int {
	if r.Idempotent || r.Method == http.MethodDelete {
		return 1
	}
	return 0
}

func isUpload(r httpapi.Route) bool { return r.Operation == string(access.PutDocument) }

var anySegment = regexp.MustCompile(`\{[a-z]+\}`)

// blurred is an answer without what is another each time: ids and what follows from them, moments, the names asked for.
func (h holdings) blurred(a answer) string {
	text := anyMoment.ReplaceAllString(anyID.ReplaceAllString(a.body, "$1"), "T")
	text = anyDigest.ReplaceAllString(text, "D")
	for _, n := range h[names] {
		text = strings.ReplaceAll(text, n, names)
	}
	header := slices.DeleteFunc(slices.Sorted(maps.Keys(a.Header)), func(k string) bool { return k == "Date" })
	return fmt.Sprintln(a.StatusCode, header, text)
}

// match forgets of each kind what other has no counterpart of.
func (h holdings) match(other holdings) {
	for kind, told := range h {
		h[kind] = told[len(told)-min(len(told), len(other[kind])):]
		if len(h[kind]) == 0 {
			delete(h, kind)
		}
	}
}

// two starts two tenants, the name of one of which the other's begins with, on one store and behind one address.
func two(t *testing.T) (a, ab *party) {
	t.Helper()
	first := vaulttest.New(t, asHostile("a"))
	second := first.Beside("ab", asHostile("ab"))
	services := []httpapi.Service{first.Service, second.Service}
	url := serveHandler(t, httpapi.Handler(httpapi.Config{Services: services, Log: (&journal{}).logger()}))
	return newParty(t, first, url), newParty(t, second, url)
}

// What one tenant holds does not exist to another, on any route: an answer about it is, but for ids and times, the answer
// about what nobody in this process ever held.
func TestWhatATenantHoldsDoesNotExistToAnother(t *testing.T) {
	owner, asks := two(t)
	elsewhere := vaulttest.New(t, asHostile("elsewhere"))
	apart := serveHandler(t, httpapi.Handler(httpapi.Config{Services: []httpapi.Service{elsewhere.Service}, Log: (&journal{}).logger()}))

	nobody := newParty(t, elsewhere, apart)
	owner.furnish(t, 7, "configured")
	nobody.furnish(t, 7, "nonesuch00")
	owner.holds.match(nobody.holds)
	nobody.holds.match(owner.holds)
	for _, kind := range []string{"sub_", "sdq_", "era_", "con_", "cred_", "hnd_", "chg_"} {
		if len(owner.holds[kind]) == 0 {
			t.Errorf("nothing was furnished whose id begins with %s", kind)
		}
	}
	d := describe(t)
	certify(t, owner.Vault, owner.holds["era_"])
	told := map[string]bool{} // routes where the owner is told something else
	routes := httpapi.Routes()
	slices.SortStableFunc(routes, func(a, b httpapi.Route) int { return changes(a) - changes(b) }) // while all is there
	for _, r := range routes {
		tries := 2
		if anySegment.MatchString(r.Pattern) { // until one is found that does exist to its owner
			tries = max(tries, owner.holds.most())
		}
		for k := range tries {
			if k >= 2 && told[r.Operation] {
				break
			}
			theirs, body := owner.holds.naming(t, d, r, k)
			unknown, otherBody := nobody.holds.naming(t, d, r, k)
			if len(theirs) != len(unknown) {
				t.Fatalf("%s: %d and %d paths", r.Operation, len(theirs), len(unknown))
			}
			if theirs[0] == unknown[0] && body == otherBody {
				continue // it names nothing
			}
			var header []string
			if isUpload(r) {
				header = documentHeader
			}
			for i := range theirs {
				for _, role := range partyRoles {
					want := nobody.holds.blurred(asks.send(t, role, r.Method, unknown[i], otherBody, header...))
					got := owner.holds.blurred(asks.send(t, role, r.Method, theirs[i], body, header...))
					if got != want {
						t.Errorf("%s of what another tenant holds, as %s:\n%sand of what nobody does:\n%s", r.Operation, role, got, want)
					}
					if own := owner.send(t, role, r.Method, theirs[i], body, header...); own.StatusCode == http.StatusUnauthorized {
						t.Fatal("the owner is locked out")
					} else if owner.holds.blurred(own) != got {
						told[r.Operation] = true
					}
				}
			}
		}
		if anySegment.MatchString(r.Pattern) && !told[r.Operation] {
			t.Errorf("%s: nor does it exist to its owner, so this proves nothing", r.Operation)
		}
	}
}

// asHostile makes a tenant that can be furnished as for hostile requests.
func asHostile(tenant string) vaulttest.Option {
	return vaulttest.With(func(o *vault.Options) {
		o.Tenant, o.Approvals = tenant, vault.DefaultApprovals()
		o.Approvals[vault.ApprovePurpose], o.Approvals[vault.ApproveConfig] = vault.Approval{}, vault.Approval{Needed: 1}
	})
}

// tokenize has the application register somebody, with an idempotency key.
func (p *party) tokenize(t *testing.T, key string) api.TokenizeResult {
	t.Helper()
	got := p.send(t, access.Application, http.MethodPost, "/v1/tokenize",
		`{"purpose":"registration","items":[{"fields":{"iin":"850312113646","phone":["87011234567"]}}]}`, "Idempotency-Key", key)
	var out api.TokenizeResponse
	if err := json.Unmarshal([]byte(got.body), &out); err != nil || got.StatusCode != http.StatusOK || out.Results[0].Error != nil {
		t.Fatal(got.StatusCode, got.body, err)
	}
	return out.Results[0]
}

// One IIN, sent by systems of one name under one idempotency key, is two people to two tenants.
func TestAPersonOfTwoTenantsIsTwoPeople(t *testing.T) {
	a, ab := two(t)
	here, there := a.tokenize(t, "one-key"), ab.tokenize(t, "one-key")
	if here.Subject == there.Subject || here.Tokens["iin"].Items[0] == there.Tokens["iin"].Items[0] {
		t.Fatal("both tenants have one id or token")
	}
	if again := a.tokenize(t, "one-key"); again.Subject != here.Subject {
		t.Error("a retry is somebody else")
	}
	lacks := ab.send(t, access.Application, http.MethodPost, "/v1/search",
		`{"purpose":"service","reason":"test","field":"phone","value":"87011234567"}`)
	if n := strings.Count(lacks.body, `"subject":`); n != 1 || strings.Contains(lacks.body, here.Subject) {
		t.Errorf("a search found %d people: %s", n, lacks.body)
	}
}

// The tenant comes from the credential: whatever else in a request names another is refused, or not looked at.
func TestARequestNamesNoTenant(t *testing.T) {
	a, ab := two(t)
	a.tokenize(t, "one")
	d := describe(t)
	for _, r := range httpapi.Routes() {
		path, body := anySegment.ReplaceAllString(r.Pattern, "x"), ""
		if isUpload(r) {
			continue // its body is the document; its query is tried with the others'
		}
		if r.In != nil {
			b, err := json.Marshal(example(d, r))
			if err != nil {
				t.Fatal(err)
			}
			body = string(b)
		}
		if got := ab.send(t, access.Administrator, r.Method, path+"?tenant=a", body); got.StatusCode != http.StatusBadRequest {
			t.Errorf("%s takes ?tenant: %d %s", r.Operation, got.StatusCode, got.body)
		}
		if r.In == nil {
			continue
		}
		body = `{"tenant":"a",` + strings.TrimPrefix(body, "{")
		if got := ab.send(t, access.Administrator, r.Method, path, body); got.StatusCode != http.StatusBadRequest {
			t.Errorf("%s takes a tenant in the body: %d %s", r.Operation, got.StatusCode, got.body)
		}
	}
	plain := ab.send(t, access.Administrator, http.MethodGet, "/v1/audit/entries", "")
	for _, name := range []string{"Tenant", "X-Tenant", "X-Tenant-Id", "Sandyq-Tenant", "X-Scope-Orgid", "X-Forwarded-Host"} {
		if got := ab.send(t, access.Administrator, http.MethodGet, "/v1/audit/entries", "", name, "a"); got.StatusCode != plain.StatusCode || strings.Contains(got.body, "tokenize") {
			t.Errorf("%s is heeded: %d %s", name, got.StatusCode, got.body)
		}
	}
}

// A credential that two tenants know is nobody's.
func TestACredentialOfTwoTenantsIsNobodys(t *testing.T) {
	both := func(context.Context, vault.Call) (*api.Whoami, error) { return &api.Whoami{System: "crm"}, nil }
	one, other := &service{whoami: both}, &service{whoami: both}
	url, _ := serveConfig(t, httpapi.Config{Services: []httpapi.Service{one}})
	if got := send(t, http.MethodGet, url+"/v1/whoami", nil); got.StatusCode != http.StatusOK {
		t.Fatal(got.StatusCode)
	}
	url, _ = serveConfig(t, httpapi.Config{Services: []httpapi.Service{one, other}})
	if got := send(t, http.MethodGet, url+"/v1/whoami", nil); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

// certify has one of the erasures that wait approved, and waits for its certificate.
func certify(t *testing.T, v *vaulttest.Vault, erasures []string) {
	t.Helper()
	officer := v.As("certifies", access.PrivacyOfficer)
	for _, erasure := range erasures {
		if _, err := v.ApproveErasure(t.Context(), officer, erasure, &api.ErasureApproval{}); err != nil {
			continue // it was cancelled, or is over
		}
		for range 500 {
			if _, err := v.Certificate(t.Context(), officer, erasure); err == nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	t.Fatal("no erasure got its certificate")
}
