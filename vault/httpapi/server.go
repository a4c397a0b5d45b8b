package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// The limits of a connection. Documents have their own pace.
const (
	headerTimeout = 10 * time.Second
	bodyTimeout   = 60 * time.Second             // for a request whole: 8 MiB at 140 KB/s
	answerTimeout = bodyTimeout + 60*time.Second // from the header to the answer's last byte
	idleTimeout   = 120 * time.Second
	maxHeader     = 32 << 10 // bytes
)

// Server serves a handler on listeners until it is shut down. HTTP/1.1 in the clear, HTTP/2 too over TLS.
type Server struct{ http http.Server }

// NewServer makes a server for h. With tlsConfig every connection must speak TLS; without, the listener must be one that
// only trusted neighbours reach. The server's own complaints (handshakes, broken clients) go to log.
func NewServer(h http.Handler, tlsConfig *tls.Config, log *slog.Logger) *Server {
	return &Server{http.Server{
		Handler: h, TLSConfig: tlsConfig,
		ReadHeaderTimeout: headerTimeout, ReadTimeout: bodyTimeout, WriteTimeout: answerTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader, ConnContext: withGuard,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}}
}

// Serve accepts connections on l, and closes it, until Shutdown; then it returns nil at once, while Shutdown still waits
// for what runs.
func (s *Server) Serve(l net.Listener) error {
	var err error
	l = guarding{l}
	if s.http.TLSConfig != nil {
		err = s.http.ServeTLS(l, "", "")
	} else {
		err = s.http.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve HTTP: %w", err)
}

// Shutdown stops accepting and waits for the requests that run. When ctx ends first it cuts those that are left, whose
// outcome their clients learn by retrying, and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return fmt.Errorf("shut down HTTP: %w", errors.Join(err, s.http.Close()))
	}
	return nil
}
