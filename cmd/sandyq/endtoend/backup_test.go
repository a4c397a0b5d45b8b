package endtoend

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/backup"
	"github.com/sandyq/sandyq/vault/client"
)

// safe is a repository and who opens it.
type safe struct{ dir, identity, recipient string }

func newSafe(t *testing.T) *safe {
	t.Helper()
	s := &safe{dir: filepath.Join(t.TempDir(), "repository"), identity: filepath.Join(t.TempDir(), "backup.key")}
	s.recipient = strings.TrimSpace(typed(t, "backup", "keygen", s.identity))
	return s
}

// typed runs a command that must succeed.
func typed(t *testing.T, args ...string) string {
	t.Helper()
	path, err := binary()
	check(t, err)
	var errs bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, errs.String())
	}
	return string(out)
}

// from is the command that backs a server up.
func (s *safe) from(t *testing.T, v *server) *exec.Cmd {
	t.Helper()
	path, err := binary()
	check(t, err)
	return exec.Command(path, "backup", "--to", s.dir, "--recipient", s.recipient, "--json",
		"--server", "http://"+v.address, "--token-file", filepath.Join(v.home, "dev.token"))
}

// taken is the answer of the command.
type taken struct {
	ID     string `json:"id"`
	Chunks int64  `json:"chunks"`
	Blobs  int64  `json:"blobs"`
	New    int64  `json:"new"`
}

func (s *safe) take(t *testing.T, v *server) (out taken, peak int64) {
	t.Helper()
	cmd := s.from(t, v)
	var b, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	check(t, json.Unmarshal(b.Bytes(), &out))
	return out, cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
}

// snapshots are those that a repository has, and how many objects lie in it.
func (s *safe) snapshots(t *testing.T) (n, objects int) {
	t.Helper()
	dir, err := backup.OpenDirectory(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0
	}
	check(t, err)
	defer dir.Close()
	r, err := backup.Open(ctx, dir)
	check(t, err)
	all, broken, err := r.Snapshots(ctx)
	check(t, err)
	if len(broken) > 0 {
		t.Errorf("cannot be read: %v", broken)
	}
	for _, of := range []string{"chunks", "blobs"} {
		found, err := filepath.Glob(filepath.Join(s.dir, of, "*", "*"))
		check(t, err)
		objects += len(found)
	}
	return len(all), objects
}

// filled registers people, with a document of so many bytes for each of the first ones.
func filled(t *testing.T, v *server, people, documents, size int) {
	t.Helper()
	var subjects []string
	for from := 0; from < people; from += 500 {
		var items []api.TokenizeItem
		for n := range min(people-from, 500) {
			items = append(items, api.TokenizeItem{ExternalRef: fmt.Sprintf("backup/%d", from+n), Fields: map[string]api.OneOrMany[api.Value]{
				"given_name": api.One(api.Text("Адам" + letters(from+n+1))),
			}})
		}
		resp, err := v.Tokenize(ctx, &api.TokenizeRequest{Purpose: "registration", Items: items})
		check(t, err)
		for _, r := range resp.Results {
			subjects = append(subjects, r.Subject)
		}
	}
	for n := range documents {
		_, err := v.UploadDocument(ctx, subjects[n%len(subjects)], client.Upload{
			Kind: "passport", MediaType: "image/jpeg", Purpose: "registration", Capture: "digital",
		}, bytes.NewReader(scan(size)))
		check(t, err)
	}
}

// TestABackupGoesOnAfterKills kills the client, and the server, in the midst of a backup, again and again. Nothing of it is a
// snapshot, what came stays, and the same command goes on until there is one, which is whole.
func TestABackupGoesOnAfterKills(t *testing.T) {
	home, s := t.TempDir(), newSafe(t)
	v := serve(t, home)
	filled(t, v, 2000, 40, 200_000)
	had, grew, cut := 0, 0, 0
	for n := range scaled(8) {
		running := s.from(t, v)
		check(t, running.Start())
		// Until it has begun to write, and some time more.
		for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(2 * time.Millisecond) {
			if _, objects := s.snapshots(t); objects > had {
				break
			}
		}
		time.Sleep(rand.N(60 * time.Millisecond))
		if n%2 == 0 {
			check(t, running.Process.Kill())
		} else {
			v.kill()
		}
		err := running.Wait()
		made, objects := s.snapshots(t)
		if err == nil || made > 0 {
			break // it was faster
		}
		cut++
		if objects < had {
			t.Fatalf("%d objects, and before %d", objects, had)
		}
		if objects > had {
			grew++
		}
		had = objects
		if n%2 == 1 {
			v = serve(t, home)
		}
	}
	v.kill()
	v = serve(t, home)
	last, _ := s.take(t, v)
	if cut < 2 || grew < 2 {
		t.Errorf("%d backups were cut, and %d of them had brought something: the test says nothing", cut, grew)
	}
	if last.New >= last.Chunks+last.Blobs || had == 0 {
		t.Errorf("%d of %d objects came anew after %d had come", last.New, last.Chunks+last.Blobs, had)
	}
	left, err := filepath.Glob(filepath.Join(s.dir, "*.partial"))
	if check(t, err); len(left) > 0 {
		t.Errorf("left aside: %v", left)
	}
	typed(t, "backup", "check", s.dir, "--identity", s.identity, "--snapshot", last.ID)
	v.stop(t)
	out := typed(t, "restore", "--from", s.dir, "--identity", s.identity, "--home", filepath.Join(t.TempDir(), "restored"), "--json")
	if !strings.Contains(out, `"people":2000`) || !strings.Contains(out, `"documents":40`) {
		t.Errorf("restored %s", out)
	}
	t.Logf("%d backups were killed; the last brought %d of %d objects", cut, last.New, last.Chunks+last.Blobs)
}

// TestABackupOfManyDocumentsIsFlat: neither end keeps in memory what passes through.
func TestABackupOfManyDocumentsIsFlat(t *testing.T) {
	const documents, size, most = 1000, 100_000, 48 << 20
	v, s := serve(t, t.TempDir()), newSafe(t)
	filled(t, v, 1000, documents, size)
	before, peaked := v.resident(t)
	began := time.Now()
	first, clients := s.take(t, v)
	took := time.Since(began)
	after, highest := v.resident(t)
	began = time.Now()
	second, _ := s.take(t, v)
	t.Logf("%d documents of %d bytes in %v, again in %v; the server grew from %d to %d MB (%d MB at its highest, before %d MB), the client had %d MB",
		documents, size, took.Round(time.Millisecond), time.Since(began).Round(time.Millisecond),
		before>>20, after>>20, highest>>20, peaked>>20, clients>>20)
	if first.Blobs != documents || second.New > 20 {
		t.Errorf("%+v, then %+v", first, second)
	}
	if highest-max(before, peaked) > most || clients > 2*most {
		t.Error("that is not flat")
	}
}
