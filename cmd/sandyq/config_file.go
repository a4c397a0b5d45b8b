package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"go.yaml.in/yaml/v4"
)

const maxConfigFile = 1 << 20 // bytes

// readConfig reads a configuration file over the defaults. Relative paths in it are taken from its folder.
func readConfig(path string) (config, error) {
	b, err := readSmall(path, maxConfigFile)
	if errors.Is(err, fs.ErrNotExist) {
		return config{}, hinted(fmt.Errorf("configuration %s: there is no such file", path),
			"write one after deploy/sandyq.example.yaml, or try `sandyq serve --dev`, which needs none")
	}
	if err != nil {
		return config{}, fmt.Errorf("configuration: %w", err)
	}
	c, err := parseConfig(b)
	if err != nil {
		return config{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	c.resolve(filepath.Dir(path))
	return c, nil
}

// readSmall reads a whole file of at most limit bytes.
func readSmall(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return b, nil
}

// parseConfig decodes the one YAML document of a configuration file. An empty file means the defaults.
func parseConfig(b []byte) (config, error) {
	c := defaultConfig()
	loader, err := yaml.NewLoader(bytes.NewReader(b), yaml.WithKnownFields(), yaml.WithUniqueKeys())
	if err != nil {
		return config{}, err
	}
	switch err := loader.Load(&c); {
	case errors.Is(err, io.EOF):
		return c, nil
	case err != nil:
		return config{}, errors.New(unknownKey.ReplaceAllString(err.Error(), "unknown key $1"))
	}
	if err := loader.Load(new(any)); !errors.Is(err, io.EOF) {
		return config{}, errors.New("more than one YAML document")
	}
	return c, nil
}

// unknownKey is how the YAML library reports one: in the words of Go.
var unknownKey = regexp.MustCompile(`field (\S+) not found in type \S+`)

// resolve makes every relative path of the file relative to the file's folder.
func (c *config) resolve(dir string) {
	for _, p := range c.paths() {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}

// paths are the settings that name files and folders.
func (c *config) paths() []*string {
	paths := []*string{
		&c.Home, &c.TLS.CertFile, &c.TLS.KeyFile, &c.TLS.ClientCAFile, &c.Store.Badger.Dir, &c.Store.Postgres.DSNFile, &c.Blobs.File.Dir, &c.Ledger.Path,
		&c.Audit.Anchor.Dir, &c.Audit.Anchor.Webhook.SecretFile, &c.Audit.Anchor.Webhook.CAFile,
	}
	paths = append(paths, c.Blobs.S3.paths()...)
	paths = append(paths, c.Ledger.S3.paths()...)
	paths = append(paths, c.Audit.Anchor.S3.paths()...)
	paths = append(paths, c.tenantConfig.paths()...)
	for i := range c.Tenants {
		paths = append(paths, c.Tenants[i].paths()...)
	}
	return append(paths, c.Auth.paths()...)
}
