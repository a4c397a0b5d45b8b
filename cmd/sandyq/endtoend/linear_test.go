package endtoend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/postgres"
	"github.com/sandyq/sandyq/vault/vaulttest/history"
)

// stopped is for how long a node is stopped: longer than its term, than the others wait for it, and than a key stays open.
const stopped = 17 * time.Second

// TestNodesAreLinearizable has clients register, read, rectify, block, unblock and erase people over two processes, of which that which
// leads is stopped for longer than every lease and goes on, and then that which leads by then is killed and started again. What
// they are answered is what one vault would have answered, a process that goes on gives nothing out that was blocked or erased
// meanwhile, and nothing is lost. SANDYQ_TEST_SCALE multiplies the rounds.
func TestNodesAreLinearizable(t *testing.T) {
	s := newSite(t, "")
	nodes := s.nodes(2)
	c := newCrowd(s, nodes)
	loaded, stop := context.WithCancel(ctx)
	var load sync.WaitGroup
	for n := range 10 {
		load.Go(func() { c.load(loaded, n) })
	}
	seen := 0
	for range scaled(1) {
		time.Sleep(2 * time.Second)
		at := leader(t, nodes...)
		seen += c.stopAndGoOn(t, nodes[at], nodes[1-at])
		at = leader(t, nodes...)
		time.Sleep(rand.N(time.Second))
		nodes[at].kill()
		time.Sleep(rand.N(time.Second))
		s.start(nodes[at])
	}
	time.Sleep(2 * time.Second)
	stop()
	load.Wait()
	c.readEverything(t)
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	c.eraseEverybody(t)
	s.isWhole(t, nodes, c.erasures)
	t.Logf("%d calls about %d people, %d of them erased; %d readings under way when a node was stopped gave nothing out",
		c.Calls(), len(c.people()), len(c.erasures), seen)
	if seen == 0 {
		t.Error("nothing was under way when a node was stopped: this shows nothing of it")
	}
}

// crowd is a history over nodes. Its clients turn to other people by and by, so that no one's history grows long.
type crowd struct {
	*history.History
	site  *site
	nodes []*server
	iins  sync.Map // of everybody so far
	turn  atomic.Int64
	mu    sync.Mutex
	now   [2]string // whom the clients ask for

	erasures []string            // that were acknowledged
	subjects map[string][]string // by IIN: whom a tokenize has answered
}

func newCrowd(s *site, nodes []*server) *crowd {
	c := &crowd{History: history.New(), site: s, nodes: nodes, subjects: map[string][]string{}}
	c.current()
	return c
}

// current are the people whom the clients ask for at the moment.
func (c *crowd) current() [2]string {
	const calls = 60 // about two people
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.turn.Add(1)%calls == 1 {
		c.turnToOthers()
	}
	return c.now
}

// turnToOthers has the clients ask for others from now on. The lock is held.
func (c *crowd) turnToOthers() {
	c.now = [2]string{history.IIN(), history.IIN()}
	for _, number := range c.now {
		c.iins.Store(number, true)
	}
}

// leave has the clients turn to others if they ask for somebody still, of whom a call has an unknown outcome: with many of these a history
// has too many orders to be checked.
func (c *crowd) leave(number string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.Contains(c.now[:], number) {
		c.turnToOthers()
	}
}

// people are all whom the clients asked for.
func (c *crowd) people() (iins []string) {
	c.iins.Range(func(number, _ any) bool { iins = append(iins, number.(string)); return true })
	return iins
}

// noting notes what is acknowledged.
type noting struct {
	*client.Client
	crowd *crowd
}

func (n noting) Tokenize(ctx context.Context, in *api.TokenizeRequest) (*api.TokenizeResponse, error) {
	resp, err := n.Client.Tokenize(ctx, in)
	if err == nil && resp.Results[0].Error == nil {
		number, _ := in.Items[0].Fields["iin"].Items[0].Text()
		n.crowd.mu.Lock()
		defer n.crowd.mu.Unlock()
		if of, subject := n.crowd.subjects, resp.Results[0].Subject; !slices.Contains(of[number], subject) {
			of[number] = append(of[number], subject)
		}
	}
	return resp, err
}

func (n noting) RequestErasure(ctx context.Context, in *api.ErasureRequest) (*api.Erasure, error) {
	e, err := n.Client.RequestErasure(ctx, in)
	if err == nil {
		n.crowd.mu.Lock()
		defer n.crowd.mu.Unlock()
		n.crowd.erasures = append(n.crowd.erasures, e.Erasure)
	}
	return e, err
}

// client makes one that sends each attempt to the next node, and waits for so long for an answer; 0: without end.
func (c *crowd) client(t testing.TB, patience time.Duration) noting {
	t.Helper()
	made, err := client.New("http://nodes.invalid", c.site.token, client.WithTransport(c.site.balance(c.nodes, patience)), client.WithAttempts(12))
	check(t, err)
	return noting{made, c}
}

// load makes calls until it ends. Half of the clients wait for the answer of a node that is stopped, half ask another.
func (c *crowd) load(loaded context.Context, n int) {
	rnd := rand.New(rand.NewPCG(uint64(n), 1))
	patience := time.Duration(n%2) * 4 * time.Second
	v := c.client(c.site.t, patience)
	for loaded.Err() == nil {
		who := c.current()
		op := c.Draw(rnd, who[rnd.IntN(len(who))])
		began := c.Now()
		answer, err := history.Do(ctx, v, op)
		c.Record(n, op, began, answer, err, 0)
		if err != nil {
			c.leave(op.IIN)
		}
	}
}

// readEverything asks every node for everybody, as part of the history: what was acknowledged must be there.
func (c *crowd) readEverything(t *testing.T) {
	var asking sync.WaitGroup
	for n, node := range c.nodes {
		asking.Go(func() {
			for _, number := range c.people() {
				op := c.Draw(rand.New(rand.NewPCG(1, 1)), number)
				if op.Kind = history.Detokenize; op.Token == "" {
					continue
				}
				began := c.Now()
				answer, err := history.Do(ctx, node, op)
				if err != nil {
					t.Errorf("read back: %v", err)
				}
				c.Record(100+n, op, began, answer, err, 0)
			}
		})
	}
	asking.Wait()
}

// eraseEverybody has all be erased who are not, those too whom no answer has told of.
func (c *crowd) eraseEverybody(t *testing.T) {
	v := c.client(t, 0)
	do := func(kind history.Kind, number, subject string) {
		op := history.Op{Kind: kind, IIN: number, Subject: subject, Value: history.Name(), Keep: true}
		if answer, err := history.Do(ctx, v, op); err != nil || answer.Code == fault.Blocked {
			t.Errorf("erase everybody: %v, %+v", err, answer)
		}
	}
	for _, number := range c.people() {
		for _, subject := range c.subjects[number] {
			do(history.Unblock, number, subject)
		}
		do(history.Tokenize, number, "")
		for _, subject := range c.subjects[number] {
			do(history.Erase, number, subject)
		}
	}
}

// balancer is a trivial load balancer.
type balancer struct {
	http.RoundTripper
	nodes    []*server
	patience time.Duration
	next     atomic.Int64
}

func (s *site) balance(nodes []*server, patience time.Duration) *balancer {
	transport := &http.Transport{DisableCompression: true}
	s.t.Cleanup(transport.CloseIdleConnections)
	b := &balancer{RoundTripper: transport, nodes: nodes, patience: patience}
	b.next.Store(rand.Int64N(2))
	return b
}

// RoundTrip sends a request to the next node, and reads the answer whole.
func (b *balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	callCtx := r.Context()
	if b.patience > 0 {
		limited, cancel := context.WithTimeout(callCtx, b.patience)
		defer cancel()
		callCtx = limited
	}
	sent := r.Clone(callCtx)
	sent.URL.Host = b.nodes[b.next.Add(1)%int64(len(b.nodes))].address
	resp, err := b.RoundTripper.RoundTrip(sent)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// stopAndGoOn stops a node while people are read there and documents streamed, has the other block some and erase the rest, and lets
// it go on. Nothing of theirs comes out of it then. It returns how many readings were under way.
func (c *crowd) stopAndGoOn(t *testing.T, stops, other *server) (readings int) {
	t.Helper()
	const people, readers = 4, 16
	var who []api.TokenizeResult
	for n := range people {
		who = append(who, register(t, other, "Дана"+letters(n+1)))
	}
	patient, err := client.New("http://"+stops.address, c.site.token, client.WithAttempts(1))
	check(t, err)
	defer patient.Close()
	stillThere, goneOn := make(chan struct{}), make(chan struct{})
	var reading sync.WaitGroup
	var underWay, gaveOut atomic.Int64
	for n := range readers {
		token := who[n%people].Tokens["given_name"].Items[0]
		reading.Go(func() {
			for {
				select {
				case <-stillThere:
					return
				default:
				}
				resp, err := patient.Detokenize(ctx, &api.DetokenizeRequest{Purpose: "service", Reason: "support_call", Tokens: []string{token}})
				select {
				case <-goneOn:
					underWay.Add(1)
					if err == nil && resp.Results[0].Error == nil {
						gaveOut.Add(1)
					}
					return
				default:
				}
			}
		})
	}
	var streams []*streaming
	for _, one := range who {
		streams = append(streams, c.stream(t, stops, other, one.Subject))
	}
	time.Sleep(300 * time.Millisecond)
	stops.pause(t)
	close(stillThere)
	began := time.Now()
	for n, one := range who {
		if n%2 == 0 {
			_, err = other.Block(ctx, one.Subject, &api.BlockRequest{Kind: "dispute", Reason: "claim"})
		} else {
			_, err = other.RequestErasure(ctx, &api.ErasureRequest{Subject: one.Subject, Ground: "request", Reason: "asked"})
		}
		check(t, err)
		if n == 0 && time.Since(began) < 6*time.Second {
			t.Errorf("a block was acknowledged after %v, while the stopped node could give out what it had", time.Since(began))
		}
	}
	time.Sleep(time.Until(began.Add(stopped)))
	var before []int64
	for _, s := range streams {
		before = append(before, s.came.Load())
	}
	close(goneOn)
	stops.resume(t)
	reading.Wait()
	if n := gaveOut.Load(); n > 0 {
		t.Errorf("%d of %d readings under way gave out what was blocked or erased meanwhile", n, underWay.Load())
	}
	for i, s := range streams {
		if err := <-s.ended; err == nil || errors.Is(err, io.EOF) {
			t.Errorf("a stream went to its end: %v", err)
		}
		if more := s.came.Load() - before[i]; more > 0 {
			t.Errorf("%d bytes of a document came after the node went on", more)
		}
	}
	stops.until(t, "ready again", func() bool {
		_, err := stops.Whoami(ctx)
		return err == nil
	})
	for n, one := range who {
		if n%2 == 0 {
			_, err := other.Unblock(ctx, one.Subject, &api.BlockRequest{Kind: "dispute", Reason: "claim"})
			check(t, err)
			_, err = other.RequestErasure(ctx, &api.ErasureRequest{Subject: one.Subject, Ground: "request", Reason: "asked"})
			check(t, err)
		}
	}
	return int(underWay.Load())
}

// streaming is a document on its way.
type streaming struct {
	came  atomic.Int64 // bytes
	ended chan error
}

// stream begins to read a large document of somebody, slowly for as long as the node goes.
func (c *crowd) stream(t *testing.T, from, by *server, subject string) *streaming {
	t.Helper()
	put, err := by.UploadDocument(ctx, subject, client.Upload{
		Kind: "passport", MediaType: "image/jpeg", Purpose: "registration", Capture: "digital",
	}, bytes.NewReader(scan(30<<20)))
	check(t, err)
	opened, err := by.OpenDocument(ctx, &api.OpenDocumentRequest{Token: put.Token, Purpose: "service", Reason: "support_call"})
	check(t, err)
	return reading(t, from, opened)
}

// reading begins to read an opened document.
func reading(t *testing.T, from *server, opened *api.OpenDocumentResponse) *streaming {
	t.Helper()
	body, err := from.ReadDocument(ctx, opened)
	check(t, err)
	s := &streaming{ended: make(chan error, 1)}
	go func() {
		defer body.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := body.Read(buf)
			s.came.Add(int64(n))
			if err != nil {
				s.ended <- err
				return
			}
			time.Sleep(30 * time.Millisecond)
		}
	}()
	return s
}

// isWhole sees that nothing of what nodes keep in common is lost, left behind or at odds, once everybody is erased.
func (s *site) isWhole(t *testing.T, nodes []*server, erasures []string) {
	t.Helper()
	certified := ""
	for i, id := range erasures {
		nodes[0].until(t, "every erasure is carried out", func() bool {
			e, err := nodes[i%len(nodes)].Erasure(ctx, id)
			check(t, err)
			return e.State == api.ErasureErased
		})
		certified = id
	}
	for _, n := range nodes {
		var ready api.Readiness
		n.until(t, "nothing is away", func() bool {
			check(t, json.Unmarshal([]byte(get(t, "http://"+n.ops+"/readyz")), &ready))
			return ready.Ready && len(ready.Degraded) == 0
		})
	}
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	check(t, os.WriteFile(token, []byte(s.token+"\n"), 0o600))
	keys, err := nodes[1].LogKeys(ctx)
	check(t, err)
	s.command()("audit", "export", "--to", filepath.Join(dir, "log"), "--server", "http://"+nodes[0].address, "--token-file", token)
	s.command()("verify", "log", filepath.Join(dir, "log"), "--key", keys.Keys[0])
	if certified != "" {
		b, err := nodes[1].Certificate(ctx, certified)
		if err != nil {
			t.Fatalf("%v\n%s", err, nodes[1].output)
		}
		check(t, os.WriteFile(filepath.Join(dir, "certificate"), b, 0o600))
		s.command()("verify", "certificate", filepath.Join(dir, "certificate"), "--key", keys.Keys[0])
	}
	s.noOrphans(t)
}

// noOrphans sees that each key that is left stands in a row of the store: it was made ahead, or is the vault's own. Nobody is there any more.
func (s *site) noOrphans(t *testing.T) {
	t.Helper()
	rows, err := postgres.Open(ctx, postgres.Options{DSN: s.dsn})
	check(t, err)
	defer rows.Close()
	// Keys are made after their rows are written, and rows go after their keys: the keys are listed between two looks.
	for began := time.Now(); ; time.Sleep(time.Second) {
		named := strings.Builder{}
		note := func() {
			check(t, rows.View(ctx, func(r store.Reader) error {
				for after := []byte(nil); ; {
					pairs, err := r.Scan(nil, after, 1000)
					if err != nil || len(pairs) == 0 {
						return err
					}
					for _, p := range pairs {
						fmt.Fprintf(&named, "%x %x ", p.Key, p.Value)
					}
					after = bytes.Clone(pairs[len(pairs)-1].Key)
				}
			}))
		}
		note()
		status, answer := s.keys.Request(t, http.MethodGet, "sandyq/keys?list=true", nil)
		note()
		var listed struct {
			Data struct {
				Keys []string `json:"keys"`
			} `json:"data"`
		}
		check(t, json.Unmarshal(answer, &listed))
		if status != http.StatusOK || len(listed.Data.Keys) == 0 {
			t.Fatalf("the keys are not listed: %d", status)
		}
		var orphans []string
		for _, id := range listed.Data.Keys {
			if !strings.Contains(named.String(), id) {
				orphans = append(orphans, id)
			}
		}
		if len(orphans) == 0 {
			return
		}
		if time.Since(began) > 20*time.Second {
			t.Errorf("%d of %d keys are nobody's: %v", len(orphans), len(listed.Data.Keys), orphans)
			return
		}
	}
}
