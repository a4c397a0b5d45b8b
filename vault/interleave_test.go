package vault_test

import (
	"context"
	"errors"

	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// scaled returns a count for a test, which SANDYQ_TEST_SCALE multiplies.
func scaled(n int) int {
	if scale, err := strconv.Atoi(os.Getenv("SANDYQ_TEST_SCALE")); err == nil {
		n *= scale
	}
	return n
}

// inMemory is a folder that ends with the test, in memory where the system has such: for tests of what is done and not
// of whether it lasts, which sync thousands of files.
func inMemory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "sandyq-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// watched is a person who is read all the time. Shut is odd from the acknowledgement of a block or an erasure until the
// block is about to be lifted.
type watched struct {
	*vaulttest.Vault
	shop                  vault.Call
	subject, iin          string // iin is a token
	document              string // a token
	shut                  atomic.Int64
	began, given, refused atomic.Int64 // readings that began while shut; all others by outcome
}

// reading is a way to get at a person's data. It returns how much it got.
type wayToRead struct {
	name string
	read func(*watched) (int, error)
}

var waysToRead = []wayToRead{
	{"detokenize", func(w *watched) (int, error) {
		resp, err := w.Detokenize(ctx, w.shop, &api.DetokenizeRequest{Purpose: "service", Reason: "check", Tokens: []string{w.iin}})
		if err != nil {
			return 0, err
		}
		if r := resp.Results[0]; r.Value == nil {
			return 0, r.Error.Err()
		}
		return 1, nil
	}},
	{"reveal", func(w *watched) (int, error) {
		resp, err := w.Reveal(ctx, w.shop, w.subject, &api.RevealRequest{Purpose: "service", Reason: "check", Fields: []string{"iin"}})
		if err != nil {
			return 0, err
		}
		return len(resp.Fields), nil
	}},
	{"open a document", func(w *watched) (int, error) {
		opened, err := w.OpenDocument(ctx, w.shop, &api.OpenDocumentRequest{Token: w.document, Purpose: "service", Reason: "check"})
		if err != nil {
			return 0, err
		}
		return int(opened.Size), nil
	}},
}

// during runs a reading and reports one that began after the acknowledgement and got something while it still stood.
func (w *watched) during(t *testing.T, name string, read func() (int, error)) {
	before := w.shut.Load()
	got, err := read()
	closed := before%2 == 1 && w.shut.Load() == before
	switch {
	case closed:
		w.began.Add(1)
		if got > 0 {
			t.Errorf("%s: got %d after the acknowledgement", name, got)
		}
	case got > 0:
		w.given.Add(1)
	default:
		w.refused.Add(1)
	}
	if err != nil && !errors.Is(err, fault.Blocked) && !errors.Is(err, fault.Erased) && !errors.Is(err, fault.Unavailable) &&
		!errors.Is(err, fault.NotFound) {
		t.Errorf("%s: %v", name, err)
	}
}

// stream opens the document and reads it piece by piece; each piece is a reading.
func (w *watched) stream(t *testing.T) {
	opened, err := w.OpenDocument(ctx, w.shop, &api.OpenDocumentRequest{Token: w.document, Purpose: "service", Reason: "check"})
	if err != nil {
		return
	}
	var c *vault.Content
	w.during(t, "content", func() (int, error) {
		if c, err = w.Content(ctx, w.shop, opened.Content[len("/v1/content/"):]); err != nil {
			return 0, err
		}
		return 1, nil
	})
	if c == nil {
		return
	}
	defer c.Close()
	piece := make([]byte, 8<<10)
	for {
		var end error
		w.during(t, "a piece of a document", func() (int, error) {
			n := 0
			n, end = c.Read(piece)
			return n, nil
		})
		if end != nil {
			return
		}
	}
}

// TestNothingIsReadAfterTheAcknowledgement reads people in every way while they are blocked and unblocked over and over,
// and at last erased.
func TestNothingIsReadAfterTheAcknowledgement(t *testing.T) {
	v := vaulttest.At(t, inMemory(t))
	shop := app(v)
	people := make([]*watched, 3)
	for i := range people {
		who := register(t, v, shop, fields{"iin": text(nextIIN())})
		put := must[*api.Document](t)(v.PutDocument(ctx, shop, upload(who.Subject, jpeg(100_000))))
		people[i] = &watched{Vault: v, shop: shop, subject: who.Subject, iin: who.Tokens["iin"].Items[0], document: put.Token}
	}
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	for _, w := range people {
		loop := func(f func()) {
			readers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						f()
					}
				}
			})
		}
		for _, way := range waysToRead {
			loop(func() { w.during(t, way.name, func() (int, error) { return way.read(w) }) })
		}
		loop(func() { w.stream(t) })
		writers.Go(func() { w.openAndShut(t, scaled(30)) })
	}
	writers.Wait()
	time.Sleep(50 * time.Millisecond)
	close(stop)
	readers.Wait()
	var began, given, refused int64
	for _, w := range people {
		began, given, refused = began+w.began.Load(), given+w.given.Load(), refused+w.refused.Load()
	}
	t.Logf("%d readings began after an acknowledgement; of the others %d got something and %d did not", began, given, refused)
	if began < 200 || given < 100 {
		t.Error("too few readings to tell anything")
	}
}

// openAndShut blocks and unblocks, with a few readings between, and erases in the end.
func (w *watched) openAndShut(t *testing.T, times int) {
	block := &api.BlockRequest{Kind: "dispute", Reason: "claim"}
	let := func(readings *atomic.Int64, n int64) {
		until := readings.Load() + n
		for range 2000 {
			if readings.Load() >= until {
				return
			}
			time.Sleep(100 * time.Microsecond)
		}
		t.Error("the readers stand still")
	}
	for range times {
		if _, err := w.Block(ctx, w.shop, w.subject, block); err != nil {
			if errors.Is(err, fault.Unavailable) {
				continue // too many at once
			}
			t.Error(err)
			return
		}
		w.shut.Add(1)
		let(&w.began, 4)
		w.shut.Add(1)
		if _, err := w.Unblock(ctx, w.shop, w.subject, block); err != nil {
			t.Error(err)
			return
		}
		let(&w.given, 2)
	}
	if _, err := w.RequestErasure(ctx, w.shop, &api.ErasureRequest{Subject: w.subject, Ground: "request", Reason: "asked"}); err != nil {
		t.Error(err)
	}
	w.shut.Add(1)
}

// slowKeys is a provider that opens some keys only when it is told to.
type slowKeys struct {
	kms.Provider
	slow   []kms.ID // the others are opened at once
	once   sync.Once
	asked  chan struct{} // closed when somebody asked
	answer chan struct{}
}

func (s *slowKeys) Open(ctx context.Context, ids ...kms.ID) ([]kms.Key, error) {
	keys, err := s.Provider.Open(ctx, ids...)
	if slices.ContainsFunc(ids, func(id kms.ID) bool { return slices.Contains(s.slow, id) }) {
		s.once.Do(func() { close(s.asked) })
		<-s.answer
	}
	return keys, err
}

// TestReadingsInFlightAreRefused: a reading was permitted and waits for its key when the person is blocked or erased. The
// key comes after the acknowledgement, and the reading gets nothing.
func TestReadingsInFlightAreRefused(t *testing.T) {
	for name, shut := range map[string]func(*watched) error{
		"block": func(w *watched) error {
			_, err := w.Block(ctx, w.shop, w.subject, &api.BlockRequest{Kind: "dispute", Reason: "claim"})
			return err
		},
		"erasure": func(w *watched) error {
			_, err := w.RequestErasure(ctx, w.shop, &api.ErasureRequest{Subject: w.subject, Ground: "request", Reason: "asked"})
			return err
		},
	} {
		for _, way := range waysToRead {
			t.Run(name+" while they "+way.name, func(t *testing.T) { shutInFlight(t, shut, way) })
		}
	}
}

func shutInFlight(t *testing.T, shut func(*watched) error, way wayToRead) {
	home := inMemory(t)
	keys := must[kms.Provider](t)(vaulttest.Keyring(filepath.Join(home, "keyring")))
	defer keys.Close()
	slow := &slowKeys{Provider: keys}
	v := vaulttest.At(t, home, vaulttest.With(func(o *vault.Options) { o.Keys = slow }))
	shop := app(v)
	who := register(t, v, shop, aigul())
	put := must[*api.Document](t)(v.PutDocument(ctx, shop, upload(who.Subject, jpeg(5000))))
	w := &watched{Vault: v, shop: shop, subject: who.Subject, iin: who.Tokens["iin"].Items[0], document: put.Token}

	slow.slow, slow.asked, slow.answer = keysOfTenant(t, v), make(chan struct{}), make(chan struct{})
	v.Stop() // so that the keys are cold
	v = vaulttest.At(t, home, vaulttest.With(func(o *vault.Options) { o.Keys = slow }))
	w.Vault = v
	var got int
	var err error
	var reading sync.WaitGroup
	reading.Go(func() { got, err = way.read(w) })
	<-slow.asked
	if err := shut(w); err != nil {
		t.Fatal(err)
	}
	close(slow.answer)
	reading.Wait()
	if got != 0 {
		t.Errorf("got %d of a key that came after the acknowledgement", got)
	}
	if !errors.Is(err, fault.Unavailable) {
		t.Errorf("refused with %v, want unavailable", err)
	}
}
