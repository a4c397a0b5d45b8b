package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// The values of tls.client_certificates.
const (
	certificatesOptional = "optional"
	certificatesRequired = "required"
)

// listenerTLS is how each listener is protected; nil is plain HTTP.
type listenerTLS struct{ api, ops *tls.Config }

// serverTLS reads the certificates. The operations address gets the certificate, too, when other machines reach it, and
// asks for none: what probes it has no credentials.
func (c config) serverTLS(log *slog.Logger) (listenerTLS, error) {
	if c.TLS.CertFile == "" {
		return listenerTLS{}, nil
	}
	files := &certificates{config: c.TLS, log: log}
	if err := files.load(); err != nil {
		return listenerTLS{}, fmt.Errorf("tls: %w", err)
	}
	secure := listenerTLS{api: files.server(true)}
	if public, err := reachesOut(c.Ops); err != nil || public {
		secure.ops = files.server(false)
	}
	return secure, nil
}

// certificates are the TLS files, read again when they have changed: certificates are short-lived, servers are not.
type certificates struct {
	config tlsConfig
	log    *slog.Logger

	mu      sync.Mutex   // guards what follows
	changed [3]time.Time // of the files that are in use
	trouble string       // why newer files cannot be used, as logged; empty when they can
	chain   *tls.Certificate
	clients *x509.CertPool // nil when clients are asked for no certificate
}

// server is the configuration of a listener; each handshake takes the files as they are then.
func (f *certificates) server(askClients bool) *tls.Config {
	base := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		chain, clients := f.current()
		fresh := &tls.Config{MinVersion: base.MinVersion, NextProtos: base.NextProtos, Certificates: []tls.Certificate{*chain}}
		if askClients && clients != nil {
			fresh.ClientCAs, fresh.ClientAuth = clients, tls.VerifyClientCertIfGiven
			if f.config.ClientCertificates == certificatesRequired {
				fresh.ClientAuth = tls.RequireAndVerifyClientCert
			}
			// A resumed session would bring a certificate that was verified against the authorities of its day.
			fresh.SessionTicketsDisabled = true
		}
		return fresh, nil
	}
	// Nothing but a sign for net/http that there are certificates; every handshake has the fresh configuration.
	base.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		chain, _ := f.current()
		return chain, nil
	}
	return base
}

// current gives the certificates in the files, or the last ones that could be read.
func (f *certificates) current() (*tls.Certificate, *x509.CertPool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stamps() != f.changed {
		if err := f.read(); err != nil && err.Error() != f.trouble {
			f.trouble = err.Error() // once, however many handshakes meet it
			f.log.Error("the new TLS files cannot be used; the old ones still are", "error", err)
		}
	}
	return f.chain, f.clients
}

func (f *certificates) load() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.read()
}

// read reads the files. What fails is tried again, since a mode or a second file may be put right without a change of the
// first. mu is held.
func (f *certificates) read() error {
	stamps := f.stamps()
	if err := checkSecretFile(f.config.KeyFile); err != nil {
		return err
	}
	chain, err := tls.LoadX509KeyPair(f.config.CertFile, f.config.KeyFile)
	if err != nil {
		return err
	}
	if f.config.ClientCAFile != "" {
		pem, err := os.ReadFile(f.config.ClientCAFile)
		if err != nil {
			return err
		}
		clients := x509.NewCertPool()
		if !clients.AppendCertsFromPEM(pem) {
			return errors.New("client_ca_file holds no certificate")
		}
		f.clients = clients
	}
	f.chain, f.changed, f.trouble = &chain, stamps, ""
	return nil
}

// stamps are the times of the files' last changes; of one that is not there, the zero time.
func (f *certificates) stamps() (stamps [3]time.Time) {
	for i, path := range []string{f.config.CertFile, f.config.KeyFile, f.config.ClientCAFile} {
		if info, err := os.Stat(path); err == nil {
			stamps[i] = info.ModTime()
		}
	}
	return stamps
}
