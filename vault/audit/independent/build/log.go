package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	flog "github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

const width = 256 // of a tile of c2sp.org/tlog-tiles

func verifyLog(vkey, dir string, old ...string) error {
	key, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	keys := note.VerifierList(key)
	tree, err := readCheckpoint(filepath.Join(dir, "checkpoint"), key.Name(), keys)
	if err != nil {
		return err
	}
	l := &log{dir: dir, size: tree.Size, nodes: map[compact.NodeID][]byte{}}
	if err := l.read(); err != nil {
		return err
	}
	if !bytes.Equal(l.root, tree.Hash) {
		return errors.New("the entries do not make the tree that is signed")
	}
	if err := l.checkTiles(); err != nil {
		return err
	}
	for _, path := range old {
		before, err := readCheckpoint(path, key.Name(), keys)
		if err != nil {
			return err
		}
		if err := l.checkGrowth(before, tree); err != nil {
			return fmt.Errorf("the log is not what it was and more: %w", err)
		}
	}
	fmt.Printf("verified %s: %d entries\n", tree.Origin, tree.Size)
	return nil
}

func readCheckpoint(path, origin string, keys note.Verifiers) (*flog.Checkpoint, error) {
	msg, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return openCheckpoint(msg, origin, keys)
}

// log is a log that was downloaded.
type log struct {
	dir   string
	size  uint64
	root  []byte
	nodes map[compact.NodeID][]byte
}

// read makes the tree of the entries.
func (l *log) read() error {
	factory := compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	all := factory.NewEmptyRange(0)
	for n := uint64(0); all.End() < l.size; n++ {
		bundle, err := l.tile("entries", n, l.size)
		if err != nil {
			return err
		}
		for range min(width, l.size-n*width) {
			if len(bundle) < 2 || len(bundle) < 2+int(binary.BigEndian.Uint16(bundle)) {
				return errors.New("a bundle is cut short")
			}
			end := 2 + int(binary.BigEndian.Uint16(bundle))
			if err := all.Append(rfc6962.DefaultHasher.HashLeaf(bundle[2:end]), l.keep); err != nil {
				return err
			}
			bundle = bundle[end:]
		}
		if len(bundle) > 0 {
			return errors.New("a bundle has more than its entries")
		}
	}
	if l.size == 0 {
		l.root = rfc6962.DefaultHasher.EmptyRoot()
		return nil
	}
	root, err := all.GetRootHash(nil)
	l.root = root
	return err
}

func (l *log) keep(id compact.NodeID, hash []byte) { l.nodes[id] = bytes.Clone(hash) }

// tile reads a tile of a level that has so many hashes.
func (l *log) tile(level string, n, of uint64) ([]byte, error) {
	path := fmt.Sprintf("%03d", n%1000)
	for i := n / 1000; i > 0; i /= 1000 {
		path = fmt.Sprintf("x%03d/%s", i%1000, path)
	}
	if rest := of - n*width; rest < width {
		path = fmt.Sprintf("%s.p/%d", path, rest)
	}
	return os.ReadFile(filepath.Join(l.dir, "tile", level, path))
}

// checkTiles holds every tile of hashes against the tree that the entries make.
func (l *log) checkTiles() error {
	for level, of := 0, l.size; of > 0; level, of = level+1, of/width {
		for n := uint64(0); n*width < of; n++ {
			tile, err := l.tile(fmt.Sprint(level), n, of)
			if err != nil {
				return err
			}
			count := min(width, of-n*width)
			if uint64(len(tile)) != count*32 {
				return errors.New("a tile is cut short, or too long")
			}
			for i := range count {
				if !bytes.Equal(tile[i*32:i*32+32], l.nodes[compact.NewNodeID(uint(8*level), n*width+i)]) {
					return fmt.Errorf("tile %d of level %d is not of the tree", n, level)
				}
			}
		}
	}
	return nil
}

// checkGrowth makes a proof of consistency of the downloaded tree and verifies it.
func (l *log) checkGrowth(before, now *flog.Checkpoint) error {
	if before.Size > now.Size {
		return errors.New("it shrank")
	}
	needed, err := proof.Consistency(before.Size, now.Size)
	if err != nil {
		return err
	}
	var hashes [][]byte
	for _, id := range needed.IDs {
		h := l.nodes[id]
		if h == nil {
			return fmt.Errorf("a node is missing: %v", id)
		}
		hashes = append(hashes, h)
	}
	if hashes, err = needed.Rehash(hashes, rfc6962.DefaultHasher.HashChildren); err != nil {
		return err
	}
	return proof.VerifyConsistency(rfc6962.DefaultHasher, before.Size, now.Size, hashes, before.Hash, now.Hash)
}
