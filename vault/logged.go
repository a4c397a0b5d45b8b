package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/audit/translog"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
)

// openLog makes the transparency log of the audit log.
func (s *Service) openLog() (err error) {
	s.translog, err = translog.New(translog.Options{
		Store: s.Store, Prefix: s.rows.key(kindLog), Rows: entryRows{s}, Keys: s.Keys, Clock: s.Clock,
		Origin: s.Origin + "/" + s.Tenant, Anchor: s.Anchor, Witnesses: s.Witnesses, Quorum: s.Quorum,
	})
	return err
}

// leaf is an entry that a draft writes, as the transparency log takes it up. The Update that commits the draft writes it
// under key, together with the leaves of all others, when it is the first of that Update.
type leaf struct {
	key []byte
	translog.Leaf
}

// leafOf makes the leaf of an entry.
func (s *Service) leafOf(id audit.ID, operation string, entry []byte) leaf {
	return leaf{s.translog.StagedKey(id), translog.Leaf{ID: id, Hash: tlog.RecordHash(entry), Placed: proved(operation)}}
}

// proved reports whether proofs of an operation's entries are asked for one by one: those of erasures, for their
// certificates, and those of the log's own affairs.
func proved(operation string) bool {
	return strings.HasPrefix(operation, "erasure.") || strings.HasPrefix(operation, "log.")
}

// entryRows tells the transparency log where entries are.
type entryRows struct{ service *Service }

func (e entryRows) Entry(id audit.ID) []byte { return e.service.rows.audit(id) }

// Beside is the rows that point at an entry: among those of its person, and among the uses of an emergency.
func (e entryRows) Beside(id audit.ID, raw []byte) (keys [][]byte, err error) {
	var entry audit.Entry
	if err := json.Unmarshal(raw, &entry); err != nil {
		return nil, errors.New("an audit entry in the store is damaged")
	}
	if entry.Subject != "" {
		subject, err := parseID(subjectPrefix, entry.Subject)
		if err != nil {
			return nil, err
		}
		keys = append(keys, e.service.rows.auditOf(subject, id))
	}
	if entry.BreakGlass != "" {
		emergency, err := parseID(emergencyPrefix, entry.BreakGlass)
		if err != nil {
			return nil, err
		}
		keys = append(keys, e.service.rows.emergencyUse(emergency, id))
	}
	return keys, nil
}

// logUntil takes new entries into the transparency log and has it signed, on a timer.
func (s *Service) logUntil(ctx context.Context) {
	timer := time.NewTicker(s.LogEvery)
	defer timer.Stop()
	for {
		if err := s.extendLog(ctx); err != nil {
			s.complain(ctx, "bring the transparency log up to date", err)
		}
		if !s.collectUntil(ctx, timer.C) {
			return
		}
	}
}

// collectUntil takes up what witnesses say of the log until it is time for its next pass; false when there is none.
func (s *Service) collectUntil(ctx context.Context, next <-chan time.Time) bool {
	var came <-chan struct{}
	if s.Witnesses != nil {
		came = s.Witnesses.Came()
	}
	for {
		select {
		case <-ctx.Done():
			return false
		case <-next:
			return true
		case <-came:
			if err := s.collect(ctx); err != nil {
				s.complain(ctx, "take up what witnesses say of the transparency log", err)
			}
		}
	}
}

// collect takes up what witnesses say, as extendLog takes up entries.
func (s *Service) collect(ctx context.Context) error {
	ctx, leads := s.fleet.lead(ctx)
	if !leads || !s.signs() {
		return nil
	}
	return s.translog.Collect(ctx)
}

// signs reports whether the log may be signed now: this is the live store, so that it is no copy's log, and the erasure ledger
// agrees with it. While it does not, the store may have been put back to an earlier state, whose log has to be renewed first.
func (s *Service) signs() bool { return s.title.standing() == StandingLive && s.accord.hold() == nil }

// extendLog brings the log up to date, if it may be signed.
func (s *Service) extendLog(ctx context.Context) error {
	ctx, leads := s.fleet.lead(ctx)
	if !leads { // whoever does says what becomes of the log
		s.unsigned.Store(false)
		s.Observer.Anchored(true)
		s.Observer.Witnessed(true)
		return nil
	}
	if !s.signs() {
		return nil
	}
	status, err := s.translog.Flush(ctx)
	if ctx.Err() == nil && (err == nil || errors.Is(err, translog.ErrAnchor)) {
		s.fleet.can(anchoring, err == nil)
	}
	s.Observer.Log(status.Size, status.Waiting, status.Signed)
	restored := errors.Is(err, translog.ErrRestored)
	unanchored := restored || errors.Is(err, translog.ErrAnchor)
	unwitnessed := errors.Is(err, translog.ErrWitness) || status.Held && status.Waiting > quorumWait
	s.unsigned.Store(unanchored || unwitnessed)
	s.Observer.Anchored(!unanchored)
	s.Observer.Witnessed(!unwitnessed)
	if restored {
		s.accord.doubt()
	}
	return err
}

// quorumWait is how long entries wait for a quorum of witnesses before it shows that there is none.
const quorumWait = 30 * time.Second

// renewLog has the log go on under another origin, and says so in it: what the store that was live before went on to sign
// is not contradicted. It comes before the store is made the live one.
func (s *Service) renewLog(ctx context.Context) error {
	d := &draft{}
	if err := s.log(d, &audit.Entry{System: itself, Operation: "log.renew", Decision: audit.Allow}); err != nil {
		return err
	}
	return s.translog.Renew(ctx, func(w store.Writer) error {
		if err := d.write(w); err != nil {
			return err
		}
		return stage(w, d)
	})
}

// prunedAtOnce is how many bundles of 256 entries one sweep removes at most.
const prunedAtOnce = 40

// pruneLog removes entries whose retention is over. The tree keeps their hashes.
func (s *Service) pruneLog(ctx context.Context) error {
	if s.Retention == 0 {
		return nil
	}
	_, err := s.translog.Prune(ctx, s.Clock().Add(-s.Retention), prunedAtOnce)
	return err
}

// LogCheckpoint is the head of the transparency log, a signed note.
func (s *Service) LogCheckpoint(ctx context.Context, call Call) ([]byte, error) {
	return underRules(ctx, s, call, func(call Call) ([]byte, error) {
		if err := s.consultTree(ctx, call); err != nil {
			return nil, err
		}
		note, err := s.translog.Checkpoint(ctx)
		return note, logFault(err)
	})
}

// LogTile is a tile of the tree's hashes, or a bundle of entries, by its path as c2sp.org/tlog-tiles has it.
func (s *Service) LogTile(ctx context.Context, call Call, path string) ([]byte, error) {
	return underRules(ctx, s, call, func(call Call) ([]byte, error) {
		if err := s.consultTree(ctx, call); err != nil {
			return nil, err
		}
		t, err := checkpoint.ParseTile(path)
		if err != nil {
			return nil, fault.New(fault.NotFound, "the log has no such tile")
		}
		data, err := s.translog.Tile(ctx, t)
		return data, logFault(err)
	})
}

// LogKeys is the keys that sign for the log, and the chain that leads to them from every earlier one.
func (s *Service) LogKeys(ctx context.Context, call Call) (*api.LogKeys, error) {
	return underRules(ctx, s, call, func(call Call) (*api.LogKeys, error) {
		if err := s.consultTree(ctx, call); err != nil {
			return nil, err
		}
		return s.logKeys(ctx)
	})
}

func (s *Service) logKeys(ctx context.Context) (*api.LogKeys, error) {
	keys, err := s.translog.PublicKeys(ctx)
	if err != nil {
		return nil, logFault(err)
	}
	notes, err := s.translog.Successions(ctx)
	if err != nil {
		return nil, logFault(err)
	}
	answer := &api.LogKeys{Keys: []string{}, Successions: []string{}}
	for _, k := range keys {
		answer.Keys = append(answer.Keys, k.String())
	}
	for _, n := range notes {
		answer.Successions = append(answer.Successions, string(n))
	}
	return answer, nil
}

// RotateLogKey has the log signed by a new key, beside the one until now for 30 days.
func (s *Service) RotateLogKey(ctx context.Context, call Call) (*api.LogKeys, error) {
	return underRules(ctx, s, call, func(call Call) (*api.LogKeys, error) {
		if err := s.writable(); err != nil {
			return nil, err
		}
		_, err := s.act(ctx, call, func() (deed, error) {
			return deed{request: access.Request{Action: access.RotateLogKey}}, nil
		})
		if err != nil {
			return nil, err
		}
		if !s.signs() {
			return nil, fault.New(fault.Unavailable, "this is not known to be the live vault, in accord with its erasure ledger")
		}
		if _, err := s.translog.RotateKey(ctx); err != nil {
			return nil, logFault(err)
		}
		return s.logKeys(ctx)
	})
}

// logFault is what a caller is told when the log cannot answer.
func logFault(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, translog.ErrAbsent), errors.Is(err, translog.ErrUnknown):
		return fault.New(fault.NotFound, "the log has no such tile")
	case errors.Is(err, kms.ErrUnavailable):
		return fault.New(fault.Unavailable, "the key provider is away")
	case errors.Is(err, translog.ErrQuorum):
		return &fault.Error{Code: fault.Unavailable, Detail: "too few witnesses of the log have cosigned the entry yet: ask again", RetryAfter: 2 * time.Second}
	case errors.Is(err, errMoving), errors.Is(err, errElsewhere):
		return &fault.Error{Code: fault.Unavailable, Detail: "the certificate is being issued: ask again", RetryAfter: time.Second}
	}
	return fmt.Errorf("the transparency log: %w", err)
}
