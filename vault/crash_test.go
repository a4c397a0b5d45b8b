package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"golang.org/x/sync/errgroup"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/cedar"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/blob/file"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/ledger"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/memory"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// mishap is what happens to one step: one call of the vault to its store, its key provider or its blobs.
type mishap int

const (
	failsBefore mishap = iota // an error, and no effect
	failsAfter                // the effect, and an error
	diesBefore                // the process ends before the effect
	diesAfter                 // the process ends after the effect
	landsLate                 // an error, and the effect some time later; of the key provider, elsewhere failsAfter
	mishaps
)

func (m mishap) String() string {
	return [...]string{"fails before", "fails after", "dies before", "dies after", "lands late"}[m]
}

var errMishap = errors.New("a mishap of the test")

// trap counts steps, and one mishap befalls the at-th. Of a process that has died nothing gets through any more.
type trap struct {
	mu      sync.Mutex
	at, n   int
	mishap  mishap
	sprung  bool
	dead    bool
	settled bool // the vault knows its title: looking whether it still does is no step
	late    sync.WaitGroup
	landed  chan struct{} // closed when what lands late has; nil before there is such a thing
	struck  time.Time     // when that was
}

// next counts a step, and says what is to happen to it.
func (t *trap) next() (hit, dead bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dead {
		return false, true
	}
	t.n++
	hit = t.n == t.at
	t.sprung = t.sprung || hit
	t.dead = hit && t.mishap == diesBefore
	return hit, t.dead
}

func (t *trap) isDead() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dead
}

// step does what a step does, or not. The error of a mishap is joined with as, which the part would say.
func (t *trap) step(as error, mayLandLate bool, do func() error) error {
	hit, dead := t.next()
	fails := errors.Join(as, errMishap)
	switch {
	case dead, hit && t.mishap == failsBefore:
		return fails
	case hit && t.mishap == landsLate && mayLandLate:
		landed := make(chan struct{})
		t.mu.Lock()
		t.landed, t.struck = landed, time.Now()
		t.mu.Unlock()
		t.late.Go(func() {
			defer close(landed)
			time.Sleep(settle / 8)
			_ = do()
		})
		return fails
	}
	err := do()
	if hit {
		t.mu.Lock()
		t.dead = t.mishap == diesAfter
		t.mu.Unlock()
		return fails
	}
	return err
}

// settles waits for what lands late, if the time that it may take is over: a machine that is busy does not make it later.
func (t *trap) settles() {
	t.mu.Lock()
	landed, struck := t.landed, t.struck
	t.mu.Unlock()
	if landed != nil && time.Since(struck) >= settle {
		<-landed
	}
}

// settle is what the key provider may take with what it has said to have failed.
const settle = 40 * time.Millisecond

type trappedStore struct {
	store.Store
	*trap
}

func (s trappedStore) View(ctx context.Context, f func(store.Reader) error) error {
	if s.isDead() {
		return errors.Join(store.ErrClosed, errMishap)
	}
	return s.Store.View(ctx, f)
}

func (s trappedStore) Update(ctx context.Context, f func(store.Writer) error) error {
	return s.step(store.ErrClosed, false, func() error { return s.Store.Update(ctx, f) })
}

type trappedLedger struct {
	ledger.Ledger
	*trap
}

func (l trappedLedger) Append(ctx context.Context, entries ...ledger.Entry) (head ledger.Head, err error) {
	err = l.step(ledger.ErrFailed, false, func() error {
		head, err = l.Ledger.Append(ctx, entries...)
		return err
	})
	return head, err
}

type trappedKeys struct {
	kms.Provider
	*trap
	sees *onlooker
}

func (k trappedKeys) Create(ctx context.Context, ids ...kms.ID) ([]kms.Key, error) {
	var keys []kms.Key // of no use when it lands late: then step has failed
	err := k.step(kms.ErrUnavailable, true, func() (err error) {
		keys, err = k.Provider.Create(context.WithoutCancel(ctx), ids...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return keys, nil
}

func (k trappedKeys) Open(ctx context.Context, ids ...kms.ID) (keys []kms.Key, err error) {
	err = k.step(kms.ErrUnavailable, false, func() error {
		keys, err = k.Provider.Open(ctx, ids...)
		return err
	})
	return keys, err
}

func (k trappedKeys) MAC(ctx context.Context, inputs ...[]byte) (macs [][]byte, err error) {
	err = k.step(kms.ErrUnavailable, false, func() error {
		macs, err = k.Provider.MAC(ctx, inputs...)
		return err
	})
	return macs, err
}

func (k trappedKeys) Destroy(ctx context.Context, claim kms.Claim, ids ...kms.ID) error {
	if !k.isDead() {
		k.sees.destroys(ids)
	}
	k.settles()
	return k.step(kms.ErrUnavailable, true, func() error {
		return k.Provider.Destroy(context.WithoutCancel(ctx), claim, ids...)
	})
}

func (k trappedKeys) SetMark(ctx context.Context, from, next kms.Mark) error {
	if !k.isDead() {
		k.sees.marks(next)
	}
	return k.step(kms.ErrUnavailable, true, func() error {
		return k.Provider.SetMark(context.WithoutCancel(ctx), from, next)
	})
}

func (k trappedKeys) Advance(ctx context.Context, from, next kms.Generation) error {
	return k.step(kms.ErrUnavailable, true, func() error {
		return k.Provider.Advance(context.WithoutCancel(ctx), from, next)
	})
}

func (k trappedKeys) Generation(ctx context.Context) (g kms.Generation, err error) {
	k.mu.Lock()
	settled, dead := k.settled, k.dead
	k.mu.Unlock()
	if settled && !dead {
		return k.Provider.Generation(ctx)
	}
	err = k.step(kms.ErrUnavailable, false, func() error {
		g, err = k.Provider.Generation(ctx)
		return err
	})
	return g, err
}

type trappedBlobs struct {
	blob.Store
	*trap
}

func (b trappedBlobs) Create(ctx context.Context, id blob.ID) (w blob.Writer, err error) {
	err = b.step(nil, false, func() error {
		w, err = b.Store.Create(ctx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return trappedWriter{w, b.trap}, nil
}

func (b trappedBlobs) Remove(ctx context.Context, id blob.ID) error {
	return b.step(nil, false, func() error { return b.Store.Remove(ctx, id) })
}

type trappedWriter struct {
	blob.Writer
	*trap
}

func (w trappedWriter) Commit() error { return w.step(nil, false, w.Writer.Commit) }

// Abort is what a process that has died does not do any more.
func (w trappedWriter) Abort() {
	if !w.isDead() {
		w.Writer.Abort()
	}
}

// site is the lasting parts of a vault, and the process that runs on them.
type site struct {
	home  string
	store store.Store
	keys  kms.Provider
	blobs blob.Store
	clock vaulttest.Clock
	trap  *trap

	sees *onlooker

	patience int // how often something that takes its time is looked at, every 10 ms
	*vault.Service
}

func newSite(home string, s store.Store) (*site, error) {
	keys, err := vaulttest.Keyring(filepath.Join(home, "keyring"))
	if err != nil {
		return nil, err
	}
	blobs, err := file.Open(filepath.Join(home, "documents"), 0)
	w := &onlooker{store: s, keys: keys}
	return &site{home: home, store: s, keys: keys, blobs: blobs, trap: &trap{}, sees: w, patience: 500}, err
}

// start starts a process, which falls into tr.
func (s *site) start(tr *trap) error {
	s.trap = tr
	o := vault.Options{
		Tenant: "test", Store: trappedStore{s.store, tr}, Place: "test", Blobs: trappedBlobs{s.blobs, tr},
		Keys: trappedKeys{s.keys, tr, s.sees}, Clock: s.clock.Now, Log: slog.New(slog.DiscardHandler), Ledger: s.ledger(tr),
		Decider:    cedar.Default(cedar.Options{Category: schema.Default().CategoryOf, Now: s.clock.Now}),
		SweepEvery: 20 * time.Millisecond, UploadLife: time.Minute,
	}
	o.Keyring.PoolSize, o.Keyring.Settle = 4, settle
	service, err := vault.Open(ctx, o)
	if err != nil {
		return err
	}
	s.Service = service
	return nil
}

// ledger opens the erasure ledger, which falls into tr with the rest.
func (s *site) ledger(tr *trap) vault.OpenLedger {
	open := vaulttest.Ledger(filepath.Join(s.home, "ledger"), "test", s.keys)
	return func(ctx context.Context, use ledger.Use) (ledger.Ledger, error) {
		l, err := open(ctx, use)
		if err != nil {
			return nil, err
		}
		s.sees.reads(l)
		return trappedLedger{l, tr}, nil
	}
}

// onlooker sees every destruction and every mark before it comes to be, whatever becomes of it then.
type onlooker struct {
	store store.Store
	keys  kms.Provider

	mu     sync.Mutex
	ledger ledger.Ledger
	wrong  []error
}

func (w *onlooker) reads(l ledger.Ledger) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ledger = l
}

func (w *onlooker) says(wrong error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrong = append(w.wrong, wrong)
}

// found is what the onlooker saw that must not be.
func (w *onlooker) found() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.wrong...)
}

// listed are the keys that the ledger lists, up to an entry, as destroyed.
func (w *onlooker) listed(upTo uint64) (ids []kms.ID, err error) {
	w.mu.Lock()
	l := w.ledger
	w.mu.Unlock()
	if l == nil {
		return nil, nil
	}
	return ids, l.Scan(ctx, 0, func(e ledger.Entry) error {
		if e.Number <= upTo {
			ids = append(ids, e.Destroys()...)
		}
		return nil
	})
}

// destroys sees that the ledger lists every key that is about to go and that seals something, or did before an erasure.
func (w *onlooker) destroys(ids []kms.ID) {
	all, err := rows(w.store)
	if err != nil {
		w.says(err)
		return
	}
	listed, err := w.listed(math.MaxUint64)
	if err != nil {
		w.says(err)
	}
	for _, id := range ids {
		inUse := slices.ContainsFunc(all, func(p store.Pair) bool {
			return bytes.IndexByte([]byte("srdePm"), kindOf(p.Key)) >= 0 && bytes.Contains(p.Value, id[:])
		})
		if inUse && !slices.Contains(listed, id) {
			w.says(errors.New("a key that was in use is destroyed and the ledger does not list it"))
		}
	}
}

// marks sees that everything that the ledger lists up to a mark is gone.
func (w *onlooker) marks(m kms.Mark) {
	listed, err := w.listed(m.Entries)
	if err != nil {
		w.says(err)
	}
	if len(listed) == 0 {
		return
	}
	keys, err := w.keys.Open(ctx, listed...)
	if err != nil {
		w.says(err)
	}
	for _, k := range keys {
		if !k.Missing() {
			w.says(fmt.Errorf("a mark at entry %d, and a key listed before is there", m.Entries))
		}
		k.Secret.Wipe()
	}
}

// revive starts a process without a trap when the last has died, as its supervisor would.
func (s *site) revive() error {
	if s.Service != nil && !s.trap.isDead() {
		return nil
	}
	s.end()
	return s.start(&trap{})
}

func (s *site) end() {
	if s.Service != nil {
		s.Close()
		s.Service = nil
	}
	s.trap.late.Wait()
}

// retried makes a call until it is acknowledged, starting a new process when the last has died.
func (s *site) retried(what string, call func() error) error {
	var err error
	for range s.patience {
		if err = s.revive(); err == nil {
			if err = call(); err == nil {
				return nil
			}
		}
		if !errors.Is(err, errMishap) && !errors.Is(err, fault.Unavailable) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// credential is a call in the name of a new credential of the shop.
func (s *site) credential() (vault.Call, error) {
	root := vault.Call{Principal: access.Principal{Tenant: "test", System: "test", Roles: []access.Role{access.Administrator}}}
	made, err := s.CreateServiceToken(ctx, root, &api.CreateServiceTokenRequest{System: "shop", Role: string(access.Application)})
	if err != nil {
		return vault.Call{}, err
	}
	who, err := s.Authenticate(ctx, vault.Presented{Bearer: made.Secret})
	return vault.Call{Principal: who, RequestID: "test"}, err
}

// held is what the shop was acknowledged to hold of a person, and what must come of it.
type holding struct {
	subject, name, value string // the name's token and value
	document             string // token; empty for none
	parts                [][]byte
	refused              fault.Code // instead of a value
}

// check demands that what was acknowledged holds.
func (s *site) check(shop vault.Call, h holding) error {
	resp, err := s.Detokenize(ctx, shop, &api.DetokenizeRequest{Purpose: "service", Reason: "check", Tokens: []string{h.name}})
	if err != nil {
		return err
	}
	r := resp.Results[0]
	switch {
	case h.refused != "" && (r.Error == nil || r.Error.Code != h.refused):
		if r.Error != nil && r.Error.Code == fault.Unavailable {
			return r.Error.Err()
		}
		return fmt.Errorf("a token answers %+v, want %s", r, h.refused)
	case h.refused != "":
		return nil
	case r.Error != nil:
		return r.Error.Err()
	}
	if value, _ := r.Value.Text(); value != h.value {
		return errors.New("another value came back than the one acknowledged")
	}
	for i, part := range h.parts {
		got, err := s.read(shop, h.document, i+1)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, part) {
			return fmt.Errorf("part %d came back as another", i+1)
		}
	}
	return nil
}

func (s *site) read(shop vault.Call, document string, part int) ([]byte, error) {
	opened, err := s.OpenDocument(ctx, shop, &api.OpenDocumentRequest{Token: document, Purpose: "service", Reason: "check", Part: part})
	if err != nil {
		return nil, err
	}
	c, err := s.Content(ctx, shop, opened.Content[len("/v1/content/"):])
	if err != nil {
		return nil, err
	}
	defer c.Close()
	got := make([]byte, c.Size)
	_, err = c.Read(got)
	return got, err
}

// register takes somebody in, with a scan.
func (s *site) register(shop vault.Call, number, key string) (h holding, err error) {
	h = holding{value: "Айгүл", parts: [][]byte{jpeg(2000)}}
	shop.Key = key
	err = s.retried("register", func() error {
		resp, err := s.Tokenize(ctx, shop, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{{
			Fields: fields{"iin": text(number), "given_name": text(h.value), "phone": texts(phoneA)},
		}}})
		if err != nil {
			return err
		}
		if e := resp.Results[0].Error; e != nil {
			return e.Err()
		}
		h.subject, h.name = resp.Results[0].Subject, resp.Results[0].Tokens["given_name"].Items[0]
		return nil
	})
	if err != nil {
		return h, err
	}
	doc, err := s.put(shop, key+"-front", h.subject, "", h.parts[0])
	if err == nil {
		h.document = doc.Token
	}
	return h, err
}

func (s *site) put(shop vault.Call, key, subject, document string, scan []byte) (doc *api.Document, err error) {
	shop.Key = key
	return doc, s.retried("put a document", func() error {
		u := upload(subject, scan)
		u.Document = document
		doc, err = s.PutDocument(ctx, shop, u)
		return err
	})
}

// live carries somebody through a life in the vault: everything is retried until it is acknowledged, and what was
// acknowledged holds from then on.
func (s *site) live(shop vault.Call, number string) error {
	h, err := s.register(shop, number, "life")
	if err != nil {
		return err
	}
	holds := func(then holding) error { return s.retried("check", func() error { return s.check(shop, then) }) }
	var document string
	err = s.retried("look", func() error {
		who, err := s.Subject(ctx, shop, h.subject)
		if err == nil && (len(who.Documents) != 1 || len(who.Documents[0].Parts) != 1) {
			err = fmt.Errorf("one document was put, and there are %+v", who.Documents)
		}
		if err == nil {
			document = who.Documents[0].Document
		}
		return err
	})
	if err != nil {
		return err
	}
	back := jpeg(3000)
	if _, err := s.put(shop, "life-back", h.subject, document, back); err != nil {
		return err
	}
	h.parts = append(h.parts, back)
	if err := holds(h); err != nil {
		return fmt.Errorf("after the documents: %w", err)
	}
	shop.Key, h.value = "life-rectify", "Айнұр"
	err = s.retried("rectify", func() error {
		_, err := s.Rectify(ctx, shop, h.subject, &api.RectifyRequest{
			Purpose: "registration", Evidence: api.Evidence{Kind: "document", Ref: "12"}, Fields: fields{"given_name": text(h.value)},
		})
		return err
	})
	if err := errors.Join(err, holds(h)); err != nil {
		return fmt.Errorf("after rectify: %w", err)
	}
	blocked := h
	blocked.refused = fault.Blocked
	block := &api.BlockRequest{Kind: "dispute", Reason: "claim"}
	shop.Key = "life-block"
	err = s.retried("block", func() error { _, err := s.Block(ctx, shop, h.subject, block); return err })
	if err := errors.Join(err, holds(blocked)); err != nil {
		return fmt.Errorf("after block: %w", err)
	}
	shop.Key = "life-unblock"
	err = s.retried("unblock", func() error { _, err := s.Unblock(ctx, shop, h.subject, block); return err })
	if err := errors.Join(err, holds(h)); err != nil {
		return fmt.Errorf("after unblock: %w", err)
	}
	if err := s.breakGlass(); err != nil {
		return fmt.Errorf("in an emergency: %w", err)
	}
	receipts, err := s.consentAndWithdraw(shop, h)
	if err != nil {
		return err
	}
	if err := s.eraseDocuments(shop, h); err != nil {
		return err
	}
	h.parts = nil
	if err := s.erase(shop, h); err != nil {
		return err
	}
	return s.prove(receipts)
}

// breakGlass declares an emergency, ends it, and demands that there is one record of it, which waits for its review.
func (s *site) breakGlass() error {
	anna, officer := person("anna", "1", access.Support), person("officer", "2", access.SecurityOfficer)
	anna.Key = "life-glass"
	var began *api.BreakGlass
	err := s.retried("declare an emergency", func() (err error) {
		began, err = s.StartBreakGlass(ctx, anna, &api.BreakGlassRequest{Purpose: "service", Reason: "accident", Minutes: 30})
		return err
	})
	if err != nil {
		return err
	}
	anna.Key = "life-glass-end"
	err = s.retried("end it", func() error { _, err := s.EndBreakGlass(ctx, anna, began.BreakGlass); return err })
	if err != nil {
		return err
	}
	return s.retried("list it", func() error {
		all, err := s.BreakGlass(ctx, officer, nil, 0, "")
		if err == nil && (len(all.Items) != 1 || all.Items[0].BreakGlass != began.BreakGlass || all.Items[0].EndedAt.IsZero()) {
			err = fmt.Errorf("one emergency was declared and ended, and there are %+v", all.Items)
		}
		if err != nil {
			return err
		}
		waits, err := s.Waiting(ctx, officer, 0, "")
		if err == nil && (len(waits.Items) != 1 || waits.Items[0].ID != began.BreakGlass) {
			err = fmt.Errorf("one emergency waits for its review, and there wait %+v", waits.Items)
		}
		return err
	})
}

// erase carries an erasure to its end.
func (s *site) erase(shop vault.Call, h holding) error {
	h.refused = fault.Erased
	check := func() error { return s.retried("check", func() error { return s.check(shop, h) }) }
	return s.eraseScope(shop, h.subject, "life-erase", nil, check)
}

// eraseDocuments erases the documents, of which nothing is read again, while the name stays.
func (s *site) eraseDocuments(shop vault.Call, h holding) error {
	document := h.document
	h.parts = nil
	return s.eraseScope(shop, h.subject, "life-erase-documents", &api.Scope{Slices: []string{"documents"}}, func() error {
		return s.retried("check", func() error {
			if _, err := s.read(shop, document, 1); !errors.Is(err, fault.Erased) {
				return fmt.Errorf("a document of an erased slice: %w", err)
			}
			return s.check(shop, h)
		})
	})
}

func (s *site) eraseScope(shop vault.Call, subject, key string, scope *api.Scope, check func() error) error {
	shop.Key = key
	var erasure string
	err := s.retried("erase", func() error {
		e, err := s.RequestErasure(ctx, shop, &api.ErasureRequest{Subject: subject, Ground: "request", Reason: "asked", Scope: scope})
		if errors.Is(err, fault.Erased) {
			return nil // an earlier try did it, and it is at its end already
		}
		if err == nil {
			erasure = e.Erasure
		}
		return err
	})
	if erasure != "" {
		err = errors.Join(err, s.approve(erasure, key))
	}
	if err := errors.Join(err, check()); err != nil {
		return fmt.Errorf("after erase: %w", err)
	}
	if erasure == "" {
		return nil
	}
	for range s.patience {
		var state api.ErasureState
		err := s.retried("follow the erasure", func() error {
			e, err := s.Erasure(ctx, shop, erasure)
			if err == nil {
				state = e.State
			}
			return err
		})
		if err != nil {
			return err
		}
		if state == api.ErasureErased {
			return check()
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("the erasure does not end")
}

// approve is a second person's word. What an earlier try has done already answers a conflict.
func (s *site) approve(erasure, key string) error {
	officer := person("officer", "2", access.PrivacyOfficer)
	officer.Key = key + "-approve"
	return s.retried("approve", func() error {
		_, err := s.ApproveErasure(ctx, officer, erasure, nothingSaid())
		if errors.Is(err, fault.Conflict) {
			return nil
		}
		return err
	})
}

// account demands that keys, blobs and rows agree: every key at the provider is named by a row of the pool, of a living
// person or of the vault itself, every blob by a document, and every record and document has its key.
func (s *site) account() error {
	keys, err := s.keyIDs()
	if err != nil {
		return err
	}
	blobs := map[blob.ID]bool{}
	if err := s.blobs.List(ctx, func(i blob.Info) error { blobs[i.ID] = true; return nil }); err != nil {
		return err
	}
	all, err := rows(s.store)
	if err != nil {
		return err
	}
	var wrong []error
	lacks := func(what string, id kms.ID) {
		if !keys[id] {
			wrong = append(wrong, fmt.Errorf("%s has no key %s", what, id))
		}
	}
	named := map[kms.ID]bool{}
	var owners [][]byte // rows that name keys
	for _, p := range all {
		switch kindOf(p.Key) {
		case 'q':
			named[kms.ID(p.Key[len(p.Key)-16:])] = true
			if p.Value[0] != 'r' {
				wrong = append(wrong, errors.New("a key of the pool waits to be destroyed"))
			}
			lacks("the pool", kms.ID(p.Key[len(p.Key)-16:]))
		case 's', 'm':
			owners = append(owners, p.Value)
		case 'P':
			owners = append(owners, p.Value)
			lacks("a proof of consent", kms.ID(member[[]byte](p.Value, 1)))
		case 'O':
			wrong = append(wrong, errors.New("a withdrawal is not in its proof"))
		case 'r':
			lacks("a record", kms.ID(member[[]byte](p.Value, 1)))
		case 'd':
			for _, part := range member[[]map[int]cbor.RawMessage](p.Value, 2) {
				b, key := raw[[]byte](part[1]), raw[[]byte](part[2])
				if !blobs[blob.ID(b)] {
					wrong = append(wrong, errors.New("a document has no blob"))
				}
				delete(blobs, blob.ID(b))
				lacks("a document", kms.ID(key))
			}
		case 'l':
			wrong = append(wrong, errors.New("an upload is left"))
		case 'w':
			if p.Key[len(p.Key)-17] == 'e' {
				wrong = append(wrong, errors.New("an erasure waits for approval"))
			}
		case 'o':
			wrong = append(wrong, errors.New("an erasure is left"))
		}
	}
	for id := range keys {
		for _, row := range owners {
			named[id] = named[id] || bytes.Contains(row, id[:])
		}
		if !named[id] {
			wrong = append(wrong, fmt.Errorf("key %s is nobody's", id))
		}
	}
	if len(blobs) > 0 {
		wrong = append(wrong, fmt.Errorf("%d blobs are nobody's", len(blobs)))
	}
	return errors.Join(wrong...)
}

func (s *site) keyIDs() (map[kms.ID]bool, error) {
	ids := map[kms.ID]bool{}
	return ids, filepath.WalkDir(filepath.Join(s.home, "keyring", "keys"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // destroyed this moment
			}
			return err
		}
		id, err := kms.ParseID(filepath.Base(path))
		ids[id] = true
		return err
	})
}

// rows lists all that a store holds.
func rows(s store.Store) (all []store.Pair, err error) {
	err = s.View(ctx, func(r store.Reader) error {
		found, err := r.Scan(nil, nil, 1_000_000)
		for _, p := range found {
			all = append(all, store.Pair{Key: bytes.Clone(p.Key), Value: bytes.Clone(p.Value)})
		}
		return err
	})
	return all, err
}

// member reads a member of a row.
func member[T any](row []byte, number int) T {
	return raw[T](raw[map[int]cbor.RawMessage](row)[number])
}

func raw[T any](b []byte) (v T) {
	_ = cbor.Unmarshal(b, &v) // what is not there stays empty, and is noticed
	return v
}

// ordeal is one life with a mishap at one step, on parts that mutate may have changed. It tells whether the life came that
// far.
func ordeal(home string, base store.Store, at int, m mishap, mutate func(*site)) (sprung bool, err error) {
	s, err := newSite(home, base)
	if err != nil {
		return false, err
	}
	if mutate != nil {
		mutate(s)
	}
	defer s.keys.Close()
	defer s.end()
	if err := s.start(&trap{}); err != nil {
		return false, err
	}
	shop, err := s.credential()
	if err != nil {
		return false, err
	}
	stays, err := s.register(shop, iinB, "bystander")
	if err != nil {
		return false, err
	}
	s.end()

	tr := &trap{at: at, mishap: m}
	if err := s.start(tr); err != nil && !errors.Is(err, errMishap) {
		return false, err
	}
	err = s.live(shop, iinA)
	tr.mu.Lock()
	sprung = tr.sprung
	tr.mu.Unlock()
	if err != nil {
		return sprung, err
	}
	s.clock.Advance(10 * time.Minute) // uploads that nobody will finish have lapsed
	err = errors.New("no process")
	for range s.patience {
		if err = errors.Join(s.revive(), s.account()); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		return sprung, fmt.Errorf("in the end: %w", err)
	}
	if err := s.retried("check", func() error { return s.check(shop, stays) }); err != nil {
		return sprung, fmt.Errorf("the one who stays: %w", err)
	}
	return sprung, s.sees.found()
}

func TestEveryStepMayFail(t *testing.T) {
	modes := []mishap{failsBefore, failsAfter, diesBefore, diesAfter, landsLate}
	const block = 20
	var runs, reached atomic.Int64
	dir := inMemory(t)
	for from, more := 1, true; more; from += block {
		var work errgroup.Group
		work.SetLimit(4)
		var beyond atomic.Int64
		for at := from; at < from+block; at++ {
			tried := modes // at every step, unless the run is to be short
			if scaled(1) == 1 {
				tried = modes[at%len(modes) : at%len(modes)+1]
			}
			for _, m := range tried {
				work.Go(func() error {
					home := filepath.Join(dir, fmt.Sprintf("%d-%d", at, m))
					if err := os.Mkdir(home, 0o700); err != nil {
						return err
					}
					defer os.RemoveAll(home)
					sprung, err := ordeal(home, memory.New(), at, m, nil)
					runs.Add(1)
					if !sprung {
						beyond.Add(1)
					} else {
						reached.Store(max(reached.Load(), int64(at)))
					}
					if err != nil {
						t.Errorf("step %d %s: %v", at, m, err)
					}
					return nil
				})
			}
		}
		if err := work.Wait(); err != nil {
			t.Fatal(err)
		}
		more = beyond.Load() < block && from < 2000
	}
	t.Logf("%d lives, a mishap at each of %d steps", runs.Load(), reached.Load())
}

// liesAboutKeys destroys nothing, or creates what does not last, and says that all went well.
type liesAboutKeys struct {
	kms.Provider
	creates, destroys bool
}

func (l liesAboutKeys) Create(ctx context.Context, ids ...kms.ID) ([]kms.Key, error) {
	if !l.creates {
		return l.Provider.Create(ctx, ids...)
	}
	keys := make([]kms.Key, len(ids))
	for i := range keys {
		random := append(bytes.Clone(ids[i][:]), ids[i][:]...)
		keys[i] = kms.Key{ID: ids[i], Secret: secret.New(random)}
	}
	return keys, nil
}

func (l liesAboutKeys) Destroy(ctx context.Context, claim kms.Claim, ids ...kms.ID) error {
	if l.destroys {
		return nil
	}
	return l.Provider.Destroy(ctx, claim, ids...)
}

// liesAboutBlobs removes nothing.
type liesAboutBlobs struct{ blob.Store }

func (liesAboutBlobs) Remove(context.Context, blob.ID) error { return nil }

// TestEveryStepFindsMutants holds the accounts to account.
func TestEveryStepFindsMutants(t *testing.T) {
	drops := func(kind byte) func(*site) {
		return func(s *site) {
			s.store = &mutant{Store: s.store, delete: func(key []byte) bool { return kindOf(key) == kind }}
		}
	}
	for name, mutate := range map[string]func(*site){
		"no key is destroyed":             func(s *site) { s.keys = liesAboutKeys{Provider: s.keys, destroys: true} },
		"no key lasts":                    func(s *site) { s.keys = liesAboutKeys{Provider: s.keys, creates: true} },
		"no blob is removed":              func(s *site) { s.blobs = liesAboutBlobs{s.blobs} },
		"rows of the pool stay":           drops('q'),
		"rows of uploads stay":            drops('l'),
		"records outlive their keys":      drops('r'),
		"documents outlive their keys":    drops('d'),
		"unfinished erasures stay listed": drops('o'),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ordeal(inMemory(t), memory.New(), 0, failsBefore, func(s *site) {
				mutate(s)
				s.patience = 50
			})
			if err == nil {
				t.Fatal("not found")
			}
			t.Logf("found: %.100s", err.Error())
		})
	}
}
