package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/pflag"
)

// configFlags are the flags of every command that runs a vault in this process. They win over the file.
type configFlags struct {
	file, home, listen, ops string
}

// bind adds the flags that say which vault.
func (f *configFlags) bind(flags *pflag.FlagSet) {
	flags.StringVar(&f.file, "config", "", "configuration file (default: none; the built-in settings)")
	flags.StringVar(&f.home, "home", "", `folder of the store, the documents, the keys and the ledger (default "`+defaultHome+`")`)
}

// bindListeners adds the flags that say where it listens.
func (f *configFlags) bindListeners(flags *pflag.FlagSet) {
	flags.StringVar(&f.listen, "listen", "", `HOST:PORT of the API; port 0 takes a free one (default "`+defaultListen+`")`)
	flags.StringVar(&f.ops, "ops", "", `HOST:PORT of health, readiness and metrics (default "`+defaultOps+`")`)
}

// load reads the configuration, lets the flags win, and checks the whole. Every path in it is absolute.
func (f *configFlags) load() (config, error) {
	c := defaultConfig()
	if f.file != "" {
		var err error
		if c, err = readConfig(f.file); err != nil {
			return config{}, err
		}
	}
	c.Home, c.Listen, c.Ops = or(f.home, c.Home), or(f.listen, c.Listen), or(f.ops, c.Ops)
	here, err := filepath.Abs(".")
	if err != nil {
		return config{}, fmt.Errorf("configuration: %w", err)
	}
	c.resolve(here) // first: the check compares places
	if err := c.check(); err != nil {
		return config{}, fmt.Errorf("configuration: %w", err)
	}
	return c, nil
}
