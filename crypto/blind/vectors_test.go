package blind_test

import (
	"bytes"
	"crypto/aes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sandyq/sandyq/crypto/blind"
	"github.com/sandyq/sandyq/crypto/secret"
)

// The second implementation, written from docs/formats.md, which calls nothing of the package.

func plainInput(tenant, field, value string) (out []byte) {
	for _, part := range []string{"sandyq/blind/1", tenant, field, value} {
		out = append(out, byte(len(part)>>24), byte(len(part)>>16), byte(len(part)>>8), byte(len(part)))
		out = append(out, part...)
	}
	return out
}

func plainEntry(number uint32, key, mac []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	out := append(binary.BigEndian.AppendUint32(nil, number), make([]byte, 16)...)
	block.Encrypt(out[4:], mac[:16])
	return out
}

type vector struct {
	Tenant   string `json:"tenant"`
	Field    string `json:"field"`
	Value    string `json:"value"`
	IndexKey string `json:"index_key"`
	Input    string `json:"input"`
	MAC      string `json:"mac"`
	Epoch    uint32 `json:"epoch"`
	EpochKey string `json:"epoch_key"`
	Entry    string `json:"entry"`
}

// refusal is what must not be taken: an epoch key or MAC of a wrong length, an entry remapped from another epoch.
type refusal struct {
	Name     string `json:"name"`
	Epoch    uint32 `json:"epoch"`
	EpochKey string `json:"epoch_key"`
	MAC      string `json:"mac,omitzero"`
	Entry    string `json:"entry,omitzero"`
	Fails    string `json:"fails"`
}

type vectors struct {
	Entries  []vector  `json:"entries"`
	Refusals []refusal `json:"refusals"`
}

var update = flag.Bool("update", false, "rewrite testdata/vectors.json")

func makeVectors() vectors {
	var all vectors
	for _, in := range [][3]string{
		{"default", "iin", "850312113646"}, {"default", "iin", "990228213644"}, {"other", "iin", "850312113646"},
		{"default", "phone", "+77011234567"}, {"default", "email", "aliya@example.kz"}, {"қала", "номер", ""},
	} {
		input := plainInput(in[0], in[1], in[2])
		m := mac(indexKey, input)
		all.Entries = append(all.Entries, vector{
			in[0], in[1], in[2], hex.EncodeToString(indexKey), hex.EncodeToString(input), hex.EncodeToString(m),
			1, hex.EncodeToString(first), hex.EncodeToString(plainEntry(1, first, m)),
		})
	}
	last := all.Entries[0]
	m := mac(indexKey, plainInput(last.Tenant, last.Field, last.Value))
	last.Epoch, last.EpochKey = 1<<32-1, hex.EncodeToString(second)
	last.Entry = hex.EncodeToString(plainEntry(last.Epoch, second, m))
	all.Entries = append(all.Entries, last)
	all.Refusals = []refusal{
		{Name: "epoch 0", Epoch: 0, EpochKey: last.EpochKey, MAC: last.MAC, Fails: "epoch number"},
		{Name: "a key of 16 bytes", Epoch: 1, EpochKey: last.EpochKey[:32], MAC: last.MAC, Fails: "epoch key"},
		{Name: "a MAC of 16 bytes", Epoch: 1, EpochKey: last.EpochKey, MAC: last.MAC[:32], Fails: "MAC"},
		{Name: "an entry of another epoch", Epoch: 1, EpochKey: last.EpochKey, Entry: last.Entry, Fails: "entry's epoch"},
	}
	return all
}

func TestVectors(t *testing.T) {
	made, err := json.Marshal(makeVectors(), jsontext.WithIndent("  "))
	if err != nil {
		t.Fatal(err)
	}
	made = append(made, '\n')
	if *update {
		if err := os.WriteFile("testdata/vectors.json", made, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	published, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(made, published) {
		t.Error("the published vectors are not those the second implementation makes")
	}
	var all vectors
	if err := json.Unmarshal(published, &all, json.RejectUnknownMembers(true)); err != nil {
		t.Fatal(err)
	}
	for _, v := range all.Entries {
		input := blind.Input(v.Tenant, v.Field, v.Value)
		got := entry(t, epoch(t, v.Epoch, unhex(t, v.EpochKey)), unhex(t, v.MAC))
		if hex.EncodeToString(input) != v.Input || hex.EncodeToString(got[:]) != v.Entry {
			t.Errorf("%s %s: input %x, entry %x", v.Tenant, v.Field, input, got)
		}
	}
	for _, v := range all.Refusals {
		if got := refuses(t, v); got != v.Fails {
			t.Errorf("%s fails at %q, want %q", v.Name, got, v.Fails)
		}
	}
}

// refuses returns which part of v the package refuses.
func refuses(t *testing.T, v refusal) string {
	t.Helper()
	e, err := blind.NewEpoch(v.Epoch, secret.New(unhex(t, v.EpochKey)))
	if err != nil && v.Epoch == 0 {
		return "epoch number"
	}
	if err != nil {
		return "epoch key"
	}
	if v.Entry != "" {
		if _, err := e.Remap(e, blind.Entry(unhex(t, v.Entry))); errors.Is(err, blind.ErrEpoch) {
			return "entry's epoch"
		}
	}
	if _, err := e.Entry(unhex(t, v.MAC)); err != nil {
		return "MAC"
	}
	return ""
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzInput holds the two encoders against each other.
func FuzzInput(f *testing.F) {
	f.Add("default", "iin", "850312113646")
	f.Add("", "", "")
	f.Fuzz(func(t *testing.T, tenant, field, value string) {
		if !bytes.Equal(blind.Input(tenant, field, value), plainInput(tenant, field, value)) {
			t.Fatal("the encoders differ")
		}
	})
}

// FuzzRemap gives Remap arbitrary entries: it refuses those of another epoch, and undoes what it did to the others.
func FuzzRemap(f *testing.F) {
	f.Add(append([]byte{0, 0, 0, 1}, make([]byte, 16)...))
	f.Add(make([]byte, 20))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != blind.EntrySize {
			return
		}
		old, next := epoch(t, 1, first), epoch(t, 2, second)
		there, err := next.Remap(old, blind.Entry(b))
		if (err == nil) != bytes.HasPrefix(b, []byte{0, 0, 0, 1}) {
			t.Fatalf("%x: %v", b, err)
		}
		if err != nil {
			return
		}
		if back, err := old.Remap(next, there); err != nil || !bytes.Equal(back[:], b) {
			t.Fatalf("%x comes back as %x, %v", b, back, err)
		}
	})
}
