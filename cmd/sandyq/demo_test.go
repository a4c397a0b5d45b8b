package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"go.uber.org/goleak"

	"github.com/sandyq/sandyq/vault/api"
)

// everyClaim lists the claims of the demo, in order.
var everyClaim = []string{
	"started", "registered", "tokens_distinct", "same_tokens_again", "uploaded",
	"detokenized", "masked", "searched", "search_misses", "tokens_private", "documents_read", "restarted", "keys_not_copied",
	"ids_pairwise", "blocked", "unblocked",
	"unreadable", "keys_destroyed", "not_found", "others_stay", "new_person",
	"copy_has_both", "copy_reads_others", "copy_cannot_read_erased", "copy_reads_only",
	"certified", "certificate_holds", "listed", "drilled",
	"audited", "scan_finds", "nothing_in_clear",
}

const smallCast = 30

func TestTheDemoInJSON(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	home := filepath.Join(t.TempDir(), "home")
	var out, errs bytes.Buffer
	d := demo{env: &env{out: &out, err: &errs, json: true}, home: home, cast: smallCast}
	if err := d.perform(t.Context()); err != nil {
		t.Fatal(err)
	}
	var r demoReport
	if err := json.Unmarshal(out.Bytes(), &r, json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("%v: %s", err, out.Bytes())
	}
	var names []string
	for _, c := range r.Checks {
		if names = append(names, c.Name); !c.Holds || c.Claim == "" {
			t.Errorf("%+v", c)
		}
	}
	if !slices.Equal(names, everyClaim) {
		t.Errorf("claims: %q", names)
	}
	if !r.OK || !r.Synthetic || r.People != smallCast || r.Documents != smallCast || r.Values < 10*smallCast || r.Tokens != r.Values {
		t.Errorf("%+v", r)
	}
	if r.Searched.Found != 0 || r.Searched.Files < 2*smallCast || r.Searched.Values < 5*smallCast || r.ScanBytes == 0 || r.Answers["423"] != 1 || r.Answers["410"] != 1 {
		t.Errorf("%+v", r)
	}
	if r.Home != home || r.Server != "" || errs.Len() != 0 {
		t.Errorf("home %s, server %q, errors: %s", r.Home, r.Server, &errs)
	}
	kept, err := os.ReadDir(home)
	if err != nil || !slices.ContainsFunc(kept, func(f fs.DirEntry) bool { return f.Name() == "store" }) ||
		slices.ContainsFunc(kept, func(f fs.DirEntry) bool { return f.Name() == "copy" }) {
		t.Errorf("kept: %v, %v", kept, err)
	}
}

func TestTheDemoOnAScreen(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var out, errs bytes.Buffer
	d := demo{env: &env{out: &out, err: &errs}, cast: smallCast}
	if err := d.perform(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"SYNTHETIC person", d.people[0].person.IIN, d.people[2].first("iin"), "32 of 32 claims hold", "upload scans"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not show %s", want)
		}
	}
	if strings.Contains(out.String(), "\x1b") || errs.Len() != 0 {
		t.Error("colours or progress for nobody to see")
	}
	if _, err := os.Stat(d.home); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the temporary home: %v", err)
	}
}

func TestTheDemoServesOn(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	home := filepath.Join(t.TempDir(), "home")
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	answers, out := io.Pipe()
	d := demo{env: &env{out: out, err: io.Discard, json: true}, home: home, stay: true, cast: smallCast}
	ended := make(chan error, 1)
	go func() {
		err := d.perform(ctx)
		ended <- errors.Join(err, out.Close())
	}()
	line, err := bufio.NewReader(answers).ReadBytes('\n')
	if err != nil {
		t.Fatalf("%v, %v", err, <-ended)
	}
	var r demoReport
	if err := json.Unmarshal(line, &r); err != nil {
		t.Fatal(err)
	}
	left := desk{&server{serving: serving{API: r.Server}}, r.TokenFile}
	if me := answer[api.Whoami](t, left, exitDone, "", "whoami"); me.System != "administrator" {
		t.Errorf("%+v", me)
	}
	interrupt()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if again := start(t, "serve", "--dev", "--home", home); again.stop(t) != exitDone {
		t.Errorf("the home cannot be served again: %s", again.stderr)
	}
}

// A demo whose claims cannot fail shows nothing: here they do.
func TestTheDemoTellsWhatDoesNotHold(t *testing.T) {
	for name, test := range map[string]struct {
		act    string
		around func(t *testing.T, d *demo, play func() error) error
		broken []string
	}{
		"a value comes back otherwise": {
			act: "People are registered", broken: []string{"detokenized"},
			around: func(_ *testing.T, d *demo, play func() error) error {
				err := play()
				d.people[smallCast-1].values["family_name"][0] = api.Text("Басқа")
				return err
			},
		},
		"the erased person's keys come back": {
			// The copy sees that a key is there which the erasure ledger lists, and gives nothing out at all.
			act: "A person is erased", broken: []string{"copy_reads_others"},
			around: func(t *testing.T, d *demo, play func() error) error {
				return keepingKeys(t, d.config, play)
			},
		},
		"the certificate is another log's": {
			act: "A person is erased", broken: []string{"certified", "listed"},
			around: func(_ *testing.T, d *demo, play func() error) error {
				err := play()
				public, _, failed := ed25519.GenerateKey(nil)
				d.logKey.Public = public
				return errors.Join(err, failed)
			},
		},
		"an IIN lies in a file": {
			act: "A copy is taken", broken: []string{"nothing_in_clear"},
			around: func(_ *testing.T, d *demo, play func() error) error {
				note := "see " + d.people[7].person.IIN
				return errors.Join(play(), os.WriteFile(filepath.Join(d.home, "note"), []byte(note), 0o600))
			},
		},
		"the server's log repeats what it got": {
			act: "A person is blocked", broken: []string{"nothing_in_clear"},
			around: func(_ *testing.T, d *demo, play func() error) error {
				d.server.log.Info("tokenize", "value", d.people[3].person.FamilyName)
				return play()
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			d := demo{env: &env{out: &out, err: &out, json: true, started: true}, home: filepath.Join(t.TempDir(), "home"), cast: smallCast}
			d.screen = newScreen(d.env)
			if err := d.prepare(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := d.leave(); err != nil {
					t.Error(err)
				}
			}()
			acts := d.acts()
			i := slices.IndexFunc(acts, func(a act) bool { return a.title == test.act })
			play := acts[i].play
			acts[i].play = func(ctx context.Context) error {
				return test.around(t, &d, func() error { return play(ctx) })
			}
			if err := d.play(t.Context(), acts); err != nil {
				t.Fatal(err)
			}
			code := d.env.report(d.conclude())
			if code != exitFailed || !slices.Equal(d.report.broken(), test.broken) {
				t.Errorf("exit code %d, broken: %q", code, d.report.broken())
			}
			for _, want := range []string{`"ok":false`, fmt.Sprintf("%d of 32 claims do not hold: %s", len(test.broken), strings.Join(test.broken, "; "))} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("it does not say %s: %s", want, &out)
				}
			}
		})
	}
}

// keepingKeys brings back, after something was done, the key files that it destroyed.
func keepingKeys(t *testing.T, c config, do func() error) error {
	t.Helper()
	keys, kept := filepath.Join(c.keysDir(), "keys"), ""
	err := fs.ErrNotExist
	for errors.Is(err, fs.ErrNotExist) { // the server destroyed a key of its own meanwhile
		kept = filepath.Join(t.TempDir(), "keys")
		err = os.CopyFS(kept, os.DirFS(keys))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := do(); err != nil {
		return err
	}
	return filepath.WalkDir(kept, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		rel, err := filepath.Rel(kept, path)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := os.OpenFile(filepath.Join(keys, rel), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		if err != nil {
			return err
		}
		_, err = f.Write(b)
		return errors.Join(err, f.Close())
	})
}

func TestAnInterruptedDemoLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	d := demo{env: &env{out: io.Discard, err: io.Discard}, cast: smallCast}
	if err := d.perform(ctx); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestTheDemoWantsAHomeOfItsOwn(t *testing.T) {
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, "copy"), 0o700); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := sandyq(t, "demo", "--home", home)
	if code != exitFailed || !strings.Contains(stderr, "not empty") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if _, err := os.Stat(filepath.Join(home, "copy")); err != nil {
		t.Errorf("what was there: %v", err)
	}
}
