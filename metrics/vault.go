package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func (r *Registry) registerVault() {
	r.erasures = prometheus.NewGauge(gauge("erasures_unfinished", "Erasures that were begun, could not be finished and are tried again."))
	r.oldestErasure = prometheus.NewGauge(gauge("erasures_oldest_seconds", "Age of the oldest unfinished erasure."))
	r.missingKeys = prometheus.NewCounter(counter("missing_keys_total", "Times that a living person's key was not at the provider."))
	r.live = prometheus.NewGauge(gauge("live", "1 when the store is the live one for its keys, 0 when it is a copy or that is not known yet."))
	r.noBasis = prometheus.NewCounter(counter("uses_without_basis_total", "Permitted uses of personal data that rest on no consent on record."))
	r.alerts = prometheus.NewCounterVec(counter("alerts_total", "Alerts raised, by kind."), []string{"kind"})
	r.prometheus.MustRegister(r.erasures, r.oldestErasure, r.missingKeys, r.live, r.noBasis, r.alerts)
}

// Backlog shows the erasures that wait. With MissingKey and Live it is a vault.Observer.
func (r *Registry) Backlog(open int, oldest time.Duration) {
	r.erasures.Set(float64(open))
	r.oldestErasure.Set(oldest.Seconds())
}

// MissingKey counts a living person's key that is not where it should be.
func (r *Registry) MissingKey() { r.missingKeys.Inc() }

// NoBasis counts a permitted use that rests on nothing on record.
func (r *Registry) NoBasis() { r.noBasis.Inc() }

// Alert counts an alert. The kinds are a list of the vault's.
func (r *Registry) Alert(kind string) { r.alerts.WithLabelValues(kind).Inc() }

// Live shows whether the store is the live one for its keys.
func (r *Registry) Live(live bool) {
	if live {
		r.live.Set(1)
		return
	}
	r.live.Set(0)
}
