package vaultserver

import (
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"go.uber.org/goleak"
)

type object = map[string]any

// want sends a request as root, fails t unless it answers status, and returns
// the data of the answer.
func want(t *testing.T, s *Server, status int, method, path string, body any) object {
	t.Helper()
	return wantAs(t, s, s.RootToken, status, method, path, body)
}

func wantAs(t *testing.T, s *Server, token string, status int, method, path string, body any) object {
	t.Helper()
	got, content := s.RequestAs(t, token, method, path, body)
	if got != status {
		t.Fatalf("%s %s: status %d, want %d: %s", method, path, got, status, content)
	}
	var answer struct {
		Data object `json:"data"`
		Auth object `json:"auth"`
	}
	if len(content) != 0 {
		if err := json.Unmarshal(content, &answer); err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
	}
	if answer.Auth != nil {
		return answer.Auth
	}
	return answer.Data
}

func wantEntry(t *testing.T, s *Server, path, value string) {
	t.Helper()
	if got := want(t, s, 200, "GET", path, nil)["value"]; got != value {
		t.Fatalf("%s holds %v, want %q", path, got, value)
	}
}

func TestKVv1(t *testing.T) {
	s := Shared(t)
	want(t, s, 204, "POST", "sys/mounts/kv1", object{"type": "kv", "options": object{"version": "1"}})
	want(t, s, 404, "GET", "kv1/a", nil)
	want(t, s, 204, "PUT", "kv1/a", object{"value": "first"})
	wantEntry(t, s, "kv1/a", "first")
	want(t, s, 204, "DELETE", "kv1/a", nil)
	want(t, s, 404, "GET", "kv1/a", nil)
}

// The write-once rule for subject keys: a policy with create and without
// update lets an entry be made and not overwritten.
func TestCreateWithoutUpdateRefusesOverwriting(t *testing.T) {
	s := Shared(t)
	want(t, s, 204, "POST", "sys/mounts/once", object{"type": "kv", "options": object{"version": "1"}})
	want(t, s, 204, "PUT", "sys/policies/acl/once", object{"policy": `path "once/*" { capabilities = ["create", "read"] }`})
	token := want(t, s, 200, "POST", "auth/token/create", object{"policies": []string{"once"}})["client_token"].(string)

	wantAs(t, s, token, 204, "PUT", "once/a", object{"value": "first"})
	wantAs(t, s, token, 403, "PUT", "once/a", object{"value": "second"})
	wantAs(t, s, token, 403, "DELETE", "once/a", nil)
	wantEntry(t, s, "once/a", "first")
	want(t, s, 204, "DELETE", "once/a", nil)
	wantAs(t, s, token, 204, "PUT", "once/a", object{"value": "third"})
}

func TestTransit(t *testing.T) {
	s := Shared(t)
	want(t, s, 204, "POST", "sys/mounts/transit", object{"type": "transit"})
	for name, kind := range map[string]string{"wrap": "aes256-gcm96", "index": "hmac", "sign": "ed25519"} {
		parameters := object{"type": kind}
		if kind == "hmac" {
			parameters["key_size"] = 32
		}
		want(t, s, 200, "POST", "transit/keys/"+name, parameters)
	}

	t.Run("a batch decrypts to what was encrypted", func(t *testing.T) {
		plain := []string{encode("one"), encode("two")}
		sealed := want(t, s, 200, "POST", "transit/encrypt/wrap", object{"batch_input": []object{
			{"plaintext": plain[0], "associated_data": encode("1")},
			{"plaintext": plain[1], "associated_data": encode("2")},
		}})["batch_results"].([]any)
		var input []object
		for i, result := range sealed {
			input = append(input, object{
				"ciphertext":      result.(object)["ciphertext"],
				"associated_data": encode(string(rune('1' + i))),
			})
		}
		opened := want(t, s, 200, "POST", "transit/decrypt/wrap", object{"batch_input": input})["batch_results"].([]any)
		for i, result := range opened {
			if got := result.(object)["plaintext"]; got != plain[i] {
				t.Errorf("item %d opened to %v, want %q", i, got, plain[i])
			}
		}
		if len(opened) != len(plain) {
			t.Errorf("%d results for %d items", len(opened), len(plain))
		}
	})

	t.Run("an HMAC depends on its input alone", func(t *testing.T) {
		mac := func(input string) string {
			return want(t, s, 200, "POST", "transit/hmac/index/sha2-256", object{"input": encode(input)})["hmac"].(string)
		}
		if one, again, two := mac("one"), mac("one"), mac("two"); one != again || one == two {
			t.Error("equal inputs gave different codes or different inputs gave equal ones")
		}
	})

	t.Run("an Ed25519 signature verifies, over its own message only", func(t *testing.T) {
		signature := want(t, s, 200, "POST", "transit/sign/sign", object{"input": encode("one")})["signature"]
		for input, valid := range map[string]bool{"one": true, "two": false} {
			answer := want(t, s, 200, "POST", "transit/verify/sign", object{"input": encode(input), "signature": signature})
			if answer["valid"] != valid {
				t.Errorf("over %q: valid = %v, want %v", input, answer["valid"], valid)
			}
		}
	})
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestAppRole(t *testing.T) {
	s := Shared(t)
	want(t, s, 204, "POST", "sys/auth/approle", object{"type": "approle"})
	want(t, s, 204, "POST", "auth/approle/role/app", object{"token_policies": "default"})
	role := want(t, s, 200, "GET", "auth/approle/role/app/role-id", nil)["role_id"]
	secret := want(t, s, 200, "POST", "auth/approle/role/app/secret-id", nil)["secret_id"]

	wantAs(t, s, "", 400, "POST", "auth/approle/login", object{"role_id": role, "secret_id": "wrong"})
	token := wantAs(t, s, "", 200, "POST", "auth/approle/login", object{"role_id": role, "secret_id": secret})["client_token"].(string)
	wantAs(t, s, token, 200, "GET", "auth/token/lookup-self", nil)
}

func TestFileAuditDevice(t *testing.T) {
	if filepath.Base(mustFind(t)) == "bao" {
		t.Skip("OpenBao takes audit devices from its configuration only")
	}
	s := Start(t)
	path := filepath.Join(t.TempDir(), "audit.log")
	want(t, s, 204, "PUT", "sys/audit/file", object{"type": "file", "options": object{"file_path": path}})
	want(t, s, 200, "GET", "auth/token/lookup-self", nil)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(content), "auth/token/lookup-self") {
		t.Error("the audit log does not name the request")
	}
}

func mustFind(t *testing.T) string {
	t.Helper()
	path, err := Find()
	if err != nil {
		stopTest(t, err)
	}
	return path
}

// Every way down and up again keeps the data, over each durable storage.
func TestDataSurvives(t *testing.T) {
	for name, options := range map[string][]Option{"file": nil, "raft": {Raft()}} {
		t.Run(name, func(t *testing.T) {
			s := Start(t, options...)
			address := s.Address
			want(t, s, 204, "POST", "sys/mounts/kv1", object{"type": "kv"})

			want(t, s, 204, "PUT", "kv1/a", object{"value": "before the seal"})
			s.Seal(t)
			want(t, s, 503, "GET", "kv1/a", nil)
			s.Unseal(t)
			wantEntry(t, s, "kv1/a", "before the seal")

			want(t, s, 204, "PUT", "kv1/a", object{"value": "before the kill"})
			s.Kill(t)
			if _, _, err := s.send(t.Context(), s.RootToken, "GET", "kv1/a", nil); err == nil {
				t.Fatal("a killed server answered")
			}
			s.Restart(t)
			wantEntry(t, s, "kv1/a", "before the kill")

			want(t, s, 204, "PUT", "kv1/a", object{"value": "before the stop"})
			s.Stop(t)
			s.Restart(t)
			wantEntry(t, s, "kv1/a", "before the stop")
			s.Restart(t)
			wantEntry(t, s, "kv1/a", "before the stop")
			if s.Address != address {
				t.Errorf("the server moved from %s to %s", address, s.Address)
			}
		})
	}
}

// A raft snapshot takes the data back to when it was made.
func TestRaftSnapshot(t *testing.T) {
	s := Start(t, Raft())
	want(t, s, 204, "POST", "sys/mounts/kv1", object{"type": "kv"})
	want(t, s, 204, "PUT", "kv1/a", object{"value": "first"})
	status, snapshot := s.Request(t, "GET", "sys/storage/raft/snapshot", nil)
	if status != 200 {
		t.Fatalf("take a snapshot: status %d: %s", status, snapshot)
	}
	want(t, s, 204, "PUT", "kv1/a", object{"value": "second"})
	want(t, s, 204, "POST", "sys/storage/raft/snapshot", snapshot)
	deadline := time.After(startLimit)
	for {
		if status, content := s.Request(t, "GET", "kv1/a", nil); status == 200 && strings.Contains(string(content), "first") {
			return
		}
		select {
		case <-deadline:
			t.Fatal("the entry did not go back to what it was at the snapshot")
		case <-time.After(pollEvery):
		}
	}
}

func TestPausedServerAnswersAfterResume(t *testing.T) {
	s := Start(t)
	t.Cleanup(func() { want(t, s, 200, "GET", "sys/health", nil) }) // a cleanup may still use it
	s.Pause(t)
	answered := make(chan int)
	go func() {
		status, _, err := s.send(t.Context(), "", http.MethodGet, "sys/health", nil)
		if err != nil {
			t.Error(err)
		}
		answered <- status
	}()
	select {
	case status := <-answered:
		t.Errorf("a paused server answered %d", status)
		s.Resume(t)
		return
	case <-time.After(300 * time.Millisecond):
	}
	s.Resume(t)
	if status := <-answered; status != http.StatusOK {
		t.Errorf("status %d after the pause, want 200", status)
	}
	s.Pause(t)
	s.Pause(t)
	s.Restart(t) // a paused server stops too
}

func TestNothingIsLeftBehind(t *testing.T) {
	before := goleak.IgnoreCurrent()
	var home string
	t.Run("one server", func(t *testing.T) {
		s := Start(t)
		home = s.home
	})
	if home == "" {
		t.Skip("no server")
	}
	goleak.VerifyNone(t, before)
	if _, err := os.Stat(home); !os.IsNotExist(err) {
		t.Errorf("the server's directory is still there (%v)", err)
	}
}
