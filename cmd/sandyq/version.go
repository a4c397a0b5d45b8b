package main

import (
	"fmt"
	"io"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/metrics"
)

// build is what the binary knows of its making.
type build struct {
	Version  string `json:"version"`            // of the module; (devel) when built from a checkout, empty when not known
	Revision string `json:"revision,omitempty"` // of the checkout
	Time     string `json:"time,omitempty"`     // of the revision, RFC 3339
	Modified bool   `json:"modified,omitzero"`  // the checkout differed from its revision
	Go       string `json:"go"`
}

// readBuild reads what the linker wrote.
func readBuild() build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return build{}
	}
	b := build{Version: info.Main.Version, Go: info.GoVersion}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

// newMetrics makes the registry of this process.
func newMetrics() *metrics.Registry {
	b := readBuild()
	return metrics.New(b.Version, b.Revision)
}

func newVersionCmd(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Say which build this is",
		Example: `  sandyq version --json`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := readBuild()
			return e.answer(b, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, "sandyq", b.Version, b.Revision, b.Go)
				return err
			})
		},
	}
}
