package witness_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/audit/translog"
	"github.com/sandyq/sandyq/vault/audit/witness"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for range 1500 {
		if holds() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

// house is a witness in this process, as c2sp.org/tlog-witness has it, until answer is set. The real one is package litewitness.
type house struct {
	*httptest.Server
	witness.Witness
	private ed25519.PrivateKey

	mu     sync.Mutex
	trees  map[string]checkpoint.Tree // by origin: what it cosigned last
	asked  int
	answer func(w http.ResponseWriter, r *http.Request, tree checkpoint.Tree) // nil: it is honest
}

func newHouse(t testing.TB, name string) *house {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	check(t, err)
	h := &house{private: private, trees: map[string]checkpoint.Tree{}}
	h.Server = httptest.NewServer(http.HandlerFunc(h.serve))
	t.Cleanup(h.Server.Close)
	h.Witness = witness.Witness{URL: h.Server.URL + "/of/" + name + "/", Key: checkpoint.Cosigner{Name: name, Public: public}}
	return h
}

// does has the house answer otherwise from now on; nil: honestly.
func (h *house) does(answer func(w http.ResponseWriter, r *http.Request, tree checkpoint.Tree)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = answer
}

func (h *house) wasAsked() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked
}

// away is a witness that is in trouble.
func away(w http.ResponseWriter, _ *http.Request, _ checkpoint.Tree) {
	w.WriteHeader(http.StatusServiceUnavailable)
}

// hangs answers nothing for as long as it is waited for.
func hangs(_ http.ResponseWriter, r *http.Request, _ checkpoint.Tree) { <-r.Context().Done() }

func (h *house) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	head, note, ok := bytes.Cut(body, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	text, _, _ := bytes.Cut(note, []byte("\n\n"))
	tree, wrong := checkpoint.ParseTree(string(text) + "\n")
	old, bad := strconv.ParseInt(strings.TrimPrefix(lines[0], "old "), 10, 64)
	if err := errors.Join(err, wrong, bad); err != nil || !ok || r.Method != http.MethodPost || r.URL.Path != "/of/"+h.Key.Name+"/add-checkpoint" {
		http.Error(w, "no such request", http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	h.asked++
	answer, known := h.answer, h.trees[tree.Origin]
	defer func() {
		h.mu.Unlock()
		if answer != nil {
			answer(w, r, tree)
		}
	}()
	if answer != nil {
		return
	}
	var proof tlog.TreeProof
	for _, line := range lines[1:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			http.Error(w, "no hash", http.StatusBadRequest)
			return
		}
		proof = append(proof, hash)
	}
	switch {
	case old > tree.Size:
		w.WriteHeader(http.StatusBadRequest)
	case old != known.Size, old == tree.Size && old > 0 && tree.Root != known.Root:
		w.WriteHeader(http.StatusConflict)
		fmt.Fprintf(w, "%d\n", known.Size)
	case old > 0 && tlog.CheckTree(proof, tree.Size, tree.Root, old, known.Root) != nil:
		w.WriteHeader(http.StatusUnprocessableEntity)
	default:
		h.trees[tree.Origin] = tree
		_, _ = io.WriteString(w, h.line(tree, time.Now()))
	}
}

// line is the house's cosignature of a tree.
func (h *house) line(tree checkpoint.Tree, at time.Time) string {
	text, err := tree.Marshal()
	if err != nil {
		return err.Error()
	}
	return h.lineBy(h.private, text, at)
}

func (h *house) lineBy(key ed25519.PrivateKey, text string, at time.Time) string {
	b := binary.BigEndian.AppendUint32(nil, h.Key.Hash())
	b = binary.BigEndian.AppendUint64(b, uint64(at.Unix()))
	b = append(b, ed25519.Sign(key, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at.Unix(), text))...)
	return "— " + h.Key.Name + " " + base64.StdEncoding.EncodeToString(b) + "\n"
}

// key signs the log.
type key struct {
	mu     sync.Mutex
	all    []ed25519.PrivateKey
	signed []string
}

func (k *key) PublicKeys(context.Context) (public []ed25519.PublicKey, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.all {
		public = append(public, p.Public().(ed25519.PublicKey))
	}
	return public, nil
}

func (k *key) SignAs(_ context.Context, version int, msg []byte) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.signed = append(k.signed, string(msg))
	return ed25519.Sign(k.all[version-1], msg), nil
}

func (k *key) RotateSigning(context.Context) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, private, err := ed25519.GenerateKey(nil)
	k.all = append(k.all, private)
	return len(k.all), err
}

func (k *key) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.signed)
}

var _ kms.Signer = &key{}

// rows keep entries under "e".
type rows struct{}

func (rows) Entry(id audit.ID) []byte                      { return append([]byte("e"), id[:]...) }
func (rows) Beside(_ audit.ID, _ []byte) ([][]byte, error) { return nil, nil }

// world is a log with witnesses.
type world struct {
	t      testing.TB
	store  store.Store
	key    *key
	quorum int
	all    []witness.Witness
	circle *witness.Circle
	log    *translog.Log

	mu       sync.Mutex
	outcomes map[string]map[witness.Outcome]int
	entries  int
}

func newWorld(t testing.TB, quorum int, houses ...*house) *world {
	t.Helper()
	w := &world{t: t, store: memory.New(), key: &key{}, quorum: quorum, outcomes: map[string]map[witness.Outcome]int{}}
	_, err := w.key.RotateSigning(t.Context())
	check(t, err)
	for _, h := range houses {
		w.all = append(w.all, h.Witness)
	}
	w.open()
	t.Cleanup(func() { w.circle.Close() })
	return w
}

// open is another process that goes on with the store.
func (w *world) open() {
	w.t.Helper()
	if w.circle != nil {
		w.circle.Close()
	}
	var err error
	w.circle, err = witness.New(w.all, witness.Options{
		Clock: time.Now, Log: quiet, Timeout: 300 * time.Millisecond, Pause: func(int) time.Duration { return 20 * time.Millisecond },
		Observe: func(name string, o witness.Outcome) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.outcomes[name] == nil {
				w.outcomes[name] = map[witness.Outcome]int{}
			}
			w.outcomes[name][o]++
		},
	})
	check(w.t, err)
	w.log, err = translog.New(translog.Options{
		Store: w.store, Prefix: []byte("log"), Rows: rows{}, Keys: w.key, Clock: time.Now, Origin: "sandyq.example/test",
		Witnesses: w.circle, Quorum: w.quorum,
	})
	check(w.t, err)
}

// came reports how often asking a witness came to an outcome.
func (w *world) came(h *house, o witness.Outcome) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.outcomes[h.Key.Name][o]
}

// commit writes n entries.
func (w *world) commit(n int) (id audit.ID) {
	w.t.Helper()
	for range n {
		w.entries++
		id = audit.NewID(time.Now())
		entry := fmt.Appendf(nil, "entry %d", w.entries)
		check(w.t, w.store.Update(context.Background(), func(tx store.Writer) error {
			leaf := translog.Leaf{ID: id, Hash: tlog.RecordHash(entry), Placed: true}
			return errors.Join(tx.Set(rows{}.Entry(id), entry), tx.Set(w.log.StagedKey(id), leaf.Append(nil)))
		}))
	}
	return id
}

func (w *world) flush() translog.Status {
	w.t.Helper()
	s, err := w.log.Flush(w.t.Context())
	check(w.t, err)
	return s
}

// keys are the witnesses'.
func (w *world) keys() (keys []checkpoint.Cosigner) {
	for _, one := range w.all {
		keys = append(keys, one.Key)
	}
	return keys
}

// cosigned is the size of the last checkpoint, and the names of the witnesses under it. Everything on it must verify.
func (w *world) cosigned() (size int64, names []string) {
	w.t.Helper()
	note, err := w.log.Checkpoint(w.t.Context())
	if errors.Is(err, translog.ErrAbsent) {
		return 0, nil
	}
	check(w.t, err)
	return w.opened(note)
}

func (w *world) opened(note []byte) (size int64, names []string) {
	w.t.Helper()
	successions, err := w.log.Successions(w.t.Context())
	check(w.t, err)
	keys, err := w.log.PublicKeys(w.t.Context())
	check(w.t, err)
	for _, s := range successions { // of an origin that it has left, while no checkpoint of today's is published
		left, err := checkpoint.OpenSuccession(s)
		check(w.t, err)
		keys = append(keys, left.From)
	}
	tree, err := checkpoint.OpenTree(note, keys...)
	check(w.t, err)
	found, err := checkpoint.Cosignatures(note, w.keys()...)
	check(w.t, err)
	for _, c := range found {
		names = append(names, c.By.Name)
	}
	return tree.Size, names
}

// copy is the store as it is now, for later.
func (w *world) copy() store.Store {
	w.t.Helper()
	to := memory.New()
	check(w.t, w.store.View(w.t.Context(), func(r store.Reader) error {
		pairs, err := r.Scan(nil, nil, 1<<20)
		if err != nil {
			return err
		}
		return to.Update(w.t.Context(), func(tx store.Writer) error {
			for _, p := range pairs {
				if err := tx.Set(bytes.Clone(p.Key), bytes.Clone(p.Value)); err != nil {
					return err
				}
			}
			return nil
		})
	}))
	return to
}
