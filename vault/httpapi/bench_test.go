package httpapi_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/httpapi"
)

const oneToken = `{"purpose":"contract","reason":"client_call","tokens":["sdq_p6k9ee5t5pxdmx7n6jkjw634zr2sn7f"]}`

func echo() *service {
	return &service{detokenize: func(_ context.Context, _ vault.Call, in *api.DetokenizeRequest) (*api.DetokenizeResponse, error) {
		out := &api.DetokenizeResponse{Results: make([]api.DetokenizeResult, len(in.Tokens))}
		for i, token := range in.Tokens {
			value := api.Text("850312113646")
			out.Results[i] = api.DetokenizeResult{Token: token, Subject: "sub_5wgm48891ds0rxhb2xazpjwkf5", Field: "iin", Value: &value}
		}
		return out, nil
	}}
}

// BenchmarkHandler is what the front end itself takes of a request of one token: no network, the log written to nowhere.
func BenchmarkHandler(b *testing.B) {
	h := httpapi.Handler(httpapi.Config{Services: []httpapi.Service{echo()}, Log: slog.New(slog.NewJSONHandler(io.Discard, nil))})
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(http.MethodPost, "/v1/detokenize", strings.NewReader(oneToken))
		r.Header["Authorization"] = []string{"Bearer " + goodToken}
		r.Header["Content-Type"] = []string{"application/json"}
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
}

// BenchmarkNetwork has 64 clients in the same process ask for one token each over loopback, beside a bare handler that
// answers as many bytes.
func BenchmarkNetwork(b *testing.B) {
	bare := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, strings.Repeat("x", 150))
	})
	for name, h := range map[string]http.Handler{
		"bare":   bare,
		"sandyq": httpapi.Handler(httpapi.Config{Services: []httpapi.Service{echo()}, Log: slog.New(slog.NewJSONHandler(io.Discard, nil))}),
	} {
		b.Run(name, func(b *testing.B) {
			server := httptest.NewServer(h)
			defer server.Close()
			transport := &http.Transport{MaxIdleConnsPerHost: 64}
			defer transport.CloseIdleConnections()
			b.SetParallelism(32) // times two cores
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r, err := http.NewRequest(http.MethodPost, server.URL+"/v1/detokenize", bytes.NewReader([]byte(oneToken)))
					if err != nil {
						b.Error(err)
						return
					}
					r.Header["Authorization"] = []string{"Bearer " + goodToken}
					r.Header["Content-Type"] = []string{"application/json"}
					resp, err := transport.RoundTrip(r)
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			})
		})
	}
}
