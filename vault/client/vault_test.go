package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/httpapi"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// server is a real vault behind the real front end on loopback.
type server struct {
	*vaulttest.Vault
	url string
	log *bytes.Buffer
	mu  sync.Mutex
}

func (s *server) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

func (s *server) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

func start(t *testing.T, maxDocument int64) *server {
	t.Helper()
	s := &server{Vault: vaulttest.New(t), log: &bytes.Buffer{}}
	h := httpapi.Handler(httpapi.Config{Services: []httpapi.Service{s.Service}, Log: slog.New(slog.NewJSONHandler(s, nil)), MaxDocument: maxDocument})
	front := httptest.NewServer(h)
	t.Cleanup(front.Close)
	s.url = front.URL
	return s
}

// credential makes a service token.
func (s *server) credential(t *testing.T, system string, role access.Role) string {
	t.Helper()
	root := vault.Call{Principal: access.Principal{Tenant: "test", System: "test", Roles: []access.Role{access.Administrator}}, RequestID: "test"}
	made, err := s.CreateServiceToken(t.Context(), root, &api.CreateServiceTokenRequest{System: system, Role: string(role)})
	if err != nil {
		t.Fatal(err)
	}
	return made.Secret
}

// with makes a client with a service token.
func (s *server) with(t *testing.T, token string, opts ...client.Option) *client.Client {
	t.Helper()
	c, err := client.New(s.url, token, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// as makes a client with a service token of its own.
func (s *server) as(t *testing.T, system string, role access.Role, opts ...client.Option) *client.Client {
	t.Helper()
	return s.with(t, s.credential(t, system, role), opts...)
}

const iin = "850312113646"

func person() map[string]api.OneOrMany[api.Value] {
	return map[string]api.OneOrMany[api.Value]{
		"iin":               api.One(api.Text(iin)),
		"given_name":        api.One(api.Text("Айгүл")),
		"phone":             api.Many(api.Text("+77011234567")),
		"residence_address": api.One(api.Parts(map[string]string{"country": "KZ", "city": "Алматы"})),
	}
}

func register(t *testing.T, c *client.Client) api.TokenizeResult {
	t.Helper()
	out, err := c.Tokenize(t.Context(), &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{{Fields: person()}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Results[0].Error.Err(); err != nil {
		t.Fatal(err)
	}
	return out.Results[0]
}

func TestAPersonsWholeLife(t *testing.T) {
	s := start(t, api.MaxDocument)
	crm, other, staff := s.as(t, "crm", access.Application), s.as(t, "other", access.Application), s.as(t, "desk", access.Staff)
	ctx := t.Context()
	made := register(t, crm)
	token := made.Tokens["iin"].Items[0]
	if !made.Created || !strings.HasPrefix(made.Subject, "sub_") || len(token) != 35 {
		t.Fatalf("registered %+v", made)
	}

	read := func(c *client.Client) api.DetokenizeResult {
		t.Helper()
		out, err := c.Detokenize(ctx, &api.DetokenizeRequest{Purpose: "contract", Reason: "client_call", Tokens: []string{token}})
		if err != nil {
			t.Fatal(err)
		}
		return out.Results[0]
	}
	if got := read(crm); got.Value == nil || !got.Value.Equal(api.Text(iin)) {
		t.Errorf("read %+v", got)
	}
	if got := read(other); !errors.Is(got.Error.Err(), fault.NotFound) {
		t.Errorf("another system reads %+v", got)
	}
	if _, err := other.Subject(ctx, made.Subject); !errors.Is(err, fault.NotFound) {
		t.Errorf("another system sees the person: %v", err)
	}
	shown, err := crm.Reveal(ctx, made.Subject, &api.RevealRequest{Purpose: "contract", Reason: "client_call", Fields: []string{"phone", "residence_address"}})
	if err != nil || !shown.Fields["phone"].List || !shown.Fields["phone"].Items[0].Equal(api.Text("+77011234567")) {
		t.Errorf("revealed %+v, %v", shown, err)
	}
	found, err := crm.Search(ctx, &api.SearchRequest{Purpose: "contract", Reason: "client_call", Field: "iin", Value: api.Text(iin)})
	if err != nil || len(found.Results) != 1 || found.Results[0].Subject != made.Subject {
		t.Errorf("found %+v, %v", found, err)
	}

	if _, err := crm.Block(ctx, made.Subject, &api.BlockRequest{Kind: "dispute", Reason: "complaint"}); err != nil {
		t.Fatal(err)
	}
	if got := read(crm); !errors.Is(got.Error.Err(), fault.Blocked) {
		t.Errorf("a blocked person reads %+v", got)
	}
	if _, err := crm.Unblock(ctx, made.Subject, &api.BlockRequest{Kind: "dispute", Reason: "settled"}); err != nil {
		t.Fatal(err)
	}

	era, err := crm.RequestErasure(ctx, &api.ErasureRequest{Subject: made.Subject, Ground: "request", Reason: "person_asked"})
	if err != nil {
		t.Fatal(err)
	}
	if got := read(crm); !errors.Is(got.Error.Err(), fault.Erased) {
		t.Errorf("an erased person reads %+v", got)
	}
	for end := clock.System().Add(10 * time.Second); era.State != api.ErasureErased && clock.System().Before(end); {
		time.Sleep(20 * time.Millisecond)
		if era, err = crm.Erasure(ctx, era.Erasure); err != nil {
			t.Fatal(err)
		}
	}
	if era.State != api.ErasureErased {
		t.Errorf("the erasure is %s", era.State)
	}
	if again := register(t, crm); again.Subject == made.Subject || !again.Created {
		t.Errorf("registered again: %+v", again)
	}

	admin := s.as(t, "admin", access.Administrator)
	page, err := admin.AuditEntries(ctx, api.AuditQuery{Limit: 3})
	if err != nil || len(page.Items) != 3 || page.NextCursor == "" {
		t.Errorf("the log: %+v, %v", page, err)
	}
	if _, err := crm.AuditEntries(ctx, api.AuditQuery{}); !errors.Is(err, fault.Denied) {
		t.Errorf("an application reads the log: %v", err)
	}
	if _, err := staff.Whoami(ctx); err != nil {
		t.Error(err)
	}
	for _, secret := range []string{iin, "Айгүл", token, made.Subject, "+77011234567"} {
		if strings.Contains(s.logged(), secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
}

// scan is a document of size bytes that looks like a PDF and does not compress.
func scan(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	copy(b, "%PDF-1.7\n")
	return b
}

func TestADocumentGoesAndComesBack(t *testing.T) {
	s := start(t, 1<<20)
	c := s.as(t, "crm", access.Application)
	ctx := t.Context()
	subject := register(t, c).Subject
	file := scan(600_000)
	up := client.Upload{Kind: "identity_card", Side: "front", MediaType: "application/pdf", Purpose: "contract", Capture: "digital"}

	ctx = client.WithKey(ctx, "upload-1")
	d, err := c.UploadDocument(ctx, subject, up, bytes.NewReader(file))
	if err != nil || d.Size != int64(len(file)) || d.MediaType != "application/pdf" {
		t.Fatalf("%+v, %v", d, err)
	}
	again, err := c.UploadDocument(ctx, subject, up, bytes.NewReader(file))
	if err != nil || again.Document != d.Document {
		t.Errorf("repeated under the same key: %+v, %v", again, err)
	}
	open, err := c.OpenDocument(ctx, &api.OpenDocumentRequest{Token: d.Token, Purpose: "contract", Reason: "identity_check"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.ReadDocument(ctx, open)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	r.Close()
	if err != nil || !bytes.Equal(got, file) {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
	if _, err := s.as(t, "other", access.Application).ReadDocument(ctx, open); !errors.Is(err, fault.NotFound) {
		t.Errorf("another's handle: %v", err)
	}

	up.MediaType = "image/jpeg"
	if _, err := c.UploadDocument(t.Context(), subject, up, bytes.NewReader(file)); !errors.Is(err, fault.Unsupported) {
		t.Errorf("a file that lies about itself: %v", err)
	}
	up.MediaType = "application/pdf"
	if _, err := c.UploadDocument(t.Context(), subject, up, bytes.NewReader(scan(1_200_000))); !errors.Is(err, fault.TooLarge) {
		t.Errorf("a file above the limit: %v", err)
	}
}

// narrow makes connections that take little at a time, so that a server is held up by who reads slowly.
func narrow() *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return conn, conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	}}
}

func TestABlockCutsADocumentThatIsBeingRead(t *testing.T) {
	s := start(t, api.MaxDocument)
	credential := s.credential(t, "crm", access.Application)
	c := s.with(t, credential)
	subject := register(t, c).Subject
	d, err := c.UploadDocument(t.Context(), subject,
		client.Upload{Kind: "passport", MediaType: "application/pdf", Purpose: "contract", Capture: "digital"}, bytes.NewReader(scan(24<<20)))
	if err != nil {
		t.Fatal(err)
	}
	open, err := c.OpenDocument(t.Context(), &api.OpenDocumentRequest{Token: d.Token, Purpose: "contract", Reason: "identity_check"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.with(t, credential, client.WithTransport(narrow())).ReadDocument(t.Context(), open)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Block(t.Context(), subject, &api.BlockRequest{Kind: "dispute", Reason: "complaint"}); err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, r)
	if err == nil || n+1000 >= d.Size {
		t.Errorf("after the block %d bytes of %d came, %v", n+1000, d.Size, err)
	}
}

func TestOneKeyIsOneEffect(t *testing.T) {
	s := start(t, api.MaxDocument)
	c := s.as(t, "crm", access.Application)
	ctx := client.WithKey(t.Context(), "register-1")
	in := &api.CreateSubjectRequest{Purpose: "registration"}
	first, err := c.CreateSubject(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.CreateSubject(ctx, in)
	if err != nil || second.Subject != first.Subject {
		t.Errorf("%+v, %v, the first was %s", second, err, first.Subject)
	}
	if _, err := c.CreateSubject(ctx, &api.CreateSubjectRequest{Purpose: "contract"}); !errors.Is(err, fault.Unprocessable) {
		t.Errorf("another body: %v", err)
	}
	block := &api.BlockRequest{Kind: "dispute", Reason: "complaint"}
	ctx = client.WithKey(t.Context(), "block-1")
	other, err := c.CreateSubject(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Block(ctx, first.Subject, block); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Block(ctx, other.Subject, block); !errors.Is(err, fault.Unprocessable) {
		t.Errorf("the same body for another person passes for a repetition: %v", err)
	}
}

func TestAnAnswerThatIsLostIsFoundAgain(t *testing.T) {
	s := start(t, api.MaxDocument)
	lossy := &losesFirst{next: &http.Transport{}}
	t.Cleanup(lossy.next.CloseIdleConnections)
	c := s.as(t, "crm", access.Application, client.WithTransport(lossy))
	made, err := c.CreateSubject(t.Context(), &api.CreateSubjectRequest{Purpose: "registration"})
	if err != nil || lossy.sent != 2 {
		t.Fatalf("%v after %d requests", err, lossy.sent)
	}
	if made.Subject != lossy.first {
		t.Errorf("two people were made")
	}
}

// losesFirst delivers every request and loses the first answer.
type losesFirst struct {
	next  *http.Transport
	sent  int
	first string // the subject that the lost answer had
}

func (l *losesFirst) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(r)
	if l.sent++; l.sent > 1 || err != nil {
		return resp, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	_, rest, _ := strings.Cut(string(b), `"subject":"`)
	l.first, _, _ = strings.Cut(rest, `"`)
	return nil, context.DeadlineExceeded
}
