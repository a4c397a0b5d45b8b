package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/vault/api"
)

// readyTimeout bounds a readiness check; a part that does not answer by then is away.
const readyTimeout = 2 * time.Second

// Ops serves the operations address: /healthz (the process answers), /readyz (200 while blocks can be served, with the
// parts that are away; 503 otherwise) and /metrics. It asks nobody who they are: it shows no data and listens apart.
func Ops(ready func(context.Context) api.Readiness, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		opsAnswer(w, http.StatusOK, struct {
			Alive bool `json:"alive"`
		}{true})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		status, readiness := http.StatusOK, ready(ctx)
		if !readiness.Ready {
			status = http.StatusServiceUnavailable
		}
		opsAnswer(w, status, readiness)
	})
	mux.Handle("GET /metrics", metrics)
	return mux
}

func opsAnswer(w http.ResponseWriter, status int, out any) {
	b, err := json.Marshal(out)
	if err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = typeJSON, noStore
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // a prober that is gone misses its answer; there is nobody else to tell
}
