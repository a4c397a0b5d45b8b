package consent_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sandyq/sandyq/vault/consent"
	"github.com/sandyq/sandyq/vault/purpose"
)

// The built-in texts cover every built-in purpose that rests on consent, and those that need a consent of their own by
// themselves.
func TestDefaultCoversTheBuiltInPurposes(t *testing.T) {
	r := consent.Default()
	covered := map[string]string{}
	for _, text := range r.All() {
		for _, name := range text.Purposes {
			p, ok := purpose.Default().Get(name)
			if !ok || !p.Basis.Consent || p.OwnConsent && len(text.Purposes) > 1 {
				t.Errorf("%s covers %s", text.Version, name)
			}
			covered[name] = text.Version
		}
		if found, ok := r.Get(text.Version); !ok || found != text {
			t.Errorf("%s is not found", text.Version)
		}
	}
	for _, p := range purpose.Default().All() {
		if p.Basis.Consent && covered[p.Name] == "" {
			t.Errorf("no text covers %s", p.Name)
		}
	}
}

const good = `texts: [{version: v1, effective_from: 2026-01-01T00:00:00Z, purposes: [a, b], text: {kk: к, ru: р, en: e}}]`

func TestParseRefuses(t *testing.T) {
	if texts, err := consent.Parse(strings.NewReader(good)); err != nil || !texts[0].Covers("b") || texts[0].Covers("c") {
		t.Fatalf("%v", err)
	}
	long := strings.Repeat("x", consent.MaxText+1)
	for _, c := range []struct{ name, from, to, want string }{
		{"nothing", good, "", "read"},
		{"no texts", good, "texts: []", "no texts"},
		{"unknown key", "purposes", "porpoises", "porpoises"},
		{"key twice", "version: v1", "version: v1, version: v2", "version"},
		{"version", "v1", "V1", `"V1": version: 1 to 60`},
		{"a number", "v1", "850312113646", "no run of 9 digits"},
		{"no moment", "effective_from: 2026-01-01T00:00:00Z, ", "", "effective_from: required"},
		{"not a moment", "2026-01-01T00:00:00Z", "soon", "read"},
		{"no purpose", "[a, b]", "[]", "purposes: 1 to 100"},
		{"purpose twice", "[a, b]", "[a, b, a]", "each named once"},
		{"no Kazakh", "kk: к, ", "", "text.kk: required"},
		{"blank", "en: e", "en: '  '", "text.en: required"},
		{"too long", "ru: р", "ru: " + long, "text.ru: at most 65536 bytes"},
		{"twice", good, strings.Replace(good, "[{", "[{version: v1, effective_from: 2026-01-01T00:00:00Z, purposes: [a], text: {kk: к, ru: р, en: e}}, {", 1), "named twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			texts, err := consent.Parse(strings.NewReader(strings.Replace(good, c.from, c.to, 1)))
			if err == nil || !strings.Contains(err.Error(), c.want) || texts != nil {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	r, err := consent.Load(fstest.MapFS{"own.yaml": file(good), "README": file("not a text")})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.All()) != len(consent.Default().All())+1 || r.All()[len(r.All())-1].Version != "v1" {
		t.Errorf("%d texts", len(r.All()))
	}
	for name, folder := range map[string]fstest.MapFS{
		"no *.yaml":     {"own.txt": file(good)},
		"named twice":   {"a.yaml": file(good), "b.yaml": file(good)},
		"b.yaml: ":      {"a.yaml": file(good), "b.yaml": file("x: 1")},
		`"builtin-2026`: {"a.yaml": file(strings.Replace(good, "v1", "builtin-2026-01", 1))},
	} {
		if r, err := consent.Load(folder); err == nil || !strings.Contains(err.Error(), name) || r != nil {
			t.Errorf("%v, want %q", err, name)
		}
	}
}

// What a text says is what tells it from another: any change of it shows.
func TestSame(t *testing.T) {
	first := must(t, good)
	for _, change := range []string{"v1/v2", "2026/2027", "[a, b]/[a]", "kk: к/kk: қ", "ru: р/ru: Р", "en: e/en: E"} {
		from, to, _ := strings.Cut(change, "/")
		other := must(t, strings.Replace(good, from, to, 1))
		if first.Same(other) {
			t.Errorf("%s: taken for the same", change)
		}
		if bodies := strings.HasPrefix(change, "kk") || strings.HasPrefix(change, "ru") || strings.HasPrefix(change, "en"); bodies != (first.Body.Digests() != other.Body.Digests()) {
			t.Errorf("%s: the digests", change)
		}
	}
	if !first.Same(must(t, good)) {
		t.Error("not the same as itself")
	}
}

func must(t *testing.T, file string) *consent.Text {
	t.Helper()
	texts, err := consent.Parse(strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return texts[0]
}
