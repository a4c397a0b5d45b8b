package fault_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/sandyq/sandyq/vault/fault"
)

func TestSenderQuotesNothing(t *testing.T) {
	const sent = "Ivanov 850312113646"
	for _, kind := range []error{io.ErrUnexpectedEOF, os.ErrDeadlineExceeded, syscall.ECONNRESET, errors.New("malformed")} {
		err := fmt.Errorf("%s: %w", sent, &net.OpError{Op: "read", Err: kind})
		got := fault.Sender(err)
		if strings.Contains(got.Error(), sent) || errors.Is(got, kind) != !strings.Contains(kind.Error(), "malformed") {
			t.Errorf("%v becomes %v", kind, got)
		}
	}
}
