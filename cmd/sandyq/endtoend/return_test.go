package endtoend

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store/postgres/pgserver"
)

// TestABackupReturnsToPostgreSQL walks the way that docs/backups.md has for a database of which nothing is left: restored under Badger,
// promoted, and moved to another database, with the keys, documents and ledger where they were. Who was registered is there, scans too, and
// who was erased since the backup is erased.
func TestABackupReturnsToPostgreSQL(t *testing.T) {
	s := newSite(t, "")
	lost := s.node()
	stays, goes := register(t, lost, "Айгүл"), register(t, lost, "Данияр")
	pages := scan(3 << 20)
	put, err := lost.UploadDocument(ctx, stays.Subject, client.Upload{
		Kind: "passport", MediaType: "image/jpeg", Purpose: "registration", Capture: "digital",
	}, bytes.NewReader(pages))
	check(t, err)
	safe := newSafe(t)
	check(t, os.WriteFile(filepath.Join(lost.home, "dev.token"), []byte(s.token+"\n"), 0o600))
	safe.take(t, lost)
	erasure, err := lost.RequestErasure(ctx, &api.ErasureRequest{Subject: goes.Subject, Ground: "request", Reason: "asked"})
	check(t, err)
	lost.until(t, "it is erased", func() bool {
		e, err := lost.Erasure(ctx, erasure.Erasure)
		check(t, err)
		return e.State == api.ErasureErased
	})
	lost.stop(t)

	was := string(content(t, s.config))
	between, after := strings.TrimSuffix(s.config, ".yaml")+"-between.yaml", s.config
	text := strings.Replace(was, "{engine: postgres, postgres: {dsn_file: dsn}}", "{engine: badger}", 1)
	if text == was {
		t.Fatal("the configuration does not name the store as expected")
	}
	check(t, os.WriteFile(between, []byte(text), 0o600))
	check(t, os.WriteFile(filepath.Join(filepath.Dir(after), "dsn"), []byte(pgserver.Shared(t).Database(t)+"\n"), 0o600))
	typed(t, "restore", "--from", safe.dir, "--identity", safe.identity, "--config", between, "--promote")
	typed(t, "migrate-store", "--from", between, "--to", after)

	n := s.node()
	got := show(t, n, stays.Tokens["given_name"].Items[0])
	check(t, got.Error.Err())
	if name, _ := got.Value.Text(); name != "Айгүл" {
		t.Error("who was registered has another name")
	}
	opened, err := n.OpenDocument(ctx, &api.OpenDocumentRequest{Token: put.Token, Purpose: "service", Reason: "support_call"})
	check(t, err)
	body, err := n.ReadDocument(ctx, opened)
	check(t, err)
	defer body.Close()
	if back, err := io.ReadAll(body); err != nil || !bytes.Equal(back, pages) {
		t.Errorf("the scan: %d of %d bytes, %v", len(back), len(pages), err)
	}
	n.until(t, "who was erased since is erased", func() bool {
		e := show(t, n, goes.Tokens["given_name"].Items[0]).Error
		return e != nil && e.Code == fault.Erased
	})
}
