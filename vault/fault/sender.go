package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// Sender is why what somebody sends did not arrive, fit to be a cause: a parser's error may quote what was sent, so that
// of an error of none of these kinds only the type is left.
func Sender(err error) error {
	for _, kind := range []error{
		io.ErrUnexpectedEOF, os.ErrDeadlineExceeded, context.DeadlineExceeded, context.Canceled, net.ErrClosed,
	} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		return number
	}
	return fmt.Errorf("%T", err)
}
