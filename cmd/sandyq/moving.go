package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/metrics"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/move"
)

// moving is a move of a vault's rows and documents, and of its keys if they differ, from the store of one configuration to that of another.
type moving struct {
	env      *env
	from, to config
	rekeys   bool // the keys move, too
	retires  bool // the old ones are then destroyed
	log      *slog.Logger
	reg      *metrics.Registry

	source, target *node             // parts without tenants, but for those that are served
	left           []leaving         // of the tenants that are not moved
	rekeyed        []*vault.Rekeying // of all tenants; none when the keys stay
	keys           []kms.Provider    // that these and those of left use
	recasts        vault.Recasts     // of left; nil when the keys stay
	rows           *move.Rows
	blobs          *move.Blobs // nil: the documents stay where they are
	pace           pace
}

// leaving is the move of one tenant.
type leaving struct {
	tenant string
	relocation
}

// relocation is what two stores are to their keys meanwhile: a vault.Relocation or a vault.Rekeying.
type relocation interface {
	Prefix() []byte
	Begin(context.Context) error
	Still(context.Context) error
	HandOver(context.Context) error
}

// newMoving sees that two configurations are of one vault.
func newMoving(e *env, from, to config) (*moving, error) {
	rekeys, err := sameVault(from, to)
	if err != nil {
		return nil, err
	}
	for _, c := range []config{from, to} {
		if err := c.checkRules(); err != nil {
			return nil, err
		}
	}
	return &moving{env: e, from: from, to: to, rekeys: rekeys, log: e.log(to), reg: newMetrics()}, nil
}

// sameVault refuses configurations that differ in more than where rows, documents and keys lie: the ledger stays. rekeys tells whether the
// keys move, which they do of all tenants or of none.
func sameVault(from, to config) (rekeys bool, err error) {
	a, b := from.tenants(), to.tenants()
	if len(a) != len(b) {
		return false, usagef("--from and --to do not have the same tenants")
	}
	for i := range a {
		if a[i].Tenant != b[i].Tenant {
			return false, usagef("--from and --to do not have the same tenants in the same order")
		}
		differ := !a[i].sameKeys(b[i])
		if i > 0 && differ != rekeys {
			return false, hinted(ofTenant(to, b[i], usagef("--to names other keys for some tenants only")), "move the keys of all tenants, or of none")
		}
		rekeys = differ
	}
	if x, y := from.Ledger.S3, to.Ledger.S3; !x.sameBucket(y.s3Config) || !x.used() && from.ledgerDir() != to.ledgerDir() {
		return false, hinted(usagef("--to names another erasure ledger than --from"), "the ledger stays where it is: name it in both")
	}
	if rekeys && from.Audit.Origin != to.Audit.Origin {
		return false, usagef("--to names another audit.origin than --from")
	}
	return rekeys, nil
}

// sameKeys reports whether two configurations of a tenant name one key provider.
func (c config) sameKeys(other config) bool {
	x, y := c.Keys, other.Keys
	if x.Provider != y.Provider {
		return false
	}
	if x.Provider == providerVault {
		return [3]string{x.Vault.Address, x.Vault.Namespace, x.Vault.Mount} == [3]string{y.Vault.Address, y.Vault.Namespace, y.Vault.Mount}
	}
	return c.keysDir() == other.keysDir()
}

// sameBucket reports whether two are one place.
func (c s3Config) sameBucket(other s3Config) bool {
	return c.Endpoint == other.Endpoint && c.Bucket == other.Bucket && c.Prefix == other.Prefix
}

// sameDocuments reports whether the documents stay where they are.
func (m *moving) sameDocuments() bool {
	x, y := m.from, m.to
	if x.Blobs.Engine != y.Blobs.Engine {
		return false
	}
	if x.Blobs.Engine == blobsS3 {
		return x.Blobs.S3.sameBucket(y.Blobs.S3)
	}
	return x.documentsDir() == y.documentsDir()
}

// open opens both sides, finds out what is left to move, and begins.
func (m *moving) open(ctx context.Context) error {
	if err := m.openBoth(ctx); err != nil {
		return err
	}
	return m.begin(ctx)
}

// openBoth opens both sides and finds out what is left to move.
func (m *moving) openBoth(ctx context.Context) (err error) {
	if err := m.from.ready(); err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	if err := m.makeFolders(); err != nil {
		return fmt.Errorf("--to: %w", err)
	}
	if m.source, err = openParts(ctx, m.from, m.log, m.reg); err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	if m.target, err = openParts(ctx, m.to, m.log, m.reg); err != nil {
		return fmt.Errorf("--to: %w", err)
	}
	return m.look(ctx)
}

// makeFolders makes those that are to hold rows and documents, and keyrings if they are to be there.
func (m *moving) makeFolders() error {
	if err := homeDir(m.to.Home); err != nil {
		return err
	}
	for _, dir := range m.to.dataDirs() {
		if err := privateDir(dir); err != nil {
			return err
		}
	}
	for _, of := range m.to.tenants() {
		if !m.rekeys || of.Keys.Provider != providerLocal {
			continue
		}
		if err := setUpKeyring(of); err != nil {
			return ofTenant(m.to, of, fmt.Errorf("set up the keyring: %w", err))
		}
	}
	return nil
}

// look finds out which tenants are still to be moved.
func (m *moving) look(ctx context.Context) error {
	after := m.to.tenants()
	for i, of := range m.from.tenants() {
		if err := m.lookAt(ctx, of, after[i]); err != nil {
			return ofTenant(m.from, of, err)
		}
	}
	return m.alone(ctx)
}

func (m *moving) lookAt(ctx context.Context, before, after config) error {
	old, err := openKeys(before)
	if err != nil {
		return err
	}
	m.keys = append(m.keys, old)
	from, to := vault.Side{Store: m.source.Store, Place: m.source.Place}, vault.Side{Store: m.target.Store, Place: m.target.Place}
	if m.rekeys {
		return m.lookAtKeys(ctx, after, &vault.Rekeying{
			Tenant: before.Tenant, From: from, To: to, Old: old, Origin: after.Audit.Origin, Clock: clock.System, Ledger: after.ledger,
		})
	}
	r := &vault.Relocation{Tenant: before.Tenant, From: from, To: to, Keys: old}
	stage, err := r.Stage(ctx)
	if err == nil && stage == vault.StageSource {
		m.left = append(m.left, leaving{before.Tenant, r})
	}
	return err
}

// alone refuses a source at which other processes are at work: what they write is not noted, and they would go on when this one stops.
func (m *moving) alone(ctx context.Context) error {
	shared, ok := m.source.Store.(interface {
		Others(context.Context) (int, error)
	})
	if !ok || len(m.left) == 0 {
		return nil
	}
	const looks = 20 // a connection that was just closed is there for a moment
	for n := 1; ; n++ {
		others, err := shared.Others(ctx)
		switch {
		case err != nil || others == 0:
			return err
		case n == looks:
			return hinted(fmt.Errorf("other processes have %d connections to the source", others), "stop all other nodes on it first")
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// begin marks the target, unless it is another vault's, and makes the moves of rows and documents.
func (m *moving) begin(ctx context.Context) error {
	if len(m.left) == 0 {
		return nil
	}
	fresh, err := m.known(ctx)
	if err != nil {
		return err
	}
	if !m.sameDocuments() {
		if err := m.beginBlobs(ctx, fresh); err != nil {
			return err
		}
	}
	m.rows = &move.Rows{From: m.source.Store, To: m.target.Store, Own: vault.StaysBehind, Kind: vault.KindOfRow, Progress: m.pace.add}
	for _, r := range m.left {
		if err := r.Begin(ctx); err != nil {
			return occupied(err)
		}
		m.rows.Under = append(m.rows.Under, r.Prefix())
	}
	if m.rekeys {
		return m.recast(ctx)
	}
	return nil
}

func occupied(err error) error {
	if errors.Is(err, vault.ErrOccupied) {
		return hinted(err, "name an empty store in --to; what is in this one was left as it is")
	}
	return err
}

// known refuses stores with rows of tenants that the configurations do not name; fresh tells that the target has no rows.
func (m *moving) known(ctx context.Context) (fresh bool, err error) {
	names := map[string]bool{}
	for _, of := range m.from.tenants() {
		names[of.Tenant] = true
	}
	for _, n := range []*node{m.source, m.target} {
		tenants, err := vault.TenantsIn(ctx, n.Store)
		if err != nil {
			return false, err
		}
		for _, t := range tenants {
			if !names[t] {
				return false, fmt.Errorf("the store %s has rows of the tenant %s, which the configurations do not name", n.storeOf(m), t)
			}
		}
		fresh = len(tenants) == 0 // the target's, at last
	}
	return fresh, nil
}

func (n *node) storeOf(m *moving) string {
	if n == m.source {
		return m.from.storeName()
	}
	return m.to.storeName()
}

// beginBlobs makes the move of documents. What is not ours is left as it is.
func (m *moving) beginBlobs(ctx context.Context, fresh bool) error {
	if fresh {
		if err := m.target.Blobs.List(ctx, func(blob.Info) error { return vault.ErrOccupied }); err != nil {
			return occupied(fmt.Errorf("the place of the documents: %w", err))
		}
	}
	m.blobs = &move.Blobs{
		From: m.source.Blobs, To: m.target.Blobs, Progress: m.pace.add,
		// The documents of tenants that were moved before may be more by now.
		Keep: len(m.left) < len(m.from.tenants()),
	}
	return nil
}

// still notes that nobody uses the source from now on.
func (m *moving) still(ctx context.Context) error {
	for _, r := range m.left {
		if err := r.Still(ctx); err != nil {
			return err
		}
	}
	return nil
}

// copyAll copies and verifies everything. Of what is written to the source meanwhile it takes along what it meets.
func (m *moving) copyAll(ctx context.Context) error {
	if len(m.left) == 0 {
		return nil
	}
	if err := m.step(ctx, "copying", m.copyOnce); err != nil {
		return err
	}
	return m.step(ctx, "verifying", m.verify)
}

func (m *moving) copyOnce(ctx context.Context) error {
	changes, err := m.rows.Copy(ctx)
	if err != nil {
		return err
	}
	m.log.Info("the rows were copied", "rows", changes.Rows, "written", changes.Written, "deleted", changes.Deleted)
	if m.blobs == nil {
		return nil
	}
	return m.blobs.Copy(ctx)
}

func (m *moving) verify(ctx context.Context) error {
	if _, err := m.rows.Verify(ctx); err != nil {
		return err
	}
	if m.blobs == nil {
		return nil
	}
	return m.blobs.Verify(ctx)
}

// step does one, and tells how far it is.
func (m *moving) step(ctx context.Context, name string, do func(context.Context) error) error {
	began := time.Now()
	stop := m.pace.tell(m.log, name)
	err := do(ctx)
	stop()
	if err != nil {
		return err
	}
	m.log.Info("done with "+name, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// handOver makes the target, which has everything, the live vault of each tenant, and opens it. Nobody writes to the source.
func (m *moving) handOver(ctx context.Context) error {
	if len(m.left) > 0 {
		if err := errors.Join(m.alone(ctx), m.rows.Equal()); err != nil {
			return err
		}
	}
	for _, r := range m.left {
		if err := r.HandOver(ctx); err != nil {
			return err
		}
	}
	if err := m.target.openTenants(ctx, m.to, m.log, m.reg); err != nil {
		return err
	}
	for _, t := range m.target.Tenants {
		err := t.fit(ctx)
		if errors.Is(err, errCopy) && !m.rekeys {
			err = t.Service.Promote(ctx)
		}
		if err != nil {
			return m.target.of(t, err)
		}
	}
	for _, r := range m.left {
		if ends, ok := r.relocation.(*vault.Relocation); ok { // a move of keys ends when the old ones are destroyed
			if err := ends.End(ctx); err != nil {
				return err
			}
		}
	}
	m.target.settle(ctx)
	return nil
}

// settleFor is how long a vault that was promoted may take to be held against its erasure ledger before it is served all the same: blocks
// and erasures are taken at once.
const settleFor = 10 * time.Second

// settle waits until data is given out.
func (n *node) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleFor)
	defer cancel()
	for len(n.Ready(ctx).Degraded) > 0 && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// answer is what was moved.
func (m *moving) answer() *moved {
	out := &moved{From: m.from.storeName(), To: m.to.storeName(), Moved: len(m.left) > 0, Rekeyed: m.rekeys}
	if out.Moved {
		out.counted(m.rows, m.blobs)
	}
	return out
}

// Close closes both sides. Calls in flight must have ended.
func (m *moving) Close() error {
	var errs []error
	for _, c := range m.recasts {
		c.Close()
	}
	for _, n := range []*node{m.target, m.source} { // the source keeps others out until the target is closed
		if n != nil {
			errs = append(errs, n.Close())
		}
	}
	for _, k := range m.keys {
		errs = append(errs, k.Close())
	}
	return errors.Join(errs...)
}
