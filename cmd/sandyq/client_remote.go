package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/sandyq/sandyq/vault/client"
	"github.com/sandyq/sandyq/vault/fault"
)

// tokenFileVariable names a file with a service token for the client commands.
const tokenFileVariable = "SANDYQ_TOKEN_FILE"

// serverVariable names the server for the client commands.
const serverVariable = "SANDYQ_SERVER"

// remote is the server that a client command asks, and as whom.
type remote struct {
	*env
	server    string
	tokenFile string
	caFile    string
	home      string
}

func (r *remote) bind(flags *pflag.FlagSet) {
	flags.StringVar(&r.server, "server", "", "address of the server (default $"+serverVariable+", else that of the server running in the home, else http://"+defaultListen+")")
	flags.StringVar(&r.tokenFile, "token-file", "", "file with the token (default $"+tokenFileVariable+", else dev.token in the home, else that of sandyq login)")
	flags.StringVar(&r.caFile, "ca-file", "", "PEM file with the authorities to trust for the server's certificate (default the system's)")
	flags.StringVar(&r.home, "home", defaultHome, "home directory of a server on this machine, for its address and dev.token")
}

// dial makes the client. Nothing is sent yet.
func (r *remote) dial() (*client.Client, error) {
	token, err := r.token()
	if err != nil {
		return nil, err
	}
	var opts []client.Option
	if r.caFile != "" {
		trust, err := authorities(r.caFile)
		if err != nil {
			return nil, err
		}
		opts = append(opts, client.WithTLS(trust))
	}
	server := r.address()
	c, err := client.New(server, token, opts...)
	if err != nil {
		return nil, usagef("--server: %w", err)
	}
	if inTheClear(server) {
		r.warn("the token and all data go in the clear to a server that is not on this machine: use https")
	}
	return c, nil
}

// address is where the server listens, from the first place that says so.
func (r *remote) address() string {
	if r.server != "" {
		return r.server
	}
	if named := os.Getenv(serverVariable); named != "" {
		return named
	}
	if left, err := os.ReadFile(config{Home: r.home}.addressFile()); err == nil {
		return strings.TrimSpace(string(left))
	}
	return "http://" + defaultListen
}

// token reads the token from the first place that has one.
func (r *remote) token() (string, error) {
	if named := or(r.tokenFile, os.Getenv(tokenFileVariable)); named != "" {
		return readTokenFile(named)
	}
	path := config{Home: r.home}.devToken()
	token, err := readTokenFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return token, err
	}
	if token, err = readLogin(); err != nil {
		return "", fmt.Errorf("read the token of the login: %w", err)
	}
	if token == "" {
		return "", hinted(usagef("no service token: %s does not exist, and nobody has logged in", path),
			"name a file that holds one with --token-file or %s, log in with sandyq login, or name the home of a server started with serve --dev by --home", tokenFileVariable)
	}
	return token, nil
}

// readTokenFile reads a token.
func readTokenFile(path string) (string, error) {
	b, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return "", fmt.Errorf("read the service token: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return "", fmt.Errorf("read the service token: %s is empty", path)
	}
	return token, nil
}

func authorities(path string) (*tls.Config, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the authorities to trust: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read the authorities to trust: %s holds no certificate in PEM", path)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// inTheClear reports whether others on the way to the server can listen.
func inTheClear(server string) bool {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())
}

// advice says what to do about a failure, where that is not plain from its text.
var advice = map[fault.Code]string{
	fault.Unauthenticated: "the server does not know this token: name another's file with --token-file; an administrator makes one with sandyq access token create",
	fault.Denied:          "sandyq whoami tells what this token may do",
	fault.Blocked:         "sandyq subject show tells which blocks stand",
	fault.Erased:          "the keys are destroyed or about to be: nobody can read this any more",
	fault.Unavailable:     "is the server running and reachable? --server names it; sandyq serve --dev starts one",
}

// advised adds to a failure of the server what to do about it.
func advised(err error) error {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Code == fault.Unavailable && f.Unwrap() == nil { // a server that answers this is running
		return err
	}
	if hint := advice[f.Code]; hint != "" {
		return hinted(err, "%s", hint)
	}
	return err
}
