package vaultserver

import (
	"bytes"
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
	"time"
)

// Version is the release of HashiCorp Vault that build/go.mod pins.
const Version = "1.21.0"

// BinaryVariable names the environment variable that points at the server to
// test against, before anything else is looked for.
const BinaryVariable = "SANDYQ_VAULT_BIN"

// ErrNotFound says that there is no server on this machine yet; Build makes
// one.
var ErrNotFound = errors.New("no HashiCorp Vault server found: run `go run ./crypto/kms/hashicorp/vaultserver/ensure` " +
	"(builds one into the user's cache), install vault or bao, or set " + BinaryVariable)

// Find returns the path of a server: $SANDYQ_VAULT_BIN, else vault or bao on
// PATH, else what Build made of the sources in this checkout. The error is
// ErrNotFound when there is none; a $SANDYQ_VAULT_BIN that cannot be run is
// an error of its own, never a reason to look further.
func Find() (string, error) {
	if path := os.Getenv(BinaryVariable); path != "" {
		found, err := exec.LookPath(path)
		if err != nil {
			return "", fmt.Errorf("$%s: %w", BinaryVariable, err)
		}
		return found, nil
	}
	for _, name := range []string{"vault", "bao"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	source, err := sourceDir()
	if err != nil {
		return "", err
	}
	path, err := cachePath(source)
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

// Build compiles the server in build/ into the user's cache and returns its
// path; what is there already is kept. It tells log what it does. Of several
// processes building at once one builds and the others wait for it. It needs
// the Go toolchain, the Go module proxy and some 3 GB of free space for Go's
// own caches; no C compiler.
func Build(ctx context.Context, log io.Writer) (string, error) {
	source, err := sourceDir()
	if err != nil {
		return "", err
	}
	path, err := cachePath(source)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("make the server's cache: %w", err)
	}
	unlock, err := lockFile(ctx, filepath.Dir(path)+".lock", log)
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	_, _ = fmt.Fprintf(log, "vaultserver: building HashiCorp Vault %s (a slim server for tests) into %s; minutes the first time\n",
		Version, filepath.Dir(path))
	partial := path + ".partial"
	// go build will not overwrite a file it cannot recognise as its own, such
	// as half of one.
	if err := os.RemoveAll(partial); err != nil {
		return "", fmt.Errorf("clear an unfinished build: %w", err)
	}
	if err := compile(ctx, source, partial, log); err != nil {
		return "", err
	}
	if err := os.Rename(partial, path); err != nil {
		return "", fmt.Errorf("put the built server in place: %w", err)
	}
	return path, nil
}

// compile runs go build on the nested module, for as long as ctx lives. The
// workspace, the flags and the C compiler of the caller's environment are
// kept out, so that every machine builds the same program.
func compile(ctx context.Context, source, binary string, log io.Writer) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", binary, ".") //nolint:gosec // the path is made here
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // lets it end its compilers
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start go build: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()

	// The ticker that shows life also counts the seconds.
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	seconds := 0
	for {
		select {
		case <-tick.C:
			if seconds++; seconds%30 == 0 {
				_, _ = fmt.Fprintf(log, "vaultserver: still building after %d s\n", seconds)
			}
		case err := <-done:
			if err != nil {
				return fmt.Errorf("go build in %s: %w\n%s", source, err, output.Bytes())
			}
			_, _ = fmt.Fprintf(log, "vaultserver: built in %d s\n", seconds)
			return nil
		}
	}
}

// sourceDir finds the nested module by walking up from the working directory,
// which for a test is its package's folder. The module is not compiled in:
// nothing here may depend on where this package was built.
func sourceDir() (string, error) {
	const below = "crypto/kms/hashicorp/vaultserver/build"
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the server's sources: %w", err)
	}
	for {
		source := filepath.Join(dir, below)
		if _, err := os.Stat(filepath.Join(source, "go.mod")); err == nil {
			return source, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("find the server's sources: no %s above the working directory", below)
		}
		dir = parent
	}
}

// cachePath is where the server built from the sources in dir belongs. Other
// sources or pins give another path, so a stale server is never run.
func cachePath(source string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the user's cache: %w", err)
	}
	sum := sha256.New()
	err = fs.WalkDir(os.DirFS(source), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(sum, "%s %d\n", name, len(content))
		sum.Write(content)
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("read the server's sources: %w", err)
	}
	name := fmt.Sprintf("vaultserver-%s-%s", Version, hex.EncodeToString(sum.Sum(nil)[:6]))
	return filepath.Join(cache, "sandyq", name, "vault"), nil
}

// lockFile takes the lock at path, telling log when it has to wait. The
// system drops the lock when its holder dies.
func lockFile(ctx context.Context, path string, log io.Writer) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the build lock: %w", err)
	}
	retry := time.NewTicker(200 * time.Millisecond)
	defer retry.Stop()
	for told := false; ; told = true {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil // which drops the lock
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			_ = file.Close()
			return nil, fmt.Errorf("take the build lock: %w", err)
		}
		if !told {
			_, _ = fmt.Fprintln(log, "vaultserver: another process is building the server; waiting for it")
		}
		select {
		case <-ctx.Done():
			_ = file.Close()
			return nil, fmt.Errorf("wait for another build: %w", ctx.Err())
		case <-retry.C:
		}
	}
}
