package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// leakReport says what was searched for plaintext and what was found.
type leakReport struct {
	Values int   `json:"values"` // different plaintexts that were looked for
	Files  int   `json:"files"`
	Bytes  int64 `json:"bytes"`
	Found  int   `json:"found"`
}

// hunt looks for many texts in one pass, after Wu and Manber: the four bytes that end a window of eight tell how far on a
// text may begin at the earliest, which is mostly past all of them.
type hunt struct {
	begins  map[uint64][]string // by their first eight bytes
	skip    []uint8             // by the slot of a window's last four bytes: how far no text begins
	longest int
	buffer  []byte
}

const (
	needleSize = 8 // bytes of the window, and of the shortest text that can be looked for
	blockSize  = 4
	slotBits   = 18
	huntChunk  = 1 << 20
)

func newHunt(needles []string) *hunt {
	h := &hunt{begins: map[uint64][]string{}, skip: make([]uint8, 1<<slotBits), longest: needleSize}
	for i := range h.skip {
		h.skip[i] = needleSize - blockSize + 1
	}
	for _, n := range needles {
		window := []byte(n[:needleSize])
		begin := binary.LittleEndian.Uint64(window)
		h.begins[begin] = append(h.begins[begin], n)
		h.longest = max(h.longest, len(n))
		for at := range needleSize - blockSize + 1 {
			s := slot(window[at:])
			h.skip[s] = min(h.skip[s], uint8(needleSize-blockSize-at))
		}
	}
	h.buffer = make([]byte, huntChunk+h.longest)
	return h
}

// slot is a multiplicative hash of a block.
func slot(b []byte) uint32 { return binary.LittleEndian.Uint32(b) * 0x9e3779b1 >> (32 - slotBits) }

// through counts the occurrences in what r gives. It is for one caller at a time.
func (h *hunt) through(r io.Reader) (found int, err error) {
	buffer := h.buffer[:0]
	for {
		n, err := io.ReadFull(r, buffer[len(buffer):min(len(buffer)+huntChunk, cap(buffer))])
		buffer = buffer[:len(buffer)+n]
		last := err != nil
		if last && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return found, err
		}
		end := len(buffer) // where texts may begin whose end has come
		if !last {
			end -= h.longest - 1
		}
		found += h.in(buffer, end)
		if last {
			return found, nil
		}
		buffer = append(buffer[:0], buffer[end:]...)
	}
}

// in counts the texts that begin in the first end bytes of b.
func (h *hunt) in(b []byte, end int) (found int) {
	for i := 0; i < end && i+needleSize <= len(b); {
		if skip := h.skip[slot(b[i+needleSize-blockSize:])]; skip > 0 {
			i += int(skip)
			continue
		}
		for _, n := range h.begins[binary.LittleEndian.Uint64(b[i:])] {
			if bytes.HasPrefix(b[i:], []byte(n)) {
				found++
			}
		}
		i++
	}
	return found
}

// under searches every file below a directory, and their names. Files that a running store removes meanwhile are passed
// over.
func (h *hunt) under(dir string) (report leakReport, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return report, fmt.Errorf("search for plaintext: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	err = fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		found, err := h.file(root, path, &report)
		report.Found += found
		return err
	})
	if err != nil {
		return report, fmt.Errorf("search for plaintext: %w", err)
	}
	return report, nil
}

func (h *hunt) file(root *os.Root, path string, report *leakReport) (int, error) {
	inName := h.in([]byte(path), len(path))
	f, err := root.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return inName, nil
	}
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	report.Files++
	report.Bytes += info.Size()
	found, err := h.through(f)
	return inName + found, err
}
