package vault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/budget"
	"github.com/sandyq/sandyq/crypto/keyring"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit/translog"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/consent"
	"github.com/sandyq/sandyq/vault/ledger"
	"github.com/sandyq/sandyq/vault/purpose"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
)

// Options are what a Service is made of. Tenant, Store, Blobs, Keys, Ledger, Clock, Log and Decider are required.
type Options struct {
	Tenant string // [a-z0-9-]{1,40}; part of every key and of every sealed value's context
	Store  store.Store
	Place  string // where the store lies: another place is a copy
	Nodes  *Nodes // nil: no other process works on the store
	Replay bool   // a copy brings its own rows up to the erasure ledger, for a restore or a drill
	Blobs  blob.Store
	Keys   kms.Provider
	Ledger OpenLedger // of what was destroyed; it lies outside what is backed up with the store, and with the keys
	Clock  clock.Clock
	Log    *slog.Logger

	Schema     *schema.Schema    // default: the built-in one
	Purposes   *purpose.Registry // default: the built-in ones
	Decider    access.Decider    // required: the policies
	Compile    Compile           // makes a Decider of policies that are put over the API; nil: none may be put
	Identities Identities        // tells who shows what is no service token; may be nil: then nobody is let in with it
	Messenger  Messenger         // tells receivers of alerts; may be nil: then they are only counted and logged
	Agents     Agents            // tells who stands behind a system; may be nil: then no token is accepted for it

	Consents  ConsentMode         // default: observe
	Texts     *consent.Registry   // that people consent to; default: the built-in ones
	Approvals map[string]Approval // what needs the word of others, by name; nil: DefaultApprovals; what it does not name needs none

	Backups *Backups // nil: this service takes none
	Drills  *Drills  // nil: this service runs none

	Budget budget.Config // default: budget.Default; without limits, its limits

	Origin    string             // begins the origin of the transparency log; default sandyq
	Anchor    translog.Anchor    // keeps the last checkpoint of the log outside of what is restored together with the store; a copy leaves it alone. nil: none
	Witnesses translog.Witnesses // cosign its checkpoints; nil: none do
	Quorum    int                // how many of them must have before a checkpoint is published
	LogEvery  time.Duration      // how often new entries are taken into it and it is signed; default 1 s
	Retention time.Duration      // how long audit entries are kept; 0: without end

	Operator     string // the name that certificates show; may be empty
	SnapshotDays int    // for how long snapshots of a HashiCorp Vault are kept, as certificates say; 0: the keyring is local

	Environment byte          // letter in every token, a–z; default 'p'
	ProofYears  int           // how long the proof of a consent is kept after its end; default 5, at most 100
	MaxDocument int64         // bytes of a document part; default api.MaxDocument
	HandleLife  time.Duration // how long an opened document may be read; default 2 min
	SweepEvery  time.Duration // how often unfinished work is taken up again; default 5 s
	UploadLife  time.Duration // how long an upload that has stopped moving keeps its blob; default 5 min

	// RequireSnapshot gives people only keys that a snapshot of the key provider contains (see Service.ConfirmSnapshot).
	RequireSnapshot  bool
	RotateIndexEvery time.Duration // how long an epoch of the search index lasts; 0: until it is rotated by hand

	Keyring  keyring.Options // sizes and times only; the rest is filled in
	Observer Observer        // may be nil
}

// Observer hears what is worth counting. It must not block and is told no ids and no values.
type Observer interface {
	// Backlog reports how many erasures are unfinished and for how long the oldest has been.
	Backlog(open int, oldest time.Duration)
	// Removals reports how many erasures are at their end while the store's files may still hold what they removed, and for
	// how long the oldest has been. It is not called when the store can't measure that.
	Removals(pending int, oldest time.Duration)
	// MissingKey reports that a living person's key was not at the provider.
	MissingKey()
	// Alert reports an alert of a kind.
	Alert(kind string)
	// NoBasis reports a permitted use that rests on nothing on record.
	NoBasis()
	// Log reports the entries in the transparency log, for how long the oldest has waited that is not under a checkpoint, and
	// when the last one was signed (zero: never).
	Log(size int64, waiting time.Duration, signed time.Time)
	// Live reports whether the store is the live one for its keys.
	Live(bool)
	// Anchored reports whether the transparency log can be signed, for all that its anchor says.
	Anchored(bool)
	// Witnessed reports whether the transparency log can be signed and published, for all that its witnesses say.
	Witnessed(bool)
	// Ledger reports whether the erasure ledger, the store and the keys agree.
	Ledger(agrees bool)
	// Nodes reports how many nodes work on the store, and whether this one leads. It is not called when no other can.
	Nodes(count int, leads bool)
	// Drill reports when a canary drill passed the last time (zero: never), and whether one has just failed.
	Drill(passed time.Time, failed bool)
}

// OpenLedger opens the tenant's erasure ledger, and may ask the key provider for the keys that sign it. The service closes it.
type OpenLedger func(ctx context.Context, use ledger.Use) (ledger.Ledger, error)

// Compile makes a Decider of a set of policies: the text of each file by its name. An error that has Rules() []string is told
// to whoever put the set, by these: they say where which rule is broken and repeat nothing of the texts (see cedar.Broken).
type Compile func(files map[string][]byte) (access.Decider, error)

// Agents tells whom a token that a system passes on names.
type Agents interface {
	// Behalf fails with fault.Unauthenticated for what is no valid token.
	Behalf(ctx context.Context, token string) (access.Behalf, error)
}

// Service is the vault. It is safe for concurrent use.
type Service struct {
	Options
	rows layout

	rulebook  rulebook
	meter     *budget.Meter
	overdrawn overdrawn
	keyring   *keyring.Keyring
	pool      *poolRows
	saved     saved
	lost      lostKeys
	title     title
	fleet     fleet
	latest    uint32        // form of rows that this version knows
	form      atomic.Uint32 // of the store's rows
	known     unanimity     // owned by the sweeper
	translog  *translog.Log
	unsigned  atomic.Bool // the log is not signed, or not published, because of its anchor or its witnesses
	accord    accord
	watchers  watchers
	names     namedKeys
	index     index
	streams   streams
	inFlight  inFlight
	turns     turns
	uploads   uploads
	removals  removals
	orphans   orphans
	uses      uses
	bulk      bulk
	reviewing chan struct{} // holds one; who puts it there makes an access review
	backingUp chan struct{} // holds one; who puts it there takes a backup
	drilled   chan *drill   // begun by a call, and not yet run
	drilling  atomic.Pointer[drill]
	kick      chan struct{} // holds one when the sweeper should look at once
	told      chan struct{} // holds one when there is something to tell

	stop context.CancelFunc
	work sync.WaitGroup
}

var tenantPattern = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)

// Open makes a service of its parts and starts its background work, which ends with Close. It fails when the keys belong
// to another store; with the provider away, or not as it was left, it starts and serves what needs no keys.
func Open(ctx context.Context, o Options) (*Service, error) {
	if o.Store == nil || o.Blobs == nil || o.Keys == nil || o.Ledger == nil || o.Clock == nil || o.Log == nil || o.Decider == nil {
		return nil, errors.New("vault: Store, Blobs, Keys, Ledger, Clock, Log and Decider are required")
	}
	if !tenantPattern.MatchString(o.Tenant) {
		return nil, fmt.Errorf("vault: a tenant is %s", tenantPattern)
	}
	o.defaults()
	s := &Service{
		Options: o, rows: layout{o.Tenant}, latest: latestFormat, kick: make(chan struct{}, 1),
		told: make(chan struct{}, 1), reviewing: make(chan struct{}, 1),
		backingUp: make(chan struct{}, 1), drilled: make(chan *drill, 1),
	}
	s.fleet.init(s)
	s.title.init(s)
	s.accord.init(s)
	s.names.init(s)
	s.index.init(s)
	s.rulebook.init(s)
	s.streams.init()
	s.inFlight.init()
	s.turns.init()
	s.bulk.init()
	s.uploads.init()
	s.uses.init()

	if err := s.Store.View(ctx, s.atForm); err != nil { // before any other row is read
		return nil, fmt.Errorf("vault: open: %w", err)
	}
	if err := s.openMeter(); err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	k := o.Keyring
	s.pool = &poolRows{s}
	k.KMS, k.MAC, k.Pool, k.Claim, k.Now = unmoved{o.Keys, s}, o.Keys, s.pool, s.title.claim, o.Clock
	if err := s.openLog(); err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	k.Hold = s.heldBack
	if o.RequireSnapshot {
		k.Snapshot = s.saved.by
	}
	err := s.rulebook.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("vault: open: %w", err)
	}
	if s.keyring, err = keyring.New(k); err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	if err := s.fleet.join(ctx); err != nil {
		s.leave()
		return nil, fmt.Errorf("vault: open: become one of the nodes: %w", err)
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.work.Go(func() { s.fleet.until(background) }) // from here on the other nodes wait for what this one hears
	err = s.title.settle(ctx)
	if err != nil && !errors.Is(err, kms.ErrUnavailable) && !errors.Is(err, kms.ErrClaim) && !errors.Is(err, errTitleMoved) {
		stop()
		s.work.Wait()
		s.leave()
		return nil, fmt.Errorf("vault: open: %w", err)
	}
	if err := s.learnSaved(ctx); err != nil {
		s.keyring.Close()
		return nil, fmt.Errorf("vault: open: %w", err)
	}
	s.accord.open(ctx)
	if !s.fleet.alone {
		s.work.Go(func() { s.rulebook.until(background) })
	}
	s.work.Go(func() { s.keyring.Run(background) })
	s.work.Go(func() { s.sweepUntil(background) })
	s.work.Go(func() { s.index.tendUntil(background) })
	s.work.Go(func() { s.logUntil(background) })
	if s.Drills != nil {
		s.work.Go(func() { s.drillUntil(background) })
	}
	if s.Messenger != nil {
		s.work.Go(func() { s.tellUntil(background) })
	}
	return s, nil
}

func (o *Options) defaults() {
	if o.Schema == nil {
		o.Schema = schema.Default()
	}
	if o.Purposes == nil {
		o.Purposes = purpose.Default()
	}
	if o.Approvals == nil {
		o.Approvals = DefaultApprovals()
	}
	if len(o.Budget.Limits) == 0 {
		o.Budget.Limits = budget.Default().Limits
	}
	if o.Budget.Mode == "" {
		o.Budget.Mode = budget.Observe
	}
	if o.Consents == "" {
		o.Consents = ConsentsObserved
	}
	if o.Texts == nil {
		o.Texts = consent.Default()
	}
	if o.ProofYears == 0 {
		o.ProofYears = 5
	}
	if o.Origin == "" {
		o.Origin = "sandyq"
	}
	if o.LogEvery == 0 {
		o.LogEvery = time.Second
	}
	if o.Environment == 0 {
		o.Environment = 'p'
	}
	if o.MaxDocument == 0 {
		o.MaxDocument = api.MaxDocument
	}
	if o.HandleLife == 0 {
		o.HandleLife = 2 * time.Minute
	}
	if o.SweepEvery == 0 {
		o.SweepEvery = 5 * time.Second
	}
	if o.UploadLife == 0 {
		o.UploadLife = 5 * time.Minute
	}
	if o.Drills != nil && o.Drills.Most == 0 {
		bounded := *o.Drills
		bounded.Most, o.Drills = defaultMostDrill, &bounded
	}
	if o.Observer == nil {
		o.Observer = nobody{}
	}
}

// Close ends the background work, waits for it, and forgets every open key. The store, the blobs and the key provider are
// their owner's to close. Calls in flight must have ended.
func (s *Service) Close() {
	s.stop()
	s.work.Wait()
	s.streams.cutAll()
	s.accord.close()
	s.leave()
}

// leave forgets every open key, and then has the other nodes go on.
func (s *Service) leave() {
	s.keyring.Close()
	ctx, cancel := context.WithTimeout(context.Background(), leaveLimit)
	defer cancel()
	if err := s.fleet.leave(ctx); err != nil {
		s.Log.Warn("the other nodes could not be told that this one leaves: they will notice", "error", err)
	}
}

// leaveLimit bounds how long a process that ends waits for the store.
const leaveLimit = 5 * time.Second

// heldBack is why nothing may be given out at the moment, or nil.
func (s *Service) heldBack() error {
	if err := s.fleet.hold(); err != nil {
		return err
	}
	return s.accord.hold()
}

// Keyring reports on the keys, for metrics.
func (s *Service) Keyring() keyring.Stats { return s.keyring.Stats() }

// Ready reports what the vault can do: it is ready while blocks can be served.
func (s *Service) Ready(ctx context.Context) api.Readiness {
	err := s.Store.View(ctx, func(r store.Reader) error {
		_, err := r.Get(s.rows.meta(metaTitle))
		return err
	})
	ready := api.Readiness{Ready: err == nil}
	if !ready.Ready {
		ready.Degraded = append(ready.Degraded, "store")
	}
	switch standing := s.title.standing(); {
	case standing == StandingCopy, standing == StandingSuperseded:
		ready.Ready = ready.Ready && standing == StandingCopy
		ready.Degraded = append(ready.Degraded, string(standing))
	case standing == StandingUnknown, s.title.away():
		ready.Degraded = append(ready.Degraded, "keys")
	}
	if s.accord.hold() != nil && len(ready.Degraded) == 0 || s.accord.broken() {
		ready.Degraded = append(ready.Degraded, "ledger")
	}
	if s.unsigned.Load() {
		ready.Degraded = append(ready.Degraded, "log")
	}
	if s.runsDry() {
		ready.Degraded = append(ready.Degraded, "pool")
	}
	return ready
}

// nobody is the Observer of those who have none.
type nobody struct{}

func (nobody) Backlog(int, time.Duration)          {}
func (nobody) Removals(int, time.Duration)         {}
func (nobody) MissingKey()                         {}
func (nobody) NoBasis()                            {}
func (nobody) Alert(string)                        {}
func (nobody) Log(int64, time.Duration, time.Time) {}
func (nobody) Live(bool)                           {}
func (nobody) Anchored(bool)                       {}
func (nobody) Witnessed(bool)                      {}
func (nobody) Ledger(bool)                         {}
func (nobody) Nodes(int, bool)                     {}
func (nobody) Drill(time.Time, bool)               {}
