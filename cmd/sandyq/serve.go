package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func newServeCmd(e *env) *cobra.Command {
	var flags configFlags
	var dev bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve a vault",
		Long: `Serve runs a vault that was set up with init, until SIGINT or SIGTERM: then it stops taking requests, lets those that
run end, and closes the store. A second signal ends it at once; nothing that was acknowledged is lost either way.

Standard output says where it listens; the log goes to standard error.

With --dev it sets the home up if need be, makes an administrator's token, prints it once and keeps it in dev.token in
the home. That is NOT SAFE for real data: whoever reads the home has the keys and the token.`,
		Example: `  sandyq serve --config /etc/sandyq/sandyq.yaml
  sandyq serve --dev --listen 127.0.0.1:0 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.load()
			if err != nil {
				return err
			}
			c.dev = dev
			return serve(cmd.Context(), e, c, dev)
		},
	}
	flags.bind(cmd.Flags())
	flags.bindListeners(cmd.Flags())
	cmd.Flags().BoolVar(&dev, "dev", false, "NOT SAFE: set up what is missing and keep an administrator's token in the home")
	return cmd
}

// errStoreFailed ends a process whose store can no longer promise anything.
var errStoreFailed = errors.New("the store has failed")

// serve runs a vault until it is told to stop.
func serve(ctx context.Context, e *env, c config, dev bool) (err error) {
	// After the first signal the default returns, so that a second one ends the process at once.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	log := e.log(c)
	if e.hardening != nil {
		log.Warn("the memory of this process is not kept from others", "error", e.hardening)
	}
	if err := prepare(e, c, dev); err != nil {
		return err
	}
	reg := newMetrics()
	n, err := openNode(ctx, c, log, reg)
	if err != nil {
		return err
	}
	abandoned := false
	defer func() {
		if !abandoned {
			err = errors.Join(err, n.Close())
		}
	}()
	token := ""
	if dev {
		if token, err = n.devToken(ctx, c); err != nil {
			return err
		}
	}
	f, err := openFront(ctx, c, log, reg, n)
	if err != nil {
		return err
	}
	if err := n.standing(ctx); err != nil {
		log.Warn("what is served is not the live vault", "error", err)
	}
	if err := e.announce(c, f, dev, token); err != nil {
		return errors.Join(err, f.stop(c.ShutdownTimeout))
	}
	abandoned, err = n.serveUntil(ctx, c, log, f)
	return errors.Join(err, os.Remove(c.addressFile()))
}

// prepare sees that there is a vault to serve, and with dev makes it.
func prepare(e *env, c config, dev bool) error {
	if dev {
		e.tell(notSafe)
		return setUp(c)
	}
	return c.ready()
}

// serveUntil waits for the end and stops the front. The caller closes the node unless abandoned: after a failure of the
// store, or when calls still run, closing is not safe, and every acknowledgement is durable without it.
func (n *node) serveUntil(ctx context.Context, c config, log *slog.Logger, f *front) (abandoned bool, err error) {
	select {
	case <-ctx.Done():
		log.Info("stopping")
		if err := f.stop(c.ShutdownTimeout); err != nil {
			return errors.Is(err, errCallsRun), err
		}
		log.Info("stopped")
		return false, nil
	case <-n.Store.Failed():
		log.Error("the store has failed; nothing is acknowledged any more", "error", n.Store.Err())
		f.cut()
		return true, hinted(fmt.Errorf("%w: %w", errStoreFailed, n.Store.Err()),
			"what was acknowledged is safe; start again once the disk, or the database server, is well")
	case err := <-f.failed:
		return false, errors.Join(fmt.Errorf("serve: %w", err), f.stop(c.ShutdownTimeout))
	}
}
