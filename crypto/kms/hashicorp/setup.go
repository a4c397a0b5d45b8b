package hashicorp

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/sandyq/sandyq/crypto/kms"
	hashicorpvault "github.com/sandyq/sandyq/deploy/hashicorp-vault"
)

// SetupConfig says what [Setup] makes and with which rights.
type SetupConfig struct {
	Operator        // whose token may make mounts, policies and roles; needed for the set-up only
	Mount    string // as in Config
	Tenant   string // as in Config

	// Serve is where the credentials of the role that serves are written. It also destroys unless Erase is given. The zero
	// Credentials are of who logs in by another method than AppRole: they get a policy and no role.
	Serve Credentials
	// Erase, when given, is where the credentials of a second role are written, which alone destroys.
	Erase *Credentials

	DryRun bool // change nothing, and tell what would be
}

// Credentials are the files of an AppRole's two halves, as in [Auth]. They are made with mode 0600 and never replaced.
type Credentials struct{ RoleIDFile, SecretIDFile string }

// Step is one thing that [Setup] found or did.
type Step struct {
	What string // such as "mount sandyq (kv version 1)"
	Path string // in Vault's API, or of a file
	Done bool   // false when it was there already, as it should be; in a dry run true for what is not
	// Diff is what Done changed, or would: "- " and a line of what was, "+ " and one of what is. It tells no secret.
	Diff []string
}

// Setup makes everything that a provider needs in a Vault server, and reports each step, those before an error too. It may
// be repeated, for another tenant or after an error: it never replaces a key, a sentinel or a credentials file, and stops
// at a mount, a key or a credentials file that is there and is not as it would make it. Policies and roles are brought up
// to date; with Erase given, the role that did everything is deleted. In a dry run it changes nothing and reports what it
// would. Two set-ups of one mount must not run at the same time.
func Setup(ctx context.Context, c SetupConfig) ([]Step, error) {
	s := &setup{config: c}
	if err := s.run(ctx); err != nil {
		return s.steps, fmt.Errorf("hashicorp: set up: %w", err)
	}
	return s.steps, nil
}

type setup struct {
	*administrator
	config SetupConfig
	steps  []Step
}

// run goes in an order in which an interruption leaves nothing that a later run would mistake: roles come last.
func (s *setup) run(ctx context.Context) (err error) {
	if s.administrator, err = s.config.administrate(s.config.Mount, s.config.Tenant); err != nil {
		return err
	}
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

// change takes a step: if what was there is not as it should be, do makes it so, unless the run is dry.
func (s *setup) change(step Step, was, is []string, do func() error) error {
	step.Diff = difference(was, is)
	step.Done = len(step.Diff) > 0
	if step.Done && !s.config.DryRun {
		if err := do(); err != nil {
			return err
		}
	}
	s.steps = append(s.steps, step)
	return nil
}

// read is the administrator's. In a dry run what lies in a mount that is yet to be made is absent.
func (s *setup) read(ctx context.Context, path string, out any) error {
	err := s.administrator.read(ctx, path, out)
	if s.config.DryRun && errors.Is(err, errNoRoute) {
		return errAbsent
	}
	return err
}

func (s *setup) mounts(ctx context.Context) error {
	there, err := s.mounted(ctx, "sys/mounts")
	if err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}
	for _, want := range s.names.mounts() {
		got, found := there[want.path+"/"]
		if found && got.String() != want.String() {
			return fmt.Errorf("mount %s is %s, want %s", want.path, got, want)
		}
		var was []string
		if found {
			was = []string{got.String()}
		}
		step := Step{What: fmt.Sprintf("mount %s (%s)", want.path, want), Path: "sys/mounts/" + want.path}
		err := s.change(step, was, []string{want.String()}, func() error { return s.write(ctx, step.Path, want.mount, nil) })
		if err != nil {
			return fmt.Errorf("make mount %s: %w", want.path, err)
		}
	}
	return nil
}

// sentinel makes the sentinel of a fresh mount. A mount that has keys and no sentinel has lost it, or is not ours.
func (s *setup) sentinel(ctx context.Context) error {
	var answer struct {
		Data sentinelEntry `json:"data"`
	}
	is := []string{"(a random value)"}
	was := is
	err := s.read(ctx, s.names.sentinel(), &answer)
	if errors.Is(err, errAbsent) {
		was, err = nil, s.fresh(ctx)
	}
	if err != nil {
		return fmt.Errorf("read sentinel: %w", err)
	}
	step := Step{What: "sentinel " + s.names.sentinel(), Path: s.names.sentinel()}
	err = s.change(step, was, is, func() error {
		var sentinel kms.Sentinel
		_, _ = rand.Read(sentinel[:]) // never fails (crypto/rand)
		entry := sentinelEntry{entryVersion, hex.EncodeToString(sentinel[:])}
		return errors.Join(s.write(ctx, step.Path, entry, nil), s.read(ctx, step.Path, &answer))
	})
	if err != nil {
		return fmt.Errorf("write sentinel: %w", err)
	}
	if was == nil && s.config.DryRun {
		return nil
	}
	_, err = answer.Data.parse()
	return err
}

// fresh sees that the KV mount is empty.
func (s *setup) fresh(ctx context.Context) error {
	names, err := s.list(ctx, s.names.mount+"/")
	switch {
	case errors.Is(err, errAbsent), s.config.DryRun && errors.Is(err, errNoRoute):
		return nil
	case err != nil:
		return fmt.Errorf("list mount %s: %w", s.names.mount, err)
	case len(names) > 0:
		return fmt.Errorf("mount %s has entries and no sentinel: it is not a fresh one", s.names.mount)
	}
	return nil
}

// generation makes check-and-set obligatory. A fresh KV version 2 refuses everything for a moment.
func (s *setup) generation(ctx context.Context) error {
	path := s.names.generationMount() + "/config"
	var answer generationConfig
	err := s.read(ctx, path, &answer)
	for attempt := 1; err != nil && !errors.Is(err, errAbsent) && attempt < 10; attempt++ {
		if !pause(ctx, backoff(min(attempt, 4))) {
			return ended(ctx)
		}
		err = s.read(ctx, path, &answer)
	}
	if err != nil && !(s.config.DryRun && errors.Is(err, errAbsent)) {
		return fmt.Errorf("read %s: %w", path, err)
	}
	was := []string{fmt.Sprintf("cas_required: %t", answer.Data.Required)}
	step := Step{What: "generations need check-and-set (" + s.names.generationMount() + ")", Path: path}
	err = s.change(step, was, []string{"cas_required: true"}, func() error {
		return s.write(ctx, path, map[string]bool{"cas_required": true}, nil)
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// generationConfig is what KV version 2 says of itself.
type generationConfig struct {
	Data struct {
		Required bool   `json:"cas_required"`
		Expires  string `json:"delete_version_after"`
	} `json:"data"`
}

// approle enables the login method, if a role of it is to be made.
func (s *setup) approle(ctx context.Context) error {
	if s.config.Serve == (Credentials{}) && (s.config.Erase == nil || *s.config.Erase == (Credentials{})) {
		return nil
	}
	there, err := s.mounted(ctx, "sys/auth")
	if err != nil {
		return fmt.Errorf("list login methods: %w", err)
	}
	got, found := there["approle/"]
	if found && got.Type != "approle" {
		return errors.New("login method approle/ is of another type")
	}
	var was []string
	if found {
		was = []string{got.Type}
	}
	step := Step{What: "login method approle", Path: "sys/auth/approle"}
	err = s.change(step, was, []string{"approle"}, func() error {
		err := s.write(ctx, step.Path, mount{Type: "approle"}, nil)
		if errors.Is(err, errRefused) { // somebody else may have enabled it meanwhile
			if there, lost := s.mounted(ctx, "sys/auth"); lost == nil && there["approle/"].Type == "approle" {
				return nil
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("enable AppRole: %w", err)
	}
	return nil
}

// roles makes one identity, or two. Two are apart only once the one is gone.
func (s *setup) roles(ctx context.Context) error {
	if s.config.Erase == nil {
		return s.role(ctx, s.names.identified(hashicorpvault.All), s.config.Serve)
	}
	if err := s.role(ctx, s.names.identified(hashicorpvault.Read), s.config.Serve); err != nil {
		return err
	}
	if err := s.role(ctx, s.names.identified(hashicorpvault.Erase), *s.config.Erase); err != nil {
		return err
	}
	return s.retire(ctx)
}
