// Command vault is HashiCorp Vault's own server with only the parts Sandyq's
// tests use, so that it builds in minutes on a machine that has nothing but a
// Go toolchain.
//
// Everything that answers a request is HashiCorp's code at the version pinned
// in go.mod: the core with its Shamir seal, barrier, token store, policies and
// audit broker, the HTTP handler, the configuration parser, and the plug-ins
// listed in plugins.go. What is left out is the rest of the plug-ins, the
// other storages, automatic seals and the command line.
//
//	vault server -config=FILE
//
// FILE is an ordinary Vault server configuration (HCL or JSON). A block that
// this build has no code for is refused at start, not ignored: storage other
// than file, inmem or raft, seal, ha_storage, service_registration, auto_join;
// so is any key Vault does not know. Keys for the parts left out around the
// core (ui, plugin_directory, pid_file, log_file, log_format, license_path,
// observations) have no effect. The server starts sealed and, on empty
// storage, uninitialised; it says "==> Vault server started!" on standard
// output once it listens, logs to standard error, and seals itself and ends on
// SIGINT or SIGTERM.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/cli"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/command/server"
	"github.com/hashicorp/vault/helper/metricsutil"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/internalshared/listenerutil"
	"github.com/hashicorp/vault/sdk/physical"
	"github.com/hashicorp/vault/vault"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "vault:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	path, err := configPath(args)
	if err != nil {
		return err
	}
	config, err := loadConfig(path)
	if err != nil {
		return err
	}
	logger := hclog.NewInterceptLogger(&hclog.LoggerOptions{
		Level:  hclog.LevelFromString(config.LogLevel),
		Output: os.Stderr,
	})
	core, err := newCore(ctx, config, logger)
	if err != nil {
		return err
	}
	listeners, clusterAddrs, err := listen(config)
	if err != nil {
		return err
	}
	if err := joinCluster(ctx, core, config, clusterAddrs); err != nil {
		return err
	}
	fmt.Println("==> Vault server started! Log data will stream in below:")
	return serve(ctx, core, config, logger, listeners)
}

func configPath(args []string) (string, error) {
	const usage = "usage: vault server -config=FILE"
	if len(args) == 0 || args[0] != "server" {
		return "", errors.New(usage)
	}
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	path := flags.String("config", "", "server configuration `FILE`, HCL or JSON")
	if err := flags.Parse(args[1:]); err != nil {
		return "", err
	}
	if *path == "" || flags.NArg() != 0 {
		return "", errors.New(usage)
	}
	return *path, nil
}

// loadConfig reads the configuration and refuses what this build would not
// honour.
func loadConfig(path string) (*server.Config, error) {
	config, err := server.LoadConfigFile(path)
	if err != nil {
		return nil, fmt.Errorf("load configuration: %w", err)
	}
	if problems := config.Validate(path); len(problems) != 0 {
		return nil, fmt.Errorf("configuration: %s", problems[0])
	}
	switch {
	case config.Storage == nil:
		return nil, errors.New("configuration: a storage block is needed")
	case storages[config.Storage.Type] == nil:
		return nil, fmt.Errorf("configuration: storage %q is not in this build", config.Storage.Type)
	case config.HAStorage != nil:
		return nil, errors.New("configuration: ha_storage is not in this build")
	case config.ServiceRegistration != nil:
		return nil, errors.New("configuration: service_registration is not in this build")
	case len(config.Seals) != 0:
		return nil, errors.New("configuration: only the Shamir seal is in this build; remove the seal block")
	case len(config.Listeners) == 0:
		return nil, errors.New("configuration: a listener block is needed")
	}
	return config, nil
}

// newCore opens the storage and builds a sealed core over it. A nil Seal in
// CoreConfig is Vault's default: Shamir.
func newCore(ctx context.Context, config *server.Config, logger hclog.InterceptLogger) (*vault.Core, error) {
	backend, err := storages[config.Storage.Type](config.Storage.Config, logger.Named("storage."+config.Storage.Type))
	if err != nil {
		return nil, fmt.Errorf("open storage: %w", err)
	}
	inmem, sink, prometheus, err := configutil.SetupTelemetry(&configutil.SetupTelemetryOpts{
		Config:      config.Telemetry,
		Ui:          &cli.BasicUi{Writer: os.Stderr},
		ServiceName: "vault",
		DisplayName: "Vault",
		UserAgent:   "vaultserver",
		ClusterName: config.ClusterName,
	})
	if err != nil {
		return nil, fmt.Errorf("set up telemetry: %w", err)
	}
	coreConfig := &vault.CoreConfig{
		RawConfig:                    config,
		Physical:                     backend,
		StorageType:                  config.Storage.Type,
		AuditBackends:                auditDevices,
		LogicalBackends:              pluginHost,
		CredentialBackends:           pluginHost,
		BuiltinRegistry:              builtins{},
		Logger:                       logger,
		LogLevel:                     config.LogLevel,
		AllLoggers:                   []hclog.Logger{logger},
		MetricSink:                   sink,
		MetricsHelper:                metricsutil.NewMetricsHelper(inmem, prometheus),
		ClusterName:                  config.ClusterName,
		CacheSize:                    config.CacheSize,
		DefaultLeaseTTL:              config.DefaultLeaseTTL,
		MaxLeaseTTL:                  config.MaxLeaseTTL,
		RemoveIrrevocableLeaseAfter:  config.RemoveIrrevocableLeaseAfter,
		DisableCache:                 config.DisableCache,
		DisableMlock:                 config.DisableMlock,
		DisableIndexing:              config.DisableIndexing,
		DisableSealWrap:              config.DisableSealWrap,
		DisableSSCTokens:             config.DisableSSCTokens,
		DisablePerformanceStandby:    config.DisablePerformanceStandby,
		DisableKeyEncodingChecks:     config.DisablePrintableCheck,
		EnableRaw:                    config.EnableRawEndpoint,
		EnableIntrospection:          config.EnableIntrospectionEndpoint,
		EnableResponseHeaderHostname: config.EnableResponseHeaderHostname,
		AllowAuditLogPrefixing:       config.AllowAuditLogPrefixing,
		ImpreciseLeaseRoleTracking:   config.ImpreciseLeaseRoleTracking,
		DetectDeadlocks:              config.DetectDeadlocks,
		Experiments:                  config.Experiments,
		AdministrativeNamespacePath:  config.AdministrativeNamespacePath,
	}
	if ha, ok := backend.(physical.HABackend); ok {
		coreConfig.HAPhysical = ha
		coreConfig.RedirectAddr = config.Storage.RedirectAddr
		coreConfig.ClusterAddr = config.Storage.ClusterAddr
	}
	core, err := vault.NewCore(coreConfig)
	if err != nil {
		return nil, fmt.Errorf("build the core: %w", err)
	}
	return core, nil
}

// listen opens every listener and the addresses the cluster protocol will
// use: cluster_address, or the port after the listener's own.
func listen(config *server.Config) ([]listenerutil.Listener, []*net.TCPAddr, error) {
	var listeners []listenerutil.Listener
	var clusterAddrs []*net.TCPAddr
	for _, lc := range config.Listeners {
		fillLimits(lc)
		l, _, _, err := server.NewListener(lc, os.Stderr, &cli.BasicUi{Writer: os.Stderr})
		if err != nil {
			return nil, nil, fmt.Errorf("open %s listener: %w", lc.Type, err)
		}
		listeners = append(listeners, listenerutil.Listener{Listener: l, Config: lc})
		addr, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			continue
		}
		cluster := &net.TCPAddr{IP: addr.IP, Port: addr.Port + 1}
		if lc.ClusterAddress != "" {
			if cluster, err = net.ResolveTCPAddr("tcp", lc.ClusterAddress); err != nil {
				return nil, nil, fmt.Errorf("resolve cluster_address: %w", err)
			}
		}
		clusterAddrs = append(clusterAddrs, cluster)
	}
	return listeners, clusterAddrs, nil
}

// fillLimits sets the request limits that `vault server` applies when the
// listener block is silent; the HTTP handler reads a zero as "nothing
// allowed", not as a default.
func fillLimits(lc *configutil.Listener) {
	setDefault(&lc.MaxRequestSize, vaulthttp.DefaultMaxRequestSize)
	setDefault(&lc.MaxRequestDuration, vault.DefaultMaxRequestDuration)
	setDefault(&lc.CustomMaxJSONDepth, vaulthttp.CustomMaxJSONDepth)
	setDefault(&lc.CustomMaxJSONStringValueLength, vaulthttp.CustomMaxJSONStringValueLength)
	setDefault(&lc.CustomMaxJSONObjectEntryCount, vaulthttp.CustomMaxJSONObjectEntryCount)
	setDefault(&lc.CustomMaxJSONArrayElementCount, vaulthttp.CustomMaxJSONArrayElementCount)
	setDefault(&lc.HTTPReadHeaderTimeout, 10*time.Second)
	setDefault(&lc.HTTPReadTimeout, 30*time.Second)
	setDefault(&lc.HTTPIdleTimeout, 5*time.Minute)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// joinCluster gives the core what raft needs before the first unseal.
func joinCluster(ctx context.Context, core *vault.Core, config *server.Config, addrs []*net.TCPAddr) error {
	core.SetClusterListenerAddrs(addrs)
	core.SetClusterHandler(vaulthttp.Handler.Handler(&vault.HandlerProperties{
		Core:           core,
		ListenerConfig: &configutil.Listener{},
	}))
	if config.Storage.Type != "raft" {
		return nil
	}
	if err := core.InitiateRetryJoin(ctx); err != nil {
		return fmt.Errorf("start raft's retry_join: %w", err)
	}
	return nil
}

// serve answers on every listener until ctx ends or a listener fails, then
// seals the core.
func serve(ctx context.Context, core *vault.Core, config *server.Config, logger hclog.Logger, listeners []listenerutil.Listener) error {
	failed := make(chan error, len(listeners))
	servers := make([]*http.Server, len(listeners))
	for i, l := range listeners {
		servers[i] = &http.Server{
			Handler: vaulthttp.Handler.Handler(&vault.HandlerProperties{
				Core:                  core,
				ListenerConfig:        l.Config,
				DisablePrintableCheck: config.DisablePrintableCheck,
			}),
			ReadHeaderTimeout: l.Config.HTTPReadHeaderTimeout,
			ReadTimeout:       l.Config.HTTPReadTimeout,
			WriteTimeout:      l.Config.HTTPWriteTimeout,
			IdleTimeout:       l.Config.HTTPIdleTimeout,
			ErrorLog:          logger.StandardLogger(nil),
		}
		go func() { failed <- servers[i].Serve(l.Listener) }()
	}
	var cause error
	served := len(servers)
	select {
	case <-ctx.Done():
	case cause = <-failed:
		served--
	}
	for _, s := range servers {
		cause = errors.Join(cause, s.Close())
	}
	for range served {
		if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
			cause = errors.Join(cause, err)
		}
	}
	return errors.Join(cause, core.Shutdown())
}
