package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// run runs one command line and gives the exit code.
func run(ctx context.Context, e *env, args []string) int {
	root := newRootCmd(e)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && !e.started && strings.HasPrefix(err.Error(), "unknown command ") { // and then which: it may be a value
		err = errors.New("unknown command of sandyq")
	}
	return e.report(err)
}

func newRootCmd(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:   "sandyq",
		Short: "An encrypted personal-data vault",
		Long: `Sandyq keeps people's personal data sealed, each person under a key of their own, and gives applications tokens.
A person is erased by destroying the key.`,
		Example: `  sandyq serve --dev
  sandyq demo`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(e.in)
	root.SetOut(e.out)
	root.SetErr(e.err)
	root.SetUsageTemplate(usage)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return flagError(c, err) })
	root.PersistentFlags().BoolVar(&e.json, "json", false, "answer in JSON, one value a line")
	root.AddCommand(
		newServeCmd(e), newInitCmd(e), newKeysCmd(e), newDoctorCmd(e), newPromoteCmd(e), newRestoreCmd(e), newLedgerCmd(e), newMigrateCmd(e), newMigrateStoreCmd(e), newVersionCmd(e), newDemoCmd(e),
		newPolicyCmd(e), newVerifyCmd(e),
		newLoginCmd(e),
	)
	root.AddCommand(clientCommands(e)...)
	noteStart(e, root)
	return root
}

// usage is how help looks: cobra's own form, but that it ends in the example.
const usage = `Usage:{{if .Runnable}}
  {{.UseLine}}{{end}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} [command]

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

Flags of every command:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}
`

// flagError says what is wrong with a flag, and not what it was given: that may be a value.
func flagError(c *cobra.Command, err error) error {
	help := "see " + c.CommandPath() + " --help"
	if wrong, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		f := wrong.GetFlag()
		return fmt.Errorf("--%s does not take that value: it is of the type %s; %s", f.Name, f.Value.Type(), help)
	}
	if lacking, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return fmt.Errorf("--%s needs a value; %s", lacking.GetFlag().Name, help)
	}
	return fmt.Errorf("unknown flag of %s; %s", c.CommandPath(), help)
}

// noteStart has every command note that it runs: what cobra refuses before is a matter of usage. A command that takes no
// arguments does not repeat one: who gives it a value as an argument would find it in whatever keeps standard error.
func noteStart(e *env, c *cobra.Command) {
	if takes := c.Args; takes != nil && !c.HasSubCommands() {
		c.Args = func(c *cobra.Command, args []string) error {
			if len(args) > 0 && takes(c, nil) == nil && takes(c, args) != nil {
				return fmt.Errorf("%s was given an argument that it does not take; values are read from standard input or files", c.CommandPath())
			}
			return takes(c, args)
		}
	}
	if runE := c.RunE; runE != nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			e.started = true
			return runE(c, args)
		}
	}
	for _, sub := range c.Commands() {
		noteStart(e, sub)
	}
}
