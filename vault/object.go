package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
)

// The classes of what staff configure over the API as objects with a name. The body of their rows is the object in the JSON
// of the API, without what the vault says of it: name, versions, who manages it.
const (
	classPurpose   ruleClass = 'p'
	classRecipient ruleClass = 'r'
	classSystem    ruleClass = 's'
	classPolicies  ruleClass = 'y'
)

// objectKind is a sort of configuration object.
type objectKind struct {
	class    ruleClass
	kind     string        // on the wire and in the log
	action   access.Action // to ask for a change of one
	approval string        // of Options.Approvals: what a change needs

	// check says why a body may not become the object of that name under the rules of the call; nil: it may.
	check func(s *Service, ctx context.Context, call Call, name string, body []byte) *fault.Error
	// read takes the object into rules that are being made.
	read func(s *Service, made *rules, name string, row *ruleRow) error
	// show is the object as the API writes it.
	show func(s *Service, name string, row *ruleRow) (*api.Object, error)
}

// objectKinds lists every sort.
func objectKinds() []*objectKind {
	return []*objectKind{purposeObjects(), recipientObjects(), systemObjects(), policyObjects(), textObjects()}
}

func objectKindOf(class ruleClass) (*objectKind, error) {
	for _, k := range objectKinds() {
		if k.class == class {
			return k, nil
		}
	}
	return nil, fmt.Errorf("the store holds rules of the unknown class %q", class)
}

// objectKey names an object.
type objectKey struct {
	class ruleClass
	name  string
}

// version is the current version of an object; 0 when there is none.
func (r *rules) version(key objectKey) uint32 {
	if row := r.objects[key]; row != nil {
		return row.Version
	}
	return 0
}

// readObject takes an object into the rules being made.
func (s *Service) readObject(made *rules, class ruleClass, name string, row *ruleRow) error {
	k, err := objectKindOf(class)
	if err != nil {
		return err
	}
	made.objects[objectKey{class, name}] = row
	return k.read(s, made, name, row)
}

// maxObject bounds the body of an object, in bytes: a row, and a change that waits, must hold it.
const maxObject = 240 << 10

// bodyOf writes the body of an object: one text for one object.
func bodyOf(object any) ([]byte, error) { return json.Marshal(object, json.Deterministic(true)) }

// objectOf reads a body that is in the store.
func objectOf[T any](body []byte) (*T, error) {
	object := new(T)
	if err := json.Unmarshal(body, object); err != nil {
		return nil, fmt.Errorf("a %T in the store is damaged", *object)
	}
	return object, nil
}

// proposal is an object as somebody wishes it to be.
type proposal struct {
	kind *objectKind
	name string
	from int // the version that they have seen; 0: whichever is current
	body []byte
}

func (p *proposal) key() objectKey { return objectKey{p.kind.class, p.name} }

// propose makes a change of an object, at once or as one that waits for approvals.
func (s *Service) propose(ctx context.Context, call Call, k *objectKind, name string, from int, object any) (*api.Change, error) {
	body, err := bodyOf(object)
	if err != nil {
		return nil, err
	}
	if len(body) > maxObject {
		return nil, fault.Newf(fault.TooLarge, "an object has at most %d bytes of JSON", maxObject)
	}
	p := &proposal{k, name, from, body}
	return underRules(ctx, s, call, func(call Call) (*api.Change, error) { return s.proposeUnder(ctx, call, p) })
}

func (s *Service) proposeUnder(ctx context.Context, call Call, p *proposal) (*api.Change, error) {
	r := access.Request{Action: p.kind.action}
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	if r.Refusal = s.mayBecome(ctx, call, p.kind, p.name, p.body); errors.Is(codeOf(r.Refusal), fault.Invalid) {
		return nil, r.Refusal
	}
	current := call.rules.objects[p.key()]
	version := call.rules.version(p.key())
	switch {
	case r.Refusal != nil:
	case current != nil && bytes.Equal(current.Body, p.body):
		same := &api.Change{Kind: p.kind.kind, Name: p.name, State: api.ChangeSame, Version: int(version)}
		return same, s.rulebook.confirm(ctx, call.rules)
	case p.from != 0 && uint32(p.from) != version:
		r.Refusal = conflict("version", fmt.Sprintf("it is not the current one, which is %d", version))
	}
	if needs := s.Approvals[p.kind.approval]; needs.Needed > 0 {
		return s.proposeChange(ctx, call, r, p, needs)
	}
	return s.changeAtOnce(ctx, call, r, p)
}

// What is configured is held in memory, and read anew when any of it changes.
const (
	maxObjects = 1000    // of one sort
	maxBodies  = 8 << 20 // bytes of JSON, of all sorts together
)

// mayBecome says why a body may not become the object of that name under the rules of the call; nil: it may.
func (s *Service) mayBecome(ctx context.Context, call Call, k *objectKind, name string, body []byte) *fault.Error {
	if bad := k.check(s, ctx, call, name, body); bad != nil {
		return bad
	}
	alike, size := 1, len(body)
	for key, other := range call.rules.objects {
		switch {
		case key == objectKey{k.class, name}:
			continue
		case key.class == k.class:
			alike++
		}
		size += len(other.Body)
	}
	if alike > maxObjects || size > maxBodies {
		return conflict("name", fmt.Sprintf("there may be %d of a sort, and %d bytes of all", maxObjects, maxBodies))
	}
	return nil
}

// codeOf is the code of a refusal that may be none.
func codeOf(refusal *fault.Error) error {
	if refusal == nil {
		return nil
	}
	return refusal.Code
}

// changeAtOnce makes a change that needs nobody's approval.
func (s *Service) changeAtOnce(ctx context.Context, call Call, r access.Request, p *proposal) (*api.Change, error) {
	row := &ruleRow{
		Version: call.rules.version(p.key()) + 1, Body: p.body, At: stampOf(s.Clock()), By: call.Principal.System,
	}
	d := deed{request: r, effect: &draft{}}
	d.entry.Kind, d.entry.Objects = p.kind.kind, []string{versioned(p.name, row.Version)}
	s.changeRule(d.effect, call.rules, p.kind.class, p.name, row)
	if _, err := s.act(ctx, call, func() (deed, error) { return d, nil }); err != nil {
		return nil, err
	}
	if err := s.rulebook.load(ctx); err != nil {
		return nil, err
	}
	return &api.Change{
		Kind: p.kind.kind, Name: p.name, State: api.ChangeEffective, Version: int(row.Version),
		RequestedBy: row.By, DecidedAt: row.At.time(),
	}, nil
}

// versioned names a version of an object in the log.
func versioned(name string, version uint32) string { return fmt.Sprintf("%s@%d", name, version) }

// objectVersions lists every version of an object that there was, from the first.
func (s *Service) objectVersions(ctx context.Context, k *objectKind, name string) ([]*api.Object, error) {
	prefix := s.rows.ruleVersions(k.class, name)
	var all []*api.Object
	err := s.Store.View(ctx, func(r store.Reader) error {
		all = nil
		return scanAll(r, prefix, func(p store.Pair) error {
			row, err := decodeRow[ruleRow](p.Value)
			if err != nil {
				return err
			}
			object, err := k.show(s, name, row)
			all = append(all, object)
			return err
		})
	})
	return all, err
}
