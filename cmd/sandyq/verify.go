package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/vault/audit/checkpoint"
)

func newVerifyCmd(e *env) *cobra.Command {
	return group("verify", "Check, offline, what a vault has signed", newVerifyCertificateCmd(e), newVerifyLogCmd(e))
}

const keyUsage = "public key of the log, or a file with one a line"

// maxKeys is the largest file of keys in bytes.
const maxKeys = 64 << 10

// logKeys reads the keys of a log: key itself, or the file that it names. Empty lines and such as begin with # say nothing.
func (e *env) logKeys(key string) ([]checkpoint.Key, error) {
	if one, err := checkpoint.ParseKey(key); err == nil {
		return []checkpoint.Key{one}, nil
	}
	text, err := e.readUpTo(key, maxKeys)
	if err != nil {
		return nil, hinted(usagef("--key is no key of a log and no file of them: %w", err), "a key looks like vault.example.kz/main+aeafebba+AXje…")
	}
	var keys []checkpoint.Key
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		one, err := checkpoint.ParseKey(line)
		if err != nil {
			return nil, usagef("--key: %s: %w", key, err)
		}
		keys = append(keys, one)
	}
	if len(keys) == 0 {
		return nil, usagef("--key: %s holds no key", key)
	}
	return keys, nil
}

// readUpTo reads an input whole, which is no larger than limit bytes.
func (e *env) readUpTo(path string, limit int64) ([]byte, error) {
	in, err := e.input(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }() // it was only read
	b, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read the input: %w", err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("read the input: more than %d bytes", limit)
	}
	return b, nil
}
