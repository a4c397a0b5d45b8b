package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sandyq/sandyq/crypto/keyring"
)

func (r *Registry) registerKeyring() {
	r.batchItems = prometheus.NewHistogramVec(
		histogram("keyring_batch_items", "Keys or MACs that went to the key provider in one call, by operation.", counts), []string{"operation"})
	r.troubles = prometheus.NewCounter(
		counter("keyring_troubles_total", "Failures of the keyring's background work, and weaknesses such as memory that cannot be locked."))
	r.prometheus.MustRegister(r.batchItems, r.troubles)
}

// Called counts the items of a call to the provider. With Trouble it is a keyring.Observer. How long calls take and how
// they fail is counted at the provider: see Registry.Keys.
func (r *Registry) Called(op keyring.Operation, items int, _ time.Duration, _ error) {
	r.batchItems.WithLabelValues(string(op)).Observe(float64(items))
}

// Trouble counts what fails in the keyring's background.
func (r *Registry) Trouble(error) { r.troubles.Inc() }

// figure is one thing that is shown of the stats.
type figure struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(keyring.Stats) float64
}

var keyringFigures = []figure{
	keyringCounter("hits_total", "Keys that were asked for and were in the cache.",
		func(s keyring.Stats) uint64 { return s.Hits }),
	keyringCounter("misses_total", "Keys that were asked for and were not in the cache.",
		func(s keyring.Stats) uint64 { return s.Misses }),
	keyringGauge("cached", "Keys in the cache.",
		func(s keyring.Stats) int { return s.Cached }),
	keyringGauge("pool_ready", "Keys made ahead for people not registered yet.",
		func(s keyring.Stats) int { return s.Ready }),
	keyringGauge("pool_waiting", "Keys made ahead that wait for a snapshot of the key provider.",
		func(s keyring.Stats) int { return s.Waiting }),
	keyringGauge("doomed", "Unused keys that are being destroyed.",
		func(s keyring.Stats) int { return s.Doomed }),
	keyringGauge("locked_bytes", "Memory for keys that is locked.",
		func(s keyring.Stats) int { return s.LockedBytes }),
	keyringGauge("unlocked_bytes", "Memory for keys that could not be locked.",
		func(s keyring.Stats) int { return s.UnlockedBytes }),
}

func keyringCounter(name, help string, of func(keyring.Stats) uint64) figure {
	return figure{keyringDesc(name, help), prometheus.CounterValue, func(s keyring.Stats) float64 { return float64(of(s)) }}
}

func keyringGauge(name, help string, of func(keyring.Stats) int) figure {
	return figure{keyringDesc(name, help), prometheus.GaugeValue, func(s keyring.Stats) float64 { return float64(of(s)) }}
}

func keyringDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "keyring", name), help, nil, nil)
}

// add adds what another keyring says.
func add(sum *keyring.Stats, s keyring.Stats) {
	sum.Hits += s.Hits
	sum.Misses += s.Misses
	sum.Cached += s.Cached
	sum.Ready += s.Ready
	sum.Waiting += s.Waiting
	sum.Doomed += s.Doomed
	sum.LockedBytes += s.LockedBytes
	sum.UnlockedBytes += s.UnlockedBytes
}
