package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/fault"
)

// upload is the shape of a document's coming: the file is the body, what names it stands in the query and the headers.
// Under an idempotency key the service itself knows an upload again, by its names and its bytes.
func upload() shape {
	return shape{out: reflect.TypeFor[api.Document](), query: []string{"kind", "side", "document"}, handle: func(x *exchange, call vault.Call) error {
		up, err := x.upload()
		if err != nil {
			return err
		}
		body := &pacedReader{
			pace: pace{deadline: x.control().SetReadDeadline},
			body: x.body(), left: x.front.MaxDocument, limit: x.front.MaxDocument,
		}
		up.Body = body
		_ = x.control().SetWriteDeadline(time.Time{}) // the answer's time begins when the body has come
		out, err := x.service.PutDocument(x.r.Context(), call, up)
		_ = x.control().SetWriteDeadline(clock.System().Add(patience))
		if err != nil && body.err != nil {
			err = body.err // whatever the service made of it, this is why
		}
		return x.answer(out, err)
	}}
}

// upload reads what names a document.
func (x *exchange) upload() (vault.Upload, error) {
	if err := uncoded(x.r.Header); err != nil {
		return vault.Upload{}, err
	}
	mediaType, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	if err != nil {
		return vault.Upload{}, fault.New(fault.Unsupported, "the Content-Type must be the document's media type")
	}
	if x.r.ContentLength > x.front.MaxDocument {
		return vault.Upload{}, tooLarge(x.front.MaxDocument)
	}
	return vault.Upload{
		Subject: x.r.PathValue("subject"), Document: x.query.text("document"), Kind: x.query.text("kind"), Side: x.query.text("side"),
		MediaType: mediaType, Purpose: x.r.Header.Get(api.HeaderPurpose),
		Capture: x.r.Header.Get(api.HeaderCapture), CaptureGround: x.r.Header.Get(api.HeaderCaptureGround),
		Length: x.r.ContentLength,
	}, nil
}

// content is the shape of a document's going: GET and HEAD of a handle, with ranges.
func content() shape {
	return shape{handle: func(x *exchange, call vault.Call) error {
		handle := x.r.PathValue("handle")
		content, err := x.service.Content(x.r.Context(), call, handle)
		if err != nil {
			return err
		}
		defer func() { _ = content.Close() }() // it was only read
		x.guard(x.lapsed)
		x.stream(handle, content.MediaType, content.Size, content)
		return nil
	}}
}

// stream sends a document of size bytes, or the range of it that was asked for. When it cannot be read to the end the
// connection is aborted.
func (x *exchange) stream(handle, mediaType string, size int64, document io.ReadSeeker) {
	h := x.Header()
	h["Content-Type"] = []string{mediaType}
	h["Content-Disposition"] = []string{"attachment"}
	h["Etag"] = []string{etag(handle)}
	_ = x.control().SetReadDeadline(time.Time{}) // there is no body; a deadline that passes ends the request
	src := &watched{ReadSeeker: document}
	if !oneRange(x.r.Header) {
		x.r.Header.Del("Range") // answered whole, as RFC 9110 §14.2 allows for several and demands for units other than bytes
	}
	for _, name := range []string{"If-Match", "If-Unmodified-Since"} { // these guard against changes, and content has none
		x.r.Header.Del(name)
	}
	dst := &pacedWriter{ResponseWriter: x, pace: pace{deadline: x.control().SetWriteDeadline}}
	http.ServeContent(dst, x.r, "", time.Time{}, src)
	if x.foreign != 0 {
		for _, name := range []string{"Content-Disposition", "Etag"} {
			h.Del(name)
		}
		return
	}
	_ = x.control().SetWriteDeadline(clock.System().Add(patience))
	want, _ := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	whole := x.status == http.StatusNotModified || x.r.Method == http.MethodHead || x.bytes == want
	if src.err == nil && !whole {
		src.err = errors.New("the content or the connection ended early")
	}
	if src.err != nil {
		x.fault = fault.Wrap(fault.CodeOf(src.err), src.err, "the content was cut off")
		panic(http.ErrAbortHandler)
	}
}

// oneRange reports a request for one range of bytes.
func oneRange(h http.Header) bool {
	ranges, bytes := strings.CutPrefix(h.Get("Range"), "bytes=")
	return bytes && !strings.Contains(ranges, ",")
}

// etag names a handle's content without repeating the handle, which is a capability.
func etag(handle string) string {
	sum := sha256.Sum256([]byte(handle))
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
}

// watched remembers a failed read, which http.ServeContent takes for an end.
type watched struct {
	io.ReadSeeker
	err error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadSeeker.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}

// control reaches the connection's deadlines. What comes of setting one is not looked at: it fails where a connection has none or is gone, and
// the request goes on without, or ends by itself.
func (x *exchange) control() *http.ResponseController {
	return http.NewResponseController(x.ResponseWriter)
}
