package metrics

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sandyq/sandyq/crypto/keyring"
	"github.com/sandyq/sandyq/vault/audit/witness"
)

func (r *Registry) registerVault() {
	r.missingKeys = prometheus.NewCounter(counter("missing_keys_total", "Times that a living person's key was not at the provider."))
	r.noBasis = prometheus.NewCounter(counter("uses_without_basis_total", "Permitted uses of personal data that rest on no consent on record."))
	r.alerts = prometheus.NewCounterVec(counter("alerts_total", "Alerts raised, by kind."), []string{"kind"})
	r.drillFailures = prometheus.NewCounter(counter("drill_failures_total", "Canary drills that failed."))
	r.asked = prometheus.NewCounterVec(counter("log_witness_answers_total", "What came of asking a witness of the transparency log to cosign it, by the witness's name and outcome."), []string{"witness", "outcome"})
	r.prometheus.MustRegister(r.missingKeys, r.noBasis, r.alerts, r.drillFailures, r.asked, vaultCollector{&r.vaults})
}

// MissingKey counts a living person's key that is not where it should be.
func (r *Registry) MissingKey() { r.missingKeys.Inc() }

// NoBasis counts a permitted use that rests on nothing on record.
func (r *Registry) NoBasis() { r.noBasis.Inc() }

// Alert counts an alert. The kinds are a list of the vault's.
func (r *Registry) Alert(kind string) { r.alerts.WithLabelValues(kind).Inc() }

// Vault is the vault.Observer of one vault, of which a process may run several, one for each tenant. What a vault counts
// goes into the Registry's counters; what it is at the moment is kept apart and shown of all together, for no label tells
// tenants apart: work that waits is added up, the oldest is the oldest of all, and they are live when each of them is.
type Vault struct {
	*Registry

	mu            sync.Mutex // guards what follows
	open          int
	oldest        time.Duration
	removing      int
	removingSince time.Duration
	live          bool
	log           logFigures
	witnessed     bool                 // nor because of its witnesses
	ledger        bool                 // the erasure ledger agrees with store and keys
	anchored      bool                 // nothing of the log stays unsigned because of its anchor
	nodes         int                  // at work on the store
	leads         bool                 // this one leads
	drill         time.Time            // when one passed the last time; zero: never
	stats         func() keyring.Stats // nil until there is a keyring
}

// Vault adds a vault to what is shown. Whoever calls it closes it.
func (r *Registry) Vault() *Vault {
	v := &Vault{Registry: r, anchored: true, witnessed: true, nodes: 1, leads: true}
	r.vaults.mu.Lock()
	defer r.vaults.mu.Unlock()
	r.vaults.all = append(r.vaults.all, v)
	return v
}

// Close has the vault shown no longer. What it counted stays.
func (v *Vault) Close() {
	all := &v.vaults
	all.mu.Lock()
	defer all.mu.Unlock()
	all.all = slices.DeleteFunc(all.all, func(other *Vault) bool { return other == v })
}

// Backlog shows the erasures that wait.
func (v *Vault) Backlog(open int, oldest time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.open, v.oldest = open, oldest
}

// Removals shows the erasures whose removal from the store's files is not confirmed.
func (v *Vault) Removals(pending int, oldest time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.removing, v.removingSince = pending, oldest
}

// logFigures is how the transparency log stands.
type logFigures struct {
	size    int64
	waiting time.Duration
	signed  time.Time // of the last checkpoint; zero: never
}

// and is two logs together: sizes added up, the longest wait, and the checkpoint that is the oldest.
func (f logFigures) and(other logFigures) logFigures {
	f.size += other.size
	f.waiting = max(f.waiting, other.waiting)
	if f.signed.IsZero() || !other.signed.IsZero() && other.signed.Before(f.signed) {
		f.signed = other.signed
	}
	return f
}

// Log shows how the transparency log stands.
func (v *Vault) Log(size int64, waiting time.Duration, signed time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.log = logFigures{size, waiting, signed}
}

// Live shows whether the store is the live one for its keys.
func (v *Vault) Live(live bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.live = live
}

// Ledger shows whether the erasure ledger, the store and the keys agree.
func (v *Vault) Ledger(agrees bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ledger = agrees
}

// Anchored shows whether the transparency log can be signed, for all that its anchor says.
func (v *Vault) Anchored(anchored bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.anchored = anchored
}

// Witnessed shows whether the transparency log can be signed and published, for all that its witnesses say.
func (v *Vault) Witnessed(witnessed bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.witnessed = witnessed
}

// Asked counts what came of asking a witness of the log for a cosignature, by the name of its key.
func (v *Vault) Asked(name string, outcome witness.Outcome) {
	v.Registry.asked.WithLabelValues(name, string(outcome)).Inc()
}

// Nodes shows how many nodes work on the store, and whether this one leads.
func (v *Vault) Nodes(count int, leads bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.nodes, v.leads = count, leads
}

// Drill shows when a canary drill passed the last time, and counts one that has failed.
func (v *Vault) Drill(passed time.Time, failed bool) {
	if failed {
		v.drillFailures.Inc()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.drill = passed
}

// ObserveKeyring has the keyring's stats read at every scrape from now on.
func (v *Vault) ObserveKeyring(stats func() keyring.Stats) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.stats = stats
}

// vaults are those that are shown.
type vaults struct {
	mu  sync.Mutex
	all []*Vault
}

// together is what all vaults are at the moment.
type together struct {
	open          int
	oldest        time.Duration
	removing      int
	removingSince time.Duration
	live          bool
	log           logFigures
	ledger        bool
	anchored      bool
	witnessed     bool
	nodes         int            // most of any vault
	leads         int            // vaults that this process leads
	drill         time.Time      // of the vault whose last success is the oldest; zero: one never had any
	keys          *keyring.Stats // nil before there is a keyring
}

func (vs *vaults) together() together {
	vs.mu.Lock()
	all := slices.Clone(vs.all)
	vs.mu.Unlock()
	now := together{live: len(all) > 0, ledger: len(all) > 0, anchored: true, witnessed: true}
	for i, v := range all {
		v.mu.Lock()
		if i == 0 || v.drill.Before(now.drill) {
			now.drill = v.drill
		}
		open, oldest, live, ledger, stats := v.open, v.oldest, v.live, v.ledger, v.stats
		now.anchored = now.anchored && v.anchored
		now.witnessed = now.witnessed && v.witnessed
		now.nodes = max(now.nodes, v.nodes)
		if v.leads {
			now.leads++
		}
		now.removing += v.removing
		now.log = now.log.and(v.log)
		now.removingSince = max(now.removingSince, v.removingSince)
		v.mu.Unlock()
		now.open += open
		now.oldest = max(now.oldest, oldest)
		now.live, now.ledger = now.live && live, now.ledger && ledger
		if stats == nil {
			continue
		}
		if now.keys == nil {
			now.keys = &keyring.Stats{}
		}
		add(now.keys, stats())
	}
	return now
}

// vaultCollector shows what all vaults are at the moment.
type vaultCollector struct{ vaults *vaults }

var (
	erasuresDesc      = vaultDesc("erasures_unfinished", "Erasures that were begun, could not be finished and are tried again.")
	oldestDesc        = vaultDesc("erasures_oldest_seconds", "Age of the oldest unfinished erasure.")
	removingDesc      = vaultDesc("erasures_removal_pending", "Erasures that are finished while the store's files may still hold ciphertext of theirs.")
	removingSinceDesc = vaultDesc("erasures_removal_oldest_seconds", "Age of the oldest of them, from the end of the erasure.")
	logSizeDesc       = vaultDesc("log_entries", "Audit entries in the transparency log.")
	waitingDesc       = vaultDesc("log_waiting_seconds", "Age of the oldest audit entry that no checkpoint covers yet; 0 when all are covered.")
	signedDesc        = vaultDesc("log_checkpoint_timestamp_seconds", "When the last checkpoint was signed, in seconds since 1970; of several tenants, the oldest.")
	drillDesc         = vaultDesc("drill_last_success_timestamp_seconds", "When a canary drill passed the last time, in seconds since 1970; 0: never; of several tenants, the oldest.")
	ledgerDesc        = vaultDesc("ledger_agrees", "1 when the erasure ledger, the store and the keys agree, so that data is given out; of several tenants, when they do for all.")
	anchoredDesc      = vaultDesc("log_anchored", "1 while checkpoints of the transparency log can be anchored, 0 when it is not signed because of its anchor; of several tenants, when those of all can.")
	witnessedDesc     = vaultDesc("log_witnessed", "1 while witnesses let the transparency log go on, 0 when one contradicts it or too few have cosigned its newest checkpoint; of several tenants, when those of all do.")
	nodesDesc         = vaultDesc("nodes", "Processes at work on the store, this one among them, as it sees them.")
	leadsDesc         = vaultDesc("leads", "Tenants whose background work is this process's to do; summed over all processes, the number of tenants.")
	liveDesc          = vaultDesc("live", "1 when the store is the live one for its keys, 0 when it is a copy or that is not known yet; of several tenants, when it is for those of all.")
)

func vaultDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, nil, nil)
}

// Describe implements prometheus.Collector.
func (vaultCollector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{erasuresDesc, oldestDesc, removingDesc, removingSinceDesc, logSizeDesc, waitingDesc, signedDesc, liveDesc, ledgerDesc, anchoredDesc, witnessedDesc, nodesDesc, leadsDesc, drillDesc} {
		descs <- d
	}
	for _, f := range keyringFigures {
		descs <- f.desc
	}
}

// Collect implements prometheus.Collector. It asks each vault once for all that it shows.
func (c vaultCollector) Collect(out chan<- prometheus.Metric) {
	now := c.vaults.together()
	out <- prometheus.MustNewConstMetric(erasuresDesc, prometheus.GaugeValue, float64(now.open))
	out <- prometheus.MustNewConstMetric(oldestDesc, prometheus.GaugeValue, now.oldest.Seconds())
	out <- prometheus.MustNewConstMetric(removingDesc, prometheus.GaugeValue, float64(now.removing))
	out <- prometheus.MustNewConstMetric(removingSinceDesc, prometheus.GaugeValue, now.removingSince.Seconds())
	out <- prometheus.MustNewConstMetric(logSizeDesc, prometheus.GaugeValue, float64(now.log.size))
	out <- prometheus.MustNewConstMetric(waitingDesc, prometheus.GaugeValue, now.log.waiting.Seconds())
	if !now.log.signed.IsZero() {
		out <- prometheus.MustNewConstMetric(signedDesc, prometheus.GaugeValue, float64(now.log.signed.UnixMilli())/1000)
	}
	out <- prometheus.MustNewConstMetric(liveDesc, prometheus.GaugeValue, oneIf(now.live))
	out <- prometheus.MustNewConstMetric(ledgerDesc, prometheus.GaugeValue, oneIf(now.ledger))
	out <- prometheus.MustNewConstMetric(anchoredDesc, prometheus.GaugeValue, oneIf(now.anchored))
	out <- prometheus.MustNewConstMetric(witnessedDesc, prometheus.GaugeValue, oneIf(now.witnessed))
	out <- prometheus.MustNewConstMetric(nodesDesc, prometheus.GaugeValue, float64(now.nodes))
	out <- prometheus.MustNewConstMetric(leadsDesc, prometheus.GaugeValue, float64(now.leads))
	passed := 0.0
	if !now.drill.IsZero() {
		passed = float64(now.drill.UnixMilli()) / 1000
	}
	out <- prometheus.MustNewConstMetric(drillDesc, prometheus.GaugeValue, passed)
	if now.keys == nil {
		return
	}
	for _, f := range keyringFigures {
		out <- prometheus.MustNewConstMetric(f.desc, f.kind, f.of(*now.keys))
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
