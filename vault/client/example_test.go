package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
	"github.com/sandyq/sandyq/vault/fault"
)

// answers is what the server of the examples says.
var answers = map[string]string{
	"POST /v1/tokenize": `{"results":[{"subject":"sub_1","created":true,"tokens":{"iin":"sdq_1"}},
		{"created":false,"error":{"code":"invalid","errors":[{"field":"iin","rule":"12 digits"}]}}]}`,
	"POST /v1/detokenize": `{"results":[{"token":"sdq_1","field":"iin","value":"850312113646"},{"token":"sdq_2","error":{"code":"erased"}}]}`,
	"POST /v1/subjects/sub_1/documents": `{"document":"doc_1","token":"sdq_3","kind":"identity_card","media_type":"application/pdf",
		"size":12,"sha256":"07b72754ff4e489bd2ef1a9105964ccd0b1648fcb01f96c0518f21f2850f9ba9","part":1}`,
	"POST /v1/documents/open": `{"content":"/v1/content/con_1","expires_at":"2026-11-22T09:32:00Z","document":"doc_1","part":1,"parts":1,
		"media_type":"text/plain","size":4,"sha256":"59ad1b2fc74287ded1bba7af67765d23ad4a49f1ae51902cc2ed3f8ebee96cfa"}`,
	"GET /v1/content/con_1":  "scan",
	"POST /v1/erasures":      `{"erasure":"era_1","state":"erasing","approvals_needed":0,"kept":[]}`,
	"GET /v1/erasures/era_1": `{"erasure":"era_1","state":"erased","approvals_needed":0,"kept":[]}`,
}

// connect makes the client of the examples.
func connect() (c *client.Client, stop func()) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, answers[r.Method+" "+r.URL.Path])
	}))
	c, err := client.New(server.URL, "sst_example")
	if err != nil {
		log.Fatal(err)
	}
	return c, func() { c.Close(); server.Close() }
}

func ExampleNew() {
	token, err := os.ReadFile("/run/secrets/sandyq.token")
	if err != nil {
		token = []byte("sst_example")
	}
	vault, err := client.New("https://vault.example:7440", strings.TrimSpace(string(token)))
	if err != nil {
		log.Fatal(err)
	}
	defer vault.Close()
	fmt.Println(vault)
	// Output: client(https://vault.example:7440)
}

func ExampleClient_Tokenize() {
	vault, stop := connect()
	defer stop()
	out, err := vault.Tokenize(context.Background(), &api.TokenizeRequest{
		Purpose: "registration",
		Items: []api.TokenizeItem{
			{ExternalRef: "client/4711", Fields: map[string]api.OneOrMany[api.Value]{
				"iin":   api.One(api.Text("850312113646")),
				"phone": api.Many(api.Text("+77011234567"), api.Text("87017654321")),
			}},
			{ExternalRef: "client/4712", Fields: map[string]api.OneOrMany[api.Value]{"iin": api.One(api.Text("1"))}},
		},
	})
	if err != nil {
		log.Fatal(err) // the whole batch
	}
	for _, result := range out.Results {
		if err := result.Error.Err(); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(result.Subject, result.Tokens["iin"].Items[0])
	}
	// Output:
	// sub_1 sdq_1
	// invalid [iin: 12 digits]
}

func ExampleClient_Detokenize() {
	vault, stop := connect()
	defer stop()
	out, err := vault.Detokenize(context.Background(), &api.DetokenizeRequest{
		Purpose: "contract", Reason: "contract_signing", OnBehalfOf: &api.Actor{Actor: "e-1042"}, Tokens: []string{"sdq_1", "sdq_2"},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, result := range out.Results {
		switch err := result.Error.Err(); {
		case errors.Is(err, fault.Erased):
			fmt.Println(result.Token, "is of somebody who was erased")
		case err != nil:
			fmt.Println(result.Token, err)
		default:
			iin, _ := result.Value.Text()
			fmt.Println(result.Token, result.Value, len(iin))
		}
	}
	// Output:
	// sdq_1 [redacted] 12
	// sdq_2 is of somebody who was erased
}

func ExampleClient_UploadDocument() {
	vault, stop := connect()
	defer stop()
	file := strings.NewReader("%PDF-1.7\n…")
	document, err := vault.UploadDocument(context.Background(), "sub_1", client.Upload{
		Kind: "identity_card", Side: "front", MediaType: "application/pdf", Purpose: "contract", Capture: "photographed",
	}, file)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(document.Document, document.Token)
	// Output: doc_1 sdq_3
}

func ExampleClient_ReadDocument() {
	vault, stop := connect()
	defer stop()
	ctx := context.Background()
	open, err := vault.OpenDocument(ctx, &api.OpenDocumentRequest{Token: "sdq_3", Purpose: "contract", Reason: "identity_check"})
	if err != nil {
		log.Fatal(err)
	}
	document, err := vault.ReadDocument(ctx, open)
	if err != nil {
		log.Fatal(err)
	}
	defer document.Close()
	if _, err := io.Copy(os.Stdout, document); err != nil {
		log.Fatal(err) // cut, or not what was stored: what came must not be used
	}
	// Output: scan
}

func ExampleClient_RequestErasure() {
	vault, stop := connect()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	erasure, err := vault.RequestErasure(client.WithKey(ctx, "erase-client-4711"), &api.ErasureRequest{
		Subject: "sub_1", Ground: "request", Reason: "person_asked",
	})
	if errors.Is(err, fault.Held) {
		return // a hold forbids it
	}
	for err == nil && erasure.State != api.ErasureErased {
		time.Sleep(10 * time.Millisecond) // from erasing on nothing can be read; the rest is clearing away
		erasure, err = vault.Erasure(ctx, erasure.Erasure)
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(erasure.State)
	// Output: erased
}
