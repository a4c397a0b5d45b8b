package s3server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Version is the release of the Versity S3 Gateway that build/go.mod pins.
const Version = "1.8.0"

// BinaryVariable names the environment variable that points at the server to test against, before anything else is looked for.
const BinaryVariable = "SANDYQ_S3_BIN"

// ErrNotFound says that there is no server on this machine yet; Build makes one.
var ErrNotFound = errors.New("no versitygw found: run `go run ./vault/blob/s3server/ensure` (builds one into the user's cache), " +
	"install versitygw, or set " + BinaryVariable)

// Find returns the path of a server: $SANDYQ_S3_BIN, else versitygw on PATH, else what Build made of the pins in this checkout.
func Find() (string, error) {
	if path := os.Getenv(BinaryVariable); path != "" {
		found, err := exec.LookPath(path)
		if err != nil {
			return "", fmt.Errorf("$%s: %w", BinaryVariable, err)
		}
		return found, nil
	}
	if path, err := exec.LookPath("versitygw"); err == nil {
		return path, nil
	}
	_, path, err := places()
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", ErrNotFound
	} else if err != nil {
		return "", fmt.Errorf("look for a built server: %w", err)
	}
	return path, nil
}

// Build compiles the pinned server into the user's cache and returns its path; what is there already is kept. Of several
// processes one builds and the others wait. It needs the Go toolchain and the Go module proxy, and no C compiler.
func Build(ctx context.Context, log io.Writer) (string, error) {
	source, path, err := places()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("make the server's cache: %w", err)
	}
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", fmt.Errorf("open the build lock: %w", err)
	}
	defer func() { _ = lock.Close() }() // which drops the lock
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("take the build lock: %w", err)
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	_, _ = fmt.Fprintf(log, "s3server: building versitygw %s into %s; minutes the first time\n", Version, filepath.Dir(path))
	partial := path + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return "", fmt.Errorf("clear an unfinished build: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", partial, //nolint:gosec // the path is made here
		"github.com/versity/versitygw/cmd/versitygw")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build in %s: %w\n%s", source, err, output)
	}
	if err := os.Rename(partial, path); err != nil {
		return "", fmt.Errorf("put the built server in place: %w", err)
	}
	return path, nil
}

// places finds the nested module by walking up from the working directory, which for a test is its package's folder, and where
// the server built from it belongs: other pins give another path, so a stale server is never run.
func places() (source, binary string, err error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", "", fmt.Errorf("find the server's pins: %w", err)
	}
	for ; ; dir = filepath.Dir(dir) {
		source = filepath.Join(dir, "vault", "blob", "s3server", "build")
		if _, err := os.Stat(filepath.Join(source, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			return "", "", errors.New("find the server's pins: no vault/blob/s3server/build above the working directory")
		}
	}
	sum := sha256.New()
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return "", "", fmt.Errorf("read the server's pins: %w", err)
		}
		sum.Write(content)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", "", fmt.Errorf("find the user's cache: %w", err)
	}
	name := fmt.Sprintf("s3server-%s-%s", Version, hex.EncodeToString(sum.Sum(nil)[:6]))
	return source, filepath.Join(cache, "sandyq", name, "versitygw"), nil
}
