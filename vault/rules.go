package vault

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/purpose"
	"github.com/sandyq/sandyq/vault/store"
)

// rules is what decides on calls beside the people themselves: one generation of everything that staff configure over the
// API, joined with what the process was started with. It does not change once made. A call is decided by one generation
// from its beginning to its end, and every Update that it makes expects that the store is still at that generation: so a
// change of the rules holds from its acknowledgement on, on every node, as a block does.
type rules struct {
	generation  []byte // the row as it was read; nil before anything was configured
	gate        *access.Gate
	purposes    *purpose.Registry
	recipients  map[string]*api.Recipient
	systems     map[string]*api.System
	texts       map[string]consentText
	objects     map[objectKey]*ruleRow // what of this is an object with a name
	canaries    canaries
	emergencies map[declarer]*emergency // that were declared; some may have run out
}

// metaRules is the row that counts generations: eight bytes, big-endian.
const metaRules = "rules"

// ruleClass is a kind of thing that the rules are made of.
type ruleClass byte

// ruleRow is one version of one thing that the rules are made of.
type ruleRow struct {
	Version uint32 `cbor:"1,keyasint"` // from 1
	Body    []byte `cbor:"2,keyasint"` // as its class has it; nil: it is no more
	At      stamp  `cbor:"3,keyasint"`
	By      string `cbor:"4,keyasint"` // the system of whoever changed it
	Change  []byte `cbor:"5,keyasint,omitempty"`
}

// errRules ends an attempt at a call whose rules have changed meanwhile. Nothing was written by the Update that it ended.
var errRules = errors.New("the rules have changed")

// rulebook holds the generation that new calls are decided by.
type rulebook struct {
	service *Service
	current atomic.Pointer[rules]
	loading sync.Mutex
	stale   chan struct{} // holds one when another node was seen to have changed them
}

func (b *rulebook) init(s *Service) { b.service, b.stale = s, make(chan struct{}, 1) }

// until reads the rules that other nodes have made, so that what they do not permit any more is not streamed on, until ctx ends.
func (b *rulebook) until(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.stale:
			if err := b.load(ctx); err != nil {
				b.service.complain(ctx, "read the rules anew", err)
			}
		}
	}
}

// load reads the store's generation, unless it is the current one.
func (b *rulebook) load(ctx context.Context) error {
	b.loading.Lock() // one reading serves all who wait; the store is read here and nothing else waits for it
	defer b.loading.Unlock()
	var fresh *rules
	err := b.service.Store.View(ctx, func(r store.Reader) (err error) {
		fresh = b.current.Load()
		generation, err := r.Get(b.service.rows.meta(metaRules))
		if err != nil || fresh != nil && bytes.Equal(generation[0], fresh.generation) {
			return err
		}
		fresh, err = b.service.readRules(r, bytes.Clone(generation[0]))
		return err
	})
	if err != nil {
		return fmt.Errorf("read the rules: %w", err)
	}
	if b.current.Swap(fresh) != fresh {
		b.service.breakReadings(ctx, fresh)
	}
	return nil
}

// confirm returns errRules unless these rules are the store's. It is for an answer that no Update stands behind, which would
// have noticed.
func (b *rulebook) confirm(ctx context.Context, by *rules) error {
	if err := b.load(ctx); err != nil {
		return err
	}
	if b.current.Load() != by {
		return errRules
	}
	return nil
}

// behind reports whether a request was found wrong by rules that are not the current ones: such a refusal leaves no entry,
// so no Update has noticed.
func (b *rulebook) behind(ctx context.Context, by *rules, err error) bool {
	return errors.Is(err, fault.Invalid) && b.load(ctx) == nil && b.current.Load() != by
}

// readRules makes the rules of what one snapshot holds.
func (s *Service) readRules(r store.Reader, generation []byte) (*rules, error) {
	made := &rules{
		generation: generation, gate: s.gateOf(s.Decider), purposes: s.Options.Purposes,
		recipients: map[string]*api.Recipient{}, texts: s.consentTexts(), systems: map[string]*api.System{}, objects: map[objectKey]*ruleRow{},
	}
	prefix := s.rows.key(kindRule)
	return made, scanAll(r, prefix, func(p store.Pair) error {
		row, err := decodeRow[ruleRow](p.Value)
		if err != nil || row.Body == nil {
			return err
		}
		class, name := ruleClass(p.Key[len(prefix)]), string(p.Key[len(prefix)+1:len(p.Key)-1])
		return s.readRule(made, class, name, row)
	})
}

// readRule takes one thing into the rules being made.
func (s *Service) readRule(made *rules, class ruleClass, name string, row *ruleRow) error {
	switch class {
	case classPurpose, classRecipient, classSystem, classPolicies, classText:
		return s.readObject(made, class, name, row)
	case classEmergency:
		return made.readEmergency(name, row)
	case classCanary:
		return made.canaries.add(name, row)
	}
	return fmt.Errorf("the store holds rules of the unknown class %q", class)
}

// changeRule has a draft write the next version of a thing that the rules are made of, and with it the next generation.
// Whoever commits it reads the rules anew before it answers: see rulebook.load.
func (s *Service) changeRule(d *draft, from *rules, class ruleClass, name string, row *ruleRow) {
	next := binary.BigEndian.AppendUint64(nil, from.number()+1)
	d.set(s.rows.meta(metaRules), next)
	b := encodeRow(row)
	d.set(s.rows.rule(class, name), b)
	d.set(s.rows.ruleVersion(class, name, row.Version), b)
}

// number counts generations.
func (r *rules) number() uint64 {
	if r.generation == nil {
		return 0
	}
	return binary.BigEndian.Uint64(r.generation)
}

// ground is what every Update of a call expects beside what its drafts do.
func (s *Service) ground(r *rules) *draft {
	d := &draft{}
	d.expect(s.rows.meta(metaRules), r.generation)
	return d
}

// underRules makes a call under the current rules, anew when they change meanwhile, and gives its failure the code that
// the caller is told.
func underRules[T any](ctx context.Context, s *Service, call Call, do func(Call) (T, error)) (T, error) {
	const rounds = 4
	var out T
	call.bill = &bill{}
	lapses := s.fleet.lapses.Load()
	for range rounds {
		call.rules = s.rulebook.current.Load()
		var err error
		out, err = do(call)
		if !errors.Is(err, errRules) && !s.rulebook.behind(ctx, call.rules, err) {
			if lapsed := s.fleet.since(lapses); err == nil && lapsed != nil {
				var none T // the others may have gone on without this node since it was decided
				return none, edge(lapsed)
			}
			return out, edge(err)
		}
		if err := s.rulebook.load(ctx); err != nil {
			return out, edge(err)
		}
	}
	return out, errRulesChanged()
}

// errRulesChanged is what a caller is told whose call cannot be made anew.
func errRulesChanged() *fault.Error {
	return &fault.Error{Code: fault.Unavailable, Detail: "the rules changed meanwhile: ask again", RetryAfter: time.Second}
}
