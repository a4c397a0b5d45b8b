package file_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/sandyq/sandyq/vault/ledger"
	"github.com/sandyq/sandyq/vault/ledger/file"
	"github.com/sandyq/sandyq/vault/ledger/ledgertest"
)

func TestConformance(t *testing.T) {
	ledgertest.Run(t, func(t *testing.T) ledgertest.Place { return place(filepath.Join(t.TempDir(), "ledger")) })
}

// place is a directory in which a ledger may lie.
func place(dir string) ledgertest.Place {
	path := file.Path(dir, ledgertest.Tenant)
	return ledgertest.Place{
		Create: func(ctx context.Context, o ledger.Options) (ledger.Ledger, error) {
			return opened(file.Create(ctx, dir, o))
		},
		Open: func(ctx context.Context, o ledger.Options) (ledger.Ledger, error) {
			return opened(file.Open(ctx, dir, o))
		},
		Lines: func(t testing.TB) [][]byte {
			t.Helper()
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			lines := bytes.Split(content, []byte("\n"))
			return lines[:len(lines)-1]
		},
		Replace: func(t testing.TB, lines [][]byte) { // in place: it stays the same file
			t.Helper()
			if err := os.WriteFile(path, append(bytes.Join(lines, []byte("\n")), '\n'), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	}
}

// opened makes no Ledger of a nil Book.
func opened(b *ledger.Book, err error) (ledger.Ledger, error) {
	if err != nil {
		return nil, err
	}
	return b, nil
}
