package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/sandyq/sandyq/metrics"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/badgerdb"
	"github.com/sandyq/sandyq/vault/store/postgres"
)

// The store engines of this version.
const (
	engineBadger   = "badger"
	enginePostgres = "postgres"
)

// engine is what a node needs of a store beside its rows.
type engine interface {
	store.Store
	// Place tells where the store lies: another place for every copy.
	Place() (string, error)
	// Failed is closed when the store has stopped for good; Err then says why.
	Failed() <-chan struct{}
	Err() error
}

// openEngine opens the store that the configuration names.
func openEngine(ctx context.Context, c config, log *slog.Logger, reg *metrics.Registry) (engine, error) {
	if c.Store.Engine == enginePostgres {
		s, err := openPostgres(ctx, c, log, reg, !c.Store.Postgres.Migrate)
		if err != nil {
			return nil, err // and not a nil *postgres.Store, which is an engine
		}
		return s, nil
	}
	s, err := badgerdb.Open(badgerdb.Options{Dir: c.storeDir(), Logger: log, Observer: reg})
	if err == nil {
		return s, nil
	}
	err = fmt.Errorf("open the store: %w", err)
	if errors.Is(err, badgerdb.ErrInUse) {
		return nil, hinted(err, "stop the server that runs on it, or the other command, first")
	}
	return nil, hinted(err, "see docs/operations.md")
}

func openPostgres(ctx context.Context, c config, log *slog.Logger, reg postgres.Observer, leave bool) (*postgres.Store, error) {
	p := c.Store.Postgres
	dsn, err := readDSN(p.DSNFile)
	if err != nil {
		return nil, fmt.Errorf("store.postgres.dsn_file: %w", err)
	}
	s, err := postgres.Open(ctx, postgres.Options{
		DSN: dsn, MaxConns: p.MaxConnections, NoMigrate: leave, AcceptLoss: p.AcceptLoss, Observer: reg, Logger: log,
	})
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, postgres.ErrUnsafe):
		return nil, hinted(fmt.Errorf("open the store: %w", err), "change the server's settings; docs/store.md says which it needs and why")
	default:
		return nil, hinted(fmt.Errorf("open the store: %w", err), "see PostgreSQL in docs/store.md and docs/operations.md")
	}
}

// readDSN reads the first line of a file, which holds a password.
func readDSN(path string) (string, error) {
	b, err := readSecretFile(path)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line), nil
}

// storeName is where the store lies, for people.
func (c config) storeName() string {
	if c.Store.Engine == enginePostgres {
		return "PostgreSQL"
	}
	return c.storeDir()
}

// dataDirs are the folders that hold rows and documents. Servers keep theirs elsewhere.
func (c config) dataDirs() (dirs []string) {
	if c.Store.Engine == engineBadger {
		dirs = append(dirs, c.storeDir())
	}
	if c.Blobs.Engine == blobsFile {
		dirs = append(dirs, c.documentsDir())
	}
	return dirs
}

func (s storeConfig) check() error {
	switch {
	case s.Engine == engineBadger && s.Postgres != defaultPostgres():
		return settingError{"store.postgres", "is configured, but store.engine is badger"}
	case s.Engine == enginePostgres && s.Badger != badgerConfig{}:
		return settingError{"store.badger", "is configured, but store.engine is postgres"}
	case s.Engine == enginePostgres && s.Postgres.DSNFile == "":
		return settingError{"store.postgres.dsn_file", "is required when store.engine is postgres"}
	case s.Engine != engineBadger && s.Engine != enginePostgres:
		return settingError{"store.engine", "is badger or postgres"}
	case s.Postgres.MaxConnections < 1 || s.Postgres.MaxConnections > 1000:
		return settingError{"store.postgres.max_connections", "is 1 to 1000"}
	}
	return nil
}

// nodes says that other processes may work on the store; nil when it is opened by one at a time.
func (c config) nodes() *vault.Nodes {
	if c.Store.Engine != enginePostgres {
		return nil
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	b := readBuild()
	return &vault.Nodes{Name: host, Version: strings.TrimSpace(b.Version + " " + b.Revision)}
}
