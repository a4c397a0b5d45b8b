package postgres

import (
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/postgres/pgserver"
)

// TestOthers: a store finds other processes on its database, and not itself, nor those on other databases.
func TestOthers(t *testing.T) {
	server := pgserver.Shared(t)
	dsn := server.Database(t)
	open := func(dsn string) *Store {
		s, err := Open(t.Context(), Options{DSN: dsn})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	read := func(s *Store) {
		if err := s.View(t.Context(), func(r store.Reader) error { _, err := r.Get([]byte("x")); return err }); err != nil {
			t.Error(err)
		}
	}
	wait := func(s *Store, want int) {
		t.Helper()
		var n int
		for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(20 * time.Millisecond) {
			var err error
			if n, err = s.Others(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n == want {
				return
			}
		}
		t.Errorf("it finds %d others, want %d", n, want)
	}
	one, elsewhere := open(dsn), open(server.Database(t))
	defer one.Close()
	defer elsewhere.Close()
	read(one)
	read(elsewhere)
	wait(one, 0)
	two := open(dsn)
	read(two)
	wait(one, 1)
	if err := two.Close(); err != nil {
		t.Error(err)
	}
	wait(one, 0)
}
