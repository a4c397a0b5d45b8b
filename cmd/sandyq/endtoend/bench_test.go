package endtoend

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/sys/unix"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/iin"
)

// clients are how many callers the benchmarks have at a time.
var clients = []int{1, 16, 64}

// caller sends ready bodies over connections of its own and looks at the answers as bytes, so that little of what is
// measured is the measuring: server and callers share the machine.
type caller struct {
	http          *http.Client
	address, auth string
}

func newCaller(b testing.TB, s *server) *caller {
	return callerAs(b, s, strings.TrimSpace(string(read(b, filepath.Join(s.home, "dev.token")))))
}

func callerAs(b testing.TB, s *server, token string) *caller {
	transport := &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}
	b.Cleanup(transport.CloseIdleConnections)
	return &caller{&http.Client{Transport: transport}, "http://" + s.address, "Bearer " + token}
}

var failed = []byte(`"error":`)

// call posts a body; every item must go well.
func (c *caller) call(b testing.TB, path string, body []byte) []byte {
	req, err := http.NewRequest(http.MethodPost, c.address+path, bytes.NewReader(body))
	if err != nil {
		b.Error(err)
		return nil
	}
	req.Header["Authorization"] = []string{c.auth}
	req.Header["Content-Type"] = []string{"application/json"}
	resp, err := c.http.Do(req)
	if err != nil {
		b.Error(err)
		return nil
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || bytes.Contains(answer, failed) {
		b.Errorf("%v %d %.200s", err, resp.StatusCode, answer)
	}
	return answer
}

// inParallel runs f from so many callers until b.N calls are made, and reports values a second, and what a value costs the
// server and the callers in processor time, which a busy machine changes less.
func inParallel(b *testing.B, s *server, callers, values int, f func(n int)) {
	b.Helper()
	served, called := s.processor(b), ownProcessor(b)
	var next atomic.Int64
	b.SetParallelism(max(callers/2, 1)) // times GOMAXPROCS, two on the reference machine
	b.ResetTimer()
	if callers == 1 {
		for n := range b.N {
			f(n)
		}
	} else {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				f(int(next.Add(1)))
			}
		})
	}
	n := float64(b.N * values)
	b.ReportMetric(n/b.Elapsed().Seconds(), "values/s")
	b.ReportMetric(float64((s.processor(b)-served).Nanoseconds())/1e3/n, "server-µs/value")
	b.ReportMetric(float64((ownProcessor(b)-called).Nanoseconds())/1e3/n, "caller-µs/value")
}

// ownProcessor is the processor time that this process has used.
func ownProcessor(b *testing.B) time.Duration {
	var used unix.Rusage
	check(b, unix.Getrusage(unix.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// processor is the processor time that the server has used.
func (s *server) processor(b *testing.B) time.Duration {
	stat := string(read(b, fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid)))
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	var ticks int64
	for _, f := range fields[11:13] { // utime and stime, in hundredths of a second
		n, err := strconv.ParseInt(f, 10, 64)
		check(b, err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// benchIIN is the n-th of many valid IINs.
func benchIIN(n int) string {
	for ; ; n += 1_000_000 {
		first := fmt.Sprintf("%02d%02d%02d3%04d", 30+n/3_000_000%60, 1+n/250_000%12, 1+n/9999%25, n%9999+1)
		if k, ok := iin.CheckDigit(first); ok {
			return first + string(k)
		}
	}
}

func item(n int) api.TokenizeItem {
	return api.TokenizeItem{Fields: map[string]api.OneOrMany[api.Value]{
		"iin": api.One(api.Text(benchIIN(n))), "family_name": api.One(api.Text("Сәрсенова")),
		"given_name": api.One(api.Text("Айгүл")), "phone": api.One(api.Text(fmt.Sprintf("+7701%07d", n))),
		"postal_index": api.One(api.Text("050000")),
	}}
}

// people registers n people with five values each and returns the tokens of them all.
func people(b testing.TB, s *server, n int) []string {
	b.Helper()
	var tokens []string
	req := &api.TokenizeRequest{Purpose: "registration"}
	for i := range n {
		if req.Items = append(req.Items, item(i)); len(req.Items) < 500 && i < n-1 {
			continue
		}
		resp, err := s.Tokenize(ctx, req)
		check(b, err)
		for _, r := range resp.Results {
			for _, name := range []string{"iin", "family_name", "given_name", "phone", "postal_index"} {
				tokens = append(tokens, r.Tokens[name].Items[0])
			}
		}
		req.Items = nil
	}
	return tokens
}

func BenchmarkHTTPDetokenize(b *testing.B) {
	s := serve(b, b.TempDir())
	tokens := people(b, s, 4000)
	c := newCaller(b, s)
	for _, batch := range []int{1, 100} {
		var bodies [][]byte
		for at := 0; at+batch <= len(tokens); at += batch {
			body, err := json.Marshal(api.DetokenizeRequest{Purpose: "service", Reason: "bench", Tokens: tokens[at : at+batch]})
			check(b, err)
			bodies = append(bodies, body)
		}
		for _, n := range clients {
			b.Run(fmt.Sprintf("batch=%d/clients=%d", batch, n), func(b *testing.B) {
				inParallel(b, s, n, batch, func(n int) { c.call(b, "/v1/detokenize", bodies[n%len(bodies)]) })
			})
		}
	}
}

func BenchmarkHTTPTokenize(b *testing.B) {
	s := serve(b, b.TempDir())
	c := newCaller(b, s)
	var serial atomic.Int64
	for _, n := range clients {
		b.Run(fmt.Sprintf("clients=%d", n), func(b *testing.B) {
			inParallel(b, s, n, 5, func(int) {
				body, err := json.Marshal(api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{item(int(serial.Add(1)))}})
				check(b, err)
				c.call(b, "/v1/tokenize", body)
			})
		})
	}
}
