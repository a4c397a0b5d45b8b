package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/backup"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/blob/file"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/badgerdb"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// safe is a repository and who opens it.
type safe struct {
	dir        string
	identities backup.Identities
	recipient  string
}

func newSafe(t testing.TB) *safe {
	t.Helper()
	identity, recipient, err := backup.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return &safe{filepath.Join(t.TempDir(), "repository"), must[backup.Identities](t)(backup.ParseIdentities(strings.NewReader(identity))), recipient}
}

// taken is a backup that was taken.
type taken struct {
	*backup.Header
	backup.Progress
}

var errStreamCut = errors.New("the line is gone")

// cutter lets so many bytes pass and then fails.
type cutter struct {
	w    io.Writer
	left int64
}

func (c *cutter) Write(p []byte) (int, error) {
	if c.left -= int64(len(p)); c.left < 0 {
		return 0, errStreamCut
	}
	return c.w.Write(p)
}

// take takes a backup into the safe, of which at most so many bytes come over.
func (s *safe) take(t testing.TB, v *vaulttest.Vault, most int64) (taken, error) {
	t.Helper()
	return s.takeThrough(t, v, func(w io.Writer) io.Writer { return &cutter{w, most} })
}

// takeThrough takes a backup into the safe through a writer of the server's.
func (s *safe) takeThrough(t testing.TB, v *vaulttest.Vault, through func(io.Writer) io.Writer) (out taken, err error) {
	t.Helper()
	objects := must[*backup.Directory](t)(backup.WriteDirectory(s.dir))
	defer func() { err = errors.Join(err, objects.Close()) }()
	repository := must[*backup.Repository](t)(backup.Open(ctx, objects))
	var ask bytes.Buffer
	if err := repository.WriteRequest(ctx, &ask, []string{s.recipient}); err != nil {
		return out, err
	}
	stream, in := io.Pipe()
	begun := make(chan struct{})
	var serving sync.WaitGroup
	var served error
	serving.Go(func() {
		served = v.TakeBackup(ctx, admin(v), vault.BackupAsked{
			Request: must[*backup.Request](t)(backup.ReadRequest(&ask)),
			Begin:   func() io.Writer { close(begun); return through(in) },
		})
		_ = in.CloseWithError(served)
	})
	out.Header, err = repository.Receive(ctx, stream, func(p backup.Progress) { out.Progress = p }, func(b []byte) error { return errors.New(string(b)) })
	_ = stream.Close()
	serving.Wait()
	select {
	case <-begun:
		return out, err
	default:
		return out, served
	}
}

func (s *safe) mustTake(t testing.TB, v *vaulttest.Vault) taken {
	t.Helper()
	return must[taken](t)(s.take(t, v, 1<<40))
}

func (s *safe) open(t testing.TB, dir, id string) (*backup.Snapshot, error) {
	t.Helper()
	objects, err := backup.OpenDirectory(dir)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = objects.Close() })
	r, err := backup.Open(ctx, objects)
	if err != nil {
		return nil, err
	}
	return r.Snapshot(ctx, id, s.identities)
}

// restore writes a snapshot into a home, and starts the vault on it over the keys of v.
func (s *safe) restore(t testing.TB, v *vaulttest.Vault, id string, options ...vaulttest.Option) (*vaulttest.Vault, *vault.Census) {
	t.Helper()
	snapshot := must[*backup.Snapshot](t)(s.open(t, s.dir, id))
	home := t.TempDir()
	rows := must[*badgerdb.Store](t)(badgerdb.Open(badgerdb.Options{Dir: filepath.Join(home, "store")}))
	blobs := must[*file.Store](t)(file.Open(filepath.Join(home, "documents"), 0))
	has := must[map[blob.ID]bool](t)(snapshot.Fill(ctx, rows, blobs, nil))
	census := must[*vault.Census](t)(vault.Inspect(ctx, rows, func(id blob.ID) bool { return has[id] }))
	if err := errors.Join(rows.Close(), blobs.Close()); err != nil {
		t.Fatal(err)
	}
	options = append(options, v.SameLedger(), vaulttest.With(func(o *vault.Options) { o.Keys = v.Keys }))
	return vaulttest.At(t, home, options...), census
}

func admin(v *vaulttest.Vault) vault.Call { return v.As("operator", access.Administrator) }

// many registers n people and gives a token of each.
func many(t testing.TB, v *vaulttest.Vault, call vault.Call, n int) (tokens []string) {
	t.Helper()
	for i := range n {
		r := register(t, v, call, fields{"given_name": text("Есім"), "phone": texts(fmt.Sprintf("+7701%07d", i))})
		tokens = append(tokens, r.Tokens["given_name"].Items[0])
	}
	return tokens
}

func TestABackupUnderLoadIsOneState(t *testing.T) {
	v, s := vaulttest.New(t), newSafe(t)
	shop := app(v)
	before := many(t, v, shop, 20)
	var stop atomic.Bool
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for !stop.Load() {
				register(t, v, shop, fields{"given_name": text("Тоқтар")})
			}
		})
	}
	for range scaled(3) {
		during := register(t, v, shop, fields{"given_name": text("Айша")}).Tokens["given_name"].Items[0]
		before = append(before, during)
		made := s.mustTake(t, v)
		after := register(t, v, shop, fields{"given_name": text("Кейін")}).Tokens["given_name"].Items[0]
		stop.Store(true)
		load.Wait()
		restored, census := s.restore(t, v, made.ID)
		if census.Faults != 0 {
			t.Fatalf("what was restored does not fit together: %v", census.First)
		}
		for _, r := range detokenize(t, restored, shop, api.Plain, before...) {
			if r.Error != nil {
				t.Fatalf("acknowledged before the backup, and not in it: %+v", r.Error)
			}
		}
		if r := detokenize(t, restored, shop, api.Plain, after)[0]; r.Error == nil || r.Error.Code != fault.NotFound {
			t.Fatalf("written after the backup, and in it: %+v", r)
		}
		restored.Stop()
	}
}

func TestAnIncrementalBackupWritesLittle(t *testing.T) {
	v, s := vaulttest.New(t), newSafe(t)
	shop := app(v)
	who := register(t, v, shop, aigul())
	many(t, v, shop, scaled(400))
	put := must[*api.Document](t)(v.PutDocument(ctx, shop, upload(who.Subject, jpeg(300_000))))
	first := s.mustTake(t, v)
	must[*api.Subject](t)(v.Block(ctx, shop, who.Subject, &api.BlockRequest{Kind: "dispute", Reason: "asked"}))
	second := s.mustTake(t, v)
	if first.New != first.Chunks+first.Blobs || first.Blobs != 1 {
		t.Errorf("the first wrote %d of %d chunks and %d blobs", first.New, first.Chunks, first.Blobs)
	}
	// The subject's row, the log's tail and its lists by person, what else the calls between left.
	if second.New > 8 || second.Chunks < 3*second.New {
		t.Errorf("one block rewrote %d of %d chunks", second.New, second.Chunks)
	}
	objects := must[*backup.Directory](t)(backup.WriteDirectory(s.dir))
	r := must[*backup.Repository](t)(backup.Open(ctx, objects))
	pruned := must[*backup.Pruned](t)(r.Prune(ctx, 1))
	if pruned.Removed != 1 || pruned.Objects == 0 {
		t.Errorf("pruned %+v", pruned)
	}
	if err := objects.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.open(t, s.dir, first.Header.ID); !errors.Is(err, backup.ErrNoSnapshot) {
		t.Errorf("the first is there still: %v", err)
	}
	restored, census := s.restore(t, v, second.Header.ID)
	if census.Faults != 0 || census.Documents != 1 {
		t.Errorf("restored %+v", census)
	}
	must[*api.Subject](t)(restored.Subject(ctx, shop, who.Subject))
	if _, err := restored.OpenDocument(ctx, shop, &api.OpenDocumentRequest{Token: put.Token, Purpose: "service", Reason: "check"}); !errors.Is(err, fault.Blocked) {
		t.Errorf("a blocked person's document: %v", err)
	}
}

func TestACutBackupGoesOn(t *testing.T) {
	v, s := vaulttest.New(t), newSafe(t)
	shop := app(v)
	who := register(t, v, shop, aigul())
	many(t, v, shop, 60)
	for range 3 {
		must[*api.Document](t)(v.PutDocument(ctx, shop, upload(who.Subject, jpeg(100_000))))
	}
	var carried int64
	for _, most := range []int64{0, 10, 500, 20_000, 60_000, 120_000, 250_000} {
		out, err := s.take(t, v, most)
		if err == nil {
			t.Fatalf("%d bytes were a backup", most)
		}
		carried = max(carried, out.Chunks+out.Blobs)
		all, _, err := must[*backup.Repository](t)(backup.Open(ctx, must[*backup.Directory](t)(backup.OpenDirectory(s.dir)))).Snapshots(ctx)
		if err != nil || len(all) != 0 {
			t.Fatalf("a cut backup is a snapshot: %v, %v", all, err)
		}
	}
	if err := os.WriteFile(filepath.Join(s.dir, "7.partial"), []byte("half"), 0o600); err != nil { // as kill -9 leaves it
		t.Fatal(err)
	}
	made := s.mustTake(t, v)
	if made.New >= made.Chunks+made.Blobs || carried == 0 {
		t.Errorf("%d of %d objects came anew after %d had come", made.New, made.Chunks+made.Blobs, carried)
	}
	if err := must[*backup.Snapshot](t)(s.open(t, s.dir, made.ID)).Check(ctx, nil); err != nil {
		t.Error(err)
	}
	left := must[[]string](t)(filepath.Glob(filepath.Join(s.dir, "*.partial")))
	if len(left) != 0 {
		t.Errorf("left aside: %v", left)
	}
}

func TestEveryDamageOfABackupIsFound(t *testing.T) {
	v, s := vaulttest.New(t), newSafe(t)
	who := register(t, v, app(v), aigul())
	many(t, v, app(v), 40)
	must[*api.Document](t)(v.PutDocument(ctx, app(v), upload(who.Subject, jpeg(5000))))
	made := s.mustTake(t, v)
	check := func(dir string) error {
		snapshot, err := s.open(t, dir, made.ID)
		if err != nil {
			return err
		}
		return snapshot.Check(ctx, nil)
	}
	if err := check(s.dir); err != nil {
		t.Fatal(err)
	}
	var names []string
	err := fs.WalkDir(os.DirFS(s.dir), ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && name != "lock" {
			names = append(names, name)
		}
		return err
	})
	if err != nil || len(names) < 6 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		path := filepath.Join(s.dir, name)
		whole := must[[]byte](t)(os.ReadFile(path))
		hurt := map[string][]byte{"cut": whole[:len(whole)-1], "emptied": {}, "longer": append(slices.Clone(whole), '\n')}
		for _, at := range []int{0, len(whole) / 5, len(whole) / 2, len(whole) * 4 / 5, len(whole) - 1} {
			flipped := slices.Clone(whole)
			flipped[at] ^= 1
			hurt[fmt.Sprintf("flipped at %d", at)] = flipped
		}
		for how, content := range hurt {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if check(s.dir) == nil {
				t.Errorf("%s, %s: not found", name, how)
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if check(s.dir) == nil {
			t.Errorf("%s, missing: not found", name)
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	chunks := must[[]string](t)(filepath.Glob(filepath.Join(s.dir, "chunks", "*", "*")))
	for i := 1; i < len(chunks); i++ { // each is a good file in the other's place
		swap := func() {
			a, b := must[[]byte](t)(os.ReadFile(chunks[0])), must[[]byte](t)(os.ReadFile(chunks[i]))
			if err := errors.Join(os.WriteFile(chunks[0], b, 0o600), os.WriteFile(chunks[i], a, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		swap()
		if err := check(s.dir); !errors.Is(err, backup.ErrDamaged) {
			t.Errorf("two chunks exchanged: %v", err)
		}
		swap()
	}
	other := newSafe(t)
	if _, err := other.open(t, s.dir, made.ID); !errors.Is(err, backup.ErrIdentity) {
		t.Errorf("another identity: %v", err)
	}
}

func TestARestoredVaultReadsWithTheSameKeys(t *testing.T) {
	v, s := vaulttest.New(t), newSafe(t)
	shop := app(v)
	kept, before, after := register(t, v, shop, aigul()), many(t, v, shop, 1)[0], register(t, v, shop, fields{"given_name": text("Бекзат")})
	gone := register(t, v, shop, fields{"given_name": text("Ерлан")})
	put := must[*api.Document](t)(v.PutDocument(ctx, shop, upload(kept.Subject, jpeg(70_000))))
	erase(t, v, shop, gone.Subject)
	made := s.mustTake(t, v)
	erase(t, v, shop, after.Subject)
	late := register(t, v, shop, fields{"given_name": text("Кейін")}) // under a key that was made ahead when the backup was taken
	restored, _ := s.restore(t, v, made.ID)
	if got := restored.Ready(ctx).Degraded; !slices.Contains(got, "copy") {
		t.Fatalf("what was restored is %v", got)
	}
	if _, err := restored.Tokenize(ctx, shop, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{{Fields: aigul()}}}); !errors.Is(err, fault.Unavailable) {
		t.Errorf("a copy takes data in: %v", err)
	}
	if err := restored.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the ledger is carried out", func() bool { return len(restored.Ready(ctx).Degraded) == 0 })
	for _, tk := range []string{kept.Tokens["given_name"].Items[0], before} {
		if r := detokenize(t, restored, shop, api.Plain, tk)[0]; r.Error != nil {
			t.Errorf("a living person: %+v", r.Error)
		}
	}
	must[*api.OpenDocumentResponse](t)(restored.OpenDocument(ctx, shop, &api.OpenDocumentRequest{Token: put.Token, Purpose: "service", Reason: "check"}))
	if r := detokenize(t, restored, shop, api.Plain, gone.Tokens["given_name"].Items[0])[0]; r.Error == nil || r.Error.Code != fault.Erased {
		t.Errorf("erased before the backup: %+v", r)
	}
	if r := detokenize(t, restored, shop, api.Plain, after.Tokens["given_name"].Items[0])[0]; r.Error == nil {
		t.Errorf("erased after the backup, and read: %+v", r)
	}
	register(t, restored, shop, fields{"given_name": text("Жаңа")}) // its pool is made and reaped
	restored.Stop()
	// Back to the store that was live: whom it registered since is nobody that the restored one destroyed.
	if err := v.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the ledger is compared", func() bool { return len(v.Ready(ctx).Degraded) == 0 })
	if r := detokenize(t, v, shop, api.Plain, late.Tokens["given_name"].Items[0])[0]; r.Error != nil {
		t.Errorf("the restored store destroyed a key of the living: %+v", r.Error)
	}
}

func TestABackupHoldsNothingPlainAndNothingThatIsOver(t *testing.T) {
	v, s := vaulttest.New(t), newSafe(t)
	shop := app(v)
	who := register(t, v, shop, aigul())
	handOff(t, v, shop, who.Subject, "bank", "given_name")
	made := s.mustTake(t, v)
	err := fs.WalkDir(os.DirFS(s.dir), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		content := must[[]byte](t)(os.ReadFile(filepath.Join(s.dir, name)))
		for _, secret := range []string{iinA, phoneA, "Сәрсенова", "Айгүл", "shop", who.Subject, who.Tokens["iin"].Items[0]} {
			if bytes.Contains(content, []byte(secret)) || strings.Contains(name, secret) {
				t.Errorf("%s shows %q", name, secret)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	live := rowsOfTenant(t, v, v.Tenant, "qf")
	if len(live) < 2 {
		t.Fatal("there is nothing that is left out")
	}
	snapshot := must[*backup.Snapshot](t)(s.open(t, s.dir, made.ID))
	err = snapshot.Rows(ctx, func(pairs []store.Pair) error {
		for _, p := range pairs {
			if strings.IndexByte("qlnfHN", kindOf(p.Key)) >= 0 {
				t.Errorf("a row of kind %q is in the backup", kindOf(p.Key))
			}
			for _, secret := range []string{iinA, phoneA, "Сәрсенова", "Айгүл"} {
				if bytes.Contains(p.Key, []byte(secret)) || bytes.Contains(p.Value, []byte(secret)) {
					t.Errorf("a row of kind %q shows %q", kindOf(p.Key), secret)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhoMayTakeABackup(t *testing.T) {
	v, s := vaulttest.New(t), newSafe(t)
	s.mustTake(t, v)
	ask := func(v *vaulttest.Vault, call vault.Call, a backup.Ask) error {
		var b bytes.Buffer
		body := must[[]byte](t)(askFrame(a))
		b.Write(body)
		return v.TakeBackup(ctx, call, vault.BackupAsked{
			Request: must[*backup.Request](t)(backup.ReadRequest(&b)),
			Begin:   func() io.Writer { return io.Discard },
		})
	}
	to := []string{s.recipient}
	wantCode(t, ask(v, app(v), backup.Ask{Recipients: to}), fault.Denied)
	wantCode(t, ask(v, admin(v), backup.Ask{}), fault.Invalid)
	wantCode(t, ask(v, admin(v), backup.Ask{Recipients: []string{"age1nobody"}}), fault.Invalid)
	wantCode(t, ask(v, admin(v), backup.Ask{Recipients: to, Vault: "another"}), fault.Conflict)
	beside := v.Beside("other")
	wantCode(t, ask(beside, admin(beside), backup.Ask{Recipients: to}), fault.Denied)
	only := vaulttest.New(t, vaulttest.With(func(o *vault.Options) { o.Backups = &vault.Backups{Recipients: []string{newSafe(t).recipient}} }))
	wantCode(t, ask(only, admin(only), backup.Ask{Recipients: to}), fault.Denied)

	// One at a time: the second comes while the first is being read.
	var b bytes.Buffer
	b.Write(must[[]byte](t)(askFrame(backup.Ask{Recipients: to})))
	err := v.TakeBackup(ctx, admin(v), vault.BackupAsked{
		Request: must[*backup.Request](t)(backup.ReadRequest(&b)),
		Begin: func() io.Writer {
			wantCode(t, ask(v, admin(v), backup.Ask{Recipients: to}), fault.Conflict)
			return io.Discard
		},
	})
	if err != nil {
		t.Error(err)
	}
	kinds := map[string]int{}
	for _, e := range logged(t, v, "backup.take") {
		kinds[string(e.Decision)+" "+e.Kind]++
	}
	if kinds["allow taken"] != 2 || kinds["allow begun"] != 2 || kinds["deny "] < 2 {
		t.Errorf("the log has %v", kinds)
	}
}

// askFrame is a request of a repository that has nothing.
func askFrame(a backup.Ask) ([]byte, error) {
	var b bytes.Buffer
	err := backup.WriteAsk(&b, a)
	return b.Bytes(), err
}

func TestABackupEndsWithItsCaller(t *testing.T) {
	v, s := vaulttest.New(t), newSafe(t)
	many(t, v, app(v), 5)
	gone, leave := context.WithCancel(ctx)
	err := v.TakeBackup(gone, admin(v), vault.BackupAsked{
		Request: must[*backup.Request](t)(backup.ReadRequest(bytes.NewReader(must[[]byte](t)(askFrame(backup.Ask{Recipients: []string{s.recipient}}))))),
		Begin:   func() io.Writer { leave(); return io.Discard },
	})
	if err == nil {
		t.Error("a backup was taken for nobody")
	}
	s.mustTake(t, v) // the next one is let in
}
