package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/deploy/sample"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/clock"
)

func newDemoCmd(e *env) *cobra.Command {
	d := demo{env: e}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the vault at its main job, with a thousand synthetic people",
		Long: `Start a vault in a temporary home (real HTTP on loopback, a real store and real keys on disk), register 1,000 synthetic
people with scans of their documents, read some of it back, block one person and erase one, and show that a copy of
the vault from before the erasure cannot bring the erased person back. The erasure's certificate is verified, and the vault
drilled. Takes a minute at most and some 800 MB of disk.

Every claim that is printed was checked in that very run. If one does not hold, the demo says which and exits with 1.`,
		Example: `  sandyq demo
  sandyq demo --serve --home ./try    # and go on with the client commands`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, stop) // a second signal ends the process at once
			return d.perform(ctx)
		},
	}
	cmd.Flags().BoolVar(&d.stay, "serve", false, "leave the server up afterwards, until interrupted")
	cmd.Flags().StringVar(&d.home, "home", "", "home directory to make and to keep (default a temporary one)")
	return cmd
}

// demo is one performance: what was asked for, and what has become of it so far.
type demo struct {
	*env
	stay bool   // serve on afterwards
	home string // "" makes a temporary one
	cast int    // how many of the sample's people; all when 0

	temporary bool // the home is ours to remove
	config    config
	server    *demoServer
	screen    *screen
	people    []*registrant
	report    demoReport
	began     time.Time

	erasedID string         // the vault-wide id of the person of that act
	erasure  string         // of that person
	logKey   checkpoint.Key // of the transparency log, as it was before that act

	administrator, application, staff, stranger *party
}

// perform plays the acts, answers the report, and cleans up.
func (d *demo) perform(ctx context.Context) (err error) {
	d.began = clock.System()
	d.screen = newScreen(d.env)
	if err := d.prepare(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.leave()) }()
	if err := d.play(ctx, d.acts()); err != nil {
		return err
	}
	if err := d.conclude(); err != nil {
		return err
	}
	if d.stay {
		d.invite()
		return d.server.stay(ctx)
	}
	return nil
}

// act is a part of the demo. It fails only when it cannot go on; a claim that does not hold is noted.
type act struct {
	title string
	play  func(context.Context) error
}

func (d *demo) acts() []act {
	return []act{
		{"A vault is started", d.start},
		{"People are registered", d.register},
		{"Scans of their documents are stored", d.upload},
		{"Values and documents are read back", d.read},
		{"A copy is taken", d.copyHome},
		{"A person is blocked", d.block},
		{"A person is erased", d.erase},
		{"The copy from before the erasure is opened", d.openCopy},
		{"The erasure is proved to an outsider", d.prove},
		{"Everything was written down, and nothing in clear", d.inspect},
	}
}

// play runs acts in order.
func (d *demo) play(ctx context.Context, acts []act) error {
	d.screen.title(fmt.Sprintf("Sandyq: a vault for the data of %s synthetic people", grouped(len(d.people))),
		"All parts are real and on this machine: HTTP on loopback, store, documents and keys on disk. Nobody's data is in it.")
	for _, a := range acts {
		d.screen.act(a.title)
		err := a.play(ctx)
		if ctx.Err() != nil {
			return errors.New("the demo was interrupted")
		}
		if err != nil {
			return fmt.Errorf("the demo broke off where %s: %w", strings.ToLower(a.title[:1])+a.title[1:], err)
		}
	}
	return nil
}

// prepare casts the people and finds the home a place.
func (d *demo) prepare() error {
	people, err := sample.People()
	if err != nil {
		return err
	}
	if d.cast == 0 {
		d.cast = len(people)
	}
	if d.people, err = registrantsOf(people[:d.cast]); err != nil {
		return err
	}
	if d.home == "" {
		home, err := os.MkdirTemp("", "sandyq-demo-")
		if err != nil {
			return fmt.Errorf("make a temporary home: %w", err)
		}
		d.home, d.temporary = home, true
	}
	d.config = defaultConfig()
	d.config.Home, d.config.Listen, d.config.Ops = d.home, anyPort, anyPort
	entries, err := os.ReadDir(d.home)
	switch {
	case err == nil && len(entries) > 0:
		return hinted(fmt.Errorf("%s is not empty", d.home), "the demo makes a home of its own: name a new directory, or none")
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("look at the home: %w", err)
	}
	return nil
}

// conclude answers the report, and fails when a claim did not hold.
func (d *demo) conclude() error {
	d.report.finish(readBuild(), clock.System().Sub(d.began))
	d.report.Answers = d.server.tally.byStatus()
	if d.kept() {
		d.report.Home = d.home
	}
	if d.stay {
		d.report.Server, d.report.TokenFile = d.server.front.apiURL, d.config.devToken()
	}
	err := d.answer(d.report, func(io.Writer) error { return d.screen.summary(&d.report) })
	if err != nil {
		return err
	}
	if broken := d.report.broken(); len(broken) > 0 {
		return fmt.Errorf("%d of %d claims do not hold: %s", len(broken), len(d.report.Checks), strings.Join(broken, "; "))
	}
	return nil
}

// anyPort takes a free port of the loopback interface.
const anyPort = "127.0.0.1:0"

// kept reports whether the home outlives the demo.
func (d *demo) kept() bool { return !d.temporary || d.stay }

// leave stops the server and removes what is not kept, whatever happened before.
func (d *demo) leave() error {
	var errs []error
	if d.server != nil {
		errs = append(errs, d.server.stop())
	}
	errs = append(errs, os.RemoveAll(d.copyDir()))
	if !d.kept() {
		errs = append(errs, os.RemoveAll(d.home))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clean up after the demo: %w", err)
	}
	return nil
}

// copyDir is where the copy of the store and the documents lies while the demo runs.
func (d *demo) copyDir() string { return filepath.Join(d.home, "copy") }

// invite says how to go on with the server that stays up.
func (d *demo) invite() {
	d.screen.act("The server stays up")
	d.screen.say("address  %s", d.server.front.apiURL)
	d.screen.say("home     %s (kept: remove it when you are done)", d.home)
	d.screen.say("token    %s", d.administrator.secret)
	d.screen.say("")
	d.screen.say("sandyq whoami --server %s --home %s", d.server.front.apiURL, d.home)
	d.screen.say("")
	d.screen.say("NOT SAFE for real data: the keys and this token lie in the home. Interrupt to stop.")
}

// timed runs a piece of work and notes how long it took.
func (d *demo) timed(name, unit string, count int, work func() error) (*stage, error) {
	began := clock.System()
	err := work()
	s := stage{Name: name, Unit: unit, Count: count, Seconds: clock.System().Sub(began).Seconds()}
	if count > 0 && s.Seconds > 0 {
		s.PerSecond = float64(count) / s.Seconds
	}
	d.report.Stages = append(d.report.Stages, s)
	return &s, err
}

// claim notes whether what it says was found to be so, and says it.
func (d *demo) claim(name string, holds bool, figure, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	d.report.Checks = append(d.report.Checks, check{name, text, holds})
	d.screen.claim(holds, text, figure)
}
