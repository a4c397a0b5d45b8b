package vault_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/blind"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/backup"
	"github.com/sandyq/sandyq/vault/blob/file"
	"github.com/sandyq/sandyq/vault/fault"
	ledgerfile "github.com/sandyq/sandyq/vault/ledger/file"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// past is a state of a store, in one of the forms in which one is kept.
type past struct {
	step  int
	epoch int    // of the index
	id    string // of a snapshot in the safe; else it is what was dumped, with the documents in a folder
	files string // holds store/ and documents/, copied while the vault stood still; else documents/ alone
	rows  []store.Pair
}

// resident is somebody of a round.
type resident struct {
	api.TokenizeResult
	iin, document string
	step          int
	gone          string // what of them was erased: person, identity, documents or nothing
	erasure       string
}

// unreadable are the fields and the document, as they must be once the ledger is carried out.
func (p *resident) fieldsGone() bool   { return p.gone == "person" || p.gone == "identity" }
func (p *resident) documentGone() bool { return p.gone == "person" || p.gone == "documents" }

// restoration is one round: a vault that lives for a while, is backed up and loses people, and is then restored.
type restoration struct {
	t    *testing.T
	rng  *rand.Rand
	side restorable
	home string // of the vault that is live: documents/ and, with Badger, store/
	list string // the folder of the ledger
	log  *logLines
	seen *missed
	v    *vaulttest.Vault

	shop, root vault.Call
	safe       *safe
	people     []*resident
	pasts      []*past
	keysAt     []int // the step of each state of the keys
	oldLedger  string
	step       int

	restored *past // nil: the store is as it was
	keysFrom int   // the step that the keys were put back to; -1: they are as they were
	figures  *figures
}

// figures are what all rounds came to.
type figures struct {
	mu                                                             sync.Mutex
	rounds, people, erased, polls, lost, matches, withoutLedger    int
	oldStore, oldKeys, both, neither, backups, copies, inThisPlace int
	matchedBefore                                                  int // entries of erased people in rows of the epoch that still runs
}

func (f *figures) add(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// missed counts the keys of living people that were not at the provider.
type missed struct {
	bell
	keys atomic.Int64
}

func (m *missed) MissingKey() { m.keys.Add(1) }

// logLines is a log that a test reads.
type logLines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logLines) count(phrase string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), phrase)
}

// TestFiftyRestores restores what was backed up at any moment, on either side or both, and looks from the first moment on for
// anybody who was erased: by token, document, reveal and search, and by comparing the entries of the rows that came back.
func TestFiftyRestores(t *testing.T) {
	var all figures
	t.Run("rounds", func(t *testing.T) {
		for name, side := range map[string]func(*testing.T) restorable{"local keyring": newLocalSide, "HashiCorp Vault": newVaultSide} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				for n := range scaled(2) { // with SANDYQ_TEST_SCALE=13 there are 52
					t.Run(fmt.Sprint(n), func(t *testing.T) {
						o := &restoration{
							t: t, rng: rand.New(rand.NewPCG(uint64(n), uint64(len(name)))), side: side(t), list: filepath.Join(t.TempDir(), "ledger"),
							log: &logLines{}, seen: &missed{}, safe: newSafe(t), figures: &all, keysFrom: -1,
						}
						o.home = t.TempDir()
						o.run(n)
					})
				}
			})
		}
	})
	t.Logf("%d rounds: %d people, %d erasures; restored: %d times the store, %d the keys, %d both, %d neither (%d from backups, %d from copies, "+
		"%d in the same place); %d without the ledger first. %d polls read nobody who was erased. %d people lost their keys, and are unavailable. "+
		"%d entries of erased people match in the raw rows before the rotation that the certificate tells of, %d after it.",
		all.rounds, all.people, all.erased, all.oldStore, all.oldKeys, all.both, all.neither, all.backups, all.copies,
		all.inThisPlace, all.withoutLedger, all.polls, all.lost, all.matchedBefore, all.matches)
}

func (o *restoration) run(n int) {
	o.start()
	o.shop, o.root = app(o.v), administrator(o.v)
	o.live()
	o.stop()
	way := []string{"both", "keys", "store", "neither"}[n%4]
	o.putBack(way)
	if n%3 == 1 {
		o.withoutLedger(way)
	}
	o.start()
	stopWatching := o.watch()
	o.promote()
	o.settle()
	lost := o.everybody()
	o.rawRows(false)
	stopWatching()
	o.again()
	stopWatching = o.watch()
	whole(o.t, o.v, o.root)
	rotated(o.t, o.v, o.root)
	stopWatching()
	o.rawRows(true)
	o.everybody()
	o.stop()
	o.figures.add(func() { o.figures.rounds++; o.figures.people += len(o.people); o.figures.lost += lost })
}

// start opens a vault on what lies there.
func (o *restoration) start() {
	o.t.Helper()
	keys := o.side.open(o.t)
	o.v = vaulttest.At(o.t, o.home, vaulttest.With(func(opt *vault.Options) {
		opt.Keys, opt.Ledger, opt.Observer = keys, vaulttest.Ledger(o.list, opt.Tenant, keys), o.seen
		opt.Keyring.PoolSize = 8
		opt.Log = slog.New(slog.NewTextHandler(o.log, nil))
	}))
}

func (o *restoration) stop() {
	o.t.Helper()
	o.v.Stop()
	o.side.close(o.t)
}

// live has the vault live for a while.
func (o *restoration) live() {
	for range 4 {
		o.register()
	}
	o.keepKeys()
	o.keepStore()
	o.oldLedger = filepath.Join(o.t.TempDir(), "ledger")
	copyTree(o.t, o.list, o.oldLedger)
	o.erase(o.people[0], "person")
	for range 10 + o.rng.IntN(10) {
		o.step++
		switch o.rng.IntN(12) {
		case 0, 1, 2:
			o.register()
		case 3, 4:
			o.erase(o.people[o.rng.IntN(len(o.people))], "person")
		case 5:
			o.erase(o.people[o.rng.IntN(len(o.people))], "documents")
		case 6:
			o.erase(o.people[o.rng.IntN(len(o.people))], "identity")
		case 7:
			whole(o.t, o.v, o.root)
			must[*api.Index](o.t)(o.v.RotateIndex(ctx, o.root))
		case 8, 9:
			o.keepStore()
		case 10:
			o.keepKeys()
		case 11:
			o.stop()
			o.start()
			o.ready()
		}
	}
	o.step++
	for _, p := range o.people {
		if p.erasure != "" {
			erased(o.t, o.v, o.root, p.erasure)
		}
	}
	whole(o.t, o.v, o.root)
}

func (o *restoration) ready() {
	o.t.Helper()
	eventually(o.t, "the vault is ready", func() bool { return len(o.v.Ready(ctx).Degraded) == 0 })
}

func (o *restoration) register() {
	p := &resident{iin: nextIIN(), step: o.step}
	p.TokenizeResult = register(o.t, o.v, o.shop, fields{"iin": text(p.iin), "given_name": text("Айгүл")})
	p.document = must[*api.Document](o.t)(o.v.PutDocument(ctx, o.shop, upload(p.Subject, jpeg(3000)))).Token
	o.people = append(o.people, p)
}

func (o *restoration) erase(p *resident, what string) {
	if p.gone != "" {
		return
	}
	p.gone = what
	if what == "person" {
		p.erasure = erase(o.t, o.v, o.shop, p.Subject).Erasure
	} else {
		p.erasure = eraseSlices(o.t, o.v, o.shop, p.Subject, what).Erasure
	}
	o.figures.add(func() { o.figures.erased++ })
}

func (o *restoration) keepKeys() {
	o.side.keep(o.t)
	o.keysAt = append(o.keysAt, o.step)
	o.step++
}

// keepStore takes a backup, or copies the files.
func (o *restoration) keepStore() {
	p := &past{step: o.step, epoch: must[*api.Index](o.t)(o.v.Index(ctx, o.root)).Epoch}
	o.step++
	switch {
	case o.rng.IntN(2) == 0:
		p.id = o.safe.mustTake(o.t, o.v).ID
	case os.Getenv(vaulttest.StoreVariable) == "postgres":
		p.rows = must[[]store.Pair](o.t)(rows(o.v.Store))
		p.files = o.t.TempDir()
		copyTree(o.t, filepath.Join(o.home, "documents"), filepath.Join(p.files, "documents"))
	default:
		o.stop()
		p.files = o.t.TempDir()
		for _, part := range []string{"store", "documents"} {
			copyTree(o.t, filepath.Join(o.home, part), filepath.Join(p.files, part))
		}
		o.start()
		o.ready()
	}
	o.pasts = append(o.pasts, p)
}

// putBack puts one side back as it was, or both.
func (o *restoration) putBack(way string) {
	if way == "store" || way == "both" {
		o.putStoreBack()
	}
	if way == "keys" || way == "both" {
		n := o.rng.IntN(len(o.keysAt))
		o.side.restore(o.t, n)
		o.keysFrom = o.keysAt[n]
	}
	o.figures.add(func() {
		*map[string]*int{"store": &o.figures.oldStore, "keys": &o.figures.oldKeys, "both": &o.figures.both, "neither": &o.figures.neither}[way]++
	})
}

// putStoreBack puts a state of the store in the place of the store, or elsewhere. PostgreSQL has a database of its own for each.
func (o *restoration) putStoreBack() {
	t := o.t
	p := o.pasts[o.rng.IntN(len(o.pasts))]
	o.restored = p
	here := o.rng.IntN(2) == 0 && os.Getenv(vaulttest.StoreVariable) != "postgres"
	if here {
		removeAll(t, filepath.Join(o.home, "store"))
		removeAll(t, filepath.Join(o.home, "documents"))
	} else {
		o.home = t.TempDir()
	}
	o.figures.add(func() {
		if here {
			o.figures.inThisPlace++
		}
		if p.id != "" {
			o.figures.backups++
		} else {
			o.figures.copies++
		}
	})
	if p.id == "" {
		copyTree(t, filepath.Join(p.files, "documents"), filepath.Join(o.home, "documents"))
	}
	if p.id == "" && p.rows == nil {
		copyTree(t, filepath.Join(p.files, "store"), filepath.Join(o.home, "store"))
		chmodAll(t, o.home)
		return
	}
	chmodAll(t, o.home)
	vaulttest.Fill(t, o.home, o.rowsOf(p))
	if p.id != "" {
		o.documentsOf(p)
	}
}

// rowsOf are the rows of a state of the store, as whoever has it reads them.
func (o *restoration) rowsOf(p *past) []store.Pair {
	o.t.Helper()
	if p.rows != nil {
		return p.rows
	}
	if p.id == "" {
		aside := o.t.TempDir()
		copyTree(o.t, filepath.Join(p.files, "store"), filepath.Join(aside, "store"))
		chmodAll(o.t, aside)
		p.rows = must[[]store.Pair](o.t)(rows(ownStore(o.t, filepath.Join(aside, "store"))))
		return p.rows
	}
	err := must[*backup.Snapshot](o.t)(o.safe.open(o.t, o.safe.dir, p.id)).Rows(ctx, func(pairs []store.Pair) error {
		for _, one := range pairs {
			p.rows = append(p.rows, store.Pair{Key: bytes.Clone(one.Key), Value: bytes.Clone(one.Value)})
		}
		return nil
	})
	if err != nil {
		o.t.Fatal(err)
	}
	return p.rows
}

func (o *restoration) documentsOf(p *past) {
	o.t.Helper()
	blobs := must[*file.Store](o.t)(file.Open(filepath.Join(o.home, "documents"), 0))
	err := must[*backup.Snapshot](o.t)(o.safe.open(o.t, o.safe.dir, p.id)).Blobs(ctx, func(ref backup.BlobRef, r io.Reader) error {
		w, err := blobs.Create(ctx, ref.ID)
		if err != nil {
			return err
		}
		if _, err := io.Copy(w, r); err != nil {
			return err
		}
		return w.Commit()
	})
	if err := errors.Join(err, blobs.Close()); err != nil {
		o.t.Fatal(err)
	}
}

// withoutLedger starts without the ledger, or with an older copy of it: nothing is given out, and people are blocked. Then it
// is as it was.
func (o *restoration) withoutLedger(way string) {
	t := o.t
	aside := filepath.Join(t.TempDir(), "ledger")
	copyTree(t, o.list, aside)
	removeAll(t, o.list)
	if way != "both" && o.rng.IntN(2) == 0 { // with both sides old nobody can tell that an older ledger is
		copyTree(t, o.oldLedger, o.list)
		chmodAll(t, o.list)
	}
	o.start()
	stop := o.watch()
	o.promote()
	if r := o.v.Ready(ctx); !r.Ready || !slices.Contains(r.Degraded, "ledger") {
		t.Errorf("without the ledger: %+v", r)
	}
	for range 5 {
		for _, p := range o.people {
			got := detokenize(t, o.v, o.shop, api.Plain, p.Tokens["iin"].Items[0])[0]
			if got.Value != nil {
				t.Error("without the ledger somebody is read")
			}
			if _, err := o.v.OpenDocument(ctx, o.shop, &api.OpenDocumentRequest{Token: p.document, Purpose: "service", Reason: "check"}); err == nil {
				t.Error("without the ledger a document is opened")
			}
		}
	}
	for _, p := range o.people {
		if p.gone == "" && o.has(p) {
			must[*api.Subject](t)(o.v.Block(ctx, o.shop, p.Subject, &api.BlockRequest{Kind: "dispute", Reason: "claim"}))
			must[*api.Subject](t)(o.v.Unblock(ctx, o.shop, p.Subject, &api.BlockRequest{Kind: "dispute", Reason: "settled"}))
		}
	}
	stop()
	o.stop()
	removeAll(t, o.list)
	copyTree(t, aside, o.list)
	chmodAll(t, o.list)
	o.figures.add(func() { o.figures.withoutLedger++ })
}

// has reports whether the store knows somebody.
func (o *restoration) has(p *resident) bool { return o.restored == nil || p.step <= o.restored.step }

// sure reports whether the keys that somebody has are there: whoever was registered after the state of the keys may have keys
// that were made before it, or not.
func (o *restoration) sure(p *resident) bool { return o.keysFrom < 0 || p.step <= o.keysFrom }

func (o *restoration) promote() {
	o.t.Helper()
	eventually(o.t, "the store knows what it is", func() bool { return !slices.Contains(o.v.Ready(ctx).Degraded, "keys") })
	if slices.Contains(o.v.Ready(ctx).Degraded, "copy") {
		if err := o.v.Promote(ctx); err != nil {
			o.t.Fatal(err)
		}
	}
}

// settle waits until everything is given out again and everything erased is erased.
func (o *restoration) settle() {
	o.t.Helper()
	eventually(o.t, "all is given out again", func() bool { return len(o.v.Ready(ctx).Degraded) == 0 })
	for _, p := range o.people {
		if p.fieldsGone() {
			eventually(o.t, "somebody is erased again", func() bool {
				got := detokenize(o.t, o.v, o.shop, api.Plain, p.Tokens["iin"].Items[0])[0]
				return got.Error != nil && (got.Error.Code == fault.Erased || got.Error.Code == fault.NotFound && !o.has(p))
			})
		}
		if p.gone == "person" && o.has(p) {
			eventually(o.t, "the erasure ends again", func() bool {
				e, err := o.v.Erasure(ctx, o.root, p.erasure)
				return err == nil && e.State == api.ErasureErased
			})
		}
	}
	whole(o.t, o.v, o.root)
	settled(o.t, o.v)
}

// watch looks for everybody who was erased, by all ways, until it is stopped.
func (o *restoration) watch() (stop func()) {
	v, done := o.v, make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			for _, p := range o.people {
				if p.gone != "" {
					o.look(v, p)
				}
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	stopped := sync.OnceFunc(func() { close(done); watching.Wait() })
	o.t.Cleanup(stopped)
	return stopped
}

func (o *restoration) look(v *vaulttest.Vault, p *resident) {
	o.figures.add(func() { o.figures.polls++ })
	if p.documentGone() {
		if opened, err := v.OpenDocument(ctx, o.shop, &api.OpenDocumentRequest{Token: p.document, Purpose: "service", Reason: "check"}); err == nil {
			o.t.Errorf("an erased document is opened: %+v", opened)
		}
	}
	if !p.fieldsGone() {
		return
	}
	for _, field := range []string{"iin", "given_name"} {
		out, err := v.Detokenize(ctx, o.shop, &api.DetokenizeRequest{Purpose: "service", Reason: "check", Tokens: []string{p.Tokens[field].Items[0]}})
		if err == nil && out.Results[0].Value != nil {
			o.t.Errorf("%s of somebody erased is read by its token", field)
		}
	}
	shown, err := v.Reveal(ctx, o.shop, p.Subject, &api.RevealRequest{Purpose: "service", Reason: "check", Fields: []string{"iin", "given_name"}})
	if err == nil && len(shown.Fields) > 0 {
		o.t.Errorf("%d fields of somebody erased are revealed", len(shown.Fields))
	}
	if found, err := searched(v, o.shop, "iin", p.iin); err == nil && len(found) > 0 {
		o.t.Error("somebody erased is found by their IIN")
	}
}

// everybody looks at each person once all is settled, and counts those who lost their keys.
func (o *restoration) everybody() (lost int) {
	t := o.t
	t.Helper()
	o.seen.keys.Store(0)
	for _, p := range o.people {
		got := detokenize(t, o.v, o.shop, api.Plain, p.Tokens["iin"].Items[0])[0]
		_, docErr := o.v.OpenDocument(ctx, o.shop, &api.OpenDocumentRequest{Token: p.document, Purpose: "service", Reason: "check"})
		found := o.search(p.iin)
		switch {
		case !o.has(p):
			wantItem(t, got.Error, fault.NotFound)
			wantCode(t, docErr, fault.NotFound)
			if len(found) != 0 {
				t.Error("somebody whom the store does not know is found")
			}
			continue
		case p.fieldsGone():
			wantItem(t, got.Error, fault.Erased)
			if len(found) != 0 {
				t.Error("somebody erased is found by their IIN")
			}
		case got.Error == nil:
			wantText(t, got.Value, p.iin)
			if len(found) != 1 || found[0].Subject != p.Subject {
				t.Errorf("%d people are found by the IIN of one who is readable", len(found))
			}
		case o.sure(p) || got.Error.Code != fault.Unavailable:
			t.Errorf("somebody of step %d is not readable: %v (store of %+v, keys of %d)", p.step, got.Error.Code, o.restored, o.keysFrom)
		default:
			lost++
		}
		switch {
		case p.documentGone():
			wantCode(t, docErr, fault.Erased)
		case docErr != nil && (o.sure(p) || !errors.Is(docErr, fault.Unavailable)):
			t.Errorf("a document of step %d (keys of %d): %v", p.step, o.keysFrom, docErr)
		}
	}
	if lost > 0 && o.seen.keys.Load() == 0 {
		t.Error("people have lost their keys, and none is counted as missing")
	}
	return lost
}

// search searches, and waits while the index is rebuilt: its key was lost with the state of the keys.
func (o *restoration) search(iin string) (found []api.SearchResult) {
	o.t.Helper()
	eventually(o.t, "the index is rebuilt", func() (ok bool) {
		var err error
		if found, err = searched(o.v, o.shop, "iin", iin); err != nil {
			wantCode(o.t, err, fault.Unavailable)
		}
		return err == nil
	})
	return found
}

// again starts once more: nothing is destroyed or listed again.
func (o *restoration) again() {
	t := o.t
	t.Helper()
	listed := must[[]byte](t)(os.ReadFile(ledgerfile.Path(o.list, "test")))
	relisted, repeated := len(trail(t, o.v, "erasure.relisted")), o.log.count("carried out again")
	mark := must[kms.Mark](t)(o.v.Keys.Mark(ctx))
	o.stop()
	o.start()
	stop := o.watch()
	o.ready()
	o.everybody()
	stop()
	if !bytes.Equal(listed, must[[]byte](t)(os.ReadFile(ledgerfile.Path(o.list, "test")))) || must[kms.Mark](t)(o.v.Keys.Mark(ctx)) != mark {
		t.Error("a second start writes to the ledger, or moves the mark")
	}
	if now := len(trail(t, o.v, "erasure.relisted")); now != relisted || o.log.count("carried out again") != repeated {
		t.Error("a second start erases again")
	}
}

// rawRows compares the entries of everybody erased with the rows of the state that came back (of all states, when none did),
// under every key that there is. After a rotation nobody matches, in the rows of any state, abandoned ones among them; before it
// those do whom the certificate says so of.
func (o *restoration) rawRows(rotated bool) {
	t := o.t
	t.Helper()
	now := must[*api.Index](t)(o.v.Index(ctx, o.root)).Epoch
	states := o.pasts
	if o.restored != nil && !rotated {
		states = []*past{o.restored}
	}
	for _, p := range o.people {
		if !p.fieldsGone() {
			continue
		}
		entries := o.entries(p.iin)
		for _, state := range states {
			n := 0
			for _, row := range o.rowsOf(state) {
				for _, e := range entries {
					if k := kindOf(row.Key); (k == 'u' || k == 'x') && bytes.Contains(row.Key, e) || bytes.Contains(row.Value, e) {
						n++
					}
				}
			}
			if n == 0 {
				continue
			}
			if rotated || now != state.epoch {
				t.Errorf("%d entries of somebody erased match in rows of epoch %d, now it is %d", n, state.epoch, now)
				o.figures.add(func() { o.figures.matches += n })
				continue
			}
			o.figures.add(func() { o.figures.matchedBefore += n })
			if p.gone == "person" {
				c := must[*vault.IssuedCertificate](t)(o.v.Certificate(ctx, staff(o.v), p.erasure))
				if c.Verified.Content.Residue.Index == nil || c.Verified.Content.Residue.Index.Epoch != uint64(state.epoch) {
					t.Errorf("entries match in rows of epoch %d, of which the certificate says %+v", state.epoch, c.Verified.Content.Residue.Index)
				}
			}
		}
	}
}

// entries are what an IIN would be entered as under each key that there is.
func (o *restoration) entries(iin string) (all [][]byte) {
	mac := must[[][]byte](o.t)(o.v.Keys.MAC(ctx, blind.Input("test", "iin", iin)))[0]
	for some := range slices.Chunk(o.side.ids(o.t), 50) {
		for _, key := range must[[]kms.Key](o.t)(o.v.Keys.Open(ctx, some...)) {
			if !key.Missing() {
				e := must[blind.Entry](o.t)(must[*blind.Epoch](o.t)(blind.NewEpoch(1, key.Secret)).Entry(mac))
				all = append(all, bytes.Clone(e[4:]))
			}
		}
	}
	return all
}

// TestKeysRolledBackUnderALivingVault forces a snapshot of before an erasure back while the vault runs: nobody is readable, and
// the keys that came back are destroyed within a comparison.
func TestKeysRolledBackUnderALivingVault(t *testing.T) {
	side := newVaultSide(t).(*vaultSide)
	o := &restoration{t: t, side: side, home: t.TempDir(), list: filepath.Join(t.TempDir(), "ledger"), log: &logLines{}, seen: &missed{}, figures: &figures{}}
	o.start()
	o.shop, o.root = app(o.v), administrator(o.v)
	for range 3 {
		o.register()
	}
	o.ready()
	before := keysOf(t, o.v.Store)
	o.keepKeys()
	o.stop()
	o.start() // on to another generation than the snapshot's
	o.ready()
	o.erase(o.people[0], "person")
	o.erase(o.people[1], "documents")
	erased(t, o.v, o.root, o.people[0].erasure)
	erased(t, o.v, o.root, o.people[1].erasure)
	living := keysOf(t, o.v.Store)
	gone := slices.DeleteFunc(before, func(id kms.ID) bool { return slices.Contains(living, id) })
	if len(gone) != 3 {
		t.Fatalf("%d keys are gone", len(gone))
	}
	eventually(t, "the keys know how far the ledger was carried out", func() bool { return must[kms.Mark](t)(o.v.Keys.Mark(ctx)).Entries == 3 })
	stop := o.watch()
	side.restore(t, 0)
	for _, id := range gone {
		if status(t, side.server, entryOf(id)) != 200 {
			t.Fatal("the snapshot did not bring the keys back: the test sees nothing")
		}
	}
	o.v.Clock.Advance(2 * time.Minute)
	eventually(t, "the keys that came back are destroyed", func() bool {
		return !slices.ContainsFunc(gone, func(id kms.ID) bool { return status(t, side.server, entryOf(id)) == 200 })
	})
	o.shop, o.root = app(o.v), administrator(o.v)
	o.ready()
	stop()
	o.keysFrom = 0
	o.everybody()
	for _, phrase := range []string{"the key provider was restored from an older state", "the erasure ledger is carried out again"} {
		if o.log.count(phrase) == 0 {
			t.Errorf("the log does not say that %s", phrase)
		}
	}
	t.Logf("%d polls", o.figures.polls)
	o.stop()
}
