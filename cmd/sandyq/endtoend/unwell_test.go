package endtoend

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/vault/store/postgres/pgserver"
)

// TestADatabaseThatWillNotDo: every command that needs the rows says what is the matter with the server that has them, and ends.
func TestADatabaseThatWillNotDo(t *testing.T) {
	unsafe := pgserver.Start(t, "fsync = off").Database(t)
	for name, of := range map[string]struct{ dsn, more, says string }{
		"away":   {"postgres://sandyq@" + free(t) + "/nowhere", "", "connection refused"},
		"unsafe": {unsafe, "", "fsync"},
		"empty":  {pgserver.Shared(t).Database(t), ", migrate: false", "sandyq migrate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := furnished(t)
			h.write("rows.dsn", of.dsn+"\n")
			h.config("rows", "{engine: postgres, postgres: {dsn_file: rows.dsn"+of.more+"}}", "documents")
			for _, command := range []string{
				"serve", "doctor", "promote", "init --new-token", "ledger rebuild --accept-loss",
				"migrate-store --from " + h.file("badger") + " --to", "migrate-store --to " + h.file("badger") + " --from",
			} {
				args := strings.Fields(command)
				if args[0] == "migrate-store" {
					args = append(args, h.file("rows"))
				} else {
					args = append(args, "--config", h.file("rows"))
				}
				path, err := binary()
				check(t, err)
				out, err := exec.Command(path, args...).CombinedOutput()
				var ended *exec.ExitError
				if !errors.As(err, &ended) || ended.ExitCode() == 2 && strings.Contains(string(out), "goroutine ") || !strings.Contains(string(out), of.says) {
					t.Errorf("%s: %v: %s", command, err, out)
				}
			}
		})
	}
}
