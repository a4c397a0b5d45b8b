package pgserver

import (
	"context"
	"sync"
	"testing"
)

// shared is the one server of a test binary that runs under Main.
var shared struct {
	sync.Mutex
	running bool // inside Main
	server  *Server
}

// Main runs a package's tests and then discards the server that Shared started, if any. It is for TestMain and returns the
// code to exit with.
func Main(m *testing.M) int {
	shared.Lock()
	shared.running = true
	shared.Unlock()
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	shared.running = false
	if shared.server != nil {
		shared.server.discard()
	}
	return code
}

// Shared returns the server that the package's tests have in common, starting it for the first that asks. Its tests make
// databases of their own and leave it running as it is: what stops, kills or configures takes a server of its own from Start.
// The package's TestMain must run Main.
func Shared(t testing.TB) *Server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if !shared.running {
		t.Fatal("pgserver.Shared needs: func TestMain(m *testing.M) { os.Exit(pgserver.Main(m)) }")
	}
	if shared.server == nil {
		server, err := start(context.Background(), nil)
		if err != nil {
			stopTest(t, err)
		}
		shared.server = server
	}
	return shared.server
}
