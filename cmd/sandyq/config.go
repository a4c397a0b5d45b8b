package main

import (
	"log/slog"
	"time"

	"github.com/sandyq/sandyq/crypto/kms/hashicorp"
)

// config is the configuration file, key by key. deploy/sandyq.example.yaml says the same to operators.
//
// Unknown and repeated keys are refused. What the file leaves out has the default that defaultConfig gives; flags win over
// the file. Secrets are named by the files that hold them, never written here. A relative path in the file is relative to
// the folder of the file, one in a flag to the working directory.
type config struct {
	// Home is the parent of store/, documents/, keyring/ and ledger/, which are made by init with mode 0700. The last two
	// belong in no backup. Each may be moved by its own key.
	Home string `yaml:"home"`
	// Listen is HOST:PORT of the API. Port 0 takes a free one. An address that is not loopback needs TLS.
	Listen string    `yaml:"listen"`
	TLS    tlsConfig `yaml:"tls"`
	// Auth says who is believed beside service tokens.
	Auth authConfig `yaml:"auth"`
	// Ops is HOST:PORT of health, readiness and metrics, which ask nobody who they are. The rule about TLS is the same;
	// on loopback it is plain HTTP whatever TLS says.
	Ops string `yaml:"ops"`
	// Tenant names the first tenant: whose data this is, in every key of the store and in every sealed value. It can never
	// be changed. What it has of its own stands beside it.
	Tenant       string `yaml:"tenant"`
	tenantConfig `yaml:",inline"`
	// Tenants are further ones, whose data lies in the same store.
	Tenants []furtherTenant `yaml:"tenants"`
	Store   storeConfig     `yaml:"store"`
	Blobs   blobsConfig     `yaml:"blobs"`
	Ledger  ledgerConfig    `yaml:"ledger"`
	// Backups says to whom backups may be encrypted.
	Backups backupsConfig `yaml:"backups"`
	Audit   auditConfig   `yaml:"audit"`
	// MaxDocument is the size of a document part at most, in bytes.
	MaxDocument int64 `yaml:"max_document"`
	// ShutdownTimeout is how long requests that run may take to end when the process is told to stop.
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout"`
	Log             logConfig     `yaml:"log"`

	dev bool // of serve --dev and the demo: administrators may do everything, and erasures wait for nobody
	// folder, under the home, holds what is a further tenant's own; empty for the first. See tenants.
	folder string
}

// auditConfig is about the audit log.
type auditConfig struct {
	// Origin begins the name of the transparency log in everything that it signs: a domain, by convention.
	Origin string `yaml:"origin"`
	// Retention is how long entries are kept; 0 is without end. Their hashes stay.
	Retention time.Duration `yaml:"retention"`
	// Anchor says where copies of the log's last checkpoint go, beside the one that lies with the erasure ledger.
	Anchor anchorConfig `yaml:"anchor"`
	// Witnesses are asked to cosign the log's checkpoints.
	Witnesses []witnessConfig `yaml:"witnesses"`
	// Quorum is how many of them must have cosigned a checkpoint before it is published; 0: none, and cosignatures are added as they come.
	Quorum int `yaml:"quorum"`
}

// tlsConfig says how the listeners are protected: by a certificate, or by whoever forwards to them.
type tlsConfig struct {
	CertFile     string `yaml:"cert_file"`      // PEM, the chain
	KeyFile      string `yaml:"key_file"`       // PEM
	ClientCAFile string `yaml:"client_ca_file"` // PEM; given, clients of the API are asked for a certificate that one of these signed
	// ClientCertificates is required when a client without a certificate is turned away, otherwise optional.
	ClientCertificates string `yaml:"client_certificates"`
	// TerminatedUpstream says that a proxy on a trusted network speaks TLS, so that a public address may go without.
	TerminatedUpstream bool `yaml:"terminated_upstream"`
}

// storeConfig says where rows are kept: badger (a folder, for one process) or postgres (a server, for many).
type storeConfig struct {
	Engine   string         `yaml:"engine"`
	Badger   badgerConfig   `yaml:"badger"`
	Postgres postgresConfig `yaml:"postgres"`
}

type badgerConfig struct {
	Dir string `yaml:"dir"` // default: store under home
}

// postgresConfig is a database on a server. The keys are those of postgres.Options, which says more.
type postgresConfig struct {
	DSNFile        string `yaml:"dsn_file"` // its first line says where the database is, with the password
	MaxConnections int    `yaml:"max_connections"`
	Migrate        bool   `yaml:"migrate"`
	AcceptLoss     bool   `yaml:"accept_loss"`
}

func defaultPostgres() postgresConfig { return postgresConfig{MaxConnections: 32, Migrate: true} }

// blobsConfig says where documents are kept: file (a folder) or s3 (a bucket, for any number of nodes).
type blobsConfig struct {
	Engine string     `yaml:"engine"`
	File   fileConfig `yaml:"file"`
	S3     s3Config   `yaml:"s3"`
}

type fileConfig struct {
	Dir string `yaml:"dir"` // default: documents under home
}

// keysConfig says who keeps the keys: local (a folder of files) or vault (HashiCorp Vault).
type keysConfig struct {
	Provider string      `yaml:"provider"`
	Local    localConfig `yaml:"local"`
	Vault    vaultConfig `yaml:"vault"`
	// RequireSnapshot gives people only keys that a confirmed snapshot of HashiCorp Vault contains.
	RequireSnapshot bool `yaml:"require_snapshot"`
	// Pool is how many keys each node makes ahead; 0: 256, or 4096 with RequireSnapshot.
	Pool int `yaml:"pool"`
}

// Sizes of the pool of keys.
const (
	maxPool      = 1_000_000
	snapshotPool = 4096
)

// pool is how many keys are made ahead; 0 for the keyring's default.
func (k keysConfig) pool() int {
	if k.Pool == 0 && k.RequireSnapshot {
		return snapshotPool
	}
	return k.Pool
}

// localConfig is a keyring in files, opened by a passphrase or by a key file.
type localConfig struct {
	Dir string `yaml:"dir"` // default: keyring under home
	// PassphraseFile holds the passphrase, at least 12 bytes, in its first line.
	PassphraseFile string `yaml:"passphrase_file"`
	// KeyFile holds the root key, such as a systemd credential. Without it and without a passphrase, init makes root.key
	// in Dir.
	KeyFile string `yaml:"key_file"`
}

// vaultConfig is HashiCorp Vault. The keys are those of hashicorp.Config, which says more; the tenant is config's own.
type vaultConfig struct {
	Address       string          `yaml:"address"`
	Addresses     []string        `yaml:"addresses"`
	CAFile        string          `yaml:"ca_file"`
	TLSServerName string          `yaml:"tls_server_name"`
	Namespace     string          `yaml:"namespace"`
	Mount         string          `yaml:"mount"`
	Timeout       time.Duration   `yaml:"timeout"`
	Auth          hashicorp.Auth  `yaml:"auth"`
	EraseAuth     *hashicorp.Auth `yaml:"erase_auth"`
	// SnapshotDays is for how long snapshots of the server are kept. Certificates of erasure state it; nothing enforces it here.
	SnapshotDays int `yaml:"snapshot_days"`
}

// ledgerConfig says where the erasure ledger lies: a folder of its own, on other disks than the store and the keys, or a bucket.
type ledgerConfig struct {
	Path string         `yaml:"path"` // default: ledger under home
	S3   ledgerS3Config `yaml:"s3"`   // instead of path
}

type logConfig struct {
	Level slog.Level `yaml:"level"` // debug, info, warn or error
}

// The defaults that client commands need to know, too.
const (
	defaultHome   = "sandyq"
	defaultListen = "127.0.0.1:7440"
	defaultOps    = "127.0.0.1:7441"
)

// defaultConfig is what an empty file means. Every value is one for production.
func defaultConfig() config {
	return config{
		Home:            defaultHome,
		Listen:          defaultListen,
		TLS:             tlsConfig{ClientCertificates: certificatesOptional},
		Ops:             defaultOps,
		Tenant:          "main",
		tenantConfig:    defaultTenant(),
		Store:           storeConfig{Engine: engineBadger, Postgres: defaultPostgres()},
		Blobs:           blobsConfig{Engine: blobsFile},
		Ledger:          ledgerConfig{S3: defaultLedgerS3()},
		MaxDocument:     64 << 20,
		ShutdownTimeout: 30 * time.Second,
		Audit:           auditConfig{Origin: "sandyq"},
	}
}

// defaultSnapshotDays is for how long snapshots of a HashiCorp Vault are kept, unless the configuration says otherwise.
const (
	defaultSnapshotDays = 30
	maxSnapshotDays     = 36500
)

// snapshotDays is for how long a destroyed key may lie in snapshots; 0 for a provider that has none.
func (k keysConfig) snapshotDays() int {
	if k.Provider != providerVault {
		return 0
	}
	return k.Vault.SnapshotDays
}
