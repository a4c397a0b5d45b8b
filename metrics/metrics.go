// Package metrics counts what a vault does, for Prometheus.
//
// A Registry is everything one process exposes. It listens at the seams the parts have for it: it is the observer of the
// HTTP front end, of the store, of the keyring and of the domain, and it decorates the key provider. Nothing is counted
// inside the parts themselves. A process may run several vaults, one for each tenant: each has a [Vault] as its observer,
// and what is exposed is of all together.
//
// # Invariants
//
//   - No label carries an id, a tenant, a system, a field's value or anything that a client sent. Labels are operations,
//     status codes and causes, all from lists in the code, so the number of series is bounded.
//   - Observing never blocks: it is a few atomic additions.
//   - Every metric stands in docs/operations.md, which a test compares with what a Registry exposes.
package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Registry is what one process exposes. It is safe for concurrent use.
type Registry struct {
	prometheus *prometheus.Registry

	requests       *prometheus.CounterVec
	requestSeconds *prometheus.HistogramVec
	inFlight       prometheus.Gauge

	keyCallSeconds *prometheus.HistogramVec
	keyErrors      *prometheus.CounterVec

	batchItems *prometheus.HistogramVec
	troubles   prometheus.Counter

	commitSeconds prometheus.Histogram
	groupUpdates  prometheus.Histogram
	writes        prometheus.Counter
	writtenBytes  prometheus.Counter

	connections *prometheus.GaugeVec
	retries     *prometheus.CounterVec
	takeovers   prometheus.Counter

	vaults        vaults
	missingKeys   prometheus.Counter
	noBasis       prometheus.Counter
	drillFailures prometheus.Counter
	alerts        *prometheus.CounterVec
	asked         *prometheus.CounterVec
}

// New makes a registry for the build of that version and revision.
func New(version, revision string) *Registry {
	r := &Registry{prometheus: prometheus.NewRegistry()}
	info := gauge("build_info", "1, labelled with the build that runs.")
	info.ConstLabels = prometheus.Labels{"version": version, "revision": revision}
	build := prometheus.NewGauge(info)
	build.Set(1)
	r.prometheus.MustRegister(
		build,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	r.registerHTTP()
	r.registerKeys()
	r.registerKeyring()
	r.registerStore()
	r.registerVault()
	return r
}

// Handler answers a scrape.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.prometheus, promhttp.HandlerOpts{})
}

const namespace = "sandyq"

// latencies are the buckets of every histogram of time, in seconds: from a cached key to the bound of a slow document.
var latencies = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// counts are the buckets of every histogram of how many: up to a batch of 1,000 and what gathers into a group.
var counts = []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 4096}

func counter(name, help string) prometheus.CounterOpts {
	return prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}
}

func gauge(name, help string) prometheus.GaugeOpts {
	return prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}
}

func histogram(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}
}
