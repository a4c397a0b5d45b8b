package pgserver

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"sync/atomic"
	"testing"
)

var databases atomic.Int64

// Database makes an empty database on the server that dsn (a URL) points to, drops it when t ends, and returns how to
// connect to it.
func Database(t testing.TB, dsn string) string {
	t.Helper()
	made := Create(t, dsn)
	at, err := url.Parse(made)
	if err != nil {
		t.Fatal("the DSN is not a URL")
	}
	t.Cleanup(func() {
		if err := Exec(lasting(t), dsn, "drop database "+path.Base(at.Path)); err != nil {
			t.Error(err)
		}
	})
	return made
}

// Database makes an empty database, which goes with the server, and returns how to connect to it.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	return Create(t, s.DSN("postgres"))
}

// Create makes an empty database, which stays, on the server that dsn (a URL) points to, and returns how to connect to it.
func Create(t testing.TB, dsn string) string {
	t.Helper()
	at, err := url.Parse(dsn)
	if err != nil {
		t.Fatal("the DSN is not a URL")
	}
	name := fmt.Sprintf("sandyq_test_%d_%d", os.Getpid(), databases.Add(1))
	if err := Exec(lasting(t), dsn, "create database "+name); err != nil {
		t.Fatal(err)
	}
	at.Path = "/" + name
	return at.String()
}
