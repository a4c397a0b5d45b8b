package vault_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/memory"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// moody is a store of which, while it is to, one Update in ten fails: half of them after they took effect.
type moody struct {
	store.Store
	is *atomic.Bool
}

func (s moody) Update(ctx context.Context, f func(store.Writer) error) error {
	if !s.is.Load() {
		return s.Store.Update(ctx, f)
	}
	switch rand.IntN(20) {
	case 0:
		return errMishap
	case 1:
		if err := s.Store.Update(ctx, f); err != nil {
			return err
		}
		return errMishap
	}
	return s.Store.Update(ctx, f)
}

// TestEveryEntryIsInTheTree: whatever is done, permitted or refused, at once and while the store fails, and whenever the
// vault stops: each entry of the audit log is in the tree once, by the hash of its bytes, and nothing else is.
func TestEveryEntryIsInTheTree(t *testing.T) {
	bad := &atomic.Bool{}
	v := vaulttest.New(t, vaulttest.FourEyes(), vaulttest.With(func(o *vault.Options) {
		o.Store, o.Place, o.Backups = moody{memory.New(), bad}, "test", nil
		o.LogEvery, o.SweepEvery = 5*time.Millisecond, 10*time.Millisecond
	}))
	for life := range scaled(4) {
		v.Restart()
		callers := []vault.Call{
			app(v), v.As("loyalty", access.Application), staff(v), v.As("officer", access.Administrator), v.As("reader", access.Auditor),
		}
		bad.Store(true)
		var all sync.WaitGroup
		for i, call := range callers {
			all.Go(func() { doAllSorts(v, call, rand.New(rand.NewPCG(uint64(life), uint64(i)))) })
		}
		all.Wait()
		bad.Store(false)
	}
	wantWholeTree(t, v)
}

// doAllSorts asks many things of a vault, sensible and not. What becomes of them is for the log to tell.
func doAllSorts(v *vaulttest.Vault, call vault.Call, random *rand.Rand) {
	var subjects, tokens, erasures []string
	pick := func(from []string) string {
		if len(from) == 0 || random.IntN(10) == 0 {
			return "sub_00000000000000000000000001"
		}
		return from[random.IntN(len(from))]
	}
	for range 60 {
		switch random.IntN(9) {
		case 0, 1:
			resp, err := v.Tokenize(ctx, call, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{
				{Fields: fields{"given_name": text(fmt.Sprint(random.IntN(1000)))}}, {Fields: fields{"iin": text(iinA), "given_name": text("Дана")}},
			}})
			if err != nil {
				continue
			}
			for _, r := range resp.Results {
				if r.Error == nil {
					subjects, tokens = append(subjects, r.Subject), append(tokens, r.Tokens["given_name"].Items...)
				}
			}
		case 2:
			_, _ = v.Detokenize(ctx, call, &api.DetokenizeRequest{Purpose: "service", Reason: "check", Tokens: []string{pick(tokens), pick(tokens)}})
		case 3:
			_, _ = v.Subject(ctx, call, pick(subjects))
		case 4:
			_, _ = v.Block(ctx, call, pick(subjects), &api.BlockRequest{Kind: "dispute", Reason: "check"})
		case 5:
			e, err := v.RequestErasure(ctx, call, &api.ErasureRequest{Subject: pick(subjects), Ground: "request", Reason: "asked"})
			if err == nil {
				erasures = append(erasures, e.Erasure)
			}
		case 6:
			_, _ = v.Certificate(ctx, call, pick(erasures))
		case 7:
			_, _ = v.Search(ctx, call, &api.SearchRequest{Purpose: "service", Reason: "check", Field: "iin", Value: api.Text(iinA)})
		case 8:
			_, _ = v.LogCheckpoint(ctx, call)
		}
	}
}

// wantWholeTree holds the tree against the audit log.
func wantWholeTree(t *testing.T, v *vaulttest.Vault) {
	t.Helper()
	boss := person("trail", "trail", access.Administrator)
	entries := func() map[string]bool {
		all := map[string]bool{}
		for cursor := ""; ; {
			page := must[*api.Page[api.AuditEntry]](t)(v.AuditEntries(ctx, boss, api.AuditQuery{Cursor: cursor, Limit: 1000}))
			for _, raw := range page.Items {
				all[string(raw)] = true
			}
			if cursor = page.NextCursor; cursor == "" {
				return all
			}
		}
	}
	before := entries()
	size := func() int64 {
		note := must[[]byte](t)(v.LogCheckpoint(ctx, boss))
		return must[int64](t)(strconv.ParseInt(strings.Split(string(note), "\n")[1], 10, 64))
	}
	eventually(t, "the tree has as many entries", func() bool { return size() >= int64(len(before)) })
	end := size()
	inTree := map[string]int{}
	for start := int64(0); start < end; start += checkpoint.Width {
		n := int(min(checkpoint.Width, end-start))
		at := checkpoint.Tile{Level: checkpoint.Entries, Index: start / checkpoint.Width, Width: n}
		bundle := must[[]byte](t)(v.LogTile(ctx, boss, at.Path()))
		at.Level = 0
		leaves := must[[]byte](t)(v.LogTile(ctx, boss, at.Path()))
		for i, e := range must[[][]byte](t)(checkpoint.ParseBundle(bundle, n)) {
			inTree[string(e)]++
			if tlog.RecordHash(e) != tlog.Hash(leaves[i*tlog.HashSize:]) {
				t.Errorf("entry %d is not what the tree has the hash of: %s", start+int64(i), e)
			}
		}
	}
	for e := range before {
		if inTree[e] != 1 {
			t.Errorf("%d times in the tree: %s", inTree[e], e)
		}
	}
	now := entries()
	for e := range inTree {
		if !now[e] {
			t.Errorf("in the tree, and no entry: %s", e)
		}
	}
	t.Logf("%d entries, %d in the tree", len(before), end)
}

// TestWatchingTheLog: who watches the log does not make it grow, each refusal is in it, and no right outlasts its rules.
func TestWatchingTheLog(t *testing.T) {
	v := vaulttest.New(t)
	auditor, shop := v.As("watch", access.Auditor), app(v)
	count := func() (allowed, denied int) {
		for _, e := range trail(t, v, "audit.read") {
			switch e.System {
			case "watch":
				allowed++
			case "shop":
				denied++
			}
		}
		return allowed, denied
	}
	eventually(t, "the log is signed", func() bool { _, err := v.LogCheckpoint(ctx, auditor); return err == nil })
	for range 50 {
		_ = must[[]byte](t)(v.LogCheckpoint(ctx, auditor))
		_ = must[*api.LogKeys](t)(v.LogKeys(ctx, auditor))
		_ = must[[]byte](t)(v.LogTile(ctx, auditor, checkpoint.Tile{Width: 1}.Path()))
		_, err := v.LogCheckpoint(ctx, shop)
		wantCode(t, err, fault.Denied)
	}
	if allowed, denied := count(); allowed != 1 || denied != 50 {
		t.Errorf("%d readings and %d refusals are recorded", allowed, denied)
	}
	// Another credential of the same system is another watcher, and a minute later all are again.
	_ = must[[]byte](t)(v.LogCheckpoint(ctx, v.As("watch", access.Auditor)))
	v.Clock.Advance(61 * time.Second)
	_ = must[[]byte](t)(v.LogCheckpoint(ctx, auditor))
	if allowed, _ := count(); allowed != 3 {
		t.Errorf("%d readings are recorded", allowed)
	}
	demoted := auditor
	demoted.Principal.Roles = []access.Role{access.Application}
	_, err := v.LogCheckpoint(ctx, demoted)
	wantCode(t, err, fault.Denied)
}

// TestARolledBackLogSignsNothingBeforeTheLedgerIsCompared: a store whose disk was put back beneath it looks as after a crash. Until
// it can be held against the ledger it signs no trees, which might contradict what it signed before; then, since somebody was
// erased meanwhile, the log goes on under another origin.
func TestARolledBackLogSignsNothingBeforeTheLedgerIsCompared(t *testing.T) {
	home, auditor := t.TempDir(), person("trail", "trail", access.Administrator)
	start := func(s store.Store) *vaulttest.Vault {
		return vaulttest.At(t, home, vaulttest.With(func(o *vault.Options) {
			o.Store, o.Place, o.Backups, o.LogEvery = s, "test", nil, 5*time.Millisecond
		}))
	}
	head := func(v *vaulttest.Vault) string { return string(must[[]byte](t)(v.LogCheckpoint(ctx, auditor))) }
	origin := func(note string) string { return strings.SplitN(note, "\n", 2)[0] }

	rows := memory.New()
	v := start(rows)
	shop := app(v)
	who := register(t, v, shop, aigul())
	eventually(t, "the log is signed", func() bool { _, err := v.LogCheckpoint(ctx, auditor); return err == nil })
	old := memory.New()
	if err := rows.View(ctx, func(r store.Reader) error {
		pairs, err := r.Scan(nil, nil, 100_000)
		if err != nil {
			return err
		}
		return old.Update(ctx, func(w store.Writer) error {
			for _, p := range pairs {
				if err := w.Set(bytes.Clone(p.Key), bytes.Clone(p.Value)); err != nil {
					return err
				}
			}
			return nil
		})
	}); err != nil {
		t.Fatal(err)
	}
	erased(t, v, shop, erase(t, v, shop, who.Subject).Erasure)
	eventually(t, "the keys know how far the ledger was carried out", func() bool {
		return must[kms.Mark](t)(v.Keys.Mark(ctx)).Entries == 2
	})
	v.Stop()

	ledger, away := filepath.Join(home, "ledger"), filepath.Join(home, "away")
	if err := os.Rename(ledger, away); err != nil {
		t.Fatal(err)
	}
	v = start(old)
	before := head(v)
	for range 10 {
		_, _ = v.Subject(ctx, shop, who.Subject) // an entry
		time.Sleep(20 * time.Millisecond)
	}
	if now := head(v); now != before {
		t.Errorf("signed without the ledger:\n%s\nafter\n%s", now, before)
	}
	v.Stop()
	if err := os.RemoveAll(ledger); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(away, ledger); err != nil {
		t.Fatal(err)
	}
	v = start(old)
	eventually(t, "the log goes on under another origin", func() bool { return origin(head(v)) != origin(before) })
	if keys := must[*api.LogKeys](t)(v.LogKeys(ctx, auditor)); len(keys.Successions) != 1 {
		t.Errorf("%d successions", len(keys.Successions))
	}
}
