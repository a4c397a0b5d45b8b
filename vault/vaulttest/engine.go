package vaulttest

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/badgerdb"
	"github.com/sandyq/sandyq/vault/store/postgres"
	"github.com/sandyq/sandyq/vault/store/postgres/pgserver"
)

// StoreVariable names the environment variable that chooses the engine of every vault without a store of its own: badger, the
// default, or postgres. With postgres a test binary has one server, on which a home has a database; its TestMain runs
// pgserver.Main.
const StoreVariable = "SANDYQ_TEST_STORE"

// databases are those of the homes of this test binary, by home.
var databases struct {
	sync.Mutex
	of map[string]string
}

// Engine opens the store of a home for vaults that share it, and says where it lies. It is closed after the test.
func Engine(t testing.TB, home string) (shared store.Store, place string) {
	t.Helper()
	s := openEngine(t, home)
	t.Cleanup(func() { check(t, s.Close()) })
	place, err := s.Place()
	check(t, err)
	return s, place
}

// openEngine opens the store of a home, which may have been opened before.
func openEngine(t testing.TB, home string) engine {
	t.Helper()
	if os.Getenv(StoreVariable) != "postgres" {
		s, err := badgerdb.Open(badgerdb.Options{Dir: filepath.Join(home, "store")})
		check(t, err)
		return s
	}
	s, err := postgres.Open(context.Background(), postgres.Options{DSN: database(t, home)})
	check(t, err)
	return s
}

func database(t testing.TB, home string) string {
	databases.Lock()
	defer databases.Unlock()
	dsn, ok := databases.of[home]
	if !ok {
		dsn = pgserver.Shared(t).Database(t)
		if databases.of == nil {
			databases.of = map[string]string{}
		}
		databases.of[home] = dsn
	}
	return dsn
}

// Fill writes rows into the store of a home that is not open.
func Fill(t testing.TB, home string, rows []store.Pair) {
	t.Helper()
	s := openEngine(t, home)
	for some := range slices.Chunk(rows, 1000) {
		check(t, s.Update(context.Background(), func(w store.Writer) error {
			for _, p := range some {
				if err := w.Set(p.Key, p.Value); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	check(t, s.Close())
}
