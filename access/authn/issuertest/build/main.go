// Command build is a real OpenID provider for tests: the example provider of github.com/zitadel/oidc, with an audience,
// roles and departments, and keys that can be rotated. It listens on loopback and is NOT SAFE: everybody's password is known.
//
// Its first line of output is its issuer. It has the people e-1042 (user "aigerim": roles pii-support, department cc) and
// e-2000 (user "nobody": no role), the public client sandyq-cli (redirect URL http://127.0.0.1/callback on any port) and the
// service user sid1. POST /test/rotate gives it a new signing key beside the old one; POST /test/forget drops the old ones.
package main

import (
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
)

func main() {
	address := flag.String("listen", "127.0.0.1:0", "loopback address")
	flag.Parse()
	if err := run(*address); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	issuer := "http://" + listener.Addr().String()
	storage.RegisterClients(storage.NativeClient("sandyq-cli", "http://127.0.0.1/callback"))
	keys, err := newKeys()
	if err != nil {
		return err
	}
	provider := exampleop.SetupServer(issuer, provided{storage.NewStorage(people{}), keys}, slog.New(slog.NewTextHandler(os.Stderr, nil)), false)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /test/rotate", keys.rotate)
	mux.HandleFunc("POST /test/forget", keys.forget)
	mux.Handle("/", provider)
	if _, err := fmt.Println(issuer); err != nil {
		return err
	}
	return (&http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}).Serve(listener)
}
