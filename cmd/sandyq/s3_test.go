package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/sandyq/sandyq/deploy/sample"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/blob/s3server"
)

// s3Home is a home whose documents, ledger and anchor lie on a server.
type s3Home struct {
	*s3server.Server
	home, config      string
	documents, ledger string // buckets
}

func newS3Home(t *testing.T) *s3Home {
	t.Helper()
	h := &s3Home{Server: s3server.Start(t), home: filepath.Join(t.TempDir(), "home")}
	h.documents, h.ledger = h.Bucket(t, s3server.Plain).Bucket, h.Bucket(t, s3server.Locking).Bucket
	h.config = h.configure(t, h.SecretKey)
	return h
}

// configure writes a configuration file.
func (h *s3Home) configure(t *testing.T, secretKey string) string {
	t.Helper()
	dir := t.TempDir()
	section := func(bucket string) string {
		return fmt.Sprintf("{endpoint: 'http://%s', bucket: %s, region: %s, prefix: sandyq/, access_key_file: access, secret_key_file: secret}",
			h.Address, bucket, h.Region)
	}
	for name, content := range map[string]string{
		"access": h.AccessKey + "\n", "secret": secretKey + "\n",
		"sandyq.yaml": fmt.Sprintf("home: %s\nblobs: {engine: s3, s3: %s}\nledger: {s3: %s}\n", h.home, section(h.documents), section(h.ledger)),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "sandyq.yaml")
}

// objects are the keys in a bucket.
func (h *s3Home) objects(t *testing.T, bucket string) (keys []string) {
	t.Helper()
	for o := range h.Client(t).ListObjectsIter(t.Context(), bucket, minio.ListObjectsOptions{Recursive: true}) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

// scanned is a document.
func scanned(t *testing.T) []byte {
	t.Helper()
	specimens, err := sample.Specimens()
	if err != nil {
		t.Fatal(err)
	}
	return specimens[0].Bytes
}

// putDocument uploads a document of a person and returns its token.
func (d desk) putDocument(t *testing.T, subject string) string {
	t.Helper()
	scan := filepath.Join(t.TempDir(), "scan")
	if err := os.WriteFile(scan, scanned(t), 0o600); err != nil {
		t.Fatal(err)
	}
	return answer[api.Document](t, d, exitDone, "", "document", "put", subject, scan,
		"--kind", "identity_card", "--side", "front", "--capture", "photographed", "--purpose", "registration").Token
}

// wantDocument has the document come back as it was.
func (d desk) wantDocument(t *testing.T, token string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	if r := d.run(t, token+"\n", "document", "get", out, "--purpose", "service", "--reason", "test"); r.code != exitDone {
		t.Fatalf("%+v", r)
	}
	if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, scanned(t)) {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
}

// TestAVaultOverS3: a document comes and goes, the ledger and the anchor lie in their bucket, and nothing of them on this machine.
func TestAVaultOverS3(t *testing.T) {
	h := newS3Home(t)
	s := start(t, "serve", "--dev", "--config", h.config)
	administrator := desk{s, s.TokenFile}
	crm := administrator.admit(t, "crm", "application")
	made := answer[api.TokenizeResponse](t, crm, exitDone, people, "tokenize", "--purpose", "registration").Results[0]
	crm.wantDocument(t, crm.putDocument(t, made.Subject))
	if got := h.objects(t, h.documents); len(got) != 1 || !strings.HasPrefix(got[0], "sandyq/") {
		t.Errorf("objects of documents: %q", got)
	}
	if r := crm.run(t, "", "erase", made.Subject, "--ground", "request", "--reason", "test", "--wait"); r.code != exitDone {
		t.Fatalf("%+v", r)
	}
	if got := h.objects(t, h.documents); len(got) != 0 {
		t.Errorf("objects of documents after the erasure: %q", got)
	}
	want := []string{"sandyq/main.checkpoint", "sandyq/main/0000000000000000", "sandyq/main/0000000000000001"}
	var got []string
	for range 50 { // the anchor follows the log
		if got = h.objects(t, h.ledger); len(got) >= len(want) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
		t.Errorf("objects of the ledger: %q, want %q and more lines", got, want)
	}
	for _, name := range []string{"documents", "ledger"} {
		if _, err := os.Stat(filepath.Join(h.home, name)); !os.IsNotExist(err) {
			t.Errorf("%s is in the home: %v", name, err)
		}
	}
	if code := s.stop(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, s.stderr)
	}
	if code, out, errs := sandyq(t, "doctor", "--config", h.config); code != 0 {
		t.Errorf("doctor: %d\n%s%s", code, out, errs)
	}
	again := start(t, "serve", "--dev", "--config", h.config)
	if status, body := again.get(t, "/readyz"); status != 200 {
		t.Errorf("after a restart: %d %s", status, body)
	}
}

// TestAVaultOverS3IsRestored: with its bucket as it was, emptied, and with something else in it; the ledger in its bucket has those
// erased who were erased since the backup.
func TestAVaultOverS3IsRestored(t *testing.T) {
	h := newS3Home(t)
	administrator := desk{start(t, "serve", "--dev", "--config", h.config), filepath.Join(h.home, "dev.token")}
	crm := administrator.admit(t, "crm", "application")
	stays := answer[api.TokenizeResponse](t, crm, exitDone, people, "tokenize", "--purpose", "registration").Results[0].Subject
	goes := answer[api.Subject](t, crm, exitDone, "client/2\n", "subject", "create", "--purpose", "registration", "--external-ref", "-").Subject
	kept, gone := crm.putDocument(t, stays), crm.putDocument(t, goes)
	safe, identity := filepath.Join(t.TempDir(), "backups"), filepath.Join(t.TempDir(), "backup.key")
	_, recipient, _ := sandyq(t, "backup", "keygen", identity)
	answer[backedUp](t, administrator, exitDone, "", "backup", "--to", safe, "--recipient", strings.TrimSpace(recipient))
	if r := crm.run(t, "", "erase", goes, "--ground", "request", "--reason", "test", "--wait"); r.code != exitDone {
		t.Fatalf("%+v", r)
	}
	if code := administrator.server.stop(t); code != exitDone {
		t.Fatalf("exit code %d", code)
	}
	before := h.objects(t, h.documents)
	if len(before) != 1 {
		t.Fatalf("objects of documents: %q", before)
	}
	for name, c := range map[string]struct {
		spoil   func() error
		refused string
	}{
		"something else": {func() error {
			_, err := h.Client(t).PutObject(t.Context(), h.documents, before[0], strings.NewReader("x"), 1, minio.PutObjectOptions{})
			return err
		}, errOtherBlob.Error()},
		"emptied": {func() error {
			return h.Client(t).RemoveObject(t.Context(), h.documents, before[0], minio.RemoveObjectOptions{})
		}, ""},
		"as it was": {func() error { return nil }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.RemoveAll(filepath.Join(h.home, "store")); err != nil {
				t.Fatal(err)
			}
			restore := []string{"restore", "--from", safe, "--config", h.config, "--identity", identity, "--promote"}
			if err := c.spoil(); err != nil {
				t.Fatal(err)
			}
			code, _, errs := sandyq(t, restore...)
			if c.refused != "" {
				if code != exitFailed || !strings.Contains(errs, c.refused) {
					t.Errorf("%d %s", code, errs)
				}
				if _, err := os.Stat(filepath.Join(h.home, "store")); err == nil {
					t.Error("there is a store")
				}
				if err := h.Client(t).RemoveObject(t.Context(), h.documents, before[0], minio.RemoveObjectOptions{}); err != nil {
					t.Fatal(err)
				}
				code, _, errs = sandyq(t, restore...)
			}
			if code != exitDone {
				t.Fatalf("%d %s", code, errs)
			}
			live := desk{start(t, "serve", "--dev", "--config", h.config), crm.tokenFile}
			live.wantReady(t)
			live.wantDocument(t, kept)
			out := filepath.Join(t.TempDir(), "out")
			if r := live.run(t, gone+"\n", "document", "get", out, "--purpose", "service", "--reason", "test"); r.code == exitDone {
				t.Error("the document of somebody erased is given out")
			}
			var left []string
			for range 100 { // their blobs go with the erasure
				if left = h.objects(t, h.documents); slices.Equal(left, before) {
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
			if !slices.Equal(left, before) {
				t.Errorf("objects of documents: %q, want %q", left, before)
			}
			if code := live.server.stop(t); code != exitDone {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// wantReady waits until everything is given out.
func (d desk) wantReady(t *testing.T) {
	t.Helper()
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(50 * time.Millisecond) {
		if status, body := d.server.get(t, "/readyz"); status == 200 && !strings.Contains(body, "ledger") {
			return
		}
	}
	t.Fatal("the server is never ready")
}

// TestBucketsThatCannotBeUsedAreRefused, in words that say what to do.
func TestBucketsThatCannotBeUsedAreRefused(t *testing.T) {
	h := newS3Home(t)
	code, _, errs := sandyq(t, "serve", "--dev", "--config", h.configure(t, "another"), "--listen=127.0.0.1:0", "--ops=127.0.0.1:0")
	if code == 0 || !strings.Contains(errs, "denied") || !strings.Contains(errs, "docs/storage.md") {
		t.Errorf("with a wrong key: %d %s", code, errs)
	}
	h.documents = "missing"
	code, _, errs = sandyq(t, "serve", "--dev", "--config", h.configure(t, h.SecretKey), "--listen=127.0.0.1:0", "--ops=127.0.0.1:0")
	if code == 0 || !strings.Contains(errs, "no such bucket") {
		t.Errorf("with no bucket: %d %s", code, errs)
	}
}
