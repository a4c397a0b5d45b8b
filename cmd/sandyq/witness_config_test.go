package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/vault/audit/checkpoint"
)

// TestVerifyDemandsWitnesses: a certificate counts when so many of the witnesses that are named have cosigned its checkpoint.
func TestVerifyDemandsWitnesses(t *testing.T) {
	d := readVector(t, "erasure.json")
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	w := checkpoint.Cosigner{Name: "w.example", Public: public}
	_, note, _ := strings.Cut(d.Erased.Proof, "\n\n")
	text, _, _ := strings.Cut(note, "\n\n")
	raw := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, w.Hash()), 1700000000)
	raw = append(raw, ed25519.Sign(private, fmt.Appendf(nil, "cosignature/v1\ntime 1700000000\n%s\n", text))...)
	line := "— w.example " + base64.StdEncoding.EncodeToString(raw) + "\n"
	d.Erased.Proof += line
	d.KeyDestroyed.Proof += line
	b, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "certificate.json")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{exitDone, "w.example has cosigned", []string{"--witness", w.String()}},
		{exitDone, "w.example has cosigned", []string{"--witness", w.String(), "--witness", someWitness, "--quorum", "1"}},
		{exitFailed, "1 of the 2", []string{"--witness", w.String(), "--witness", someWitness}},
		{exitFailed, "0 of the 1", []string{"--witness", someWitness}},
		{exitUsage, "--quorum is 1 to", []string{"--witness", w.String(), "--quorum", "2"}},
		{exitUsage, "--quorum is 1 to", []string{"--quorum", "1"}},
		{exitUsage, "one key", []string{"--witness", w.String(), "--witness", w.String(), "--quorum", "2"}},
	} {
		args := append([]string{"verify", "certificate", path, "--key", filepath.Join(vectors, "key")}, c.args...)
		if code, out, errors := sandyq(t, args...); code != c.code || !strings.Contains(out+errors, c.says) {
			t.Errorf("%q: %d %s%s", c.args, code, out, errors)
		}
	}
}
