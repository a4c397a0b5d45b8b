package checkpoint_test

import (
	"bytes"
	"encoding/base64"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/sandyq/sandyq/vault/audit/checkpoint"
)

var update = flag.Bool("update", false, "rewrite testdata/vectors.json")

const vectorsFile = "testdata/vectors.json"

// vector is one published test vector. Fails names what refuses it ("format", "signature", "inclusion" or "chain"), and is
// empty for what holds.
type vector struct {
	Name  string   `json:"name"`
	Kind  string   `json:"kind"` // checkpoint, proof or successions
	Keys  []string `json:"keys"`
	Text  string   `json:"text,omitempty"`
	Notes []string `json:"notes,omitempty"`
	Entry string   `json:"entry,omitempty"`
	Last  string   `json:"last,omitempty"` // the key that the successions lead to
	Fails string   `json:"fails,omitempty"`
}

// makeVectors makes the vectors with x/mod's signer and from docs/formats.md, not with the package.
func makeVectors(t *testing.T) []vector {
	a, b, w := newSigner(origin, "key 1"), newSigner(origin, "key 2"), newSigner("witness.example", "witness")
	next := newSigner("sandyq/default/ffeeddccbbaa99887766554433221100", "key 2")
	sign := func(text string, by ...signer) string {
		var signers []note.Signer
		for _, s := range by {
			plain, _ := s.plain(t)
			signers = append(signers, plain)
		}
		msg, err := note.Sign(&note.Note{Text: text}, signers...)
		if err != nil {
			t.Fatal(err)
		}
		return string(msg)
	}
	f := grow(t, 13)
	root := f.tree(t, origin).Root.String()
	text := fmt.Sprintf("%s\n13\n%s\n", origin, root)
	key := []string{a.Key().String()}
	var all []vector
	add := func(kind, name, fails, text string) {
		all = append(all, vector{Name: name, Kind: kind, Keys: key, Text: text, Fails: fails})
	}
	add("checkpoint", "one signature", "", sign(text, a))
	add("checkpoint", "two keys while one is rotated", "", sign(text, b, a))
	add("checkpoint", "with a witness", "", sign(text, a, w))
	empty, _ := tlog.TreeHash(0, f)
	add("checkpoint", "the empty tree", "", sign(fmt.Sprintf("%s\n0\n%s\n", origin, empty), a))
	add("checkpoint", "another key", "signature", sign(text, b))
	add("checkpoint", "a key of another origin", "signature", sign("example.com/log\n13\n"+root+"\n", a))
	add("checkpoint", "a size with a leading zero", "format", sign(fmt.Sprintf("%s\n013\n%s\n", origin, root), a))
	add("checkpoint", "an extension line", "format", sign(text+"more\n", a))
	add("checkpoint", "the text altered", "signature", strings.Replace(sign(text, a), "\n13\n", "\n14\n", 1))
	good := sign(text, a)
	add("checkpoint", "unused bits of base64 set", "format", good[:len(good)-3]+string(nextDigit(good[len(good)-3]))+"=\n")
	add("checkpoint", "signed twice by one key", "format", good+good[strings.LastIndex(good, "— "):])
	add("checkpoint", "no last newline", "format", strings.TrimSuffix(good, "\n"))

	proof := func(name, fails, extra string, index int, entry []byte, drop int) {
		hashes, err := tlog.ProveRecord(13, 9, f)
		if err != nil {
			t.Fatal(err)
		}
		var sb strings.Builder
		sb.WriteString("c2sp.org/tlog-proof@v1\n" + extra)
		fmt.Fprintf(&sb, "index %d\n", index)
		for _, h := range hashes[drop:] {
			sb.WriteString(h.String() + "\n")
		}
		sb.WriteString("\n" + good)
		all = append(all, vector{Name: name, Kind: "proof", Keys: key, Text: sb.String(), Fails: fails, Entry: base64.StdEncoding.EncodeToString(entry)})
	}
	proof("entry 9 of 13", "", "", 9, f.entries[9], 0)
	proof("with extra data", "", "extra AQI=\n", 9, f.entries[9], 0)
	proof("another entry", "inclusion", "", 9, f.entries[8], 0)
	proof("another index", "inclusion", "", 8, f.entries[9], 0)
	proof("a hash too few", "inclusion", "", 9, f.entries[9], 1)
	proof("beyond the tree", "format", "", 13, f.entries[9], 0)
	proof("empty extra data", "format", "extra \n", 9, f.entries[9], 0)

	succession := func(from, to signer, size int) string {
		at, _ := tlog.TreeHash(int64(size), f)
		return sign(fmt.Sprintf("sandyq log succession v1\n%s\n%s\n%d\n%s\n", from.Key(), to.Key(), size, at), from)
	}
	chain := func(name, fails string, last signer, notes ...string) {
		all = append(all, vector{Name: name, Kind: "successions", Keys: key, Notes: notes, Last: last.Key().String(), Fails: fails})
	}
	chain("none", "", a)
	chain("a rotation and a new origin", "", next, succession(a, b, 5), succession(b, next, 3))
	chain("two heirs", "chain", next, succession(a, b, 5), succession(a, next, 5))
	chain("another's", "chain", b, succession(next, b, 5))
	chain("altered", "signature", b, strings.Replace(succession(a, b, 5), "\n5\n", "\n6\n", 1))
	return all
}

// nextDigit is the base64 digit after d: the unused bits of the last digit are no longer zero.
func nextDigit(d byte) byte {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	return digits[strings.IndexByte(digits, d)+1]
}

func TestVectors(t *testing.T) {
	made, err := json.Marshal(makeVectors(t), jsontext.WithIndent("  "))
	if err != nil {
		t.Fatal(err)
	}
	made = append(made, '\n')
	if *update {
		if err := os.WriteFile(vectorsFile, made, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	published, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(published, made) {
		t.Error("the published vectors are no longer what is made: a format has changed")
	}
	var all []vector
	if err := json.Unmarshal(published, &all); err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		if err := v.check(t); (err == nil) != (v.Fails == "") {
			t.Errorf("%s, %s: %v, want a failure of %q", v.Kind, v.Name, err, v.Fails)
		}
	}
}

func (v vector) check(t *testing.T) error {
	t.Helper()
	key, err := checkpoint.ParseKey(v.Keys[0])
	if err != nil {
		t.Fatal(err)
	}
	switch v.Kind {
	case "checkpoint":
		_, err = checkpoint.OpenTree([]byte(v.Text), key)
	case "proof":
		entry, fault := base64.StdEncoding.DecodeString(v.Entry)
		if fault != nil {
			t.Fatal(fault)
		}
		var p checkpoint.InclusionProof
		if p, err = checkpoint.ParseInclusionProof([]byte(v.Text)); err == nil {
			_, err = p.Verify(entry, key)
		}
	case "successions":
		var notes [][]byte
		for _, n := range v.Notes {
			notes = append(notes, []byte(n))
		}
		var keys []checkpoint.Key
		if keys, err = checkpoint.Follow(key, notes...); err == nil && keys[len(keys)-1].String() != v.Last {
			t.Errorf("%s: leads to %s", v.Name, keys[len(keys)-1])
		}
	default:
		t.Fatalf("what is %q?", v.Kind)
	}
	return err
}
