package hashicorp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/hashicorp/vault/api"

	"github.com/sandyq/sandyq/crypto/kms"
)

// tokenAnswer is what Vault answers to a login and to a renewal.
type tokenAnswer struct {
	Auth struct {
		Token     string `json:"client_token"`
		Seconds   int    `json:"lease_duration"`
		Renewable bool   `json:"renewable"`
	} `json:"auth"`
}

func (a tokenAnswer) lease(client *api.Client) lease {
	return lease{client, time.Duration(a.Auth.Seconds) * time.Second, a.Auth.Renewable}
}

// identity is whom a connection logs in.
type identity struct {
	Auth
	spares bool // another identity destroys, and this one may not
}

// login logs an identity in and refuses one that Vault would let do more than it should.
func login(ctx context.Context, c Config, a identity, n names, transport *http.Transport) (lease, error) {
	within := loginAppRole
	if a.Method == "token" {
		within = loginToken
	}
	l, err := within(ctx, c, a.Auth, transport)
	if err != nil {
		return lease{}, fmt.Errorf("log in: %w", err)
	}
	if err := checkRights(ctx, l.client, n, a.spares); err != nil {
		return lease{}, fmt.Errorf("log in: %w", err)
	}
	return l, nil
}

func loginAppRole(ctx context.Context, c Config, a Auth, transport *http.Transport) (lease, error) {
	role, err := readLine(a.RoleIDFile)
	if err != nil {
		return lease{}, fmt.Errorf("role_id_file: %w", err)
	}
	secretID, err := readLine(a.SecretIDFile)
	if err != nil {
		return lease{}, fmt.Errorf("secret_id_file: %w", err)
	}
	body, err := json.Marshal(map[string]string{"role_id": role, "secret_id": secretID})
	if err != nil {
		return lease{}, errors.New("role_id_file or secret_id_file is not text")
	}
	nobody, err := newClient(c, transport, "")
	if err != nil {
		return lease{}, err
	}
	var answer tokenAnswer
	path := "auth/" + a.Mount + "/login"
	if _, err := send(ctx, nobody, request{method: http.MethodPut, path: path}, body, &answer); err != nil {
		return lease{}, err
	}
	client, err := newClient(c, transport, answer.Auth.Token)
	return answer.lease(client), err
}

func loginToken(ctx context.Context, c Config, a Auth, transport *http.Transport) (lease, error) {
	token := os.Getenv("VAULT_TOKEN")
	if a.TokenFile != "" {
		var err error
		if token, err = readLine(a.TokenFile); err != nil {
			return lease{}, fmt.Errorf("token_file: %w", err)
		}
	}
	if token == "" {
		return lease{}, errors.New("there is neither a token_file nor VAULT_TOKEN")
	}
	client, err := newClient(c, transport, token)
	if err != nil {
		return lease{}, err
	}
	var answer struct {
		Data struct {
			Seconds   int  `json:"ttl"`
			Renewable bool `json:"renewable"`
		} `json:"data"`
	}
	if _, err := send(ctx, client, request{method: http.MethodGet, path: "auth/token/lookup-self"}, nil, &answer); err != nil {
		return lease{}, err
	}
	return lease{client, time.Duration(answer.Data.Seconds) * time.Second, answer.Data.Renewable}, nil
}

// readLine reads a file of one line. The error names the file and not what is in it.
func readLine(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	line := strings.TrimSpace(string(b))
	if line == "" || strings.ContainsAny(line, "\r\n") || len(line) > 4096 {
		return "", errors.New("the file does not hold one line")
	}
	return line, nil
}

// checkRights asks Vault what the token may do to a key's entry. Write-once rests on the denial of update, and a token
// that may do everything would overwrite in silence; where another identity destroys, this one's right to is a mistake.
func checkRights(ctx context.Context, client *api.Client, n names, spares bool) error {
	path := n.key(kms.NewID())
	body, err := json.Marshal(map[string][]string{"paths": {path}})
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	var answer struct {
		Data struct {
			Capabilities []string `json:"capabilities"`
		} `json:"data"`
	}
	ask := request{method: http.MethodPut, path: "sys/capabilities-self"}
	if _, err := send(ctx, client, ask, body, &answer); err != nil {
		return fmt.Errorf("ask for the token's capabilities: %w", err)
	}
	for _, forbidden := range []string{"root", "sudo", "update", "patch"} {
		if slices.Contains(answer.Data.Capabilities, forbidden) {
			return fmt.Errorf("the token may overwrite keys (capability %s on %s/keys/+); use the policies of sandyq keys setup",
				forbidden, n.mount)
		}
	}
	if spares && slices.Contains(answer.Data.Capabilities, "delete") {
		return fmt.Errorf("the token may destroy keys, which is for erase_auth alone (capability delete on %s/keys/+); "+
			"use the credentials of sandyq keys setup --separate-erase", n.mount)
	}
	return nil
}
