package httpapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/httpapi"
)

// reads is a service that takes an upload whole and wraps what the body says, as a real one would.
func reads(got *vault.Upload, size *int64) *service {
	return &service{put: func(_ context.Context, _ vault.Call, up vault.Upload) (*api.Document, error) {
		*got = up
		n, err := io.Copy(io.Discard, up.Body)
		*size = n
		if err != nil {
			return nil, fault.Wrap(fault.Internal, fmt.Errorf("seal the document: %w", err), "")
		}
		return &api.Document{Document: "doc_1", Size: n}, nil
	}}
}

func TestAnUploadStreamsWithWhatNamesIt(t *testing.T) {
	var up vault.Upload
	var size int64
	url, _ := serve(t, reads(&up, &size))
	header := []string{
		"Content-Type", "image/jpeg; q=1", "Sandyq-Purpose", "contract", "Sandyq-Capture", "scanned_from_paper",
		"Sandyq-Capture-Ground", "original",
	}
	a := post(t, url+"/v1/subjects/sub_1/documents?kind=identity_card&side=back&document=doc_1", "12345", header...)
	if a.StatusCode != http.StatusCreated || size != 5 {
		t.Errorf("%d, %d bytes: %s", a.StatusCode, size, a.body)
	}
	up.Body = nil
	want := vault.Upload{
		Subject: "sub_1", Document: "doc_1", Kind: "identity_card", Side: "back", MediaType: "image/jpeg",
		Purpose: "contract", Capture: "scanned_from_paper", CaptureGround: "original", Length: 5,
	}
	if up != want {
		t.Errorf("upload %+v", up)
	}
	chunked := struct{ io.Reader }{strings.NewReader("123456")}
	send(t, http.MethodPost, url+"/v1/subjects/sub_1/documents", chunked, header...)
	if up.Length != -1 || size != 6 {
		t.Errorf("length unknown: %d, %d bytes", up.Length, size)
	}
}

func TestAnUploadAboveTheLimitIsTooLarge(t *testing.T) {
	var up vault.Upload
	var size int64
	url, _ := serveConfig(t, httpapi.Config{Services: []httpapi.Service{reads(&up, &size)}, MaxDocument: 100_000})
	for _, known := range []bool{true, false} {
		for n, want := range map[int]int{100_000: 201, 100_001: 413, 500_000: 413} {
			var body io.Reader = bytes.NewReader(make([]byte, n))
			if !known {
				body = struct{ io.Reader }{body}
			}
			a := send(t, http.MethodPost, url+"/v1/subjects/sub_1/documents", body, "Content-Type", "image/png")
			if a.StatusCode != want {
				t.Errorf("%d bytes, length known %t: %d, want %d", n, known, a.StatusCode, want)
			}
			if want == 413 && a.problem(t).Code != fault.TooLarge {
				t.Error(a.body)
			}
			if size > 100_000 {
				t.Errorf("the service was given %d bytes", size)
			}
		}
	}
}

func TestAnUploadWithoutAMediaTypeIsUnsupported(t *testing.T) {
	url, _ := serve(t, &service{})
	for _, contentType := range []string{"", "///"} {
		if a := post(t, url+"/v1/subjects/sub_1/documents", "x", "Content-Type", contentType); a.problem(t).Code != fault.Unsupported {
			t.Errorf("%q: %d", contentType, a.StatusCode)
		}
	}
	if p := post(t, url+"/v1/subjects/sub_1/documents?name=scan.jpg", "x", "Content-Type", "image/png").problem(t); p.Code != fault.Invalid {
		t.Errorf("unknown parameter: %+v", p)
	}
}

var scan = bytes.Repeat([]byte("0123456789abcdef"), 10_000)

func download(t *testing.T, document func() io.ReadSeeker) string {
	log := &journal{}
	return serveHandler(t, httpapi.StreamHandler(httpapi.Config{Log: log.logger(), Services: []httpapi.Service{&service{}}}, "image/png", int64(len(scan)), document))
}

func TestContentAndItsRanges(t *testing.T) {
	url := download(t, func() io.ReadSeeker { return bytes.NewReader(scan) }) + "/v1/content/handle"
	whole := send(t, http.MethodGet, url, nil)
	if whole.StatusCode != 200 || whole.body != string(scan) {
		t.Fatalf("%d, %d bytes", whole.StatusCode, len(whole.body))
	}
	for name, want := range map[string]string{
		"Content-Type": "image/png", "Cache-Control": "no-store", "Accept-Ranges": "bytes", "X-Content-Type-Options": "nosniff",
		"Content-Disposition": "attachment", "Content-Length": fmt.Sprint(len(scan)),
	} {
		if got := whole.Header.Get(name); got != want {
			t.Errorf("%s %q, want %q", name, got, want)
		}
	}
	etag := whole.Header.Get("ETag")
	if etag == "" || strings.Contains(etag, "handle") {
		t.Errorf("ETag %q", etag)
	}
	for _, c := range []struct {
		ask, ifRange string
		status       int
		from, to     int
	}{
		{"bytes=0-9", "", 206, 0, 10},
		{"bytes=100-", "", 206, 100, len(scan)},
		{"bytes=-16", "", 206, len(scan) - 16, len(scan)},
		{"bytes=10-999999999", "", 206, 10, len(scan)},
		{"bytes=0-9", etag, 206, 0, 10},
		{"bytes=0-9", `"another"`, 200, 0, len(scan)},
		{"bytes=0-1,5-6", "", 200, 0, len(scan)},
		{"pages=1-2", "", 200, 0, len(scan)},
	} {
		a := send(t, http.MethodGet, url, nil, "Range", c.ask, "If-Range", c.ifRange)
		if a.StatusCode != c.status || a.body != string(scan[c.from:c.to]) {
			t.Errorf("%s: %d, %d bytes", c.ask, a.StatusCode, len(a.body))
		}
		if want := fmt.Sprintf("bytes %d-%d/%d", c.from, c.to-1, len(scan)); c.status == 206 && a.Header.Get("Content-Range") != want {
			t.Errorf("%s: Content-Range %q", c.ask, a.Header.Get("Content-Range"))
		}
	}
	a := send(t, http.MethodGet, url, nil, "Range", fmt.Sprintf("bytes=%d-", len(scan)))
	if p := a.problem(t); a.StatusCode != 416 || p.Status != 416 || a.Header.Get("Content-Range") != fmt.Sprintf("bytes */%d", len(scan)) || a.Header.Get("Content-Disposition") != "" {
		t.Errorf("416: %d, %v", a.StatusCode, a.Header)
	}
	guarded := send(t, http.MethodGet, url, nil, "If-Match", `"another"`, "If-Unmodified-Since", "Mon, 02 Jan 2006 15:04:05 GMT")
	if guarded.StatusCode != 200 || guarded.body != string(scan) {
		t.Errorf("under If-Match: %d", guarded.StatusCode)
	}
	head := send(t, http.MethodHead, url, nil)
	if head.StatusCode != 200 || head.body != "" || head.ContentLength != int64(len(scan)) {
		t.Errorf("HEAD: %d, %d", head.StatusCode, head.ContentLength)
	}
}

// failing fails with err, or just ends, after so many bytes.
type failing struct {
	io.ReadSeeker
	left int
	err  error
}

func (f *failing) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, f.err
	}
	n, err := f.ReadSeeker.Read(p[:min(len(p), f.left)])
	f.left -= n
	return n, err
}

// over2 serves h over HTTP/2.
func over2(t *testing.T, h http.Handler) (string, *http.Client) {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL, server.Client()
}

func TestContentThatIsCutNeverLooksWhole(t *testing.T) {
	config := httpapi.Config{Log: (&journal{}).logger(), Services: []httpapi.Service{&service{}}}
	for name, err := range map[string]error{"blocked": fault.Blocked, "damaged": errors.New("does not authenticate"), "short": io.EOF} {
		for _, left := range []int{0, 1, 50_000, len(scan) - 1} {
			h := httpapi.StreamHandler(config, "image/png", int64(len(scan)), func() io.ReadSeeker {
				return &failing{bytes.NewReader(scan), left, err}
			})
			cut(t, fmt.Sprintf("HTTP/1.1, %s after %d", name, left), serveHandler(t, h), http.DefaultClient)
			url, client := over2(t, h)
			cut(t, fmt.Sprintf("HTTP/2, %s after %d", name, left), url, client)
		}
	}
}

// cut downloads and wants to be told that it did not get all.
func cut(t *testing.T, name, url string, client *http.Client) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v1/content/h", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return // not even the header came
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("%s: the client has %d bytes and no error", name, len(got))
	}
}
