package vault

import (
	"bytes"
	"context"
	"fmt"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
)

// maxScanned is how many entries one page of a filtered list looks at; the cursor goes on from there.
const maxScanned = 20_000

// AuditEntries lists entries of the audit log in the order of their ids, from the oldest.
func (s *Service) AuditEntries(ctx context.Context, call Call, q api.AuditQuery) (*api.Page[api.AuditEntry], error) {
	return underRules(ctx, s, call, func(call Call) (*api.Page[api.AuditEntry], error) { return s.auditEntries(ctx, call, q) })
}

func (s *Service) auditEntries(ctx context.Context, call Call, q api.AuditQuery) (*api.Page[api.AuditEntry], error) {
	limit, err := checkLimit(q.Limit)
	if err != nil {
		return nil, err
	}
	if err := s.consult(ctx, call, access.ReadAudit); err != nil {
		return nil, err
	}
	scan := &logScan{service: s, query: q, limit: limit}
	if err := scan.bounds(); err != nil {
		return nil, err
	}
	page := &api.Page[api.AuditEntry]{Items: []api.AuditEntry{}}
	err = s.Store.View(ctx, func(r store.Reader) error {
		page.Items, page.NextCursor = page.Items[:0], ""
		return scan.run(r, page)
	})
	return page, err
}

// consult records a reading of the vault's own affairs, or refuses it.
func (s *Service) consult(ctx context.Context, call Call, a access.Action) error {
	if err := s.current(); err != nil {
		return err
	}
	_, err := s.act(store.With(ctx, store.Reading), call, func() (deed, error) {
		return deed{request: access.Request{Action: a}}, nil
	})
	return err
}

func checkLimit(limit int) (int, error) {
	switch {
	case limit == 0:
		return api.DefaultLimit, nil
	case limit < 0 || limit > api.MaxLimit:
		return 0, fault.Bad("limit", fmt.Sprintf("1 to %d", api.MaxLimit))
	}
	return limit, nil
}

// logScan walks the log, or one person's part of it.
type logScan struct {
	service *Service
	query   api.AuditQuery
	limit   int
	prefix  []byte
	after   []byte
	until   []byte // the first key beyond; nil for none
	person  bool   // the rows point at entries
}

func (l *logScan) bounds() error {
	s := l.service
	l.prefix = s.rows.key(kindAudit)
	if l.query.Subject != "" {
		subject, err := parseID(subjectPrefix, l.query.Subject)
		if err != nil {
			return fault.Bad("subject", "an id of a person")
		}
		l.prefix, l.person = s.rows.of(kindAuditOf, subject), true
	}
	at := func(id audit.ID) []byte { return append(bytes.Clone(l.prefix), id[:]...) }
	if !l.query.From.IsZero() {
		l.after = at(audit.FirstID(l.query.From))
	}
	if !l.query.To.IsZero() {
		l.until = at(audit.FirstID(l.query.To))
	}
	if l.query.Cursor != "" {
		id, err := audit.ParseID(l.query.Cursor)
		if err != nil {
			return fault.Bad("cursor", ruleUnknown)
		}
		l.after = at(id)
	}
	return nil
}

func (l *logScan) run(r store.Reader, page *api.Page[api.AuditEntry]) error {
	const step = 200
	for scanned := 0; scanned < maxScanned; {
		pairs, err := r.Scan(l.prefix, l.after, step)
		if err != nil {
			return err
		}
		for _, p := range pairs {
			if l.until != nil && bytes.Compare(p.Key, l.until) >= 0 {
				return nil
			}
			if len(page.Items) == l.limit {
				page.NextCursor = audit.ID(l.after[len(l.prefix):]).String()
				return nil
			}
			if err := l.take(r, p, page); err != nil {
				return err
			}
			l.after = bytes.Clone(p.Key)
			scanned++
		}
		if len(pairs) < step {
			return nil
		}
	}
	page.NextCursor = audit.ID(l.after[len(l.prefix):]).String()
	return nil
}

// take adds an entry that the query asks for.
func (l *logScan) take(r store.Reader, p store.Pair, page *api.Page[api.AuditEntry]) error {
	raw := p.Value
	if l.person {
		id := audit.ID(p.Key[len(l.prefix):])
		rows, err := r.Get(l.service.rows.audit(id))
		if err != nil {
			return err
		}
		if raw = rows[0]; raw == nil {
			return fmt.Errorf("audit entry %s is not there", id)
		}
	}
	if l.query.Actor != "" || l.query.Operation != "" {
		var e audit.Entry
		if err := json.Unmarshal(raw, &e); err != nil {
			return fmt.Errorf("an audit entry in the store is damaged")
		}
		actor := l.query.Actor == "" || l.query.Actor == e.System || l.query.Actor == e.Credential || l.query.Actor == e.OnBehalfOf
		if !actor || l.query.Operation != "" && l.query.Operation != e.Operation {
			return nil
		}
	}
	page.Items = append(page.Items, api.AuditEntry(bytes.Clone(raw)))
	return nil
}
