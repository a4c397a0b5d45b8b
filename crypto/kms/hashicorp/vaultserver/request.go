package vaultserver

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

// Request sends a request with the root token and returns the answer's status
// and body; see RequestAs.
func (s *Server) Request(t testing.TB, method, path string, body any) (status int, answer []byte) {
	t.Helper()
	return s.RequestAs(t, s.RootToken, method, path, body)
}

// RequestAs sends a request with token. The path is what follows /v1/, such as
// "transit/encrypt/key". A []byte body goes as it is, any other but nil as
// JSON. Every status is returned; no answer at all within 30 seconds fails t.
func (s *Server) RequestAs(t testing.TB, token, method, path string, body any) (status int, answer []byte) {
	t.Helper()
	status, answer, err := s.send(lasting(t), token, method, path, body)
	if err != nil {
		t.Fatal(err)
	}
	return status, answer
}

func (s *Server) send(ctx context.Context, token, method, path string, body any) (status int, answer []byte, err error) {
	content, raw := body.([]byte)
	if !raw && body != nil {
		if content, err = json.Marshal(body); err != nil {
			return 0, nil, fmt.Errorf("%s %s: encode the body: %w", method, path, err)
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, s.Address+"/v1/"+path, bytes.NewReader(content))
	if err != nil {
		return 0, nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if token != "" {
		request.Header.Set("X-Vault-Token", token)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return 0, nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	answer, err = io.ReadAll(response.Body)
	if err != nil {
		return 0, nil, fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	return response.StatusCode, answer, nil
}

// do sends a request with the root token and decodes a successful answer
// into answer, unless that is nil; any other status is an error.
func (s *Server) do(ctx context.Context, method, path string, body, answer any) error {
	status, content, err := s.send(ctx, s.RootToken, method, path, body)
	if err != nil {
		return err
	}
	if status/100 != 2 {
		return fmt.Errorf("%s %s: status %d: %s", method, path, status, bytes.TrimSpace(content))
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(content, answer); err != nil {
		return fmt.Errorf("%s %s: decode the answer: %w", method, path, err)
	}
	return nil
}

// initialise gives an empty server its keys and takes its root token.
func (s *Server) initialise(ctx context.Context) error {
	body := map[string]int{"secret_shares": 1, "secret_threshold": 1}
	var answer struct {
		Keys      []string `json:"keys_base64"`
		RootToken string   `json:"root_token"`
	}
	if err := s.do(ctx, http.MethodPut, "sys/init", body, &answer); err != nil {
		return err
	}
	if len(answer.Keys) != 1 || answer.RootToken == "" {
		return fmt.Errorf("PUT sys/init: %d unseal keys for 1", len(answer.Keys))
	}
	s.unsealKey, s.RootToken = answer.Keys[0], answer.RootToken
	return nil
}

// unseal unseals the server and waits until it is active: over raft it first
// elects itself.
func (s *Server) unseal(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := s.do(ctx, http.MethodPut, "sys/unseal", map[string]string{"key": s.unsealKey}, nil); err != nil {
		return err
	}
	for {
		status, _, err := s.send(ctx, "", http.MethodGet, "sys/health", nil)
		if err != nil {
			return err
		}
		if status == http.StatusOK || s.clustered && status == http.StatusTooManyRequests { // it stands by
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the unsealed server to serve (health %d): %w", status, ctx.Err())
		case <-time.After(pollEvery):
		}
	}
}
