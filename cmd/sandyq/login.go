package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/access/authn"
	"github.com/sandyq/sandyq/vault/clock"
)

// login is one run of sandyq login.
type login struct {
	*env
	flow    authn.FlowConfig
	listen  string
	path    string
	out     string
	timeout time.Duration
}

func newLoginCmd(e *env) *cobra.Command {
	l := login{env: e}
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Log in with an issuer, for the commands that ask a server",
		Long: `Login gets an access token from an OpenID Connect issuer that the server believes (auth.issuers), and leaves it in a file
where the other commands find it until it expires. It prints the address at which a person logs in, and waits for the
browser of this machine to come back. The client must be registered with the issuer as a public one (native), with the
redirect URL http://127.0.0.1/callback on any port; with an issuer that compares ports, name one by --listen.`,
		Example: `  sandyq login --issuer https://id.example.kz/realms/staff --client-id sandyq-cli
  sandyq login --issuer https://id.example.kz --client-id sandyq-cli --scope vault --out token`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return l.run(ctx)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&l.flow.Issuer, "issuer", "", "URL of the issuer, as it calls itself")
	flags.StringVar(&l.flow.ClientID, "client-id", "", "the client that this command is to the issuer")
	flags.StringVar(&l.flow.CAFile, "ca-file", "", "PEM file with the authorities to trust for the issuer's certificate (default the system's)")
	flags.StringArrayVar(&l.flow.Scopes, "scope", nil, "what to ask for beside openid; may be repeated")
	flags.StringVar(&l.listen, "listen", "127.0.0.1:0", "loopback address to which the browser comes back; port 0 takes a free one")
	flags.StringVar(&l.path, "path", "/callback", "path of the redirect URL")
	flags.StringVar(&l.out, "out", "", "file for the token (default token in the folder sandyq of this user's configuration)")
	flags.DurationVar(&l.timeout, "timeout", 5*time.Minute, "how long to wait for the browser")
	return requiring(cmd, "issuer", "client-id")
}

// loggedIn is the answer of sandyq login.
type loggedIn struct {
	TokenFile string    `json:"token_file"`
	ExpiresAt time.Time `json:"expires_at"`
}

func (l login) run(ctx context.Context) error {
	if public, err := reachesOut(l.listen); err != nil || public || l.path == "" || l.path[0] != '/' {
		return usagef("--listen is a loopback address with a port, --path begins with /")
	}
	if l.out == "" {
		path, err := loginToken()
		if err != nil {
			return err
		}
		l.out = path
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", l.listen)
	if err != nil {
		return fmt.Errorf("listen for the browser: %w", err)
	}
	l.flow.RedirectURL = "http://" + listener.Addr().String() + l.path
	flow, err := authn.NewFlow(ctx, l.flow, authn.Options{Now: clock.System, Log: l.log(defaultConfig())})
	if err != nil {
		return errors.Join(hinted(fmt.Errorf("ask the issuer: %w", err), "is --issuer what the issuer calls itself, letter for letter?"), listener.Close())
	}
	defer flow.Close()
	made, err := l.wait(ctx, flow, listener)
	if err != nil {
		return err
	}
	return l.keep(made)
}

// wait sends the person to the issuer and waits for the answer.
func (l login) wait(ctx context.Context, flow *authn.Flow, listener net.Listener) (authn.Login, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	attempt, address := flow.Begin()
	back := startCallback(listener, l.path, func(ctx context.Context, answer url.Values) (authn.Login, error) {
		return flow.Finish(ctx, attempt, answer)
	})
	defer back.stop()
	if err := l.answer(map[string]string{"url": address}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "Open this address in the browser of this machine and log in:\n\n  %s\n\n", address)
		return err
	}); err != nil {
		return authn.Login{}, err
	}
	select {
	case done := <-back.done:
		return done.login, done.err
	case <-ctx.Done():
		return authn.Login{}, fmt.Errorf("wait for the browser: %w", ctx.Err())
	}
}

// keep writes the token where the other commands find it, and says until when it is good.
func (l login) keep(made authn.Login) error {
	token := made.AccessToken.Expose()
	expires, ok := authn.Expires(token)
	if !ok {
		return hinted(errors.New("the issuer's access token is no JWT with an expiry, which no vault accepts"),
			"have the issuer give this client JWT access tokens, for the audience of the vault")
	}
	if err := writeToken(l.out, token); err != nil {
		return fmt.Errorf("keep the token: %w", err)
	}
	return l.answer(loggedIn{l.out, expires.UTC()}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "logged in until %s; the token is in %s\n", moment(expires), l.out)
		return err
	})
}

// loginToken is where login leaves a token unless it is told otherwise.
func loginToken() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", hinted(fmt.Errorf("find this user's configuration: %w", err), "name a file with --out")
	}
	return filepath.Join(dir, "sandyq", "token"), nil
}

// writeToken replaces the file at path by one with the token, for this user alone.
func writeToken(path, token string) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".token-*") // of mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the first error says more
		}
	}()
	_, err = f.WriteString(token + "\n")
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// readLogin reads a token that login left, while it is good. Without one it is empty.
func readLogin() (string, error) {
	path, err := loginToken()
	if err != nil {
		return "", nil //nolint:nilerr // a user without a configuration folder has not logged in
	}
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", hinted(fmt.Errorf("%s has mode %#o: others may know the token", path, mode), "log in again with sandyq login")
	}
	token, err := readTokenFile(path)
	if err != nil {
		return "", err
	}
	expires, ok := authn.Expires(token)
	if !ok {
		return "", hinted(fmt.Errorf("%s holds no token of an issuer", path), "log in again with sandyq login")
	}
	if !clock.System().Before(expires) {
		return "", hinted(fmt.Errorf("the login has expired, at %s", moment(expires)), "log in again with sandyq login")
	}
	return token, nil
}
