package httpapi_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/httpapi"
)

// relation is what somebody is to the caller.
type relation string

const (
	own     relation = "own"     // of the asked system, whose people bound staff see
	foreign relation = "foreign" // of another
	nowhere relation = "missing"
	byWide  relation = "own, by the vault's id" // which a system does not know
)

// asking is one request of the matrix.
type asking struct {
	route httpapi.Route
	ask   ask
	who   caller
	rel   relation
	state state
}

func (a asking) String() string {
	return fmt.Sprintf("%s by %s of %s, %s", a.route.Operation, a.who, a.rel, a.state)
}

// told is what was answered, in short: the status, or the status that goes with the code of the only item.
type told struct {
	status int
	whole  string // the status, the headers and the body, without what is another each time
}

// matrix runs a world through every route, caller and state.
type matrix struct {
	*world
	page     page
	requests int
	about    map[string]asking // by request id: whose decisions the log must have
	refused  map[string]told   // by route, caller and code: what is to be one and the same
}

// What docs/access.md says is what a vault does: every route, as every kind of caller, about people in every state, their
// own, others' and nobody's.
func TestAccessIsAsThePageSays(t *testing.T) {
	p := readPage(t)
	for _, development := range []bool{false, true} {
		t.Run(map[bool]string{false: "built-in policies", true: "serve --dev"}[development], func(t *testing.T) {
			m := &matrix{newWorld(t, development), p, 0, map[string]asking{}, map[string]told{}}
			routes := asks()
			for _, r := range httpapi.Routes() {
				a, ok := routes[r.Operation]
				if !ok {
					t.Errorf("nobody knows how to ask for %s", r.Operation)
					continue
				}
				delete(routes, r.Operation)
				m.byNobody(r, a)
				for _, c := range m.callers {
					if development && c.column != string(access.Administrator) {
						continue // decided as without
					}
					if development {
						c.column = "administrator, `--dev`"
					}
					m.route(r, a, c)
				}
			}
			for op := range routes {
				t.Errorf("%s is no route", op)
			}
			m.checkLog()
			t.Logf("%d requests", m.requests)
		})
	}
}

// byNobody has nobody in by whatever is no credential.
func (m *matrix) byNobody(r httpapi.Route, a ask) {
	m.t.Helper()
	f := m.stranger()
	q := a.request(m.world, m.callers[0], f)
	for _, what := range slices.Sorted(maps.Keys(m.nobody)) {
		got := m.send(r, q, m.nobody[what])
		if got.StatusCode != http.StatusUnauthorized || got.problem(m.t).Code != fault.Unauthenticated {
			m.t.Errorf("%s by who shows %s: %d %s", r.Operation, what, got.StatusCode, got.body)
		}
	}
}

// route asks a route as a caller about everybody.
func (m *matrix) route(r httpapi.Route, a ask, c caller) {
	m.t.Helper()
	switch {
	case a.states != nil:
		for _, s := range a.states {
			m.try(asking{r, a, c, own, s})
			m.try(asking{r, a, c, foreign, s})
		}
		m.try(asking{r, a, c, nowhere, active})
		if !c.Principal.VaultWide() && strings.Contains(r.Pattern, "{subject}") {
			m.try(asking{r, a, c, byWide, active})
		}
	case a.thing:
		m.try(asking{r, a, c, own, active})
		m.try(asking{r, a, c, foreign, active})
		m.try(asking{r, a, c, nowhere, active})
	default:
		m.try(asking{r, a, c, own, active})
	}
}

// try makes one request and holds its answer to the page.
func (m *matrix) try(a asking) {
	m.t.Helper()
	f := m.figure(a)
	q := a.ask.request(m.world, a.who, f)
	got := m.send(a.route, q, "Bearer "+a.who.secret)
	saw := m.told(a, q, got)
	if want := m.want(a); saw.status != want {
		m.t.Errorf("%s: %d %.300s, want %d", a, got.StatusCode, got.body, want)
	}
	succeeded := got.StatusCode < 300 && saw.status < 300
	if a.ask.states != nil {
		m.about[got.Header.Get(api.HeaderRequestID)] = a
		if !succeeded && a.ask.prepare == nil && (a.rel == own || a.rel == foreign) {
			m.giveBack(f) // as they were
		}
	}
	if succeeded && q.after != nil {
		q.after()
	}
	m.checkLeaks(a, f, q, got, succeeded)
	m.checkAlike(a, saw)
}

// figure is who is asked about.
func (m *matrix) figure(a asking) *figure {
	m.t.Helper()
	if a.rel == nowhere {
		return m.stranger()
	}
	owner := asked
	if (a.rel == foreign) != a.ask.given {
		owner = another
	}
	if a.ask.states == nil {
		return &figure{owner: owner}
	}
	if a.ask.prepare == nil {
		f := m.person(owner, a.state)
		if a.rel == byWide {
			m.giveBack(f)
			named := *f
			named.subject = f.wide
			return &named
		}
		return f
	}
	f := m.person(owner, active)
	a.ask.prepare(m.world, a.who, f)
	m.put(a.state, f)
	return f
}

// want is the status that the page says.
func (m *matrix) want(a asking) int {
	cell := m.page.callers[a.route.Operation][a.who.column]
	switch {
	case cell == "403":
		return http.StatusForbidden
	case cell == "404", a.rel == byWide:
		return http.StatusNotFound
	case a.rel == nowhere && (cell != "yes" || a.ask.thing):
		return http.StatusNotFound
	case a.rel == foreign && (cell == "own" || cell == "all" && a.who.bound):
		return http.StatusNotFound
	case a.who.bound && a.state == erased && cell == "all" && !a.ask.token:
		return http.StatusNotFound // nothing tells any more who held them
	case a.ask.private && (a.rel == foreign || a.who.Principal.System != asked):
		return http.StatusOK
	}
	if says := m.page.states[a.route.Operation][column[a.state]]; says != "" && says != "yes" {
		status, _ := strconv.Atoi(says)
		return status
	}
	return http.StatusOK
}

// column is a state in the page's table.
var column = map[state]string{
	active: "active", blocked: "blocked", waits: "erasure waiting", erasing: "erased", erased: "erased",
	withdrawn: "consent withdrawn",
}

func (m *matrix) send(r httpapi.Route, q request, authorization string) answer {
	m.t.Helper()
	m.requests++
	var body io.Reader
	if q.body != "" {
		body = strings.NewReader(q.body)
	}
	return send(m.t, r.Method, m.url+q.segments(r.Pattern), body, append(q.header, "Authorization", authorization)...)
}

// told reads an answer. A batch of one is its item, and a search that finds nobody is a miss.
func (m *matrix) told(a asking, q request, got answer) told {
	m.t.Helper()
	out := told{status: got.StatusCode}
	switch {
	case got.StatusCode == a.route.Status, a.route.Waits && got.StatusCode == http.StatusAccepted:
		out.status = http.StatusOK
		var batch struct {
			Results []struct {
				Error *api.ItemError `json:"error"`
			} `json:"results"`
		}
		if strings.HasPrefix(got.body, `{"results":`) {
			if err := json.Unmarshal([]byte(got.body), &batch); err != nil {
				m.t.Fatal(err)
			}
			switch {
			case len(batch.Results) == 0:
				out.status = http.StatusNotFound
			case batch.Results[0].Error != nil:
				out.status = httpapi.Status(batch.Results[0].Error.Code)
			}
		}
	case got.StatusCode < 300:
		m.t.Errorf("%s: %d, which is not the route's", a, got.StatusCode)
	}
	out.whole = whole(q, got)
	return out
}

var requestID = regexp.MustCompile(`req_[0-9a-z]+`)

// whole is an answer without what is another each time: the request's id, the date, and what the request itself said.
func whole(q request, got answer) string {
	header := got.Header.Clone()
	header.Del("Date")
	header.Del(api.HeaderRequestID)
	body := requestID.ReplaceAllString(got.body, "req")
	for _, sent := range anyID.FindAllString(q.body, -1) {
		body = strings.ReplaceAll(body, sent, "SENT")
	}
	return fmt.Sprintln(got.StatusCode, header, body)
}

// checkLeaks looks for what a refused caller may not learn, and for the vault's ids where a system is answered.
func (m *matrix) checkLeaks(a asking, f *figure, q request, got answer, succeeded bool) {
	m.t.Helper()
	secrets := []string{f.wide}
	if succeeded && a.route.Operation == "erasure.certificate" && a.rel == own && a.state == erased {
		secrets = nil // docs/verify.md: the one system that had the person erased is told it, with the log's own entries
	}
	if !succeeded {
		secrets = append(secrets, f.iin, f.name, f.subject, f.token, f.document, f.consent, f.receipt, f.handoff, a.who.secret)
	} else if a.who.Principal.VaultWide() {
		return
	}
	for _, s := range secrets {
		if s != "" && strings.Contains(got.body, s) && !strings.Contains(q.body, s) {
			m.t.Errorf("%s: the answer tells %q: %s", a, s, got.body)
		}
	}
}

// checkAlike holds together what must not be told apart: by a caller whom no policy permits, everything; of what is not
// there to a caller, what there is and what there is not.
func (m *matrix) checkAlike(a asking, saw told) {
	m.t.Helper()
	cell := m.page.callers[a.route.Operation][a.who.column]
	if saw.status != http.StatusNotFound && cell != "403" {
		return
	}
	key := fmt.Sprint(a.route.Operation, "/", a.who, "/", saw.status)
	if before, ok := m.refused[key]; ok && before.whole != saw.whole {
		m.t.Errorf("%s: told apart:\n%sand\n%s", a, before.whole, saw.whole)
	}
	m.refused[key] = saw
}

// checkLog looks for an entry of every decision about a person.
func (m *matrix) checkLog() {
	m.t.Helper()
	logged := map[string]bool{}
	for cursor, more := "", true; more; more = cursor != "" {
		page := need(m.AuditEntries(m.t.Context(), m.hands[access.Auditor], api.AuditQuery{Limit: api.MaxLimit, Cursor: cursor}))(m.t)
		for _, raw := range page.Items {
			var e audit.Entry
			if err := json.Unmarshal(raw, &e); err != nil {
				m.t.Fatal(err)
			}
			logged[e.RequestID] = true
		}
		cursor = page.NextCursor
	}
	for id, a := range m.about {
		if a.route.Operation != "document.content" && !logged[id] { // what was opened is in the log
			m.t.Errorf("%s: the log does not know of it", a)
		}
	}
}
