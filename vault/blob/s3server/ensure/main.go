// Command ensure prints the path of an S3 server that tests can start, and builds one into the user's cache first when the
// machine has none. Progress goes to standard error, the path alone to standard output.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/sandyq/sandyq/vault/blob/s3server"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	path, err := s3server.Find()
	if errors.Is(err, s3server.ErrNotFound) {
		path, err = s3server.Build(ctx, os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ensure:", err)
		os.Exit(1)
	}
	fmt.Println(path)
}
