// Command ensure prints the path of a HashiCorp Vault server that tests can
// start, and builds one into the user's cache first when the machine has none.
//
//	SANDYQ_VAULT_BIN=$(go run ./crypto/kms/hashicorp/vaultserver/ensure)
//
// Progress goes to standard error, the path alone to standard output.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/sandyq/sandyq/crypto/kms/hashicorp/vaultserver"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	path, err := vaultserver.Find()
	if errors.Is(err, vaultserver.ErrNotFound) {
		path, err = vaultserver.Build(ctx, os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ensure:", err)
		os.Exit(1)
	}
	fmt.Println(path)
}
