package httpapi

import (
	"io"
	"net"
	"net/http"
	"reflect"

	"github.com/sandyq/sandyq/vault/fault"
)

// StreamHandler serves document at the content route of an otherwise ordinary handler, without a service that knows it.
func StreamHandler(c Config, mediaType string, size int64, document func() io.ReadSeeker) http.Handler {
	f := Handler(c).(*front)
	f.mux = http.NewServeMux()
	f.mux.HandleFunc("GET /v1/content/{handle}", func(w http.ResponseWriter, r *http.Request) {
		x := w.(*exchange)
		for _, route := range Routes() {
			if route.Operation == opContent {
				x.route = &route
			}
		}
		x.stream(r.PathValue("handle"), mediaType, size, document())
	})
	return f
}

// Decode is decode for a T.
func Decode[T any](raw []byte) (*T, *fault.Error) {
	in := new(T)
	if err := decode(raw, in); err != nil {
		return nil, fault.From(err)
	}
	return in, nil
}

// Known reports whether name is a member of t or of something in it.
func Known(t reflect.Type, name string) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return Known(t.Elem(), name)
	case reflect.Struct:
		if _, ok := member(t, name); ok {
			return true
		}
		for f := range t.Fields() {
			if f.IsExported() && Known(f.Type, name) {
				return true
			}
		}
	}
	return false
}

// Guard makes a listener's connections guarded, and tells one what forbids its writes.
func Guard(l net.Listener) net.Listener { return guarding{l} }

// Forbid has the writes of a connection of a guarded listener fail from the moment on at which they are forbidden.
func Forbid(c net.Conn, forbids func() bool) { c.(*guarded).forbids.Store(&forbids) }

var ErrGuarded = errGuarded
