package hashicorp

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/hashicorp/vault/api"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/secret"
	hashicorpvault "github.com/sandyq/sandyq/deploy/hashicorp-vault"
)

// SetupConfig says what [Setup] makes and with which rights.
type SetupConfig struct {
	Address   string        // as in Config
	CAFile    string        // as in Config
	Namespace string        // as in Config
	Mount     string        // as in Config
	Tenant    string        // as in Config
	Token     secret.String // may make mounts, policies and roles; needed for the set-up only

	// Serve is where the credentials of the role that serves are written. It also destroys unless Erase is given.
	Serve Credentials
	// Erase, when given, is where the credentials of a second role are written, which alone destroys.
	Erase *Credentials
}

// Credentials are the files of an AppRole's two halves, as in [Auth]. They are made with mode 0600 and never replaced.
type Credentials struct{ RoleIDFile, SecretIDFile string }

// Step is one thing that [Setup] found or did.
type Step struct {
	What string // such as "mount sandyq (kv version 1)"
	Done bool   // false when it was there already, as it should be
}

// Setup makes everything that a provider needs in a Vault server, and reports each step, those before an error too. It may
// be repeated, for another tenant or after an error: it never replaces a key, a sentinel or a credentials file, and stops
// at a mount, a key or a credentials file that is there and is not as it would make it. Policies and roles are brought up
// to date; with Erase given, the role that did everything is deleted. Two set-ups of one mount must not run at the same
// time.
func Setup(ctx context.Context, c SetupConfig) ([]Step, error) {
	s, err := newSetup(c)
	if err == nil {
		err = s.run(ctx)
	}
	if err != nil {
		return s.steps, fmt.Errorf("hashicorp: set up: %w", err)
	}
	return s.steps, nil
}

type setup struct {
	config SetupConfig
	names  names
	client *api.Client
	idle   func() // closes idle connections
	steps  []Step
}

func newSetup(sc SetupConfig) (*setup, error) {
	s := &setup{config: sc, idle: func() {}}
	c, err := Config{
		Address: sc.Address, CAFile: sc.CAFile, Namespace: sc.Namespace, Mount: sc.Mount, Tenant: sc.Tenant,
		Auth: Auth{Method: "token"},
	}.complete()
	if err != nil {
		return s, err
	}
	if sc.Token.Expose() == "" {
		return s, errors.New("there is no token")
	}
	s.names = names{c.Mount, c.Tenant}
	transport, err := newTransport(c)
	if err != nil {
		return s, err
	}
	s.idle = transport.CloseIdleConnections
	s.client, err = newClient(c, transport, sc.Token.Expose())
	return s, err
}

// run goes in an order in which an interruption leaves nothing that a later run would mistake: roles come last.
func (s *setup) run(ctx context.Context) error {
	defer s.idle()
	for _, step := range []func(context.Context) error{
		s.mounts, s.transit, s.sentinel, s.generation, s.approle, s.roles,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *setup) note(done bool, format string, args ...any) {
	s.steps = append(s.steps, Step{fmt.Sprintf(format, args...), done})
}

func (s *setup) read(ctx context.Context, path string, out any) error {
	_, err := send(ctx, s.client, request{method: http.MethodGet, path: path}, nil, out)
	return err
}

// list reads the names in a folder.
func (s *setup) list(ctx context.Context, path string) ([]string, error) {
	var answer struct {
		Data struct {
			Keys []string `json:"keys"`
		} `json:"data"`
	}
	response, err := s.client.Logical().ReadRawWithDataWithContext(ctx, path, map[string][]string{"list": {"true"}})
	if response != nil {
		defer func() { _ = response.Body.Close() }() // it was only read
	}
	if err != nil {
		return nil, classify(err)
	}
	err = decode(response.Body, &answer)
	return answer.Data.Keys, err
}

func (s *setup) write(ctx context.Context, path string, body, out any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	_, err = send(ctx, s.client, request{method: http.MethodPut, path: path}, b, out)
	return err
}

// mount is what sys/mounts says of one.
type mount struct {
	Type    string            `json:"type"`
	Options map[string]string `json:"options"`
}

func (m mount) String() string {
	if v := m.Options["version"]; v != "" {
		return m.Type + " version " + v
	}
	return m.Type
}

func (s *setup) mounts(ctx context.Context) error {
	var there struct {
		Data map[string]mount `json:"data"`
	}
	if err := s.read(ctx, "sys/mounts", &there); err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}
	for _, want := range []struct {
		path string
		mount
	}{
		{s.names.mount, mount{"kv", map[string]string{"version": "1"}}},
		{s.names.transitMount(), mount{"transit", nil}},
		{s.names.generationMount(), mount{"kv", map[string]string{"version": "2"}}},
	} {
		got, found := there.Data[want.path+"/"]
		if found && got.String() != want.String() {
			return fmt.Errorf("mount %s is %s, want %s", want.path, got, want)
		}
		if !found {
			if err := s.write(ctx, "sys/mounts/"+want.path, want.mount, nil); err != nil {
				return fmt.Errorf("make mount %s: %w", want.path, err)
			}
		}
		s.note(!found, "mount %s (%s)", want.path, want)
	}
	return nil
}

// sentinel makes the sentinel of a fresh mount. A mount that has keys and no sentinel has lost it, or is not ours.
func (s *setup) sentinel(ctx context.Context) error {
	var answer struct {
		Data sentinelEntry `json:"data"`
	}
	err := s.read(ctx, s.names.sentinel(), &answer)
	made := errors.Is(err, errAbsent)
	if made {
		if names, err := s.list(ctx, s.names.mount+"/"); err == nil && len(names) > 0 {
			return fmt.Errorf("mount %s has entries and no sentinel: it is not a fresh one", s.names.mount)
		} else if err != nil && !errors.Is(err, errAbsent) {
			return fmt.Errorf("list mount %s: %w", s.names.mount, err)
		}
		var fresh kms.Sentinel
		_, _ = rand.Read(fresh[:]) // never fails (crypto/rand)
		if err := s.write(ctx, s.names.sentinel(), sentinelEntry{entryVersion, hex.EncodeToString(fresh[:])}, nil); err != nil {
			return fmt.Errorf("write sentinel: %w", err)
		}
		err = s.read(ctx, s.names.sentinel(), &answer)
	}
	if err != nil {
		return fmt.Errorf("read sentinel: %w", err)
	}
	if _, err := answer.Data.parse(); err != nil {
		return err
	}
	s.note(made, "sentinel %s", s.names.sentinel())
	return nil
}

// generation makes check-and-set obligatory. A fresh KV version 2 refuses everything for a moment.
func (s *setup) generation(ctx context.Context) error {
	path := s.names.generationMount() + "/config"
	var answer struct {
		Data struct {
			Required bool `json:"cas_required"`
		} `json:"data"`
	}
	err := s.read(ctx, path, &answer)
	for attempt := 1; err != nil && !errors.Is(err, errAbsent) && attempt < 10; attempt++ {
		if !pause(ctx, backoff(min(attempt, 4))) {
			return ended(ctx)
		}
		err = s.read(ctx, path, &answer)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if !answer.Data.Required {
		if err := s.write(ctx, path, map[string]bool{"cas_required": true}, nil); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	s.note(!answer.Data.Required, "generations need check-and-set (%s)", s.names.generationMount())
	return nil
}

// approle enables the login method.
func (s *setup) approle(ctx context.Context) error {
	var there struct {
		Data map[string]mount `json:"data"`
	}
	if err := s.read(ctx, "sys/auth", &there); err != nil {
		return fmt.Errorf("list login methods: %w", err)
	}
	got, found := there.Data["approle/"]
	if found && got.Type != "approle" {
		return errors.New("login method approle/ is of another type")
	}
	if !found {
		if err := s.write(ctx, "sys/auth/approle", mount{Type: "approle"}, nil); err != nil {
			return fmt.Errorf("enable AppRole: %w", err)
		}
	}
	s.note(!found, "login method approle")
	return nil
}

// roles makes one identity, or two. Two are apart only once the one is gone.
func (s *setup) roles(ctx context.Context) error {
	if s.config.Erase == nil {
		return s.role(ctx, hashicorpvault.All, "", s.config.Serve)
	}
	if err := s.role(ctx, hashicorpvault.Read, "-read", s.config.Serve); err != nil {
		return err
	}
	if err := s.role(ctx, hashicorpvault.Erase, "-erase", *s.config.Erase); err != nil {
		return err
	}
	return s.retire(ctx)
}
