// Package discover stands in for github.com/hashicorp/go-discover in this
// build. The real one brings the SDKs of a dozen clouds, half of all the code
// `vault server` compiles, for one key: auto_join in a raft retry_join block.
// Here that key is refused; the types below are what Vault needs to compile.
package discover

import (
	"errors"
	"log"
)

var errAbsent = errors.New("auto_join is not in this build; name leader_api_addr")

// Config is the parsed value of auto_join.
type Config map[string]string

// String is never reached: Parse makes no Config.
func (Config) String() string { return "" }

// Parse refuses every auto_join.
func Parse(string) (Config, error) { return nil, errAbsent }

// Provider looks addresses up in one cloud; there are none here.
type Provider any

// Providers is empty.
var Providers map[string]Provider

// Option configures a Discover.
type Option func()

// WithProviders changes nothing.
func WithProviders(map[string]Provider) Option { return func() {} }

// Discover finds the nodes to join.
type Discover struct{}

// New returns a Discover that refuses every look-up.
func New(...Option) (*Discover, error) { return &Discover{}, nil }

// Addrs refuses every look-up.
func (*Discover) Addrs(string, *log.Logger) ([]string, error) { return nil, errAbsent }
