package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v4"

	"github.com/sandyq/sandyq/access/cedar"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/consent"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/purpose"
	"github.com/sandyq/sandyq/vault/schema"
)

// wish is a configuration object as a folder has it.
type wish struct {
	kind, name string
	object     any // of the API
	get        func(context.Context, *client.Client) (any, error)
	put        func(ctx context.Context, c *client.Client, version int) (*api.Change, error) // in place of that version; 0: of any
}

// readFolder reads and checks the files of a folder, as far as they can be checked without the vault, and gives the objects in the
// order in which they are put.
func readFolder(dir string) ([]wish, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, usagef("%s is no folder", dir)
	}
	var all []wish
	for _, read := range []func(string) ([]wish, error){readPurposes, readRecipients, readSystems, readTexts, readPolicies} {
		some, err := read(dir)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	if len(all) == 0 {
		return nil, usagef("%s holds nothing to apply: see sandyq apply --help", dir)
	}
	return all, nil
}

// found is what the vault has of an object; nil for none.
func found[T any](object *T, err error) (any, error) {
	switch {
	case errors.Is(err, fault.NotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return object, nil
}

// filesOf lists the *.yaml of a part of the folder; none when there is no such part.
func filesOf(dir, part string) (files []string, err error) {
	entries, err := os.ReadDir(filepath.Join(dir, part))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list %s: %w", part, err)
	}
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) == ".yaml" {
			files = append(files, filepath.Join(dir, part, entry.Name()))
		}
	}
	return files, nil
}

func readPurposes(dir string) ([]wish, error) {
	files, err := filesOf(dir, "purposes")
	if err != nil || len(files) == 0 {
		return nil, err
	}
	registry, err := purpose.ReadDir(os.DirFS(filepath.Join(dir, "purposes")))
	if err != nil {
		return nil, fmt.Errorf("purposes: %w", err)
	}
	all := registry.All()
	// What others name as incompatible is put before them, mostly; see plan.carryOut for the rest.
	slices.SortStableFunc(all, func(a, b *purpose.Purpose) int { return len(a.IncompatibleWith) - len(b.IncompatibleWith) })
	var wishes []wish
	for _, p := range all {
		object := vault.PurposeWire(p)
		object.ManagedBy = ""
		if object.Fields == nil {
			object.Fields = []string{}
		}
		wishes = append(wishes, wish{
			kind: "purpose", name: p.Name, object: &object,
			get: func(ctx context.Context, c *client.Client) (any, error) { return found(c.Purpose(ctx, p.Name)) },
			put: func(ctx context.Context, c *client.Client, version int) (*api.Change, error) {
				object.Version = version
				return c.PutPurpose(ctx, p.Name, &object)
			},
		})
	}
	return wishes, nil
}

// readObjects reads the files of a part, each of which holds one object.
func readObjects[T any](dir, part string, nameOf func(*T) string) (map[string]*T, []string, error) {
	files, err := filesOf(dir, part)
	if err != nil {
		return nil, nil, err
	}
	objects, names := map[string]*T{}, []string{}
	for _, file := range files {
		b, err := readSmall(file, maxRulesFile)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", part, err)
		}
		object := new(T)
		if err := yaml.Load(b, object, yaml.WithKnownFields(), yaml.WithUniqueKeys()); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", file, err)
		}
		name := nameOf(object)
		if name == "" || objects[name] != nil {
			return nil, nil, fmt.Errorf("%s: a name of its own is needed", file)
		}
		objects[name], names = object, append(names, name)
	}
	return objects, names, nil
}

func readRecipients(dir string) ([]wish, error) {
	objects, names, err := readObjects(dir, "recipients", func(r *api.Recipient) string { return r.Name })
	if err != nil {
		return nil, err
	}
	var wishes []wish
	for _, name := range names {
		object := objects[name]
		if !purpose.IsName(name) || !schema.IsCountry(object.Country) || len(object.Purposes) == 0 {
			return nil, fmt.Errorf("recipients: %q: a name of small letters, digits and underscores, a country as ISO 3166-1 alpha-2, and purposes are needed", name)
		}
		wishes = append(wishes, wish{
			kind: "recipient", name: name, object: object,
			get: func(ctx context.Context, c *client.Client) (any, error) { return found(c.Recipient(ctx, name)) },
			put: func(ctx context.Context, c *client.Client, version int) (*api.Change, error) {
				object.Version = version
				return c.PutRecipient(ctx, name, object)
			},
		})
	}
	return wishes, nil
}

func readSystems(dir string) ([]wish, error) {
	objects, names, err := readObjects(dir, "systems", func(s *api.System) string { return s.Name })
	if err != nil {
		return nil, err
	}
	var wishes []wish
	for _, name := range names {
		object := objects[name]
		if object.Purposes == nil {
			object.Purposes = []string{}
		}
		wishes = append(wishes, wish{
			kind: "system", name: name, object: object,
			get: func(ctx context.Context, c *client.Client) (any, error) { return found(c.System(ctx, name)) },
			put: func(ctx context.Context, c *client.Client, version int) (*api.Change, error) {
				object.Version = version
				return c.PutSystem(ctx, name, object)
			},
		})
	}
	return wishes, nil
}

func readTexts(dir string) ([]wish, error) {
	files, err := filesOf(dir, "consents")
	if err != nil {
		return nil, err
	}
	var wishes []wish
	for _, file := range files {
		b, err := readSmall(file, maxRulesFile)
		if err != nil {
			return nil, fmt.Errorf("consents: %w", err)
		}
		texts, err := consent.Parse(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, text := range texts {
			object := &api.ConsentTextRequest{Text: api.Languages(text.Body), EffectiveFrom: text.Effective, Purposes: text.Purposes}
			wishes = append(wishes, wish{
				kind: "consent_text", name: text.Version, object: object,
				get: func(ctx context.Context, c *client.Client) (any, error) {
					has, err := c.ConsentText(ctx, text.Version)
					if err != nil {
						return found(has, err)
					}
					return &api.ConsentTextRequest{Text: *has.Text, EffectiveFrom: has.EffectiveFrom, Purposes: has.Purposes}, nil
				},
				put: func(ctx context.Context, c *client.Client, _ int) (*api.Change, error) {
					return c.PutConsentText(ctx, text.Version, object)
				},
			})
		}
	}
	return wishes, nil
}

// readPolicies reads the whole set. It is compiled with the built-in schema: the vault compiles it with its own.
func readPolicies(dir string) ([]wish, error) {
	files, err := cedar.ReadFolder(filepath.Join(dir, "policies"))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(files) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("policies: %w", err)
	}
	if _, err := cedar.Compile(files, cedar.Options{Category: schema.Default().CategoryOf, Now: clock.System}); err != nil {
		return nil, fmt.Errorf("policies: %w", err)
	}
	object := &api.Policies{Files: map[string]string{}}
	for name, text := range files {
		object.Files[name] = string(text)
	}
	return []wish{{
		kind: "policies", name: "policies", object: object,
		get: func(ctx context.Context, c *client.Client) (any, error) {
			has, err := c.Policies(ctx)
			if err == nil && len(has.Files) == 0 {
				return nil, nil
			}
			return found(has, err)
		},
		put: func(ctx context.Context, c *client.Client, version int) (*api.Change, error) {
			object.Version = version
			return c.PutPolicies(ctx, object)
		},
	}}, nil
}
