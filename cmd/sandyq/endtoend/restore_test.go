package endtoend

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault/api"
)

// TestARestoreGoesOnAfterKills kills a restore while it writes, again and again. Until one comes to its end there is no vault that
// could be served, and then it is whole.
func TestARestoreGoesOnAfterKills(t *testing.T) {
	home, s := t.TempDir(), newSafe(t)
	v := serve(t, home)
	filled(t, v, 1000, 20, 200_000)
	one, err := v.Tokenize(ctx, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{{
		Fields: map[string]api.OneOrMany[api.Value]{"given_name": api.One(api.Text("Айгүл"))},
	}}})
	check(t, err)
	s.take(t, v)
	v.stop(t)
	path, err := binary()
	check(t, err)

	restored := filepath.Join(t.TempDir(), "restored")
	config := filepath.Join(t.TempDir(), "sandyq.yaml")
	check(t, os.WriteFile(config, []byte("home: "+restored+"\nlisten: 127.0.0.1:0\nops: 127.0.0.1:0\nkeys: {local: {dir: "+filepath.Join(home, "keyring")+
		"}}\nledger: {path: "+filepath.Join(home, "ledger")+"}\n"), 0o600))
	restore := []string{"restore", "--from", s.dir, "--identity", s.identity, "--config", config, "--json"}
	began := time.Now()
	typed(t, restore...)
	whole := time.Since(began)
	check(t, os.RemoveAll(restored))

	killed, wrote := 0, 0
	for range scaled(8) {
		running := exec.Command(path, restore...)
		check(t, running.Start())
		time.Sleep(rand.N(whole))
		check(t, running.Process.Kill())
		if running.Wait() == nil || exists(t, filepath.Join(restored, "store")) {
			check(t, os.RemoveAll(restored)) // it was faster
			continue
		}
		killed++
		if exists(t, filepath.Join(restored, "store.restoring")) {
			wrote++
		}
		if out := ended(t, path, "serve", "--config", config); !strings.Contains(out, "never set up") {
			t.Errorf("half a vault: %s", out)
		}
		if out := ended(t, path, "promote", "--yes", "--config", config); !strings.Contains(out, "never set up") {
			t.Errorf("half a vault: %s", out)
		}
	}
	out := typed(t, append(restore, "--promote")...)
	if !strings.Contains(out, `"people":1001`) || !strings.Contains(out, `"documents":20`) || !strings.Contains(out, `"promoted":true`) {
		t.Errorf("restored %s", out)
	}
	left, err := filepath.Glob(filepath.Join(restored, "*.restoring"))
	if check(t, err); len(left) > 0 {
		t.Errorf("left aside: %v", left)
	}
	check(t, os.CopyFS(filepath.Join(restored, "keyring"), os.DirFS(filepath.Join(home, "keyring"))))
	check(t, os.CopyFS(filepath.Join(restored, "ledger"), os.DirFS(filepath.Join(home, "ledger"))))
	check(t, filepath.WalkDir(restored, func(path string, d fs.DirEntry, err error) error {
		mode := fs.FileMode(0o600)
		if err == nil && d.IsDir() {
			mode = 0o700
		}
		return errors.Join(err, os.Chmod(path, mode))
	}))
	check(t, os.WriteFile(filepath.Join(restored, "dev.token"), content(t, filepath.Join(home, "dev.token")), 0o600))
	again := serve(t, restored)
	got, err := again.Detokenize(ctx, &api.DetokenizeRequest{Purpose: "service", Reason: "check", Tokens: []string{one.Results[0].Tokens["given_name"].Items[0]}})
	check(t, err)
	if value := got.Results[0].Value; value == nil {
		t.Errorf("%+v", got.Results[0])
	} else if name, _ := value.Text(); name != "Айгүл" {
		t.Error("another value came back")
	}
	again.stop(t)
	t.Logf("%d restores of %v were killed, %d of them while they wrote", killed, whole.Round(time.Millisecond), wrote)
	if wrote < 2 {
		t.Error("hardly any was killed while it wrote: the test says nothing")
	}
}

func exists(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

func content(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	check(t, err)
	return b
}

// ended runs a command that must fail, soon, and returns what it said.
func ended(t *testing.T, path string, args ...string) string {
	t.Helper()
	bound, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	var out bytes.Buffer
	cmd := exec.CommandContext(bound, path, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err == nil || bound.Err() != nil {
		t.Errorf("%v goes on: %v", args, err)
	}
	return out.String()
}
