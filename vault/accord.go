package vault

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/audit/certificate"
	"github.com/sandyq/sandyq/vault/audit/translog"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/ledger"
	"github.com/sandyq/sandyq/vault/store"
)

// compareEvery is how often the ledger, the store and the keys are held against each other while all is well: any of them may
// be rolled back under a living process.
const compareEvery = time.Minute

// outOfReach is for how long, since they agreed, the ledger or the store may be out of reach before nothing is given out any more.
// Nothing is destroyed that could not be listed.
const outOfReach = 5 * time.Minute

// accord knows whether the erasure ledger, the store and the key side tell one story of what was destroyed. Store and key
// side each keep a mark, how far they have carried the ledger out; the ledger lies outside what is backed up with either.
//
//   - All three agree, or differ only by what this process is carrying out: all is well. It costs three short reads.
//   - A mark lies behind. The store or the key side was restored from an older state, or a crash came between: the vault
//     gives nothing out until every entry is carried out again, on both sides, and every listed key was seen to be gone.
//   - The anchor of the log, which lies with the ledger, has what the store does not know of: the store was restored, whatever
//     the marks say, and so maybe the keys with it. All is carried out again, by the leader where there are several nodes, and the log
//     goes on under another origin.
//   - The ledger is not there, ends before a mark or tells something else: nobody can say who was erased. The vault gives
//     nothing out and destroys nothing, until the ledger is as it was. See docs/ledger.md.
//
// A copy of the store destroys no keys and changes no row, unless it replays (Options.Replay). It gives nothing out unless
// every key that the ledger lists beyond its mark was seen to be gone.
//
// While nothing is given out, blocks and the beginnings of erasures are still served: they need no keys.
type accord struct {
	service  *Service
	held     atomic.Pointer[fault.Error] // why nothing is given out; nil when all agree
	use      ledger.Use                  // what it was opened for; owned by the sweeper
	compared time.Time                   // when all agreed; owned by the sweeper
	seen     copySeen                    // what a copy has looked through; owned by the sweeper
	opening  bool                        // before the sweeper runs: what takes long is left to it
	away     bool                        // the ledger did not answer the last time; owned by the sweeper
	renewed  bool                        // the log was, since all agreed last: tries that fail need not again; owned by the sweeper
	progress progress

	mu     sync.Mutex    // not held over I/O; a promotion and an agreement exclude each other under it
	ledger ledger.Ledger // nil until it was opened, which is before anything is given out; written by the sweeper alone
}

// errNotCompared holds everything back until the first comparison.
var errNotCompared = fault.New(fault.Unavailable, "the erasure ledger has not been compared yet: blocks and erasures are served, nothing is given out")

func (a *accord) init(s *Service) {
	a.service = s
	a.held.Store(errNotCompared)
}

// open compares for the first time. What fails is told to the log, and left to the sweeper.
func (a *accord) open(ctx context.Context) {
	a.opening = true
	if err := a.look(ctx, true); err != nil {
		a.service.complain(ctx, "hold the erasure ledger against the store and the keys", err)
	}
	a.opening = false
}

// close lets go of the ledger.
func (a *accord) close() {
	if a.ledger == nil {
		return
	}
	if err := a.ledger.Close(); err != nil {
		a.service.Log.Error("the erasure ledger could not be closed", "error", err)
	}
}

// hold is why nothing may be given out, or nil. See keyring.Options.Hold.
func (a *accord) hold() error {
	if why := a.held.Load(); why != nil {
		return why
	}
	return nil
}

// doubt has everything compared again at once, and nothing given out before.
func (a *accord) doubt() {
	a.holdBack(errNotCompared)
	a.service.wake()
}

// broken reports whether a comparison found the ledger missing, or another one, or is making good what it found.
func (a *accord) broken() bool {
	why := a.held.Load()
	return why != nil && why != errNotCompared
}

// holdBack stops giving out, streams included.
func (a *accord) holdBack(why *fault.Error) {
	if was := a.held.Swap(why); was == nil {
		a.service.streams.cutAll()
	}
	a.service.Observer.Ledger(false)
}

// agree lets things be given out again, unless the store was promoted during the comparison: what is enough for a copy is not
// for the live one.
func (a *accord) agree(as Standing) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.service.title.standing() != as {
		return
	}
	a.held.Store(nil)
	a.compared, a.renewed = a.service.Clock(), false
	a.service.Observer.Ledger(true)
}

// promote has what begin makes the live store be compared as one before it gives out anything more.
func (a *accord) promote(begin func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.holdBack(errNotCompared)
	begin()
}

// opened is the ledger, once one was opened.
func (a *accord) opened() (ledger.Ledger, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ledger == nil {
		return nil, errNotCompared
	}
	return a.ledger, nil
}

// look compares when it is time to, and makes good what it finds. The error says what keeps the three apart; blocks and
// erasures go on.
func (a *accord) look(ctx context.Context, again bool) error {
	s := a.service
	if a.hold() == nil && !again && !a.away && s.Clock().Sub(a.compared).Abs() < compareEvery {
		return nil
	}
	standing := s.title.standing()
	err := a.compare(ctx, standing, again)
	a.away = errors.Is(err, ledger.ErrUnavailable)
	switch {
	case err == nil:
		a.agree(standing)
		return nil
	case errors.Is(err, kms.ErrUnavailable):
		return err // all stands as it stood: what is leased may still be read, if it might before
	case errors.Is(err, ledger.ErrUnavailable) || errors.Is(err, store.ErrUnavailable):
		if !again && a.hold() == nil && s.Clock().Sub(a.compared).Abs() < outOfReach {
			return err // for a while; it is tried again at every sweep
		}
	}
	a.holdBack(fault.Wrap(fault.Unavailable, err, "the erasure ledger and the vault do not agree, so nothing is given out: see the runbook"))
	return err
}

// compare holds the three against each other, and carries out what one of them lacks. Again is for when the keys were away: what
// was carried out on them and not yet noted is not taken for granted.
func (a *accord) compare(ctx context.Context, standing Standing, again bool) error {
	s := a.service
	if standing == StandingUnknown || standing == StandingSuperseded {
		return fmt.Errorf("the store is not known to be the live one: %w", kms.ErrUnavailable)
	}
	row, err := a.mark(ctx)
	if err != nil {
		return err
	}
	mine := row.mark()
	theirs, err := s.Keys.Mark(ctx)
	if err != nil {
		return fmt.Errorf("how far the keys have carried out the ledger: %w", err)
	}
	if err := a.reach(ctx, standing, mine == kms.Mark{} && theirs == kms.Mark{}); err != nil {
		return fmt.Errorf("open the erasure ledger: %w", err)
	}
	head, err := a.ledger.Head(ctx)
	if err != nil {
		return fmt.Errorf("the end of the erasure ledger: %w", err)
	}
	if theirs, err = row.within(ctx, a.ledger, theirs); err != nil {
		return err
	}
	a.progress.from(mine.Entries, again)
	now := markOf(head)
	if standing == StandingCopy {
		if mine == now && theirs == now {
			return nil
		}
		return a.compareCopy(ctx, copySeen{head, theirs}, mine)
	}
	_, leads := s.fleet.lead(ctx)
	err = s.translog.Compare(ctx)
	if errors.Is(err, translog.ErrRestored) && !leads {
		err = s.translog.Compare(ctx) // the first may have met the leader between its anchor and its store
	}
	if errors.Is(err, translog.ErrRestored) && leads {
		return a.startOver(ctx, head, err)
	}
	if errors.Is(err, translog.ErrRestored) {
		return fmt.Errorf("%w: %w", errOtherAnchor, err)
	}
	if err != nil && !(errors.Is(err, translog.ErrAnchor) && a.hold() == nil) {
		return err // an anchor that is away later stops the log, and not the vault
	}
	if mine == now && theirs == now {
		return nil
	}
	return a.catchUp(ctx, head, mine, theirs)
}

// errOtherAnchor: a node that does not lead has an anchor that the store contradicts. If the store was put back, who leads makes that good.
var errOtherAnchor = errors.New("the anchor of the log is not that of the node that leads, or the store was put back, which that node makes good: " +
	"see that ledger.s3, or a ledger.path that all nodes share, is the same in the configuration of each (docs/nodes.md)")

// reach opens the ledger, unless it is open. One is made where neither side has ever known of one.
func (a *accord) reach(ctx context.Context, standing Standing, first bool) (err error) {
	use := ledger.Write
	switch {
	case standing == StandingCopy:
		use = ledger.Look
	case first:
		use = ledger.Create
	}
	if a.ledger != nil && a.use == ledger.Look && use != ledger.Look { // the copy was promoted
		err := a.ledger.Close()
		a.take(nil)
		if err != nil {
			return err
		}
	}
	if a.ledger != nil {
		return nil
	}
	opened, err := a.service.Ledger(ctx, use)
	if err != nil {
		return err
	}
	a.use = use
	a.take(opened)
	return nil
}

func (a *accord) take(l ledger.Ledger) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ledger = l
}

// mark reads how far the store has carried out the ledger; nil when it never knew of one.
func (a *accord) mark(ctx context.Context) (row *markRow, err error) {
	s := a.service
	err = s.Store.View(ctx, func(r store.Reader) (err error) {
		row, err = getRow[markRow](r, s.rows.meta(metaLedger))
		return err
	})
	return row, err
}

// place is where the ledger lists what has this ref.
func (a *accord) place(ctx context.Context, ref string) (*certificate.Ledger, error) {
	if err := a.hold(); err != nil {
		return nil, err
	}
	listed, err := a.opened()
	if err != nil {
		return nil, err
	}
	number, found, err := listed.Find(ctx, ref)
	if err == nil && !found {
		err = errors.New("it is not there")
	}
	if err != nil {
		return nil, fmt.Errorf("find an erasure in the ledger: %w", err)
	}
	hash, err := listed.At(ctx, number)
	return &certificate.Ledger{Entry: number, Head: hex.EncodeToString(hash[:])}, err
}
