package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sandyq/sandyq/vault/store/badgerdb"
)

func (r *Registry) registerStore() {
	r.commitSeconds = prometheus.NewHistogram(
		histogram("store_commit_seconds", "Time of one commit of a group of updates, with its sync.", latencies))
	r.groupUpdates = prometheus.NewHistogram(
		histogram("store_group_updates", "Updates that shared one commit; the sum counts all updates.", counts))
	r.writes = prometheus.NewCounter(counter("store_writes_total", "Rows that were set or deleted."))
	r.writtenBytes = prometheus.NewCounter(counter("store_written_bytes_total", "Bytes of rows that were written, keys included."))
	r.prometheus.MustRegister(r.commitSeconds, r.groupUpdates, r.writes, r.writtenBytes)
}

// Committed counts a group. It is a badgerdb.Observer.
func (r *Registry) Committed(g badgerdb.Group) {
	r.commitSeconds.Observe(g.Commit.Seconds())
	r.groupUpdates.Observe(float64(g.Updates))
	r.writes.Add(float64(g.Writes))
	r.writtenBytes.Add(float64(g.Bytes))
}
