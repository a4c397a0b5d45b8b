package cedar_test

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/cedar"
)

// folder is a folder of policies that is watched, on the clock of a bubble.
type folder struct {
	*testing.T
	dir string
	*cedar.Directory
	log     *journal
	changes int
}

// journal is a log that may be read while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

// take returns what was written since the last time.
func (j *journal) take() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.text.Reset()
	return j.text.String()
}

// watching runs a test beside the watch of a folder that permits everything.
func watching(t *testing.T, test func(f *folder)) {
	dir := filepath.Join(t.TempDir(), "policies")
	synctest.Test(t, func(t *testing.T) {
		f := &folder{T: t, dir: dir, log: &journal{}}
		f.must(os.Mkdir(dir, 0o700))
		f.write("a.cedar", everything)
		d, err := cedar.OpenDirectory(dir, options(), slog.New(slog.NewTextHandler(f.log, nil)))
		f.must(err)
		defer d.Close()
		f.Directory = d
		f.in("everything")
		test(f)
	})
}

func (f *folder) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// write writes a file, and makes sure that its time is another than before: the tests are faster than some file systems' clocks.
func (f *folder) write(name, text string) {
	f.Helper()
	path := filepath.Join(f.dir, name)
	f.must(os.WriteFile(path, []byte(text), 0o600))
	f.changes++
	at := noon.Add(time.Duration(f.changes) * time.Millisecond)
	f.must(os.Chtimes(path, at, at))
}

// pass lets so many looks at the folder pass.
func (f *folder) pass(looks int) {
	time.Sleep(time.Duration(looks)*time.Second + time.Millisecond)
	synctest.Wait()
}

// in holds which policy decides.
func (f *folder) in(policy string) {
	f.Helper()
	want(f, f.Directory, access.Request{Principal: as(access.Staff), Action: access.Reveal, Fields: []string{"iin"}}, policy == "everything", policy)
}

// said holds how many lines the log has since the last time, each with all of these words.
func (f *folder) said(lines int, words ...string) {
	f.Helper()
	text := f.log.take()
	for _, word := range append(words, "\n") {
		if strings.Count(text, word) != lines {
			f.Errorf("the log does not say %q %d times:\n%s", word, lines, text)
		}
	}
}

const (
	nothing = `@id("nothing") forbid (principal, action, resource);`
	taken   = "are in force"
	stay    = "the policies in force stay"
)

func TestAChangeIsTaken(t *testing.T) {
	watching(t, func(f *folder) {
		f.pass(10)
		f.said(0)
		f.write("b.cedar", nothing)
		f.pass(1)
		f.in("everything") // it may still be being written
		f.pass(1)
		f.in("nothing")
		f.said(1, taken)
		f.must(os.Remove(filepath.Join(f.dir, "b.cedar")))
		f.pass(2)
		f.in("everything")
		f.write("a.cedar", nothing)
		f.pass(2)
		f.in("nothing")
		f.said(2, taken)
	})
}

func TestABadChangeIsNotTaken(t *testing.T) {
	watching(t, func(f *folder) {
		f.write("b.cedar", nothing)
		f.write("c.cedar", `@id("c") permit (principal, action == Action::"revel", resource);`)
		f.pass(10)
		f.in("everything") // though b.cedar by itself is good
		f.said(1, stay, "unrecognized action")
		f.write("c.cedar", `permit (principal, action, resource);`)
		f.pass(10)
		f.in("everything")
		f.said(1, stay)
		f.must(os.Remove(filepath.Join(f.dir, "c.cedar")))
		f.pass(2)
		f.in("nothing")
		f.said(1, taken)
	})
}

// TestAHalfWrittenFile is not taken while it grows, even when what is there would do.
func TestAHalfWrittenFile(t *testing.T) {
	watching(t, func(f *folder) {
		text := everything
		for range 10 {
			text += "\n// still being written"
			f.write("a.cedar", text)
			f.pass(1)
		}
		f.write("a.cedar", everything+"\n"+nothing[:len(nothing)/2])
		f.pass(1)
		f.said(0)
		f.pass(1)
		f.said(1, stay) // the writer rests, and what is there is not Cedar
		f.in("everything")
		f.write("a.cedar", everything+"\n"+nothing)
		f.pass(2)
		f.in("nothing")
	})
}

// TestAFolderThatIsGone changes nothing, and is told once each time.
func TestAFolderThatIsGone(t *testing.T) {
	watching(t, func(f *folder) {
		for range 2 {
			f.must(os.Rename(f.dir, f.dir+".old"))
			f.pass(10)
			f.in("everything")
			f.said(1, stay)
			f.must(os.Rename(f.dir+".old", f.dir))
			f.pass(10)
			f.said(0)
		}
		f.must(os.RemoveAll(f.dir))
		f.must(os.Mkdir(f.dir, 0o700))
		f.pass(10)
		f.in("everything") // an empty folder would lock everybody out
		f.said(1, stay)
		f.write("new.cedar", nothing)
		f.pass(2)
		f.in("nothing")
	})
}

// TestASwappedFolder: a link to a folder may be swapped, as a mounted configuration does.
func TestASwappedFolder(t *testing.T) {
	watching(t, func(f *folder) {
		other := filepath.Join(filepath.Dir(f.dir), "other")
		f.must(os.Mkdir(other, 0o700))
		f.must(os.WriteFile(filepath.Join(other, "x.cedar"), []byte(nothing), 0o600))
		f.must(os.Symlink(filepath.Join(other, "x.cedar"), filepath.Join(f.dir, "link.cedar")))
		f.must(os.Mkdir(filepath.Join(f.dir, "folder.cedar"), 0o700))
		f.must(os.WriteFile(filepath.Join(f.dir, ".hidden.cedar"), []byte("no Cedar"), 0o600))
		f.must(os.WriteFile(filepath.Join(f.dir, "README"), []byte("no Cedar"), 0o600))
		f.pass(2)
		f.in("nothing")
		f.said(1, taken)
		f.must(os.Remove(filepath.Join(other, "x.cedar"))) // the link leads nowhere
		f.pass(10)
		f.in("nothing")
		f.said(1, stay)
	})
}

// TestDecidingWhileTheFolderChanges: every decision is by one whole set.
func TestDecidingWhileTheFolderChanges(t *testing.T) {
	watching(t, func(f *folder) {
		stop := make(chan struct{})
		var deciding sync.WaitGroup
		for range 2 {
			deciding.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					d, err := f.Decide(f.Context(), access.Request{Principal: as(access.Staff), Action: access.Reveal, Fields: []string{"iin"}})
					if err != nil || len(d.Policies) != 1 || d.Allowed() != (d.Policies[0] == "everything") {
						f.Errorf("%v by %v", err, d.Policies)
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		for i := range 20 {
			f.write("a.cedar", []string{nothing, everything}[i%2])
			f.pass(2)
		}
		close(stop)
		deciding.Wait()
		f.said(20, taken)
	})
}

func TestOpenDirectoryRefuses(t *testing.T) {
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	if _, err := cedar.OpenDirectory(filepath.Join(dir, "none"), options(), log); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	if _, err := cedar.OpenDirectory(dir, options(), log); err == nil || !strings.Contains(err.Error(), "there is no policy") {
		t.Errorf("an empty folder: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.cedar"), []byte("permit"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := cedar.OpenDirectory(dir, options(), log); err == nil || !strings.Contains(err.Error(), "a.cedar:1") {
		t.Errorf("a bad file: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.cedar"), bytes.Repeat([]byte(" "), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := cedar.OpenDirectory(dir, options(), log); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a large file: %v", err)
	}
	if files, err := cedar.ReadFolder(filepath.Join(dir, "none")); files != nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, %v", files, err)
	}
}
