package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sandyq/sandyq/vault/store/badgerdb"
	"github.com/sandyq/sandyq/vault/store/postgres"
)

func (r *Registry) registerStore() {
	r.commitSeconds = prometheus.NewHistogram(
		histogram("store_commit_seconds", "Time of one commit of a group of updates, with its sync.", latencies))
	r.groupUpdates = prometheus.NewHistogram(
		histogram("store_group_updates", "Updates that shared one commit; the sum counts all updates.", counts))
	r.writes = prometheus.NewCounter(counter("store_writes_total", "Rows that were set or deleted."))
	r.writtenBytes = prometheus.NewCounter(counter("store_written_bytes_total", "Bytes of rows that were written, keys included."))
	r.connections = prometheus.NewGaugeVec(
		gauge("store_connections", "Connections to the database in use, and callers that wait for one, by state."), []string{"state"})
	r.retries = prometheus.NewCounterVec(
		counter("store_retries_total", "Transactions that were begun again, by cause: conflict with others, or a server that was lost."), []string{"cause"})
	r.takeovers = prometheus.NewCounter(counter("store_takeovers_total", "Servers that were met as primary after another."))
	r.prometheus.MustRegister(r.commitSeconds, r.groupUpdates, r.writes, r.writtenBytes, r.connections, r.retries, r.takeovers)
}

// Committed counts a group. It is a badgerdb.Observer.
func (r *Registry) Committed(g badgerdb.Group) {
	r.commitSeconds.Observe(g.Commit.Seconds())
	r.groupUpdates.Observe(float64(g.Updates))
	r.writes.Add(float64(g.Writes))
	r.writtenBytes.Add(float64(g.Bytes))
}

// Connections counts connections to a database. With CommittedRows, Retried and TookOver a Registry is a postgres.Observer.
func (r *Registry) Connections(inUse, waiting int) {
	r.connections.WithLabelValues("in_use").Add(float64(inUse))
	r.connections.WithLabelValues("waiting").Add(float64(waiting))
}

// CommittedRows counts a transaction of one Update.
func (r *Registry) CommittedRows(rows int, took time.Duration) {
	r.commitSeconds.Observe(took.Seconds())
	r.groupUpdates.Observe(1)
	r.writes.Add(float64(rows))
}

// Retried counts what was begun again.
func (r *Registry) Retried(why postgres.Cause) { r.retries.WithLabelValues(string(why)).Inc() }

// TookOver counts failovers of the database that this process met.
func (r *Registry) TookOver() { r.takeovers.Inc() }
