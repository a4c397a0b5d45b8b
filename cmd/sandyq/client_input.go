package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/vault/api"
)

// standardInput is how a flag that names a file says standard input.
const standardInput = "-"

// input is a file that a flag names, or standard input.
func (e *env) input(path string) (io.ReadCloser, error) {
	if path == standardInput {
		return io.NopCloser(e.in), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the input: %w", err)
	}
	return f, nil
}

// readInput reads an input whole, as much of it as one request may carry.
func (e *env) readInput(path string) ([]byte, error) {
	in, err := e.input(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }() // it was only read
	b, err := io.ReadAll(io.LimitReader(in, api.MaxBody+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the input: %w", err)
	case len(b) > api.MaxBody:
		return nil, fmt.Errorf("read the input: more than the %d bytes that one request may have: split it", api.MaxBody)
	case len(strings.TrimSpace(string(b))) == 0:
		return nil, usagef("the input is empty")
	}
	return b, nil
}

// readText reads one value: the input without the line's end.
func (e *env) readText(path string) (string, error) {
	b, err := e.readInput(path)
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// readLines reads one item a line; blank lines are passed over.
func (e *env) readLines(path string) ([]string, error) {
	b, err := e.readInput(path)
	if err != nil {
		return nil, err
	}
	var lines []string
	scanner := bufio.NewScanner(strings.NewReader(string(b)))
	for scanner.Scan() {
		if line := strings.TrimSpace(scanner.Text()); line != "" {
			lines = append(lines, line)
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("read the input: %w", err)
	}
	return lines, nil
}

// readJSON reads a JSON value into v. The error tells where the input is wrong, without what stands there.
func (e *env) readJSON(path string, v any) error {
	b, err := e.readInput(path)
	if err != nil {
		return err
	}
	err = json.Unmarshal(b, v, json.RejectUnknownMembers(true))
	if broken, ok := errors.AsType[*json.SemanticError](err); ok {
		return hinted(fmt.Errorf("read the input: byte %d of the JSON is not what the command takes", broken.ByteOffset), "--help has an example")
	}
	if err != nil {
		return errors.New("read the input: not valid JSON") // err may repeat a value
	}
	return nil
}
