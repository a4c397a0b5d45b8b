package move_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"testing"

	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/blob/file"
	"github.com/sandyq/sandyq/vault/move"
)

func folder(t *testing.T) *file.Store {
	t.Helper()
	s, err := file.Open(t.TempDir(), 0)
	check(t, err)
	t.Cleanup(func() { check(t, s.Close()) })
	return s
}

func write(t *testing.T, s blob.Store, id blob.ID, text string) {
	t.Helper()
	w, err := s.Create(ctx, id)
	check(t, err)
	_, err = io.WriteString(w, text)
	check(t, err)
	check(t, w.Commit())
}

func made(t *testing.T, s blob.Store, text string) blob.ID {
	t.Helper()
	id := blob.NewID()
	write(t, s, id, text)
	return id
}

// blobs are those that a store has, with what is in them; half-written ones are empty.
func blobs(t *testing.T, s blob.Store) map[blob.ID]string {
	t.Helper()
	all := map[blob.ID]string{}
	check(t, s.List(ctx, func(i blob.Info) error {
		if i.Partial {
			all[i.ID] = ""
			return nil
		}
		r, err := s.Open(ctx, i.ID)
		if err != nil {
			return err
		}
		defer r.Close()
		var b bytes.Buffer
		_, err = b.ReadFrom(io.NewSectionReader(r, 0, r.Size()))
		all[i.ID] = b.String()
		return err
	}))
	return all
}

func TestBlobsMove(t *testing.T) {
	under, to := folder(t), folder(t)
	from := move.WatchBlobs(under)
	kept, goes := made(t, from, "one"), made(t, from, "two")
	made(t, to, "of nobody")
	write(t, to, kept, "cut off") // of another size
	half, err := to.Create(ctx, goes)
	check(t, err)
	_ = half // an earlier try was killed here
	coming, err := from.Create(ctx, blob.NewID())
	check(t, err)
	m := &move.Blobs{From: under, To: to, Journal: from}
	check(t, m.Copy(ctx))
	want := map[blob.ID]string{kept: "one", goes: "two"}
	if got := blobs(t, to); !maps.Equal(got, want) {
		t.Errorf("copied %v", got)
	}
	check(t, m.Verify(ctx))
	check(t, from.Remove(ctx, goes))
	late := made(t, from, "three")
	_, err = io.WriteString(coming, "four")
	check(t, err)
	check(t, coming.Commit())
	if n, err := m.CatchUp(ctx); n != 4 || err != nil { // the first two were noted, too
		t.Errorf("caught up with %d: %v", n, err)
	}
	if got, want := blobs(t, to), blobs(t, under); !maps.Equal(got, want) || len(got) != 3 || got[late] != "three" || from.Pending() != 0 {
		t.Errorf("there are %v, want %v", got, want)
	}
	if tally := m.Tally(); tally.Count != 3 || tally.Bytes != 12 {
		t.Errorf("%+v", tally)
	}
	again := &move.Blobs{From: under, To: to}
	check(t, again.Verify(ctx))
	if again.Tally() != m.Tally() {
		t.Error("what was kept up to date is not what is read anew")
	}
}

// TestBlobsOfOthersAreKept, where others have been at work already.
func TestBlobsOfOthersAreKept(t *testing.T) {
	from, to := folder(t), folder(t)
	made(t, from, "ours")
	theirs := made(t, to, "theirs")
	check(t, (&move.Blobs{From: from, To: to, Keep: true}).Copy(ctx))
	if got := blobs(t, to); len(got) != 2 || got[theirs] != "theirs" {
		t.Errorf("there are %v", got)
	}
}

// TestABlobThatIsAnother is found by what is in it.
func TestABlobThatIsAnother(t *testing.T) {
	from, to := folder(t), folder(t)
	id := made(t, from, "one")
	write(t, to, id, "eno")
	m := &move.Blobs{From: from, To: to}
	check(t, m.Copy(ctx))
	if err := m.Verify(ctx); !errors.Is(err, move.ErrDiffers) || m.Tally().Count != 0 {
		t.Errorf("verified: %v", err)
	}
}

// keeper is a bucket with object lock, as it shows itself.
type keeper struct{ blob.Store }

func (k keeper) Remove(ctx context.Context, id blob.ID) error {
	return errors.Join(k.Store.Remove(ctx, id), &blob.Kept{})
}

// TestABlobThatIsKept by its storage is as good as gone.
func TestABlobThatIsKept(t *testing.T) {
	from, to := folder(t), folder(t)
	made(t, to, "removed")
	check(t, (&move.Blobs{From: from, To: keeper{to}}).Copy(ctx))
}
