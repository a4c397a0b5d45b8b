package metrics

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func (r *Registry) registerHTTP() {
	r.requests = prometheus.NewCounterVec(
		counter("http_requests_total", "Requests of the API that were answered, by operation and status."), []string{"operation", "code"})
	r.requestSeconds = prometheus.NewHistogramVec(
		histogram("http_request_seconds", "Time from a request's header to its answer's end, by operation.", latencies), []string{"operation"})
	r.inFlight = prometheus.NewGauge(gauge("http_requests_in_flight", "Requests of the API that run."))
	r.prometheus.MustRegister(r.requests, r.requestSeconds, r.inFlight)
}

// noOperation labels requests that no route matched.
const noOperation = "none"

// Request counts an answered request. It is an httpapi.Observer; operation is a route's, or empty.
func (r *Registry) Request(operation string, status int, took time.Duration) {
	if operation == "" {
		operation = noOperation
	}
	r.requests.WithLabelValues(operation, strconv.Itoa(status)).Inc()
	r.requestSeconds.WithLabelValues(operation).Observe(took.Seconds())
}

// InFlight counts the requests that run through h.
func (r *Registry) InFlight(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.inFlight.Inc()
		defer r.inFlight.Dec()
		h.ServeHTTP(w, req)
	})
}
