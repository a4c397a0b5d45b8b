package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/access/cedar"
	"github.com/sandyq/sandyq/deploy/policies"
	"github.com/sandyq/sandyq/vault/clock"
)

func newPolicyCmd(e *env) *cobra.Command {
	return group("policy", "Check access policies, and see what they decide", newPolicyCheckCmd(e), newPolicyExplainCmd(e))
}

// builtInPolicies is where policies come from when no folder is named.
const builtInPolicies = "built in"

// policySource says which policies a command is about.
type policySource struct {
	config configFlags
	dir    string // wins over the configuration's
}

// compile reads the policies and holds them to the schema of the configuration.
func (s policySource) compile(o cedar.Options) (engine *cedar.Engine, from string, err error) {
	c, err := s.config.load()
	if err != nil {
		return nil, "", err
	}
	fields, err := c.fields()
	if err != nil {
		return nil, "", fmt.Errorf("schema: %w", err)
	}
	o.Category = fields.CategoryOf
	files, from := policies.BuiltIn(), or(or(s.dir, c.Policies), builtInPolicies)
	if from != builtInPolicies {
		if files, err = cedar.ReadFolder(from); err != nil {
			return nil, "", err
		}
	}
	if engine, err = cedar.Compile(files, o); err != nil {
		return nil, "", hinted(fmt.Errorf("policies, %s:\n%w", from, err), "deploy/policies/schema.cedarschema is what policies may speak of")
	}
	return engine, from, nil
}

// policyCheck is what policy check answers.
type policyCheck struct {
	From     string         `json:"from"`
	Policies []cedar.Policy `json:"policies"`
}

func newPolicyCheckCmd(e *env) *cobra.Command {
	var source policySource
	cmd := &cobra.Command{
		Use:   "check [DIR]",
		Short: "Check the policies of a folder",
		Long: `Check reads the *.cedar files of a folder as serve does and holds every policy to the published schema. Without a folder it
takes that of the configuration, and without one there the built-in policies. It exits with 1 and says all that is wrong
when the folder would not be taken.`,
		Example: `  sandyq policy check /etc/sandyq/policies
  sandyq policy check --config /etc/sandyq/sandyq.yaml --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				source.dir = args[0]
			}
			engine, from, err := source.compile(cedar.Options{Now: clock.System})
			if err != nil {
				return err
			}
			found := policyCheck{from, engine.Policies()}
			return e.answer(found, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%d policies, %s: all valid\n", len(found.Policies), found.From)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&source.config.file, "config", "", "configuration file (default: none; the built-in settings)")
	return cmd
}
