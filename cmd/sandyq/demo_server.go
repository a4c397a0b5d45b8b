package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/sandyq/sandyq/metrics"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
)

// demoServer is a vault served from this process, as serve --dev does it. It can be halted and started again.
type demoServer struct {
	config config
	log    *slog.Logger
	file   *os.File // the log's
	reg    *metrics.Registry
	tally  tally

	node  *node
	front *front
	token string // the administrator's
}

// newDemoServer makes a server that writes its log into the home.
func newDemoServer(c config) (*demoServer, error) {
	f, err := os.OpenFile(filepath.Join(c.Home, "server.log"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make the server's log: %w", err)
	}
	c.dev = true
	b := readBuild()
	transport := &http.Transport{MaxIdleConnsPerHost: 2 * uploadWorkers}
	return &demoServer{
		config: c, file: f, log: slog.New(slog.NewJSONHandler(f, nil)), reg: metrics.New(b.Version, b.Revision),
		tally: tally{transport: transport, counts: map[int]int{}},
	}, nil
}

// start opens the vault and begins to answer, always at the address it had the first time.
func (s *demoServer) start(ctx context.Context) (err error) {
	if s.node, err = openNode(ctx, s.config, s.log, s.reg); err != nil {
		return err
	}
	fresh, err := s.node.devToken(ctx, s.config)
	if err != nil {
		return err
	}
	if fresh != "" {
		s.token = fresh
	}
	if s.front, err = openFront(ctx, s.config, s.log, s.reg, s.node); err != nil {
		return err
	}
	s.config.Listen = strings.TrimPrefix(s.front.apiURL, "http://")
	return nil
}

// halt stops answering and closes the vault, as an orderly stop of the process does.
func (s *demoServer) halt() error {
	s.tally.transport.CloseIdleConnections()
	if s.front != nil {
		err := s.front.stop(s.config.ShutdownTimeout)
		if s.front = nil; errors.Is(err, errCallsRun) {
			return err // closing under them is not safe
		}
		if err != nil {
			return errors.Join(err, s.close())
		}
	}
	return s.close()
}

func (s *demoServer) close() error {
	if s.node == nil {
		return nil
	}
	n := s.node
	s.node = nil
	return n.Close()
}

// stop halts for good.
func (s *demoServer) stop() error { return errors.Join(s.halt(), s.file.Close()) }

// stay serves until ctx ends or the vault fails.
func (s *demoServer) stay(ctx context.Context) error {
	abandoned, err := s.node.serveUntil(ctx, s.config, s.log, s.front)
	if s.front = nil; abandoned {
		s.node = nil
	}
	return err
}

// party is somebody who calls the API: a service token and a client that shows it.
type party struct {
	*client.Client
	secret string
}

func (s *demoServer) party(secret string) (*party, error) {
	c, err := client.New(s.front.apiURL, secret, client.WithTransport(&s.tally))
	if err != nil {
		return nil, err
	}
	return &party{c, secret}, nil
}

// admit has the administrator make a token for a system, and gives its party.
func (s *demoServer) admit(ctx context.Context, administrator *party, system, role string) (*party, error) {
	made, err := administrator.CreateServiceToken(ctx, &api.CreateServiceTokenRequest{System: system, Role: role})
	if err != nil {
		return nil, err
	}
	return s.party(made.Secret)
}

// tally carries the parties' calls and counts the answers by status.
type tally struct {
	transport *http.Transport
	mu        sync.Mutex
	counts    map[int]int
}

func (t *tally) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.transport.RoundTrip(r)
	if err == nil {
		t.mu.Lock()
		t.counts[resp.StatusCode]++
		t.mu.Unlock()
	}
	return resp, err
}

func (t *tally) of(status int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts[status]
}

func (t *tally) byStatus() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := map[string]int{}
	for status, n := range t.counts {
		all[strconv.Itoa(status)] = n
	}
	return all
}

// start sets the vault up: the first administrator at the machine, everybody else over the API.
func (d *demo) start(ctx context.Context) error {
	pace, err := d.timed("start", "", 0, func() (err error) {
		if err := setUp(d.config); err != nil {
			return err
		}
		if d.server, err = newDemoServer(d.config); err != nil {
			return err
		}
		if err := d.server.start(ctx); err != nil {
			return err
		}
		if d.administrator, err = d.server.party(d.server.token); err != nil {
			return err
		}
		return d.admitAll(ctx)
	})
	if err != nil {
		return err
	}
	me, err := d.application.Whoami(ctx)
	if err != nil {
		return err
	}
	d.claim("started", me.System == "crm" && len(me.Roles) == 1 && me.Roles[0] == "application", pace.String(),
		"It answers at %s and knows the application by its token", d.server.front.apiURL)
	until := "removed at the end"
	if d.kept() {
		until = "kept"
	}
	d.screen.say("home %s, %s", d.home, until)
	return nil
}

func (d *demo) admitAll(ctx context.Context) (err error) {
	if d.application, err = d.server.admit(ctx, d.administrator, "crm", "application"); err != nil {
		return err
	}
	if d.stranger, err = d.server.admit(ctx, d.administrator, "newsletter", "application"); err != nil {
		return err
	}
	d.staff, err = d.server.admit(ctx, d.administrator, "service-desk", "staff")
	return err
}
