package postgres

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sandyq/sandyq/vault/clock"
)

// Limits of one round trip. They end what hangs; what is slow is ended by Patience and by contexts.
const (
	connectLimit   = 5 * time.Second // to one host of several
	statementLimit = 15 * time.Second
	commitLimit    = 30 * time.Second // which waits for standbys
	checkEvery     = 10 * time.Second // between two looks at the server's settings
)

// Options configure a store. DSN is required; the zero value of all else is right for production.
type Options struct {
	// DSN says where the database is, as a URL or as key=value words of libpq. Several hosts may be named: the one that is the
	// primary is used, whatever target_session_attrs says. A host that is not loopback needs sslmode=verify-full or
	// verify-ca. It holds a password: it is in no error.
	DSN string

	// MaxConns is the number of connections at most, which is that of Views and Updates at work; 0 is 32.
	MaxConns int

	// Patience is how long an Update tries to get past conflicts and lost connections, and a View to get a connection; 0 is
	// 10 s.
	Patience time.Duration

	// NoMigrate leaves the tables as they are: Open refuses older ones, and where there are none.
	NoMigrate bool

	// AcceptLoss serves on a server that may lose what it acknowledges, and says so in the log again and again.
	AcceptLoss bool

	// Observer is told of what the store does; nil for none.
	Observer Observer

	// Clock times commits for Observer; by default clock.System.
	Clock clock.Clock

	// Logger is told of trouble, without keys or values; by default slog.Default.
	Logger *slog.Logger

	unsynced bool          // for the control run of the kill test, which must lose data
	check    time.Duration // instead of checkEvery
	steps    []step        // instead of steps, for tests of the next version
}

func (o Options) withDefaults() (Options, error) {
	if o.DSN == "" {
		return o, errors.New("postgres: Options.DSN is not set")
	}
	if o.MaxConns < 0 || o.Patience < 0 {
		return o, errors.New("postgres: Options.MaxConns and Options.Patience may not be negative")
	}
	if o.MaxConns == 0 {
		o.MaxConns = 32
	}
	if o.Patience == 0 {
		o.Patience = 10 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Observer == nil {
		o.Observer = nobody{}
	}
	if o.Clock == nil {
		o.Clock = clock.System
	}
	if o.steps == nil {
		o.steps = steps
	}
	if o.check == 0 {
		o.check = checkEvery
	}
	return o, nil
}

// errDSN hides why a DSN was not understood: the reason would quote it.
var errDSN = errors.New("postgres: the DSN is not one: write postgres://USER:PASSWORD@HOST:PORT,HOST:PORT/DATABASE?sslmode=verify-full&sslrootcert=FILE")

// pool is the configuration of the connections.
func (o Options) pool() (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(o.DSN)
	if err != nil {
		return nil, errDSN
	}
	c := config.ConnConfig
	if err := checkTransport(c); err != nil {
		return nil, err
	}
	c.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	c.OnNotice = noteWarning
	if c.ConnectTimeout == 0 || c.ConnectTimeout > connectLimit {
		c.ConnectTimeout = connectLimit
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "sandyq"
	}
	config.MaxConns = int32(o.MaxConns)
	config.MinConns = 0
	return config, nil
}

// checkTransport refuses to talk to another machine in the clear, or to whoever answers there.
func checkTransport(c *pgx.ConnConfig) error {
	hosts := []*pgconn.FallbackConfig{{Host: c.Host, TLSConfig: c.TLSConfig}}
	for _, host := range append(hosts, c.Fallbacks...) {
		if !isLocal(host.Host) && !proves(host.TLSConfig) {
			return fmt.Errorf("postgres: the host %s is not this machine: sslmode must be verify-full, or verify-ca", host.Host)
		}
	}
	return nil
}

func isLocal(host string) bool {
	if strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// proves reports whether a server must show whose it is.
func proves(c *tls.Config) bool {
	return c != nil && (!c.InsecureSkipVerify || c.VerifyPeerCertificate != nil)
}
