package main

import (
	"maps"
	"slices"

	authjwt "github.com/hashicorp/vault-plugin-auth-jwt"
	authkubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	logicalkv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/audit"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/credential/cert"
	"github.com/hashicorp/vault/builtin/logical/transit"
	"github.com/hashicorp/vault/builtin/plugin"
	"github.com/hashicorp/vault/physical/raft"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical"
	"github.com/hashicorp/vault/sdk/physical/file"
	"github.com/hashicorp/vault/sdk/physical/inmem"
)

var storages = map[string]physical.Factory{
	"file":  file.NewFileBackend,
	"inmem": inmem.NewInmem,
	"raft":  raft.NewRaftBackend,
}

var auditDevices = map[string]audit.Factory{
	"file": audit.NewFileBackend,
}

// pluginHost runs the registered plug-ins inside the server, the way
// `vault server` runs its built-in ones.
var pluginHost = map[string]logical.Factory{"plugin": plugin.Factory}

// plugins is what can be mounted besides what the core brings itself
// (token, system, identity, cubbyhole).
var plugins = map[consts.PluginType]map[string]logical.Factory{
	consts.PluginTypeSecrets: {
		"kv":      logicalkv.Factory,
		"transit": transit.Factory,
	},
	consts.PluginTypeCredential: {
		"approle":    approle.Factory,
		"cert":       cert.Factory,
		"jwt":        authjwt.Factory,
		"kubernetes": authkubernetes.Factory,
	},
}

// builtins is the plug-in catalogue's view of plugins.
type builtins struct{}

func (builtins) Contains(name string, kind consts.PluginType) bool {
	_, ok := plugins[kind][name]
	return ok
}

// Get returns a function that yields the factory, which is how the catalogue
// tells a logical plug-in from a database one.
func (builtins) Get(name string, kind consts.PluginType) (func() (any, error), bool) {
	factory, ok := plugins[kind][name]
	return func() (any, error) { return factory, nil }, ok
}

func (builtins) Keys(kind consts.PluginType) []string {
	return slices.Sorted(maps.Keys(plugins[kind]))
}

func (b builtins) DeprecationStatus(name string, kind consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, b.Contains(name, kind)
}

func (builtins) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }
