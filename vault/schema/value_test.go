package schema_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/fxamacker/cbor/v2"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/schema"
)

// The bytes under every person's key: what was sealed once has to open for ever.
var vectors = []struct {
	field string
	value api.Value
	hex   string
}{
	{"iin", api.Text("850312113646"), "010100" + "383530333132313133363436"},
	{"given_name", api.Text("Айгүл"), "010200" + "d090d0b9d0b3d2afd0bb"},
	{"phone", api.Text("87017654321"), "010300" + "2b3737303137363534333231"},
	{"email", api.Text("a@B.kz"), "010400" + "6140622e6b7a"},
	{"residence_address", api.Text("Алматы"), "010500" + "d090d0bbd0bcd0b0d182d18b"},
	{"residence_address", api.Parts(map[string]string{"kato": "750000000", "country": "KZ"}), "010501" + "0002" + "4b5a" + "0409" + "373530303030303030"},
	{"residence_address", api.Parts(map[string]string{"line": strings.Repeat("x", 200)}), "010501" + "03c801" + strings.Repeat("78", 200)},
	{"postal_index", api.Text("a15c7d9"), "010600" + "41313543374439"},
	{"residency_country", api.Text("kz"), "010700" + "4b5a"},
	{"registration_date", api.Text("2024-02-29"), "010800" + "323032342d30322d3239"},
	{"document_number", api.Text("n12345678"), "010900" + "4e3132333435363738"},
	{"text", api.Text("a\r\nb"), "010a00" + "610a62"},
}

func TestEncodeVectors(t *testing.T) {
	for _, vector := range vectors {
		t.Run(vector.field, func(t *testing.T) {
			v, rule := field(t, vector.field).Normalise(vector.value)
			if rule != "" {
				t.Fatal(rule)
			}
			if got := hex.EncodeToString(v.Encode()); got != vector.hex {
				t.Errorf("encoded %s, want %s", got, vector.hex)
			}
			sealed, _ := hex.DecodeString(vector.hex)
			back, err := schema.Decode(sealed)
			if err != nil {
				t.Fatal(err)
			}
			if !back.Equal(v) || !back.Wire().Equal(v.Wire()) || back.Type() != v.Type() {
				t.Error("decoded to another value")
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct{ name, hex, err string }{
		{"nothing", "", "too short"},
		{"header alone", "010100", "too short"},
		{"version 0", "00010031", "version 0"},
		{"version 2", "02010031", "version 2"},
		{"type 0", "01000031", "type 0"},
		{"type 11", "010b0031", "type 11"},
		{"shape 2", "01050231", "shape 2"},
		{"parts of an iin", "010101000131", "shape 1"},
		{"broken UTF-8", "010200ff", "not UTF-8"},
		{"unknown part", "010501050131", "broken parts"},
		{"part twice", "010501010131010131", "broken parts"},
		{"parts out of order", "010501020131010131", "broken parts"},
		{"empty part", "0105010100", "broken parts"},
		{"part cut", "010501010231", "broken parts"},
		{"length cut", "0105010180", "broken parts"},
		{"length missing", "01050101", "broken parts"},
		{"long way to write a length", "0105010181003131", "broken parts"},
		{"huge length", "010501" + "01ffffffff7f31", "broken parts"},
		{"longer than a varint", "010501" + "01ffffffffffffffffffff0131", "broken parts"},
		{"part not UTF-8", "0105010101ff", "broken parts"},
		{"something after", "01050101013100", "broken parts"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b, err := hex.DecodeString(test.hex)
			if err != nil {
				t.Fatal(err)
			}
			if v, err := schema.Decode(b); err == nil || !strings.Contains(err.Error(), test.err) || v.Type() != "" {
				t.Errorf("error %v, want %q", err, test.err)
			}
		})
	}
}

func TestZeroValue(t *testing.T) {
	var none schema.Value
	text, ok := none.Wire().Text()
	if text != "" || !ok || none.Key() != "" || none.Encode() != nil || none.Type() != "" || !none.Equal(none) {
		t.Error("the zero value is something")
	}
	name, _ := field(t, "given_name").Normalise(api.Text("Ли"))
	if none.Equal(name) || name.Equal(none) {
		t.Error("no value equals a value")
	}
}

func TestEqualIsOfOneType(t *testing.T) {
	number, _ := field(t, "document_number").Normalise(api.Text("850312113646"))
	iin, _ := field(t, "iin").Normalise(api.Text("850312113646"))
	if number.Equal(iin) || number.Key() != iin.Key() {
		t.Error("two types are to have one key here and to differ")
	}
}

const canary = "КАНАРЕЙКА"

// Whatever prints, logs or encodes a value, or a thing that holds one, shows nothing of it.
func TestValueDoesNotShow(t *testing.T) {
	text, rule := field(t, "family_name").Normalise(api.Text(canary))
	address, rule2 := field(t, "residence_address").Normalise(api.Parts(map[string]string{"line": canary}))
	if rule+rule2 != "" {
		t.Fatal(rule, rule2)
	}
	type open struct{ V schema.Value }
	type closed struct{ v schema.Value }
	for _, v := range []schema.Value{text, address} {
		holders := []any{v, &v, open{v}, closed{v}, &closed{v}, []schema.Value{v}, []closed{{v}}, map[string]closed{"a": {v}}, map[string]*schema.Value{"a": &v}}
		var shown []string
		for _, holder := range holders {
			for verb := range strings.FieldsSeq("%v %+v %#v %s %q %x %X %d %p %t %w") {
				shown = append(shown, fmt.Sprintf(verb, holder))
			}
			var log bytes.Buffer
			slog.New(slog.NewTextHandler(&log, nil)).Info("m", "v", holder)
			slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "v", holder)
			shown = append(shown, log.String())
			for _, encode := range []func(any) ([]byte, error){json.Marshal, cbor.Marshal, func(v any) ([]byte, error) { return jsonv2.Marshal(v) }} {
				b, err := encode(holder)
				shown = append(shown, string(b), fmt.Sprint(err))
			}
		}
		if slices.ContainsFunc(shown, leaks) {
			t.Errorf("shown by one of %q", slices.DeleteFunc(shown, func(s string) bool { return !leaks(s) }))
		}
	}
	for _, encode := range []func(any) ([]byte, error){json.Marshal, cbor.Marshal, func(v any) ([]byte, error) { return jsonv2.Marshal(v) }} {
		if b, err := encode(open{text}); err == nil {
			t.Errorf("a value got lost in %q", b)
		}
	}
}

// leaks reports whether the canary is in s, in any case, plain or in hexadecimal.
func leaks(s string) bool {
	s = strings.ToLower(s)
	name := strings.ToLower(canary)
	return strings.Contains(s, name) || strings.Contains(s, canary) ||
		strings.Contains(s, hex.EncodeToString([]byte(canary))) || strings.Contains(s, hex.EncodeToString([]byte(name)))
}

// Rules and errors say what was wrong and not what it was.
func TestRefusalsDoNotShow(t *testing.T) {
	bad := []string{canary + "1", canary + "@" + canary, canary + "\x00", canary + "\xff", strings.Repeat(canary, 1000), "+7" + canary, "a@" + canary + ".."}
	for _, f := range schema.Default().Fields() {
		for _, s := range bad {
			for _, v := range []api.Value{api.Text(s), api.Parts(map[string]string{s: "x"}), api.Parts(map[string]string{"kato": s})} {
				if _, rule := f.Normalise(v); strings.ContainsAny(rule, canary) {
					t.Errorf("%s: the rule shows the value", f.Name)
				}
			}
		}
	}
	for _, s := range []string{canary, "\x01\x02\x00" + canary + "\xff", "\x01\x05\x01" + canary, "\x01\x05\x09" + canary} {
		if _, err := schema.Decode([]byte(s)); err == nil || leaks(err.Error()) {
			t.Errorf("decoding says %v", err)
		}
	}
}
