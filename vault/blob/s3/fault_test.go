package s3_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/blob/s3"
	"github.com/sandyq/sandyq/vault/blob/s3server"
	"github.com/sandyq/sandyq/vault/bucket"
)

// front is a proxy before a server, which can be made slow and which counts.
type front struct {
	*httptest.Server
	requests atomic.Int64
	stall    atomic.Bool
	ended    chan struct{}
}

func newFront(t *testing.T, s *s3server.Server, start func(*httptest.Server)) *front {
	t.Helper()
	f := &front{ended: make(chan struct{})}
	transport := &http.Transport{}
	proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: s.Address})
		r.Out.Host = r.In.Host // what was signed
	}}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.requests.Add(1)
		if f.stall.Load() {
			select {
			case <-f.ended:
			case <-r.Context().Done():
			}
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	start(f.Server)
	t.Cleanup(func() {
		close(f.ended)
		f.Close()
		transport.CloseIdleConnections()
	})
	return f
}

// write writes a blob of n bytes in pieces, and aborts it when that fails.
func write(ctx context.Context, s *s3.Store, id blob.ID, n int64) error {
	w, err := s.Create(ctx, id)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := io.CopyBuffer(struct{ io.Writer }{w}, io.LimitReader(pattern{}, n), make([]byte, 64<<10)); err != nil {
		return err
	}
	return w.Commit()
}

// pattern is content without an end, which differs from place to place.
type pattern struct{}

func (pattern) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i * 31)
	}
	return len(p), nil
}

// pending counts the uploads under way in a bucket.
func pending(t *testing.T, server *s3server.Server, c bucket.Config) (n int) {
	t.Helper()
	for u := range server.Client(t).ListIncompleteUploads(t.Context(), c.Bucket, "", true) {
		if u.Err != nil {
			t.Fatal(u.Err)
		}
		n++
	}
	return n
}

// A document of any length is written and read in the memory of a few parts and windows, and with few requests.
func TestLargeBlobsTakeLittleMemory(t *testing.T) {
	server := s3server.Start(t)
	c := server.Bucket(t, s3server.Plain)
	f := newFront(t, server, func(s *httptest.Server) { s.Start() })
	c.Endpoint = f.URL
	s := open(t, c)
	size := int64(50 << 20)
	if by, err := strconv.Atoi(os.Getenv("SANDYQ_TEST_SCALE")); err == nil && by > 1 {
		size = 200 << 20
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	id := blob.NewID()
	if err := write(t.Context(), s, id, size); err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f.requests.Store(0)
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.NewSectionReader(r, 0, r.Size()), make([]byte, 64<<10))
	if err != nil || n != size {
		t.Fatalf("read %d bytes, %v", n, err)
	}
	runtime.ReadMemStats(&after)
	if got := f.requests.Load(); got > size>>20+2 {
		t.Errorf("%d requests for %d MiB", got, size>>20)
	}
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 40<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}

// A server that is killed while a blob is written leaves no blob, and one that comes back takes the next; what it has of the first
// is listed, and goes.
func TestAServerKilledWhileABlobIsWritten(t *testing.T) {
	server := s3server.Start(t)
	c := server.Bucket(t, s3server.Plain)
	c.Timeout = time.Second
	s := open(t, c)
	cut := blob.NewID()
	w, err := s.Create(t.Context(), cut)
	if err != nil {
		t.Fatal(err)
	}
	piece := make([]byte, 6<<20)
	if _, err := w.Write(piece); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	for err == nil {
		_, err = w.Write(piece)
	}
	if !errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("Write = %v, want ErrUnavailable", err)
	}
	w.Abort()
	if _, err := s.Open(t.Context(), cut); !errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("Open = %v, want ErrUnavailable", err)
	}
	server.Restart(t)
	if _, err := s.Open(t.Context(), cut); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Open = %v, want ErrNotFound", err)
	}
	if got := pending(t, server, c); got != 1 {
		t.Errorf("%d uploads under way, want 1", got)
	}
	if err := s.Remove(t.Context(), cut); err != nil {
		t.Fatal(err)
	}
	if got := pending(t, server, c); got != 0 {
		t.Errorf("%d uploads under way after the removal", got)
	}
	if err := write(t.Context(), s, blob.NewID(), 6<<20); err != nil {
		t.Fatal(err)
	}
}

// A server that is killed while a blob is read fails that reading, and the same reader reads on when it is back.
func TestAServerKilledWhileABlobIsRead(t *testing.T) {
	server := s3server.Start(t)
	c := server.Bucket(t, s3server.Plain)
	c.Timeout = time.Second
	s := open(t, c)
	id := blob.NewID()
	if err := write(t.Context(), s, id, 8<<20); err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := make([]byte, 100)
	if _, err := r.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	if _, err := r.ReadAt(p, 5<<20); !errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("ReadAt = %v, want ErrUnavailable", err)
	}
	server.Restart(t)
	if _, err := r.ReadAt(p, 5<<20); err != nil {
		t.Errorf("ReadAt of a server that is back: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadAt(p, 7<<20); !errors.Is(err, context.Canceled) {
		t.Errorf("ReadAt after Close = %v", err)
	}
}

// A server that answers nothing is unavailable within the deadline, and not for longer.
func TestAServerThatStalls(t *testing.T) {
	server := s3server.Start(t)
	c := server.Bucket(t, s3server.Plain)
	f := newFront(t, server, func(s *httptest.Server) { s.Start() })
	c.Endpoint, c.Timeout = f.URL, 300*time.Millisecond
	s := open(t, c)
	id := blob.NewID()
	if err := write(t.Context(), s, id, 100); err != nil {
		t.Fatal(err)
	}
	f.stall.Store(true)
	began := time.Now()
	if _, err := s.Open(t.Context(), id); !errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("Open = %v, want ErrUnavailable", err)
	}
	if err := s.List(t.Context(), func(blob.Info) error { return nil }); !errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("List = %v, want ErrUnavailable", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	f.stall.Store(false)
	if r, err := s.Open(t.Context(), id); err != nil {
		t.Errorf("Open of a server that is back: %v", err)
	} else {
		r.Close()
	}
}

// A node may start while the bucket is out of reach, and not on one that it can never use.
func TestWhatIsRefusedAtOpen(t *testing.T) {
	server := s3server.Start(t)
	good := server.Bucket(t, s3server.Plain)
	good.Timeout = time.Second
	for name, c := range map[string]struct {
		change func(*bucket.Config)
		want   string
	}{
		"a bucket that is not there": {func(c *bucket.Config) { c.Bucket = "missing" }, "no such bucket"},
		"a wrong secret key":         {func(c *bucket.Config) { c.SecretKey = secret.NewString("wrong") }, "denied"},
		"a wrong access key":         {func(c *bucket.Config) { c.AccessKey = secret.NewString("wrong") }, "denied"},
		"another region":             {func(c *bucket.Config) { c.Region = "eu-west-1" }, "region"},
		"plain HTTP":                 {func(c *bucket.Config) { c.Endpoint = "http://s3.example" }, "loopback"},
	} {
		config := good
		c.change(&config)
		_, err := s3.Open(t.Context(), config)
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, blob.ErrUnavailable) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	away := good
	away.Endpoint = "http://" + nobody.Addr().String()
	s := open(t, away)
	if err := s.Check(t.Context()); !errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("Check of a server that is away = %v", err)
	}
}

// TLS is spoken to a server whose certificate ca_file has signed, and to no other.
func TestTLS(t *testing.T) {
	server := s3server.Start(t)
	c := server.Bucket(t, s3server.Plain)
	f := newFront(t, server, func(s *httptest.Server) {
		s.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshakes that are to fail
		s.StartTLS()
	})
	c.Endpoint, c.Timeout = f.URL, time.Second
	c.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw})
	if err := os.WriteFile(c.CAFile, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := write(t.Context(), open(t, c), blob.NewID(), 6<<20); err != nil {
		t.Fatal(err)
	}
	c.CAFile = ""
	if err := open(t, c).Check(t.Context()); err == nil {
		t.Error("a server that nobody vouches for was believed")
	}
}

// What object lock keeps is told, and cannot be found; it goes when the lock has ended. Nothing else of the blob is left.
func TestLockedVersionsAreTold(t *testing.T) {
	server := s3server.Start(t)
	c := server.Bucket(t, s3server.Locking)
	client := server.Client(t)
	s := open(t, c)
	id := blob.NewID()
	if err := write(t.Context(), s, id, 100); err != nil {
		t.Fatal(err)
	}
	key := c.Prefix + id.String()
	until := time.Now().Add(4 * time.Second).UTC().Truncate(time.Second)
	mode := minio.Compliance
	if err := client.PutObjectRetention(t.Context(), c.Bucket, key, minio.PutObjectRetentionOptions{Mode: &mode, RetainUntilDate: &until}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutObject(t.Context(), c.Bucket, key, bytes.NewReader([]byte("over it")), 7, minio.PutObjectOptions{SendContentMd5: true}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		err := s.Remove(t.Context(), id)
		kept, ok := errors.AsType[*blob.Kept](err)
		if !ok || !kept.Until.Equal(until) && !kept.Until.IsZero() { // this server does not tell of versions that others cover
			t.Fatalf("Remove = %v (until %v), want it kept until %v", err, kept, until)
		}
		if _, err := s.Open(t.Context(), id); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("Open of what is kept = %v", err)
		}
	}
	listed := 0
	if err := s.List(t.Context(), func(i blob.Info) error { listed++; return nil }); err != nil || listed != 1 {
		t.Errorf("List tells %d blobs, %v; want the one that is kept", listed, err)
	}
	time.Sleep(time.Until(until.Add(time.Second)))
	if err := s.Remove(t.Context(), id); err != nil {
		t.Fatalf("Remove after the lock = %v", err)
	}
	for o := range client.ListObjectsIter(t.Context(), c.Bucket, minio.ListObjectsOptions{Recursive: true, WithVersions: true}) {
		t.Errorf("left: %+v", o)
	}
}

// Nothing but random ids is in the bucket's names, and nothing at all in metadata and tags.
func TestObjectsSayNothing(t *testing.T) {
	server := s3server.Start(t)
	c := server.Bucket(t, s3server.Plain)
	id := blob.NewID()
	if err := write(t.Context(), open(t, c), id, 100); err != nil {
		t.Fatal(err)
	}
	info, err := server.Client(t).StatObject(t.Context(), c.Bucket, c.Prefix+id.String(), minio.StatObjectOptions{})
	if err != nil || len(info.UserMetadata) != 0 || info.UserTagCount != 0 || info.ContentType != "application/octet-stream" {
		t.Errorf("%+v, %v", info, err)
	}
}
