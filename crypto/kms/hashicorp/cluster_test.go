package hashicorp

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// node is one of a cluster: it says how it is and answers the rest with a status, or not at all.
type node struct {
	*httptest.Server
	health, status atomic.Int64 // 0: no answer
	delay          atomic.Int64
	asked          atomic.Int64 // requests other than how it is
}

func newNode(t *testing.T, health, status int) *node {
	t.Helper()
	n := &node{}
	n.is(health, status)
	n.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := &n.health
		if r.URL.Path != "/v1/sys/health" {
			n.asked.Add(1)
			time.Sleep(time.Duration(n.delay.Load()))
			status = &n.status
		}
		if status.Load() == 0 {
			_, _ = io.Copy(io.Discard, r.Body) // only then the end of the request is noticed
			<-r.Context().Done()
			return
		}
		w.WriteHeader(int(status.Load()))
	}))
	t.Cleanup(n.Close)
	return n
}

func (n *node) is(health, status int) {
	n.health.Store(int64(health))
	n.status.Store(int64(status))
}

// clusterOf is a client of the nodes and how to ask them once: the status, or 0 and the error.
func clusterOf(t *testing.T, nodes ...*node) (*cluster, func(method string) (int, error)) {
	t.Helper()
	addresses := make([]string, len(nodes))
	for i, n := range nodes {
		addresses[i] = n.URL
	}
	c, err := newCluster(addresses, 800*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{
		Transport:     c.over(transport),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, func(method string) (int, error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, method, addresses[0]+"/v1/thing", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			return 0, err
		}
		return response.StatusCode, response.Body.Close()
	}
}

func TestClusterFindsTheActiveNode(t *testing.T) {
	standby, sealed, active := newNode(t, 429, 200), newNode(t, 503, 503), newNode(t, 200, 200)
	_, ask := clusterOf(t, sealed, standby, active)
	for range 3 {
		if status, err := ask("GET"); status != 200 {
			t.Fatalf("%d, %v", status, err)
		}
	}
	if active.asked.Load() != 3 {
		t.Errorf("the active node was asked %d times of 3", active.asked.Load())
	}
	active.is(429, 200)
	standby.is(200, 200)
	if status, err := ask("GET"); status != 200 || active.asked.Load() != 4 {
		t.Errorf("a node that works was left (%d, %v)", status, err)
	}
}

func TestClusterLeavesANodeThatFails(t *testing.T) {
	for _, c := range []struct {
		name           string
		health, status int // of a node that was active
		left           bool
	}{
		{"a standby that hands on", 429, 200, false},
		{"a standby that cannot", 429, 500, true},
		{"a standby that sends elsewhere", 429, 307, true},
		{"sealed", 503, 503, true},
		{"behind", 473, 412, true},
		{"active and failing", 200, 500, true}, // a leader that was deposed and does not know
		{"over quota", 200, 429, false},
		{"denied", 200, 403, false},
		{"no such thing", 200, 404, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			was, next := newNode(t, 200, 200), newNode(t, 429, 200)
			_, ask := clusterOf(t, was, next)
			if status, err := ask("PUT"); status != 200 || was.asked.Load() != 1 {
				t.Fatalf("%d, %v", status, err)
			}
			was.is(c.health, c.status)
			next.is(200, 200)
			if status, err := ask("PUT"); status != c.status {
				t.Errorf("%d, %v: the failure is the caller's to see", status, err)
			}
			if n := was.asked.Load() + next.asked.Load(); n != 2 {
				t.Errorf("the request was sent %d times", n-1)
			}
			ask("PUT")
			if left := next.asked.Load() == 1; left != c.left {
				t.Errorf("left %v, want %v", left, c.left)
			}
		})
	}
}

func TestClusterLeavesANodeThatHangs(t *testing.T) {
	hung, next := newNode(t, 200, 200), newNode(t, 200, 200)
	c, ask := clusterOf(t, hung, next)
	c.active = true // the first
	hung.is(0, 0)
	began := time.Now()
	if _, err := ask("PUT"); !errors.Is(err, errHung) {
		t.Errorf("a node that hangs: %v", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %s to leave it", took)
	}
	if status, err := ask("PUT"); status != 200 || hung.asked.Load() != 1 {
		t.Errorf("%d, %v", status, err)
	}
}

func TestClusterStaysWithANodeThatIsSlow(t *testing.T) {
	slow, next := newNode(t, 200, 200), newNode(t, 429, 200)
	slow.delay.Store(int64(time.Second))
	_, ask := clusterOf(t, slow, next)
	if status, err := ask("PUT"); status != 200 {
		t.Errorf("%d, %v", status, err)
	}
	if next.asked.Load() != 0 {
		t.Error("another was asked")
	}
}

func TestClusterThatIsDown(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Run("down", func(t *testing.T) {
		one, two := newNode(t, 503, 503), newNode(t, 0, 0)
		_, ask := clusterOf(t, one, two)
		for range 3 {
			if status, err := ask("GET"); status != 503 {
				t.Fatalf("%d, %v", status, err)
			}
		}
		two.is(429, 200) // one of them is back, and the other stands by
		ask("GET")
		if status, err := ask("GET"); status != 200 {
			t.Errorf("%d, %v", status, err)
		}
		one.is(200, 200)
		for range lookEvery {
			ask("GET")
		}
		if one.asked.Load() < 5 {
			t.Error("the active node is not asked although there is one again")
		}
	})
	goleak.VerifyNone(t, before)
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		name      string
		address   string
		addresses []string
		good      bool
	}{
		{"one", "https://a.example:8200", nil, true},
		{"several", "", []string{"https://a.example:8200", "https://b.example:8200"}, true},
		{"one of several", "", []string{"https://a.example:8200"}, true},
		{"none", "", nil, false},
		{"both", "https://c.example:8200", []string{"https://a.example:8200", "https://b.example:8200"}, false},
		{"one in the clear", "", []string{"https://a.example:8200", "http://b.example:8200"}, false},
		{"clear and not", "", []string{"https://127.0.0.1:8200", "http://127.0.0.1:8210"}, false},
		{"two in one", "https://a.example:8200,https://b.example:8200", nil, false},
	} {
		_, err := Config{Address: c.address, Addresses: c.addresses, Auth: Auth{Method: "token"}}.complete()
		if (err == nil) != c.good {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
