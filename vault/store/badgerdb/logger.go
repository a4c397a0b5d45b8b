package badgerdb

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"time"
)

// bridge takes Badger's messages to slog. Arguments may hold keys: only numbers, durations and what the operating
// system says pass.
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
			safe[i] = systemError(a)
		default:
			safe[i] = fmt.Sprintf("[%T]", a)
		}
	}
	// Verbs such as %d or %x of a replaced argument still print it, as text.
	return strings.TrimSpace(fmt.Sprintf(format, safe...))
}

// systemError returns what the operating system said, which Badger often passes on only as text.
func systemError(err error) string {
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.ENOENT, syscall.EMFILE, syscall.ENOMEM} {
		if errors.Is(err, errno) || strings.Contains(err.Error(), errno.Error()) {
			return errno.Error()
		}
	}
	return fmt.Sprintf("[%T]", err)
}
