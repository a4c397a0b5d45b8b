package endtoend

import (
	"context"
	cryptorand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	sample "github.com/sandyq/sandyq/deploy/sample/crowd"
	"github.com/sandyq/sandyq/deploy/sample/person"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
	"github.com/sandyq/sandyq/vault/fault"
)

// town is a vault in which people of a crowd are registered, with five values each and keys in a local keyring.
type town struct {
	*server
	more   []string // arguments of serve
	people []inhabitant
}

// inhabitant is one of a person's tokens, and what it must give back.
type inhabitant struct{ token, value string }

// found starts an empty vault; at is the DSN of its rows if they are to lie in PostgreSQL.
func found(t *testing.T, at string) *town {
	t.Helper()
	dir := t.TempDir()
	w := &town{}
	if at != "" {
		config := filepath.Join(dir, "sandyq.yaml")
		check(t, os.WriteFile(filepath.Join(dir, "dsn"), []byte(at+"\n"), 0o600))
		check(t, os.WriteFile(config, []byte("store: {engine: postgres, postgres: {dsn_file: dsn}}\n"), 0o600))
		w.more = []string{"--config", config}
	}
	w.server = serve(t, filepath.Join(dir, "home"), w.more...)
	return w
}

// restart stops the vault and starts it again, and tells how long it took until it was ready.
func (w *town) restart(t *testing.T) time.Duration {
	t.Helper()
	w.stop(t)
	w.Close()
	began := time.Now()
	w.server = serve(t, w.home, w.more...)
	return time.Since(began)
}

// Registering: so many people a call, so many calls at a time.
const (
	perCall    = 250
	registrars = 8
)

// settle registers people, and tells now and then how many there are.
func (w *town) settle(t *testing.T, people int, tell func(there int)) {
	t.Helper()
	w.people = make([]inhabitant, people)
	from, tenth := sample.New(1), max(people/10, 1)
	for done := 0; done < people; {
		until := min(done+tenth, people)
		calls, ctx := errgroup.WithContext(ctx)
		calls.SetLimit(registrars)
		for done < until && ctx.Err() == nil {
			some := make([]person.Person, min(perCall, until-done))
			for i := range some {
				p, err := from.Next()
				check(t, err)
				some[i] = p
			}
			into := w.people[done : done+len(some)]
			calls.Go(func() error { return w.register(ctx, some, into) })
			done += len(some)
		}
		check(t, calls.Wait())
		tell(done)
	}
}

// register registers people, and notes one token of each, of one field after another.
func (w *town) register(ctx context.Context, people []person.Person, into []inhabitant) error {
	req := &api.TokenizeRequest{Purpose: "registration"}
	for _, p := range people {
		req.Items = append(req.Items, api.TokenizeItem{ExternalRef: p.ExternalRef, Fields: map[string]api.OneOrMany[api.Value]{
			"iin": api.One(api.Text(p.IIN)), "family_name": api.One(api.Text(p.FamilyName)), "given_name": api.One(api.Text(p.GivenName)),
			"phone": api.One(api.Text(p.Phones[0])), "document_number": api.One(api.Text(p.DocumentNumber)),
		}})
	}
	key := cryptorand.Text()
	for patience := time.Now().Add(time.Minute); ; time.Sleep(time.Second) {
		err := w.send(client.WithKey(ctx, key), req, into)
		if !errors.Is(err, fault.Unavailable) || time.Now().After(patience) {
			return err
		}
	}
}

// send makes the call once. Keys may be out of reach for a moment, on a disk that is busy.
func (w *town) send(ctx context.Context, req *api.TokenizeRequest, into []inhabitant) error {
	resp, err := w.Tokenize(ctx, req)
	if err != nil {
		return err
	}
	for i, r := range resp.Results {
		if err := r.Error.Err(); err != nil {
			return err
		}
		field := []string{"iin", "family_name", "given_name", "document_number"}[i%4]
		value, _ := req.Items[i].Fields[field].Items[0].Text()
		into[i] = inhabitant{r.Tokens[field].Items[0], value}
	}
	return nil
}

// readers is how many callers read at a time.
const readers = 16

// read has a token of each of these people read, one a call, and tells how long the calls took, the shortest first.
func (w *town) read(t *testing.T, who []int) []time.Duration {
	t.Helper()
	c := newCaller(t, w.server)
	took := make([]time.Duration, len(who))
	var next atomic.Int64
	var all sync.WaitGroup
	for range readers {
		all.Go(func() {
			for n := int(next.Add(1)) - 1; n < len(who); n = int(next.Add(1)) - 1 {
				p := w.people[who[n]]
				body := fmt.Appendf(nil, `{"purpose":"service","reason":"support_call","tokens":["%s"]}`, p.token)
				began := time.Now()
				answer := c.call(t, "/v1/detokenize", body)
				took[n] = time.Since(began)
				if !strings.Contains(string(answer), p.value) {
					t.Errorf("person %d: another value came back", who[n])
				}
			}
		})
	}
	all.Wait()
	slices.Sort(took)
	return took
}

// anybody draws people, one after another, somebody maybe twice.
func (w *town) anybody(count int) []int {
	who := make([]int, count)
	for i := range who {
		who[i] = rand.IntN(len(w.people))
	}
	return who
}

// different draws so many people, nobody twice.
func (w *town) different(count int) []int { return rand.Perm(len(w.people))[:count] }

// gauge is the sum of what the metrics have under a name.
func (w *town) gauge(t *testing.T, name string) (sum float64) {
	t.Helper()
	for line := range strings.Lines(get(t, "http://"+w.ops+"/metrics")) {
		of, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if before, _, _ := strings.Cut(of, "{"); before == name {
			v, err := strconv.ParseFloat(value, 64)
			check(t, err)
			sum += v
		}
	}
	return sum
}

// footprint is what a process takes of the memory, in bytes.
type footprint struct {
	resident, highest int64
	own               int64 // of what is resident: that of the process alone; the rest are pages of files, which the system takes back when it needs them
	heap              int64 // what Go's heap has in use, garbage that is not collected yet included
}

func (w *town) footprint(t *testing.T) footprint {
	t.Helper()
	of := w.status(t)
	return footprint{of("VmRSS"), of("VmHWM"), of("RssAnon"), int64(w.gauge(t, "go_memstats_heap_inuse_bytes"))}
}

func (f footprint) String() string {
	return fmt.Sprintf("resident %d MiB (at most %d), of that its own %d, files %d; Go heap %d",
		f.resident>>20, f.highest>>20, f.own>>20, (f.resident-f.own)>>20, f.heap>>20)
}
