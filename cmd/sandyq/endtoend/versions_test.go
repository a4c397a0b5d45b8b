package endtoend

import (
	"cmp"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/postgres"
)

// nextVersion is what changes this version into one after it, such as there will be: it has a later form of rows, in which a record has
// one more member, and takes the tables a step further. It takes the store on at once, which this one would do after ten minutes.
var nextVersion = []struct{ file, from, to string }{
	{"vault/format.go", "const latestFormat = 1\n", "const latestFormat = 2\n"},
	{"vault/format.go", "const formTerms = 100\n", "const formTerms = 0\n"},
	{"vault/record.go", "type recordRow struct {\n", "type recordRow struct {\n\tAdded uint32 `cbor:\"99,keyasint,omitempty\"`\n"},
	{"vault/write.go", "\tw.set(w.rows.record(w.id, f.Name, slot), encodeRow(row))\n",
		"\tif form := w.form.Load(); form >= 2 {\n\t\trow.Added = form\n\t}\n\tw.set(w.rows.record(w.id, f.Name, slot), encodeRow(row))\n"},
	{"vault/store/postgres/schema.go", "var steps = []step{{\n",
		"var steps = append(stepsBefore, step{all: \"alter table sandyq_rows add column added int\", bears: len(stepsBefore)})\n\nvar stepsBefore = []step{{\n"},
}

// addedMember is the number of the member that records of the next version have.
const addedMember = 99

// buildNext builds the next version.
func buildNext(t *testing.T) (program string) {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs("../../..")
	check(t, err)
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for _, change := range nextVersion {
		original := filepath.Join(root, change.file)
		changed := filepath.Join(dir, strings.ReplaceAll(change.file, "/", "_"))
		source, err := os.ReadFile(cmp.Or(overlay.Replace[original], original))
		check(t, err)
		if strings.Count(string(source), change.from) != 1 {
			t.Fatalf("%s does not have what the next version changes there: %s", change.file, change.from)
		}
		check(t, os.WriteFile(changed, []byte(strings.Replace(string(source), change.from, change.to, 1)), 0o600))
		overlay.Replace[original] = changed
	}
	b, err := json.Marshal(overlay)
	check(t, err)
	list := filepath.Join(dir, "overlay.json")
	check(t, os.WriteFile(list, b, 0o600))
	program = filepath.Join(dir, "next")
	began := time.Now()
	out, err := exec.Command("go", "build", "-overlay", list, "-o", program, "github.com/sandyq/sandyq/cmd/sandyq").CombinedOutput()
	if err != nil {
		t.Fatalf("build the next version: %v\n%s", err, out)
	}
	t.Logf("built in %v", time.Since(began))
	return program
}

// formOf is the form that the store says its rows may have, as the bytes of its row, and how many records have the member that only
// the next version knows.
func (s *site) formOf() (form string, next int) {
	s.t.Helper()
	rows, err := postgres.Open(ctx, postgres.Options{DSN: s.dsn, NoMigrate: true})
	check(s.t, err)
	defer rows.Close()
	const tenant = "\x04main"
	check(s.t, rows.View(ctx, func(r store.Reader) error {
		values, err := r.Get([]byte(tenant + "mformat\x00"))
		if err != nil {
			return err
		}
		form, next = string(values[0]), 0
		for after := []byte(nil); ; {
			pairs, err := r.Scan([]byte(tenant+"r"), after, 1000)
			if err != nil || len(pairs) == 0 {
				return err
			}
			for _, p := range pairs {
				var row map[int]cbor.RawMessage
				if err := cbor.Unmarshal(p.Value, &row); err != nil {
					return err
				}
				if row[addedMember] != nil {
					next++
				}
			}
			after = append([]byte(nil), pairs[len(pairs)-1].Key...)
		}
	}))
	return form, next
}

// callers register, read and erase people over nodes in turn.
type callers struct {
	t    testing.TB
	stop context.CancelFunc
	all  sync.WaitGroup

	mu       sync.Mutex
	names    map[string]string // by token: who is there
	erasures map[string]string // by token: who is not
}

// calling begins to call.
func (s *site) calling(nodes []*server) *callers {
	loaded, stop := context.WithCancel(ctx)
	c := &callers{t: s.t, stop: stop, names: map[string]string{}, erasures: map[string]string{}}
	for n := range 4 {
		c.all.Go(func() {
			v, err := client.New("http://nodes.invalid", s.token, client.WithTransport(s.balance(nodes, 0)), client.WithAttempts(12))
			if err != nil {
				s.t.Error(err)
				return
			}
			for i := 0; loaded.Err() == nil; i++ {
				if err := c.call(v, "Адам"+letters(100_000*(n+1)+i), i%5 == 0); err != nil {
					s.t.Error(err)
					return
				}
			}
		})
	}
	return c
}

// call registers somebody, and reads or erases them.
func (c *callers) call(v *client.Client, name string, leaves bool) error {
	item := api.TokenizeItem{Fields: map[string]api.OneOrMany[api.Value]{"given_name": api.One(api.Text(name))}}
	resp, err := v.Tokenize(ctx, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{item}})
	if err == nil {
		err = resp.Results[0].Error.Err()
	}
	if err != nil {
		return err
	}
	token := resp.Results[0].Tokens["given_name"].Items[0]
	if leaves {
		asked, err := v.RequestErasure(ctx, &api.ErasureRequest{Subject: resp.Results[0].Subject, Ground: "request", Reason: "asked"})
		if err != nil {
			return err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.erasures[token] = asked.Erasure
		return nil
	}
	shown, err := v.Detokenize(ctx, &api.DetokenizeRequest{Purpose: "service", Reason: "support_call", Tokens: []string{token}})
	if err == nil {
		err = shown.Results[0].Error.Err()
	}
	if err != nil {
		return err
	}
	if got, _ := shown.Results[0].Value.Text(); got != name {
		c.t.Errorf("%q was registered, and %q read", name, got)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.names[token] = name
	return nil
}

// end stops calling, and sees on every node that all who were registered are there, and all who were erased are not.
func (c *callers) end(nodes []*server) {
	c.t.Helper()
	c.stop()
	c.all.Wait()
	for token, name := range c.names {
		for _, n := range nodes {
			r := show(c.t, n, token)
			if got, _ := r.Value.Text(); got != name {
				c.t.Errorf("got %q, %+v", got, r.Error)
			}
		}
	}
	for token, erasure := range c.erasures {
		for _, n := range nodes {
			n.until(c.t, "it is erased", func() bool {
				e, err := n.Erasure(ctx, erasure)
				check(c.t, err)
				return e.State == api.ErasureErased
			})
			if r := show(c.t, n, token); r.Error == nil {
				c.t.Error("an erased person is read")
			}
		}
	}
	if len(c.names) == 0 || len(c.erasures) == 0 {
		c.t.Error("nobody was registered, or nobody erased: this shows nothing")
	}
	c.t.Logf("%d people registered and read, %d erased", len(c.names), len(c.erasures))
}

// TestTwoVersionsServeOneStore: nodes of this version are replaced by the next one after another, under calls that go to all in turn. While
// both are at work each reads what the other writes and erases whom the other registered, an old one starts again on tables that were
// taken further, and nothing is written that it could not read. When the last has gone, the store is taken on, and the old version does not
// open it any more.
func TestTwoVersionsServeOneStore(t *testing.T) {
	next := buildNext(t)
	s := newSite(t, "")
	nodes := s.nodes(3)
	calls := s.calling(nodes)
	replace := func(n *server, program string) {
		t.Helper()
		n.stop(t)
		n.program = program
		s.start(n)
	}
	began := time.Now()
	replace(nodes[2], next)
	replace(nodes[0], "") // an old one, in the middle
	for at := leader(t, nodes...); at != 2; at = leader(t, nodes...) {
		replace(nodes[at], "") // until the next version leads, which could take the store on
	}
	replace(nodes[1], next)
	for i, n := range nodes {
		other := nodes[(i+1)%len(nodes)]
		stays, goes := register(t, n, "Айгүл"), register(t, n, "Дана")
		r := show(t, other, stays.Tokens["given_name"].Items[0])
		if got, _ := r.Value.Text(); got != "Айгүл" {
			t.Errorf("got %q, %v", got, r.Error)
		}
		asked, err := other.RequestErasure(ctx, &api.ErasureRequest{Subject: goes.Subject, Ground: "request", Reason: "asked"})
		check(t, err)
		n.until(t, "it is erased", func() bool {
			e, err := n.Erasure(ctx, asked.Erasure)
			check(t, err)
			return e.State == api.ErasureErased
		})
	}
	if form, written := s.formOf(); form != "" || written > 0 {
		t.Errorf("while an old version is at work the store is at form %q, and %d records are of the next", form, written)
	}
	replace(nodes[0], next)
	nodes[0].until(t, "the store is taken on", func() bool { form, _ := s.formOf(); return form == "\x00\x00\x00\x02" })
	nodes[0].until(t, "records are of the next form", func() bool { _, written := s.formOf(); return written > 0 })
	calls.end(nodes)
	t.Logf("%v from the first replacement", time.Since(began))
	late := s.place()
	s.launch(late)
	if err := <-late.ended; err == nil || !strings.Contains(late.output.String(), "a newer version has worked on this store") {
		t.Errorf("the old version came back: %v\n%s", err, late.output)
	}
}
