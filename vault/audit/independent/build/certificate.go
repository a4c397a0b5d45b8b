package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	flog "github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

// document is the file.
type document struct {
	Certificate  string   `json:"certificate"`
	KeyDestroyed evidence `json:"key_destroyed"`
	Erased       evidence `json:"erased"`
	Successions  []string `json:"successions"`
	Removal      string   `json:"removal"`
}

type evidence struct {
	Entry string `json:"entry"`
	Proof string `json:"proof"`
}

// content is what of a certificate is held against the entries.
type content struct {
	Erasure        string          `json:"erasure"`
	Subject        string          `json:"subject"`
	Origin         string          `json:"origin"`
	KeyDestroyedAt string          `json:"key_destroyed_at"`
	ErasedAt       string          `json:"erased_at"`
	Destroyed      json.RawMessage `json:"destroyed"`
	Scope          struct {
		Slices []string `json:"slices"`
	} `json:"scope"`
}

type entry struct {
	At        string   `json:"at"`
	Operation string   `json:"operation"`
	Subject   string   `json:"subject"`
	Objects   []string `json:"objects"`
	Digest    string   `json:"digest"`
}

func verifyCertificate(vkey, path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var d document
	if err := json.Unmarshal(b, &d); err != nil {
		return err
	}
	keys, err := follow(vkey, d.Successions)
	if err != nil {
		return fmt.Errorf("successions: %w", err)
	}
	var c content
	hash, err := openNote(d.Certificate, "sandyq erasure certificate v1", keys, &c)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	digest := sha256.Sum256(c.Destroyed) // the note has it in its canonical form already
	objects := []string{c.Erasure}
	for _, slice := range c.Scope.Slices {
		objects = append(objects, "slices/"+slice)
	}
	first, err := verifyEntry(d.KeyDestroyed, &c, keys, entry{c.KeyDestroyedAt, "erasure.key_destroyed", c.Subject, objects, hex.EncodeToString(digest[:])})
	if err != nil {
		return fmt.Errorf("erasure.key_destroyed: %w", err)
	}
	second, err := verifyEntry(d.Erased, &c, keys, entry{c.ErasedAt, "erasure.erased", c.Subject, objects, ""})
	if err != nil {
		return fmt.Errorf("erasure.erased: %w", err)
	}
	if first.index >= second.index || first.checkpoint != second.checkpoint {
		return errors.New("the entries are in the wrong order, or of two checkpoints")
	}
	if d.Removal != "" {
		var r struct{ Erasure, Certificate string }
		if _, err := openNote(d.Removal, "sandyq erasure removal v1", keys, &r); err != nil {
			return fmt.Errorf("removal: %w", err)
		}
		if r.Erasure != c.Erasure || r.Certificate != hash {
			return errors.New("removal: of another erasure")
		}
	}
	fmt.Printf("verified %s in %s: entries %d and %d of %d\n", c.Erasure, c.Origin, first.index, second.index, first.size)
	return nil
}

// openNote verifies a note of a header and a line of JSON, reads that, and gives the SHA-256 of its text.
func openNote(msg, header string, keys note.Verifiers, v any) (string, error) {
	n, err := note.Open([]byte(msg), keys)
	if err != nil {
		return "", err
	}
	line, ok := strings.CutPrefix(n.Text, header+"\n")
	if !ok {
		return "", fmt.Errorf("no %q", header)
	}
	sum := sha256.Sum256([]byte(n.Text))
	return hex.EncodeToString(sum[:]), json.Unmarshal([]byte(line), v)
}

// follow gives the key that is held and those that it led to.
func follow(vkey string, successions []string) (note.Verifiers, error) {
	held, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, err
	}
	keys, last := []note.Verifier{held}, vkey
	for _, s := range successions {
		lines := strings.Split(s, "\n")
		if len(lines) < 6 || lines[0] != "sandyq log succession v1" {
			return nil, errors.New("not a succession")
		}
		if lines[1] != last {
			continue // of a time before the key that is held
		}
		if _, err := note.Open([]byte(s), note.VerifierList(keys[len(keys)-1])); err != nil {
			return nil, err
		}
		next, err := note.NewVerifier(lines[2])
		if err != nil {
			return nil, err
		}
		keys, last = append(keys, next), lines[2]
	}
	return note.VerifierList(keys...), nil
}

type place struct {
	index, size uint64
	checkpoint  string
}

// verifyEntry verifies a c2sp.org/tlog-proof of an entry, and that the entry says what it should.
func verifyEntry(e evidence, c *content, keys note.Verifiers, want entry) (place, error) {
	head, checkpoint, ok := strings.Cut(e.Proof, "\n\n")
	lines := strings.Split(head, "\n")
	if !ok || len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return place{}, errors.New("no proof")
	}
	index, err := strconv.ParseUint(strings.TrimPrefix(lines[1], "index "), 10, 63)
	if err != nil {
		return place{}, err
	}
	var hashes [][]byte
	for _, line := range lines[2:] {
		h, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			return place{}, err
		}
		hashes = append(hashes, h)
	}
	tree, err := openCheckpoint([]byte(checkpoint), c.Origin, keys)
	if err != nil {
		return place{}, err
	}
	leaf := rfc6962.DefaultHasher.HashLeaf([]byte(e.Entry))
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, index, tree.Size, leaf, hashes, tree.Hash); err != nil {
		return place{}, err
	}
	var said entry
	if err := json.Unmarshal([]byte(e.Entry), &said); err != nil {
		return place{}, err
	}
	a, _ := json.Marshal(said) // texts always encode
	b, _ := json.Marshal(want)
	if !bytes.Equal(a, b) {
		return place{}, errors.New("the entry says something else than the certificate")
	}
	return place{index, tree.Size, checkpoint}, nil
}

// openCheckpoint verifies a checkpoint by that key which bears the origin as its name.
func openCheckpoint(msg []byte, origin string, keys note.Verifiers) (*flog.Checkpoint, error) {
	n, err := note.Open(msg, keys)
	if err != nil {
		return nil, err
	}
	for _, s := range n.Sigs {
		by, err := keys.Verifier(s.Name, s.Hash)
		if err != nil {
			return nil, err
		}
		if tree, _, _, err := flog.ParseCheckpoint(msg, origin, by); err == nil && s.Name == origin {
			return tree, nil
		}
	}
	return nil, fmt.Errorf("no checkpoint of %s", origin)
}
