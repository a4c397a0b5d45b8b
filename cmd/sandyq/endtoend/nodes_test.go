package endtoend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store/postgres/pgserver"
)

// register makes a person with a given name, and returns whom.
func register(t testing.TB, s *server, name string) api.TokenizeResult {
	t.Helper()
	resp, err := s.Tokenize(ctx, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{{
		Fields: map[string]api.OneOrMany[api.Value]{"given_name": api.One(api.Text(name))},
	}}})
	check(t, err)
	check(t, resp.Results[0].Error.Err())
	return resp.Results[0]
}

// show detokenizes one token.
func show(t testing.TB, s *server, token string) api.DetokenizeResult {
	t.Helper()
	resp, err := s.Detokenize(ctx, &api.DetokenizeRequest{Purpose: "service", Reason: "support_call", Tokens: []string{token}})
	check(t, err)
	return resp.Results[0]
}

// TestTheSecondNodeNeedsNothing: it starts with the configuration of the first, and keeps nothing.
func TestTheSecondNodeNeedsNothing(t *testing.T) {
	s := newSite(t, "")
	nodes := s.nodes(2)
	who := register(t, nodes[0], "Айгүл")
	for _, n := range nodes {
		r := show(t, n, who.Tokens["given_name"].Items[0])
		if got, _ := r.Value.Text(); got != "Айгүл" {
			t.Errorf("got %q, %v", got, r.Error)
		}
	}
	erased, err := nodes[1].RequestErasure(ctx, &api.ErasureRequest{Subject: register(t, nodes[1], "Дана").Subject, Ground: "request", Reason: "asked"})
	check(t, err)
	for _, n := range nodes {
		n.until(t, "it is erased", func() bool {
			e, err := n.Erasure(ctx, erased.Erasure)
			check(t, err)
			return e.State == api.ErasureErased
		})
		if _, err := n.Certificate(ctx, erased.Erasure); err != nil {
			t.Errorf("%v\n%s", err, n.output)
		}
	}
	nodes[1].stop(t)
	// What docs/operations.md has an operator do on a further machine, and beside nodes that run.
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	for _, said := range []struct{ says, command string }{
		{"understood", "doctor"}, {"fit for this version", "migrate"}, {"is the live one already", "promote"}, {"administrator's token", "init --new-token"},
	} {
		args := append(strings.Fields(said.command), "--config", s.config)
		if out := s.command()(append(args, "--home", elsewhere)...); !strings.Contains(string(out), said.says) {
			t.Errorf("%s says %s", said.command, out)
		}
	}
	if got := show(t, nodes[0], who.Tokens["given_name"].Items[0]); got.Error != nil {
		t.Errorf("the first node does not go on: %+v", got.Error)
	}
	left, err := os.ReadDir(nodes[1].home)
	check(t, err)
	for _, e := range left {
		t.Errorf("the node has left %s", e.Name())
	}
}

// TestNodesBeginAStoreTogether: two processes that start at one moment on a database that is empty are one vault, which a token is then
// made for beside them: one leads, both are live, what one does the other sees, and no key is left that is nobody's.
func TestNodesBeginAStoreTogether(t *testing.T) {
	s := virginSite(t, pgserver.Shared(t).Database(t), "")
	first := []*server{s.place(), s.place()}
	for _, n := range first {
		s.launch(n)
	}
	for _, n := range first {
		n.until(t, "ready", n.ready)
	}
	s.init()
	var nodes []*server
	for _, n := range first {
		c, err := client.New("http://"+n.address, s.token)
		check(t, err)
		n.Close()
		n.Client = c
		nodes = append(nodes, n)
	}
	for i, n := range nodes {
		n.until(t, "nothing is amiss", func() bool {
			return !strings.Contains(get(t, "http://"+n.ops+"/readyz"), "degraded")
		})
		other := nodes[1-i]
		who := register(t, n, "Айгүл")
		r := show(t, other, who.Tokens["given_name"].Items[0])
		if got, _ := r.Value.Text(); got != "Айгүл" {
			t.Errorf("got %q, %v", got, r.Error)
		}
		asked, err := n.RequestErasure(ctx, &api.ErasureRequest{Subject: who.Subject, Ground: "request", Reason: "asked"})
		check(t, err)
		other.until(t, "it is erased", func() bool {
			e, err := other.Erasure(ctx, asked.Erasure)
			check(t, err)
			return e.State == api.ErasureErased
		})
	}
	if at := leader(t, nodes...); nodes[1-at].leads(t) {
		t.Error("both lead")
	}
	for _, n := range nodes {
		n.stop(t)
	}
	s.noOrphans(t)
}

// TestADocumentOfOneNodeIsReadOnAnother: a handle that one node gave is good on the other, with ranges, and what one is told to block the
// other stops streaming.
func TestADocumentOfOneNodeIsReadOnAnother(t *testing.T) {
	s := newSite(t, "")
	nodes := s.nodes(2)
	a, b := nodes[0], nodes[1]
	who, content := register(t, a, "Айгүл"), scan(30<<20)
	put, err := a.UploadDocument(ctx, who.Subject, client.Upload{
		Kind: "passport", MediaType: "image/jpeg", Purpose: "registration", Capture: "digital",
	}, bytes.NewReader(content))
	check(t, err)
	opened, err := a.OpenDocument(ctx, &api.OpenDocumentRequest{Token: put.Token, Purpose: "service", Reason: "check"})
	check(t, err)
	body, err := b.ReadDocument(ctx, opened)
	check(t, err)
	got, err := io.ReadAll(body)
	check(t, err)
	body.Close()
	if !bytes.Equal(got, content) {
		t.Fatal("another document came from the other node")
	}
	for _, n := range nodes {
		if status, part := s.part(n, opened.Content, "bytes=20000000-20000999"); status != http.StatusPartialContent || !bytes.Equal(part, content[20000000:20001000]) {
			t.Errorf("a range came to %d and %d bytes", status, len(part))
		}
	}
	streams := []*streaming{reading(t, a, opened), reading(t, b, opened)}
	time.Sleep(200 * time.Millisecond)
	_, err = b.Block(ctx, who.Subject, &api.BlockRequest{Kind: "dispute", Reason: "claim"})
	check(t, err)
	for i, stream := range streams {
		if err := <-stream.ended; errors.Is(err, io.EOF) {
			t.Errorf("node %d streamed a blocked person's document to its end", i)
		}
		if status, _ := s.part(nodes[i], opened.Content, "bytes=0-9"); status != http.StatusNotFound {
			t.Errorf("node %d answers %d to the handle of a blocked person's document", i, status)
		}
	}
}

// part reads a range of an opened document.
func (s *site) part(n *server, content, of string) (status int, part []byte) {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+n.address+content, nil)
	check(s.t, err)
	req.Header.Set("Authorization", "Bearer "+s.token)
	req.Header.Set("Range", of)
	resp, err := http.DefaultClient.Do(req)
	check(s.t, err)
	defer resp.Body.Close()
	part, err = io.ReadAll(resp.Body)
	check(s.t, err)
	return resp.StatusCode, part
}

// TestNodesShareABudget: all together give out what a window holds and no more, and whoever dies and comes back refills nothing.
func TestNodesShareABudget(t *testing.T) {
	const most = 300
	s := newSite(t, fmt.Sprintf("budgets: {mode: enforce, limits: [{name: reads, kind: read, day: %d}]}", most))
	nodes := s.nodes(2)
	token := register(t, nodes[0], "Айгүл").Tokens["given_name"].Items[0]
	var shown atomic.Int64
	spend := func(n *server, calls int) (refused bool) {
		for range calls {
			_, err := n.Detokenize(ctx, &api.DetokenizeRequest{Purpose: "service", Reason: "support_call", Tokens: []string{token}})
			switch {
			case errors.Is(err, fault.Limited):
				return true
			case err != nil:
				t.Error(err)
				return true
			}
			shown.Add(1)
		}
		return false
	}
	both := func(calls int) {
		var clients sync.WaitGroup
		for _, n := range nodes {
			for range 4 {
				clients.Go(func() { spend(n, calls) })
			}
		}
		clients.Wait()
	}
	both(10)
	nodes[0].kill() // with what it has leased ahead: a twentieth of the limit at most
	s.start(nodes[0])
	both(most)
	if got := shown.Load(); got > most || got < most-most/20 {
		t.Errorf("%d values were shown of %d", got, most)
	}
	for _, n := range nodes {
		n.kill()
		s.start(n)
		if !spend(n, 1) {
			t.Error("a restart refills the budget")
		}
	}
	t.Logf("%d values of %d", shown.Load(), most)
}

// TestNodesAreRestartedOneAfterAnother: under load that goes to all in turn, nothing fails but what may be asked again, and nothing that was
// acknowledged is lost.
func TestNodesAreRestartedOneAfterAnother(t *testing.T) {
	s := newSite(t, "")
	nodes := s.nodes(2)
	loaded, stop := context.WithCancel(ctx)
	var load sync.WaitGroup
	var mu sync.Mutex
	names := map[string]string{} // by token
	calls := 0
	for n := range 8 {
		load.Go(func() {
			v, err := client.New("http://nodes.invalid", s.token, client.WithTransport(s.balance(nodes, 0)), client.WithAttempts(12))
			check(t, err)
			for i := 0; loaded.Err() == nil; i++ {
				name := "Адам" + letters(100_000*(n+1)+i)
				item := api.TokenizeItem{Fields: map[string]api.OneOrMany[api.Value]{"given_name": api.One(api.Text(name))}}
				resp, err := v.Tokenize(ctx, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{item}})
				if err == nil {
					err = resp.Results[0].Error.Err()
				}
				if err != nil {
					t.Errorf("tokenize: %v", err)
					return
				}
				token := resp.Results[0].Tokens["given_name"].Items[0]
				shown, err := v.Detokenize(ctx, &api.DetokenizeRequest{Purpose: "service", Reason: "support_call", Tokens: []string{token}})
				if err == nil {
					err = shown.Results[0].Error.Err()
				}
				if err != nil {
					t.Errorf("detokenize: %v", err)
					return
				}
				mu.Lock()
				names[token] = name
				calls += 2
				mu.Unlock()
			}
		})
	}
	for range scaled(1) {
		for _, n := range nodes {
			time.Sleep(time.Second)
			n.stop(t)
			s.start(n)
		}
	}
	time.Sleep(time.Second)
	stop()
	load.Wait()
	for token, name := range names {
		for _, n := range nodes {
			r := show(t, n, token)
			if got, _ := r.Value.Text(); got != name {
				t.Errorf("got %q, %+v", got, r.Error)
			}
		}
	}
	t.Logf("%d calls while every node was restarted", calls)
}
