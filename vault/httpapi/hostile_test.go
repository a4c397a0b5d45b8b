package httpapi_test

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/httpapi"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// hostility spoils requests. What it puts in has the canary in it where it can, so that an echo is seen.
type hostility struct {
	*rand.Rand
	real map[string][]string // prefixes of ids and tokens, and ones that exist
}

func (h *hostility) replacement() any {
	return []any{
		nil, canary, "", " ", 850312113646, -1, 1e300, true, []any{}, []any{canary}, []any{[]any{canary}}, map[string]any{},
		map[string]any{canary: canary}, strings.Repeat(canary, 5000), canary + "\x00", "\u202e" + canary, "../" + canary,
		"' OR 1=1 --" + canary, strings.Repeat("\U0001F600", 100),
	}[h.IntN(19)]
}

// spoil returns v with one part in about ten replaced, left out or renamed, and ids that exist in place of examples.
func (h *hostility) spoil(v any) any {
	if h.IntN(10) == 0 {
		return h.replacement()
	}
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for _, name := range slices.Sorted(maps.Keys(v)) { // in order, so that the seed says what is sent
			switch h.IntN(20) {
			case 0:
			case 1:
				out[canary] = v[name]
			default:
				out[name] = h.spoil(v[name])
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = h.spoil(item)
		}
		return out
	case string:
		return h.known(v)
	default:
		return v
	}
}

func (h *hostility) known(s string) string {
	prefix, _, _ := strings.Cut(s, "_")
	if known := h.real[prefix+"_"]; len(known) > 0 {
		return known[h.IntN(len(known))]
	}
	return s
}

var identifier = regexp.MustCompile(`"(?:/v1/content/)?(sub_|doc_|era_|con_|cred_|chg_|brk_|cns_|rcp_|cny_|sdq_)([0-9a-z]+)"`)

// learn keeps the ids and tokens that an answer tells of.
func (h *hostility) learn(body string) {
	for _, found := range identifier.FindAllStringSubmatch(body, -1) {
		h.real[found[1]] = append(h.real[found[1]], found[1]+found[2])
	}
}

// request makes a request to a route from its example.
func (h *hostility) request(t *testing.T, r httpapi.Route, example any) (body io.Reader, header []string) {
	t.Helper()
	switch {
	case strings.HasSuffix(r.Operation, ".approve") && h.IntN(2) == 0:
		return nil, nil // the digest of the example is of nothing that is put to the vote
	case r.In != nil:
		b, err := json.Marshal(h.spoil(example))
		if err != nil {
			t.Fatal(err)
		}
		return bytes.NewReader(b), nil
	case r.Operation == "document.put":
		header = []string{"Content-Type", "application/pdf", api.HeaderPurpose, "contract", api.HeaderCapture, "digital"}
		if spoilt := h.IntN(6) * 2; spoilt < len(header) {
			header[spoilt+1] = []string{canary, "image/png", "marketing", "scanned_from_paper"}[h.IntN(4)]
		}
		return strings.NewReader("%PDF-1.7\n" + canary), header
	case r.Operation == "backup.take":
		asked := askForBackup(nil, caller{}, nil)
		if h.IntN(3) == 0 {
			asked.body = strings.Replace(asked.body, "age1", "age1"+canary, 1)
		}
		return strings.NewReader(asked.body), asked.header
	default:
		return nil, nil
	}
}

// path fills a pattern with ids that exist, mostly.
func (h *hostility) path(r httpapi.Route) string {
	path := r.Pattern
	for segment, prefix := range map[string]string{"{subject}": "sub_", "{erasure}": "era_", "{emergency}": "brk_", "{handle}": "con_", "{id}": "cred_", "{name}": "configured", "{change}": "chg_", "{consent}": "cns_", "{version}": "configured", "{canary}": "cny_"} {
		if !strings.Contains(path, segment) {
			continue
		}
		value := h.known(prefix)
		if h.IntN(5) == 0 {
			value = []string{"x" + canary, prefix, prefix + strings.Repeat("0", 26), "%00", "..", strings.Repeat("a", 3000)}[h.IntN(6)]
		}
		path = strings.Replace(path, segment, url.PathEscape(value), 1)
	}
	path = strings.Replace(path, "{path...}", []string{"0/000.p/1", "entries/000.p/1", "0/x000/000", "9/000", "entries/000.p/256"}[h.IntN(5)], 1)
	good := map[string]string{
		"kind": "identity_card", "side": "front", "limit": "3", "from": "2026-01-01T00:00:00Z", "operation": "detokenize",
	}
	separator := "?"
	for _, name := range r.Query {
		value := good[name]
		if h.IntN(8) == 0 {
			value = []string{"-1", canary, "2026-11-22T00:00:00Z", "front", h.known("sub_"), h.known("doc_")}[h.IntN(6)]
		}
		if value != "" {
			path += separator + name + "=" + url.QueryEscape(value)
			separator = "&"
		}
	}
	return path
}

// furnish makes a person whom an application holds, and another whose erasure waits for approval.
func (h *hostility) furnish(t *testing.T, v *vaulttest.Vault, ref string) {
	t.Helper()
	call := v.As("application", access.Application)
	for _, ref := range []string{"stays/" + ref, "goes/" + ref} {
		made, err := v.Tokenize(t.Context(), call, &api.TokenizeRequest{Purpose: "contract", Items: []api.TokenizeItem{{
			ExternalRef: ref, Fields: map[string]api.OneOrMany[api.Value]{"given_name": api.One(api.Text("Айгүл"))},
		}}})
		if err != nil || made.Results[0].Error != nil {
			t.Fatal(err, made)
		}
		subject := made.Results[0].Subject
		if strings.HasPrefix(ref, "stays/") {
			h.real["sub_"] = append(h.real["sub_"], subject)
			h.real["sdq_"] = append(h.real["sdq_"], made.Results[0].Tokens["given_name"].Items[0])
			h.consent(t, v, call, subject)
			continue
		}
		erasure, err := v.RequestErasure(t.Context(), call, &api.ErasureRequest{Subject: subject, Ground: "request", Reason: "person_asked"})
		if err != nil {
			t.Fatal(err)
		}
		h.real["era_"] = append(h.real["era_"], erasure.Erasure)
	}
	h.handOff(t, v)
}

// consent has a person consent.
func (h *hostility) consent(t *testing.T, v *vaulttest.Vault, call vault.Call, subject string) {
	t.Helper()
	given, err := v.RecordConsent(t.Context(), call, subject, &api.ConsentRequest{
		Text: "builtin-2026-01", Purposes: []string{"service"}, Channel: "paper", GivenAt: v.Clock.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	h.real["cns_"], h.real["rcp_"] = append(h.real["cns_"], given.Consent), append(h.real["rcp_"], given.Receipt)
}

// handOff has another system hand somebody off to the application.
func (h *hostility) handOff(t *testing.T, v *vaulttest.Vault) {
	t.Helper()
	giver := v.As("giver", access.Application)
	made, err := v.Tokenize(t.Context(), giver, &api.TokenizeRequest{Purpose: "contract", Items: []api.TokenizeItem{{
		Fields: map[string]api.OneOrMany[api.Value]{"given_name": api.One(api.Text("Айгүл"))},
	}}})
	if err != nil || made.Results[0].Error != nil {
		t.Fatal(err, made)
	}
	handoff, err := v.CreateHandoff(t.Context(), giver, &api.CreateHandoffRequest{
		Subject: made.Results[0].Subject, ToSystem: "application", Purpose: "contract", Fields: []string{"given_name"},
	})
	if err != nil {
		t.Fatal(err)
	}
	h.real["hnd_"] = append(h.real["hnd_"], handoff.Handoff)
}

// configure makes a purpose, a recipient and a system, and changes that wait for approval.
func (h *hostility) configure(t *testing.T, v *vaulttest.Vault, waiting int) {
	t.Helper()
	admin, second := v.As("configures", access.Administrator), v.As("agrees", access.Administrator)
	title := api.Title{KK: "Жеткізу", RU: "Доставка", EN: "Delivery"}
	purpose := &api.Purpose{Title: title, Basis: "consent", Fields: []string{"phone"}, Retention: api.Retention{After: "relationship_end"}}
	if _, err := v.PutPurpose(t.Context(), admin, "configured", purpose); err != nil {
		t.Fatal(err)
	}
	delivery := &api.Purpose{
		Title: title, Basis: "consent", Fields: []string{"given_name"}, Discloses: true, Retention: api.Retention{After: "relationship_end"},
	}
	if _, err := v.PutPurpose(t.Context(), admin, "delivery", delivery); err != nil {
		t.Fatal(err)
	}
	put := func(change *api.Change, err error) *api.Change {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return change
	}
	for _, change := range []*api.Change{
		put(v.PutRecipient(t.Context(), admin, "configured", &api.Recipient{Title: title, Country: "KZ", Purposes: []string{"configured"}})),
		put(v.PutRecipient(t.Context(), admin, "courier", &api.Recipient{Title: title, Country: "KZ", Purposes: []string{"delivery"}})),
		put(v.PutSystem(t.Context(), admin, "configured", &api.System{Purposes: []string{"configured"}})),
		put(v.PutConsentText(t.Context(), admin, "configured", &api.ConsentTextRequest{
			Text: api.Languages{Kazakh: "Келісемін.", Russian: "Я согласен.", English: "I consent."}, Purposes: []string{"configured"},
			EffectiveFrom: v.Clock.Now().AddDate(1, 0, 0),
		})),
	} {
		if change.State == api.ChangeWaiting {
			put(v.ApproveChange(t.Context(), second, change.Change, &api.ApproveChangeRequest{}))
		}
	}
	for range waiting {
		name := "waits" + strconv.FormatUint(h.Uint64(), 36)
		change := put(v.PutSystem(t.Context(), admin, name, &api.System{Purposes: []string{"configured"}}))
		h.real["chg_"] = append(h.real["chg_"], change.Change)
	}
}

// Whatever comes, a real vault behind these routes answers what openapi.yaml describes, never 5xx, and neither an error
// nor the log repeats what was sent.
func TestHostileRequestsGetOrdinaryAnswers(t *testing.T) {
	drills := t.TempDir()
	v := vaulttest.New(t, vaulttest.FourEyes(), vaulttest.With(func(o *vault.Options) {
		o.Drills = &vault.Drills{Dir: filepath.Join(drills, "drill"), Scratch: vaulttest.Scratch}
		o.Approvals[vault.ReviewBreakGlass] = vault.Approval{Needed: 1} // by whomever a policy lets
		o.Approvals[vault.ApprovePurpose], o.Approvals[vault.ApproveConfig] = vault.Approval{}, vault.Approval{Needed: 1}
	}))
	log := &journal{}
	url := serveHandler(t, httpapi.Handler(httpapi.Config{Services: []httpapi.Service{v.Service}, Log: log.logger()}))
	root := vault.Call{Principal: access.Principal{Tenant: "test", System: "test", Roles: []access.Role{access.Administrator}}, RequestID: "test"}
	reached := map[string]int{} // successes by operation
	scale, err := strconv.Atoi(cmp.Or(os.Getenv("SANDYQ_TEST_SCALE"), "1"))
	if err != nil {
		t.Fatal(err)
	}
	h := &hostility{rand.New(rand.NewPCG(1, 2)), map[string][]string{}}
	for _, role := range []access.Role{access.Application, access.Staff, access.Administrator} {
		made, err := v.CreateServiceToken(t.Context(), root, &api.CreateServiceTokenRequest{System: string(role), Role: string(role)})
		if err != nil {
			t.Fatal(err)
		}
		for n := range 3 {
			h.furnish(t, v, fmt.Sprintf("%s/%d", role, n))
		}
		certify(t, v, h.real["era_"][len(h.real["era_"])-3:])
		h.configure(t, v, 4)
		d := describe(t)
		for _, r := range httpapi.Routes() {
			example := at(d.root, "paths", r.Pattern, strings.ToLower(r.Method), "requestBody", "content", "application/json")["example"]
			for range 90 * scale {
				body, header := h.request(t, r, example)
				a := send(t, r.Method, url+h.path(r), body, append(header, "Authorization", "Bearer "+made.Secret)...)
				ordinary(t, r, a)
				if a.StatusCode < 300 {
					h.learn(a.body)
				}
				if a.StatusCode == r.Status || r.Waits && a.StatusCode == http.StatusAccepted {
					reached[r.Operation]++
				}
			}
		}
	}
	if strings.Contains(log.String(), canary) {
		t.Error("the log repeats what was sent")
	}
	for _, r := range httpapi.Routes() {
		if reached[r.Operation] == 0 {
			t.Errorf("%s never succeeded: what is sent is too spoilt to prove much", r.Operation)
		}
	}
}

// ordinary checks an answer against the route's description.
func ordinary(t *testing.T, r httpapi.Route, a answer) {
	t.Helper()
	switch {
	case a.StatusCode >= 500:
		t.Errorf("%s: %d %s", r.Operation, a.StatusCode, a.body)
	case a.StatusCode >= 400:
		p := a.problem(t)
		if p.Status != a.StatusCode || p.RequestID == "" || httpapi.Status(p.Code) != a.StatusCode && p.Code != "invalid" {
			t.Errorf("%s: %d %+v", r.Operation, a.StatusCode, p)
		}
		if strings.Contains(a.body, canary) {
			t.Errorf("%s: the problem repeats what was sent: %s", r.Operation, a.body)
		}
	case a.StatusCode != r.Status && !(r.Waits && a.StatusCode == http.StatusAccepted):
		t.Errorf("%s: %d, want %d", r.Operation, a.StatusCode, r.Status)
	case r.Out != nil:
		if err := json.Unmarshal([]byte(a.body), reflect.New(r.Out).Interface(), json.RejectUnknownMembers(true)); err != nil {
			t.Errorf("%s: %v: %s", r.Operation, err, a.body)
		}
	}
	if r.Method != http.MethodHead && a.Header.Get(api.HeaderRequestID) == "" {
		t.Errorf("%s: no request id", r.Operation)
	}
}
