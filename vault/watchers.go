package vault

import (
	"context"
	"sync"
	"time"

	"github.com/sandyq/sandyq/access"
)

// Whoever watches the transparency log asks for its head again and again, and each entry about that would make a new head: the
// log would grow by being watched. So of the readings of the log's tree the first of a credential is recorded, which stands for
// those of the same credential within the minute after it. All are decided, and every refusal is recorded. Queries of entries
// (AuditEntries) are recorded one by one.
const readingStands = time.Minute

// maxWatchers is how many credentials are remembered; more begin anew.
const maxWatchers = 1000

// watchers knows whose reading of the log's tree was recorded when. It is of one process.
type watchers struct {
	mu sync.Mutex
	at map[watcher]time.Time
}

type watcher struct{ system, credential string }

func (w *watchers) stands(who watcher, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, ok := w.at[who]
	return ok && now.Sub(at).Abs() < readingStands
}

func (w *watchers) note(who watcher, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.at) >= maxWatchers || w.at == nil {
		w.at = map[watcher]time.Time{}
	}
	w.at[who] = now
}

// consultTree records a reading of the transparency log, unless one that was recorded stands for it, or refuses it.
func (s *Service) consultTree(ctx context.Context, call Call) error {
	who, now := watcher{call.Principal.System, call.Principal.Credential}, s.Clock()
	if s.watchers.stands(who, now) {
		return s.admit(ctx, call, access.Request{Action: access.ReadAudit})
	}
	err := s.consult(ctx, call, access.ReadAudit)
	if err == nil {
		s.watchers.note(who, now)
	}
	return err
}
