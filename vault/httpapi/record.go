package httpapi

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime"

	"github.com/sandyq/sandyq/vault/clock"
)

// panicked describes a panic by its type, and by its text only when the runtime wrote it: anything else might carry a
// value.
func panicked(v any) string {
	if err, ok := v.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("%T", v)
}

// frames lists the functions that panicked, innermost first: places in the code, no arguments.
func frames() []string {
	var pcs [32]uintptr
	var out []string
	for it := runtime.CallersFrames(pcs[:runtime.Callers(4, pcs[:])]); ; {
		f, more := it.Next()
		out = append(out, fmt.Sprintf("%s:%d", f.Function, f.Line))
		if !more {
			return out
		}
	}
}

// record tells the observer and writes the request's one log line.
func (x *exchange) record() {
	took := clock.System().Sub(x.start)
	operation, method, pattern := "", "", "" // of the route: a request that has none shows nothing of its line
	if x.route != nil {
		operation, method, pattern = x.route.Operation, x.route.Method, x.route.Pattern
	}
	if x.front.Observe != nil {
		x.front.Observe(operation, x.status, took)
	}
	level := slog.LevelInfo
	switch {
	case x.status >= 500 && x.status != http.StatusInternalServerError:
		level = slog.LevelWarn
	case x.status >= 500:
		level = slog.LevelError
	}
	if !x.front.Log.Enabled(x.r.Context(), level) {
		return
	}
	attrs := append(make([]slog.Attr, 0, 12),
		slog.String("request", x.id), slog.String("method", method), slog.String("route", pattern),
		slog.Int("status", x.status), slog.Int64("bytes", x.bytes),
		slog.Float64("ms", float64(took.Microseconds())/1000))
	if x.principal.System != "" {
		attrs = append(attrs, slog.String("system", x.principal.System), slog.String("role", x.principal.RoleNames()))
	}
	if x.cut {
		attrs = append(attrs, slog.Bool("cut", true))
	}
	if x.fault != nil {
		attrs = append(attrs, slog.String("code", string(x.fault.Code)))
		if cause := x.fault.Unwrap(); cause != nil {
			attrs = append(attrs, slog.String("cause", cause.Error()))
		}
	}
	x.front.Log.LogAttrs(x.r.Context(), level, "request", attrs...)
}
