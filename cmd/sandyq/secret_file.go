package main

import (
	"bytes"
	"fmt"
	"os"
)

const maxSecretFile = 4 << 10 // bytes

// readSecretFile reads a file that holds a secret, unless others may get at it.
func readSecretFile(path string) ([]byte, error) {
	if err := checkSecretFile(path); err != nil {
		return nil, err
	}
	return readSmall(path, maxSecretFile)
}

// readSecretLine is readSecretFile of one that holds one line, without its end.
func readSecretLine(path string) ([]byte, error) {
	b, err := readSecretFile(path)
	if err != nil {
		return nil, err
	}
	line, rest, _ := bytes.Cut(b, []byte("\n"))
	if len(rest) > 0 {
		return nil, fmt.Errorf("%s has more than one line", path)
	}
	return bytes.TrimSuffix(line, []byte("\r")), nil
}

// checkSecretFile refuses a file that others than its user and group may read, or others than its user write. It is this
// user's or root's.
func checkSecretFile(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if ownerOf(info) != root {
		if err := checkOwner(path, info); err != nil {
			return err
		}
	}
	if mode := info.Mode().Perm(); mode&0o027 != 0 {
		return hinted(fmt.Errorf("%s holds a secret and has mode %#o", path, mode), "run chmod g=r,o= %s", path)
	}
	return nil
}
