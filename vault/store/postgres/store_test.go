package postgres

import (
	"io"
	"log/slog"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/postgres/pgserver"
	"github.com/sandyq/sandyq/vault/store/storetest"
)

func TestMain(m *testing.M) {
	code := pgserver.Main(m)
	if err := goleak.Find(); err != nil && code == 0 {
		_, _ = os.Stderr.WriteString(err.Error())
		code = 1
	}
	os.Exit(code)
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// dsnVariable names the environment variable that has the suite run against another server.
const dsnVariable = "SANDYQ_TEST_DSN"

// database makes an empty database, on the server that the environment names or on one of the tests' own.
func database(t testing.TB) string {
	t.Helper()
	if dsn := os.Getenv(dsnVariable); dsn != "" {
		return pgserver.Database(t, dsn)
	}
	return pgserver.Shared(t).Database(t)
}

func open(t testing.TB, opt Options) *Store {
	t.Helper()
	opt.Logger = quiet
	s, err := Open(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, Options{DSN: database(t)}) })
}
