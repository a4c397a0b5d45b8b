package secret_test

import (
	"bytes"
	"encoding/base64"
	stdjson "encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/go-json-experiment/json"
	"go.yaml.in/yaml/v4"

	"github.com/sandyq/sandyq/crypto/secret"
)

// canary is what must not show. Its letters also make recognisable hexadecimal, decimal and base64.
const canary = "canary-850312113646"

// open has secrets where encoders and fmt look; closed has them where fmt calls no methods.
type open struct {
	Bytes   secret.Bytes
	String  secret.String
	Pointer *secret.Bytes
	List    []secret.String
	Map     map[string]secret.Bytes
	Any     any
}

type closed struct {
	Shown   string
	bytes   secret.Bytes
	text    secret.String
	pointer *secret.String
	list    []secret.Bytes
	table   map[string]secret.String
	any     any
	nested  struct{ deep [1]secret.Bytes }
}

func secrets() (secret.Bytes, secret.String) {
	return secret.New([]byte(canary)), secret.NewString(canary)
}

func holders() map[string]any {
	b, s := secrets()
	inside := closed{"shown", b, s, &s, []secret.Bytes{b}, map[string]secret.String{"k": s}, b, struct{ deep [1]secret.Bytes }{[1]secret.Bytes{b}}}
	outside := open{b, s, &b, []secret.String{s}, map[string]secret.Bytes{"k": b}, s}
	return map[string]any{
		"Bytes": b, "String": s, "*Bytes": &b, "*String": &s, "slice": []secret.Bytes{b}, "array": [1]secret.String{s},
		"map": map[string]any{"k": b}, "exported": outside, "*exported": &outside, "unexported": inside, "*unexported": &inside,
	}
}

// spellings are those that fmt or an encoder could give eight bytes in a row of the canary, in lower case.
var spellings = func() (all []string) {
	for at := 0; at+8 <= len(canary); at++ {
		part := []byte(canary[at : at+8])
		all = append(all, string(part))
		for _, format := range []string{"%x", "% x", "%d", "%o", "%b", "%c", "%U", "%#v"} {
			all = append(all, strings.ToLower(strings.Trim(fmt.Sprintf(format, part), "[]byte{}")))
		}
	}
	return append(all, strings.ToLower(base64.StdEncoding.EncodeToString([]byte(canary[:18]))))
}()

// leaks reports whether shown holds a part of the canary.
func leaks(shown string) bool {
	shown = strings.ToLower(shown)
	return slices.ContainsFunc(spellings, func(spelling string) bool { return strings.Contains(shown, spelling) })
}

func refuse(t *testing.T, shown string) {
	t.Helper()
	if leaks(shown) {
		t.Fatalf("the secret shows in %q", shown)
	}
}

// TestLeaksAreSeen shows that leaks can tell: it knows every spelling of a value that is not a secret.
func TestLeaksAreSeen(t *testing.T) {
	for _, format := range []string{"%s", "%q", "%x", "%X", "% x", "%v", "%#v", "%d", "%o", "%b", "%c", "%U"} {
		holder := struct{ b []byte }{[]byte(canary)}
		if shown := fmt.Sprintf(format, holder); !leaks(shown) {
			t.Errorf("%s shows %q and is not seen", format, shown)
		}
	}
	if encoded, err := stdjson.Marshal([]byte(canary)); err != nil || !leaks(string(encoded)) {
		t.Errorf("%s is not seen (%v)", encoded, err)
	}
}

func TestNoVerbShows(t *testing.T) {
	for name, value := range holders() {
		for verb := rune('A'); verb <= 'z'; verb++ {
			for _, flags := range []string{"", "+", "#", " ", "-20", "020", "20.3", "+#", "# "} {
				format := "%" + flags + string(verb)
				shown := fmt.Sprintf(format, value)
				refuse(t, shown)
				if strings.Contains(shown, "PANIC") {
					t.Errorf("%s of %s: %s", format, name, shown)
				}
			}
		}
		refuse(t, fmt.Sprint(value))
		refuse(t, fmt.Sprintln(value))
		for _, misuse := range []string{"an extra argument", "%*d", "%.*d", "%[2]d", "%w"} {
			refuse(t, fmt.Sprintf(misuse, value))
			refuse(t, fmt.Errorf(misuse, value).Error())
		}
	}
}

func TestSecretsPrintRedacted(t *testing.T) {
	b, s := secrets()
	for _, value := range []any{b, s, &b, &s} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if got := fmt.Sprintf(format, value); got != secret.Redacted {
				t.Errorf("%s of a %T gives %q", format, value, got)
			}
		}
	}
	if b.String() != secret.Redacted || s.String() != secret.Redacted {
		t.Error("String does not redact")
	}
}

func TestNoLogShows(t *testing.T) {
	handlers := map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(w *bytes.Buffer) slog.Handler { return slog.NewTextHandler(w, nil) },
		"json": func(w *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(w, nil) },
	}
	for name, handler := range handlers {
		for holder, value := range holders() {
			var out bytes.Buffer
			log := slog.New(handler(&out)).With("with", value).WithGroup("group")
			log.Info("message", "value", value, slog.Group("inner", "value", value))
			log.Error("message", slog.Any("error", fmt.Errorf("of %v", value)))
			refuse(t, out.String())
			if out.Len() == 0 {
				t.Errorf("%s handler wrote nothing for %s", name, holder)
			}
		}
	}
	b, s := secrets()
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("message", "bytes", b, "string", s)
	if got := strings.Count(out.String(), `"`+secret.Redacted+`"`); got != 2 {
		t.Errorf("%d values redacted in %s", got, &out)
	}
}

func TestNoEncoderShows(t *testing.T) {
	encoders := map[string]func(any) ([]byte, error){
		"encoding/json":           stdjson.Marshal,
		"go-json-experiment/json": func(v any) ([]byte, error) { return json.Marshal(v) },
		"cbor":                    cbor.Marshal,
		"yaml":                    yaml.Marshal,
		"xml":                     xml.Marshal,
	}
	for encoder, marshal := range encoders {
		for holder, value := range holders() {
			shown, err := marshal(value)
			refuse(t, string(shown))
			if err != nil {
				refuse(t, err.Error())
			}
			unencodable := encoder == "xml" && (holder == "map" || strings.Contains(holder, "exported"))
			if err != nil && !unencodable {
				t.Errorf("%s of %s: %v", encoder, holder, err)
			}
		}
		b, s := secrets()
		for _, value := range []any{b, s, &b} {
			if shown, err := marshal(value); err != nil || !bytes.Contains(shown, []byte(secret.Redacted)) {
				t.Errorf("%s of a %T gives %q, %v", encoder, value, shown, err)
			}
		}
	}
}

// TestNoPanicShows ends a process by panicking with secrets, and reads what the runtime prints.
func TestNoPanicShows(t *testing.T) {
	if holder := os.Getenv("SANDYQ_TEST_PANIC"); holder != "" {
		panic(holders()[holder])
	}
	for holder := range holders() {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNoPanicShows$")
		cmd.Env = append(os.Environ(), "SANDYQ_TEST_PANIC="+holder, "GOTRACEBACK=all")
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || !bytes.Contains(out, []byte("panic:")) {
			t.Fatalf("%s: no panic but %v: %s", holder, err, out)
		}
		refuse(t, string(out))
	}
}

func TestValueIsKept(t *testing.T) {
	b, s := secrets()
	if string(b.Expose()) != canary || b.Len() != len(canary) {
		t.Error("Bytes lost its value")
	}
	if s.Expose() != canary || s.Len() != len(canary) {
		t.Error("String lost its value")
	}
}

func TestZeroValueIsEmpty(t *testing.T) {
	var b secret.Bytes
	var s secret.String
	b.Wipe()
	if b.Expose() != nil || b.Len() != 0 || s.Expose() != "" || s.Len() != 0 {
		t.Error("a zero value is not empty")
	}
	if got := fmt.Sprint(b, s); got != secret.Redacted+" "+secret.Redacted {
		t.Errorf("zero values print %q", got)
	}
}

func TestWipeReachesEveryCopy(t *testing.T) {
	b, _ := secrets()
	c := b
	b.Wipe()
	if !bytes.Equal(c.Expose(), make([]byte, len(canary))) {
		t.Error("a copy outlives Wipe")
	}
}
