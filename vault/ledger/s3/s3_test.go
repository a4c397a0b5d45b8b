package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"go.uber.org/goleak"

	"github.com/sandyq/sandyq/vault/blob/s3server"
	"github.com/sandyq/sandyq/vault/ledger"
	"github.com/sandyq/sandyq/vault/ledger/ledgertest"
	"github.com/sandyq/sandyq/vault/ledger/s3"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const decade = 10 * 365 * 24 * time.Hour

// bench is one server, and a client that may do everything.
type bench struct {
	server *s3server.Server
	client *minio.Client
}

func newBench(t *testing.T) *bench {
	t.Helper()
	s := s3server.Start(t)
	return &bench{server: s, client: s.Client(t)}
}

// bucket makes a bucket and returns what a ledger in it is configured with.
func (b *bench) bucket(t testing.TB, lock bool) s3.Config {
	t.Helper()
	kind := s3server.Versioned
	if lock {
		kind = s3server.Locking
	}
	return s3.Config{Config: b.server.Bucket(t, kind), Retain: decade}
}

// options are those of the suite.
func options(signers ...ledgertest.Signer) ledger.Options { return ledgertest.Options(signers...) }

func key(number int) string { return fmt.Sprintf("sandyq/%s/%016d", ledgertest.Tenant, number) }

// place is a bucket. Replace cannot remove what is locked: it is left out, and the tests below do what can be done.
func (b *bench) place(t testing.TB) ledgertest.Place {
	c := b.bucket(t, true)
	return ledgertest.Place{
		Create: func(ctx context.Context, o ledger.Options) (ledger.Ledger, error) {
			return opened(s3.Create(ctx, c, o))
		},
		Open:   func(ctx context.Context, o ledger.Options) (ledger.Ledger, error) { return opened(s3.Open(ctx, c, o)) },
		Lines:  func(t testing.TB) [][]byte { return b.lines(t, c.Bucket) },
		Shared: true,
	}
}

func opened(b *ledger.Book, err error) (ledger.Ledger, error) {
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (b *bench) lines(t testing.TB, bucket string) (lines [][]byte) {
	t.Helper()
	for n := 0; ; n++ {
		r, err := b.client.GetObject(t.Context(), bucket, key(n), minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		line, err := io.ReadAll(r)
		if minio.ToErrorResponse(err).Code == minio.NoSuchKey {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
}

func (b *bench) put(t testing.TB, bucket string, number int, line []byte) {
	t.Helper()
	if _, err := b.client.PutObject(t.Context(), bucket, key(number), bytes.NewReader(line), int64(len(line)),
		minio.PutObjectOptions{SendContentMd5: true}); err != nil {
		t.Fatal(err)
	}
}

func TestConformance(t *testing.T) {
	b := newBench(t)
	ledgertest.Run(t, func(t *testing.T) ledgertest.Place { return b.place(t) })
}

// Whoever may write to the bucket cannot take a line away or put another in its place: not from who has the ledger open, and
// not from who opens it.
func TestLinesCannotBeOverwrittenOrRemoved(t *testing.T) {
	b := newBench(t)
	c := b.bucket(t, true)
	l, err := s3.Create(t.Context(), c, options("ours"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	want, err := l.Append(t.Context(), ledgertest.Entries(0, 4)...)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		info, err := b.client.StatObject(t.Context(), c.Bucket, key(n), minio.StatObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, bypass := range []bool{false, true} {
			if err := b.client.RemoveObject(t.Context(), c.Bucket, key(n), minio.RemoveObjectOptions{
				VersionID: info.VersionID, GovernanceBypass: bypass, ForceDelete: bypass,
			}); err == nil {
				t.Errorf("line %d was removed", n)
			}
		}
		until, err := time.Parse(time.RFC3339, info.Metadata.Get("X-Amz-Object-Lock-Retain-Until-Date"))
		if mode := info.Metadata.Get("X-Amz-Object-Lock-Mode"); err != nil || mode != "COMPLIANCE" ||
			until.Before(options("ours").Clock().Add(decade).Truncate(time.Second)) {
			t.Errorf("line %d is kept in mode %q until %v (%v)", n, mode, until, err)
		}
	}
	b.put(t, c.Bucket, 2, []byte("{}"))
	b.put(t, c.Bucket, 4, []byte("{}"))
	if err := b.client.RemoveObject(t.Context(), c.Bucket, key(3), minio.RemoveObjectOptions{}); err != nil { // a delete marker
		t.Fatal(err)
	}
	b.put(t, c.Bucket, 0, []byte("{}"))
	again, err := s3.Open(t.Context(), c, options("ours"))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	defer again.Close()
	for _, l := range []*ledger.Book{l, again} {
		if head, err := l.Head(t.Context()); err != nil || head != want {
			t.Errorf("Head = %+v, %v; want %+v", head, err, want)
		}
		if err := l.Scan(t.Context(), 0, func(ledger.Entry) error { return nil }); err != nil {
			t.Errorf("Scan = %v", err)
		}
	}
	if head, err := again.Append(t.Context(), ledgertest.Entry(4)); err != nil || head.Entries != 5 {
		t.Errorf("Append = %d, %v; want 5", head.Entries, err)
	}
	if head, err := l.Head(t.Context()); err != nil || head.Entries != 5 {
		t.Errorf("Head where another has appended = %d, %v; want 5", head.Entries, err)
	}
}

// What somebody else puts behind the end is found by all, at the next look.
func TestForeignLinesAreFound(t *testing.T) {
	b := newBench(t)
	for name, c := range map[string]struct {
		number int
		by     ledgertest.Signer
		want   error
	}{
		"a foreign key's":       {3, "theirs", ledger.ErrForged},
		"one that leaves a gap": {4, "ours", ledger.ErrDamaged},
		"no line":               {3, "", ledger.ErrDamaged},
	} {
		config := b.bucket(t, true)
		l, err := s3.Create(t.Context(), config, options("ours"))
		if err != nil {
			t.Fatal(err)
		}
		head, err := l.Append(t.Context(), ledgertest.Entries(0, 2)...)
		if err != nil {
			t.Fatal(err)
		}
		line := []byte("x")
		if c.by != "" {
			if line, err = ledger.Seal(t.Context(), c.by, head, ledgertest.Written(ledgertest.Entry(2), 0)); err != nil {
				t.Fatal(err)
			}
		}
		b.put(t, config.Bucket, c.number, line)
		if _, err := l.Head(t.Context()); !errors.Is(err, c.want) {
			t.Errorf("%s: Head = %v, want %v", name, err, c.want)
		}
		if _, err := l.Append(t.Context(), ledgertest.Entry(2)); !errors.Is(err, c.want) {
			t.Errorf("%s: Append = %v, want %v", name, err, c.want)
		}
		if _, err := s3.Open(t.Context(), config, options("ours")); !errors.Is(err, c.want) {
			t.Errorf("%s: Open = %v, want %v", name, err, c.want)
		}
		l.Close()
	}
}

// More lines than are got in one go come in their order.
func TestManyLinesComeInOrder(t *testing.T) {
	b := newBench(t)
	c := b.bucket(t, true)
	l, err := s3.Create(t.Context(), c, options("ours"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	want, err := l.Append(t.Context(), ledgertest.Entries(0, 150)...)
	if err != nil {
		t.Fatal(err)
	}
	again, err := s3.Open(t.Context(), c, options("ours"))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if head, err := again.Head(t.Context()); err != nil || head != want {
		t.Errorf("Head = %+v, %v; want %+v", head, err, want)
	}
	next := uint64(100)
	if err := again.Scan(t.Context(), 99, func(e ledger.Entry) error {
		if e.Number != next {
			return fmt.Errorf("entry %d came for %d", e.Number, next)
		}
		next++
		return nil
	}); err != nil || next != 151 {
		t.Errorf("Scan = %v, up to %d", err, next-1)
	}
}

func TestABucketThatKeepsNothingIsRefused(t *testing.T) {
	b := newBench(t)
	unlocked, unretained := b.bucket(t, false), b.bucket(t, true)
	unretained.Retain = 0
	for name, c := range map[string]s3.Config{"without object lock": unlocked, "without retention": unretained} {
		_, err := s3.Create(t.Context(), c, options("ours"))
		if err == nil || !strings.Contains(err.Error(), "object lock") && !strings.Contains(err.Error(), "retention") {
			t.Errorf("a bucket %s: Create = %v", name, err)
		}
	}
}

// Several nodes append to one ledger at the same time: whoever is late reads on and appends after the other, so that every entry
// is there once, on one chain that all of them agree on.
func TestNodesThatAppendAtTheSameTime(t *testing.T) {
	b := newBench(t)
	c := b.bucket(t, true)
	first, err := s3.Create(t.Context(), c, options("ours"))
	if err != nil {
		t.Fatal(err)
	}
	const nodes, each = 4, 12
	books := []*ledger.Book{first}
	for range nodes - 1 {
		l, err := s3.Open(t.Context(), c, options("ours"))
		if err != nil {
			t.Fatal(err)
		}
		books = append(books, l)
	}
	var appending sync.WaitGroup
	for node, l := range books {
		defer l.Close()
		appending.Go(func() {
			for i := 0; i < each; i += 2 { // the second of each pair is another node's, too
				at := node*each + i
				if _, err := l.Append(t.Context(), ledgertest.Entry(at), ledgertest.Entry((at+each+1)%(nodes*each))); err != nil {
					t.Errorf("node %d: %v", node, err)
					return
				}
			}
		})
	}
	appending.Wait()
	want, err := first.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	if err := first.Scan(t.Context(), 0, func(e ledger.Entry) error {
		if seen[e.Ref] {
			return fmt.Errorf("%s is there twice", e.Ref)
		}
		seen[e.Ref] = true
		return nil
	}); err != nil || len(seen) != nodes*each || want.Entries != nodes*each {
		t.Errorf("Scan = %v, %d entries up to %d, want %d", err, len(seen), want.Entries, nodes*each)
	}
	for node, l := range books {
		if head, err := l.Head(t.Context()); err != nil || head != want {
			t.Errorf("node %d: Head = %+v, %v; want %+v", node, head, err, want)
		}
	}
}

// A server that is away is told as such, by every use of the ledger, and changes nothing of what it holds.
func TestAServerThatIsAway(t *testing.T) {
	b := newBench(t)
	c := b.bucket(t, true)
	c.Timeout = time.Second
	l, err := s3.Create(t.Context(), c, options("ours"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	want, err := l.Append(t.Context(), ledgertest.Entry(0))
	if err != nil {
		t.Fatal(err)
	}
	b.server.Kill()
	_, looking := l.Head(t.Context())
	_, appending := l.Append(t.Context(), ledgertest.Entry(1))
	_, opening := s3.Open(t.Context(), c, options("ours"))
	for doing, err := range map[string]error{"Head": looking, "Append": appending, "Open": opening} {
		if !errors.Is(err, ledger.ErrUnavailable) || errors.Is(err, ledger.ErrMissing) {
			t.Errorf("%s = %v, want ErrUnavailable", doing, err)
		}
	}
	b.server.Restart(t)
	if head, err := l.Head(t.Context()); err != nil || head != want {
		t.Errorf("Head = %+v, %v; want %+v", head, err, want)
	}
	if head, err := l.Append(t.Context(), ledgertest.Entry(1)); err != nil || head.Entries != 2 {
		t.Errorf("Append = %+v, %v", head, err)
	}
}

// Who looks at a ledger appends nothing to it, and needs no leave to.
func TestLookingAppendsNothing(t *testing.T) {
	b := newBench(t)
	c := b.bucket(t, true)
	if _, err := s3.For(t.Context(), ledger.Look, c, options("ours")); !errors.Is(err, ledger.ErrMissing) {
		t.Errorf("looking at nothing: %v", err)
	}
	if _, err := s3.For(t.Context(), ledger.Write, c, options("ours")); !errors.Is(err, ledger.ErrMissing) {
		t.Errorf("writing to nothing: %v", err)
	}
	l, err := s3.For(t.Context(), ledger.Create, c, options("ours"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	look, err := s3.For(t.Context(), ledger.Look, c, options("ours"))
	if err != nil {
		t.Fatal(err)
	}
	defer look.Close()
	if _, err := look.Append(t.Context(), ledgertest.Entry(0)); !errors.Is(err, ledger.ErrInUse) {
		t.Errorf("Append = %v, want ErrInUse", err)
	}
	want, err := l.Append(t.Context(), ledgertest.Entry(0))
	if err != nil {
		t.Fatal(err)
	}
	if head, err := look.Head(t.Context()); err != nil || head != want {
		t.Errorf("Head = %+v, %v; want %+v", head, err, want)
	}
}
