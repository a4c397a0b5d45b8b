package endtoend

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"testing"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
)

// TestDocumentsStream sends a 20 MB document up and down: the server's resident memory must not grow by 32 MB.
func TestDocumentsStream(t *testing.T) {
	const size, most = 20 << 20, 32 << 20
	s := serve(t, t.TempDir())
	resp, err := s.Tokenize(ctx, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{{
		Fields: map[string]api.OneOrMany[api.Value]{"given_name": api.One(api.Text("Айгүл"))},
	}}})
	check(t, err)
	who := resp.Results[0].Subject
	small, large := scan(1000), scan(size)
	there(t, s, who, small)
	before, _ := s.resident(t)
	there(t, s, who, large)
	_, highest := s.resident(t)
	grown := highest - before
	t.Logf("20 MB up and down: resident memory grew from %d to %d MB at its highest", before>>20, highest>>20)
	if grown >= most {
		t.Errorf("it grew by %d MB", grown>>20)
	}
}

// scan is size bytes that begin as a JPEG does.
func scan(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.Read(b)
	copy(b, "\xff\xd8\xff\xe0\x00\x10JFIF\x00")
	return b
}

// there sends a document up and reads it back.
func there(t testing.TB, s *server, who string, scan []byte) {
	t.Helper()
	put, err := s.UploadDocument(ctx, who, client.Upload{
		Kind: "passport", MediaType: "image/jpeg", Purpose: "registration", Capture: "digital",
	}, bytes.NewReader(scan))
	check(t, err)
	opened, err := s.OpenDocument(ctx, &api.OpenDocumentRequest{Token: put.Token, Purpose: "service", Reason: "check"})
	check(t, err)
	body, err := s.ReadDocument(ctx, opened)
	check(t, err)
	defer body.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, body); err != nil {
		t.Fatal(err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != put.SHA256 {
		t.Fatal("another document came back")
	}
}
