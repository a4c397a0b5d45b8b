package badgerdb

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"time"
)

// bridge takes Badger's messages to slog. Arguments may hold keys: only numbers, durations and the error numbers of the
// operating system pass.
//
// Badger goes on after errors of its background work. We do not: broken is called with each.
type bridge struct {
	log    *slog.Logger
	broken func(error)
}

func (b *bridge) Errorf(format string, args ...any) {
	msg := redacted(format, args)
	b.log.Error(msg, "from", "badger")
	b.broken(errors.New("badger: " + msg))
}

func (b *bridge) Warningf(format string, args ...any) {
	msg := redacted(format, args)
	b.log.Warn(msg, "from", "badger")
	if strings.HasPrefix(format, "While running doCompact") { // a failed compaction, which Badger would try again
		b.broken(errors.New("badger: " + msg))
	}
}

func (b *bridge) Infof(format string, args ...any) {
	b.log.Debug(redacted(format, args), "from", "badger")
}
func (b *bridge) Debugf(format string, args ...any) {}

// redacted formats a message with every argument that might hold data replaced.
func redacted(format string, args []any) string {
	safe := make([]any, len(args))
	for i, a := range args {
		switch a := a.(type) {
		case int, int32, int64, uint, uint16, uint32, uint64, float64, bool, time.Duration:
			safe[i] = a
		case error:
			var errno syscall.Errno
			if errors.As(a, &errno) {
				safe[i] = errno.Error()
			} else {
				safe[i] = fmt.Sprintf("[%T]", a)
			}
		default:
			safe[i] = fmt.Sprintf("[%T]", a)
		}
	}
	// Verbs such as %d or %x of a replaced argument still print it, as text.
	return strings.TrimSpace(fmt.Sprintf(format, safe...))
}
