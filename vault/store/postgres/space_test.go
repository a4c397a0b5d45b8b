package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/postgres/pgserver"
)

// smallDisk mounts a disk of so many MiB on a folder. That takes root: without, the test is skipped, and fails in CI.
func smallDisk(t *testing.T, dir string, mib int) {
	t.Helper()
	cannot := t.Skipf
	if os.Getenv("CI") == "true" {
		cannot = t.Fatalf
	}
	if os.Geteuid() != 0 {
		cannot("NOT TESTED: mounting a disk takes root")
	}
	size := fmt.Sprintf("size=%dm", mib)
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", size, "tmpfs", dir).CombinedOutput(); err != nil {
		cannot("NOT TESTED: mount: %v %s", err, out)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
}

// TestFullDisk fills the disk of a database: an Update that finds no room says so and has written nothing; and when the disk grows,
// all goes on.
func TestFullDisk(t *testing.T) {
	server := pgserver.Start(t)
	dir := server.Folder(t)
	smallDisk(t, dir, 24)
	server.Give(t, dir)
	server.Exec(t, "create tablespace small location '"+dir+"'")
	dsn := server.Database(t)
	s := open(t, Options{DSN: dsn})
	if err := pgserver.Exec(t.Context(), dsn, "alter table sandyq_rows set tablespace small"); err != nil {
		t.Fatal(err)
	}
	fill := func(from int) (n int, err error) {
		for n = from; n < from+400 && err == nil; n++ {
			err = s.Update(t.Context(), func(w store.Writer) error {
				return errors.Join(w.Set(fmt.Appendf(nil, "row/%06d", n), make([]byte, 100<<10)), w.Set([]byte("last"), fmt.Append(nil, n)))
			})
		}
		return n - 1, err
	}
	n, err := fill(0)
	if !errors.Is(err, store.ErrNoSpace) {
		t.Fatalf("on a full disk, after %d Updates: %v", n, err)
	}
	checkRows(t, s, n)
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=200m"); err != nil {
		t.Fatal(err)
	}
	if n, err = fill(n); err != nil {
		t.Errorf("after the disk grew: %v", err)
	}
	checkRows(t, s, n+1)
}

// checkRows checks that just the first n rows are there.
func checkRows(t *testing.T, s *Store, n int) {
	t.Helper()
	err := s.View(context.Background(), func(r store.Reader) error {
		count, after := 0, []byte(nil)
		for {
			pairs, err := r.Scan([]byte("row/"), after, 50)
			if err != nil {
				return err
			}
			if count += len(pairs); len(pairs) < 50 {
				break
			}
			after = pairs[len(pairs)-1].Key
		}
		values, err := r.Get([]byte("last"))
		if err == nil && (count != n || string(values[0]) != fmt.Sprint(n-1)) {
			return fmt.Errorf("there are %d rows, the last %s; acknowledged were %d", count, values[0], n)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
