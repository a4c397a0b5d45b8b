package vault_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// jpeg is size bytes that begin as a JPEG does.
func jpeg(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.Read(b)
	copy(b, "\xff\xd8\xff\xe0\x00\x10JFIF\x00")
	return b
}

func upload(subject string, body []byte) vault.Upload {
	return vault.Upload{
		Subject: subject, Kind: "identity_card", Side: "front", MediaType: "image/jpeg", Purpose: "registration",
		Capture: "photographed", Length: int64(len(body)), Body: bytes.NewReader(body),
	}
}

func openDocument(t testing.TB, v *vaulttest.Vault, call vault.Call, token string, part int) *api.OpenDocumentResponse {
	t.Helper()
	return patiently(t, v, func() (*api.OpenDocumentResponse, error) {
		return v.OpenDocument(ctx, call, &api.OpenDocumentRequest{Token: token, Purpose: "service", Reason: "identity_check", Part: part})
	})
}

func TestDocumentThereAndBack(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	who := register(t, v, shop, aigul())
	scan := jpeg(300_000)
	sum := sha256.Sum256(scan)
	put := must[*api.Document](t)(v.PutDocument(ctx, shop, upload(who.Subject, scan)))
	if put.SHA256 != hex.EncodeToString(sum[:]) || put.Size != int64(len(scan)) || put.MediaType != "image/jpeg" || put.Part != 1 {
		t.Fatalf("%+v", put)
	}
	back := upload(who.Subject, jpeg(1000))
	back.Document, back.Side = put.Document, "back"
	second := must[*api.Document](t)(v.PutDocument(ctx, shop, back))
	if second.Document != put.Document || second.Token != put.Token || second.Part != 2 {
		t.Fatalf("%+v", second)
	}
	opened := openDocument(t, v, shop, put.Token, 0)
	if opened.Parts != 2 || opened.SHA256 != put.SHA256 {
		t.Fatalf("%+v", opened)
	}
	got := must[[]byte](t)(readAll(t, v, shop, opened.Content))
	if !bytes.Equal(got, scan) {
		t.Fatal("another document came back")
	}
	held := must[*api.Subject](t)(v.Subject(ctx, shop, who.Subject)).Documents
	if len(held) != 1 || held[0].Token != put.Token || len(held[0].Parts) != 2 {
		t.Fatalf("%+v", held)
	}
}

func TestDocumentRanges(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	scan := jpeg(200_000)
	put := must[*api.Document](t)(v.PutDocument(ctx, shop, upload(register(t, v, shop, aigul()).Subject, scan)))
	opened := openDocument(t, v, shop, put.Token, 1)
	c := must[*vault.Content](t)(v.Content(ctx, shop, opened.Content[len("/v1/content/"):]))
	defer c.Close()
	if _, err := c.Seek(123_456, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 1000)
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, scan[123_456:124_456]) {
		t.Fatalf("a range came back wrong: %v", err)
	}
}

func TestContentIsItsCallersAndExpires(t *testing.T) {
	v := vaulttest.New(t)
	shop, other := app(v), v.As("shop", access.Application)
	put := must[*api.Document](t)(v.PutDocument(ctx, shop, upload(register(t, v, shop, aigul()).Subject, jpeg(5000))))
	opened := openDocument(t, v, shop, put.Token, 0)
	_, err := readAll(t, v, other, opened.Content)
	wantCode(t, err, fault.NotFound)
	v.Clock.Advance(3 * time.Minute)
	_, err = readAll(t, v, shop, opened.Content)
	wantCode(t, err, fault.NotFound)
}

func TestBlockCutsAStream(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	who := register(t, v, shop, aigul())
	put := must[*api.Document](t)(v.PutDocument(ctx, shop, upload(who.Subject, jpeg(500_000))))
	opened := openDocument(t, v, shop, put.Token, 0)
	c := must[*vault.Content](t)(v.Content(ctx, shop, opened.Content[len("/v1/content/"):]))
	defer c.Close()
	if _, err := io.ReadFull(c, make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	must[*api.Subject](t)(v.Block(ctx, shop, who.Subject, &api.BlockRequest{Kind: "dispute", Reason: "claim"}))
	if n, err := c.Read(make([]byte, 1000)); n != 0 || err == nil || errors.Is(err, io.EOF) {
		t.Fatalf("read %d bytes after the block: %v", n, err)
	}
	_, err := readAll(t, v, shop, opened.Content)
	wantCode(t, err, fault.NotFound)
	_, err = v.OpenDocument(ctx, shop, &api.OpenDocumentRequest{Token: put.Token, Purpose: "service", Reason: "check"})
	wantCode(t, err, fault.Blocked)
}

func TestUploadsThatAreRefusedLeaveNoBlob(t *testing.T) {
	v := vaulttest.New(t, vaulttest.With(func(o *vault.Options) { o.MaxDocument, o.UploadLife = 10_000, time.Minute }))
	shop := app(v)
	who := register(t, v, shop, aigul()).Subject
	tests := []struct {
		name string
		code fault.Code
		of   func(*vault.Upload)
	}{
		{"a lie about itself", fault.Unsupported, func(u *vault.Upload) { u.MediaType = "image/png" }},
		{"a web page", fault.Unsupported, func(u *vault.Upload) { u.Body = strings.NewReader("<html><script>"); u.MediaType = "text/html" }},
		{"nothing", fault.Unsupported, func(u *vault.Upload) { u.Body = strings.NewReader("") }},
		{"one byte too many", fault.TooLarge, func(u *vault.Upload) { u.Body, u.Length = bytes.NewReader(jpeg(10_001)), -1 }},
		{"said to be too many", fault.TooLarge, func(u *vault.Upload) { u.Length = 10_001 }},
		{"cut at half", fault.Invalid, func(u *vault.Upload) {
			u.Body = io.MultiReader(bytes.NewReader(jpeg(5000)), iotest.ErrReader(io.ErrUnexpectedEOF))
		}},
		{"paper without a ground", fault.Invalid, func(u *vault.Upload) { u.Capture = "scanned_from_paper" }},
		{"no capture", fault.Invalid, func(u *vault.Upload) { u.Capture = "" }},
		{"no kind", fault.Invalid, func(u *vault.Upload) { u.Kind = "" }},
		{"outside the purpose", fault.Denied, func(u *vault.Upload) { u.Purpose = "notices" }},
		{"nobody", fault.NotFound, func(u *vault.Upload) { u.Subject = "sub_00000000000000000000000000" }},
		{"no such document", fault.NotFound, func(u *vault.Upload) { u.Document = "doc_00000000000000000000000000" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := upload(who, jpeg(5000))
			tt.of(&u)
			_, err := v.PutDocument(ctx, shop, u)
			wantCode(t, err, tt.code)
		})
	}
	if held := must[*api.Subject](t)(v.Subject(ctx, shop, who)).Documents; len(held) != 0 {
		t.Fatalf("%+v", held)
	}
	v.Clock.Advance(2 * time.Minute)
	eventually(t, "the blobs of refused uploads go", func() bool { return len(blobs(t, v)) == 0 })
}

// blobs lists the documents' blobs.
func blobs(t testing.TB, v *vaulttest.Vault) []blob.Info {
	t.Helper()
	var all []blob.Info
	if err := v.Blobs.List(ctx, func(i blob.Info) error { all = append(all, i); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestUploadUnderAnIdempotencyKey(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	who := register(t, v, shop, aigul()).Subject
	shop.Key = "upload-1"
	scan := jpeg(50_000)
	first := must[*api.Document](t)(v.PutDocument(ctx, shop, upload(who, scan)))
	again := must[*api.Document](t)(v.PutDocument(ctx, shop, upload(who, scan)))
	if *first != *again {
		t.Fatalf("%+v\n%+v", first, again)
	}
	if n := len(blobs(t, v)); n != 1 {
		t.Fatalf("%d blobs", n)
	}
	_, err := v.PutDocument(ctx, shop, upload(who, jpeg(50_000)))
	wantCode(t, err, fault.Unprocessable)
}
