package schema_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/iin"
	"github.com/sandyq/sandyq/vault/schema"
)

// inputs draw what people send for a field: mostly good values, spelt in different ways.
var inputs = map[string]*rapid.Generator[api.Value]{
	"iin": rapid.Custom(func(t *rapid.T) api.Value {
		date := fmt.Sprintf("%02d%02d%02d", rapid.IntRange(0, 99).Draw(t, "year"), rapid.IntRange(1, 12).Draw(t, "month"), rapid.IntRange(1, 28).Draw(t, "day"))
		first11 := date + rapid.StringMatching(`[0-6][0-9]{4}`).Draw(t, "rest")
		digit, ok := iin.CheckDigit(first11)
		if !ok {
			t.Skip("never issued")
		}
		return api.Text(first11 + string(digit))
	}),
	"family_name":       texts(`[А-Яа-яӘәҒғҚқҢңӨөҰұҮүҺһA-Za-zЙйё]{1,8}([ \-'’][А-Яа-яəүA-Z]{1,8}){0,2} ?`),
	"residency_country": texts(`[Kk][ZzGg]|[Rr][Uu]`),
	"postal_index":      texts(`[0-9]{3} ?[0-9]{3}|[A-Za-zАВСавс][0-9]{2}[A-Z][0-9] ?[A-Z][0-9]`),
	"residence_address": rapid.OneOf(texts(`[А-Яа-я]{1,10}[, \n]{1,3}[0-9а-я]{1,4}`), rapid.Custom(drawParts)),
	"registration_date": texts(`(19|20)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])`),
	"phone":             texts(`(\+7|8|7|8 )[ (]?7[0-9]{2}[) ]?[0-9]{3}[ \-]?[0-9]{2}[ \-]?[0-9]{2}`),
	"email":             texts(`[A-Za-z0-9!#$%&*+=?_~]{1,9}(\.[A-Za-z0-9]{1,9})?@([A-Za-z0-9]{1,9}|почта)\.(kz|KZ|қаз|com)`),
	"document_number":   texts(`[NnАаA-Z]?[0-9]{4} ?[0-9]{4,8}`),
	"text":              texts(`[A-Za-zÀ-ÿА-я日本ḍ̇ \n\t"<>]{1,30}`),
}

func texts(pattern string) *rapid.Generator[api.Value] {
	return rapid.Map(rapid.StringMatching(pattern), api.Text)
}

func drawParts(t *rapid.T) api.Value {
	drawn := map[string]string{}
	for name, pattern := range map[string]string{"country": `KZ|kz|RU`, "region": `[А-я ]{1,9}`, "city": `[А-я]{1,9}`, "line": `[А-я 0-9,]{1,200}`, "kato": `[0-9]{9}`} {
		if rapid.Bool().Draw(t, "has "+name) {
			drawn[name] = rapid.StringMatching(pattern).Draw(t, name)
		}
	}
	return api.Parts(drawn)
}

// forEachType checks a property of accepted values for every type; most of what is drawn has to be accepted.
func forEachType(t *testing.T, property func(*rapid.T, *schema.Field, schema.Value)) {
	for name, generator := range inputs {
		t.Run(name, func(t *testing.T) {
			f := field(t, name)
			accepted := 0
			rapid.Check(t, func(t *rapid.T) {
				v, rule := f.Normalise(generator.Draw(t, "input"))
				if rule != "" {
					t.Skip(rule)
				}
				accepted++
				property(t, f, v)
			})
			if accepted < 50 {
				t.Errorf("only %d inputs were accepted", accepted)
			}
		})
	}
}

func TestNormaliseIsIdempotent(t *testing.T) {
	forEachType(t, func(t *rapid.T, f *schema.Field, v schema.Value) { wantCanonical(t, f, v) })
}

func wantCanonical(t rapid.TB, f *schema.Field, v schema.Value) {
	t.Helper()
	again, rule := f.Normalise(v.Wire())
	if rule != "" {
		t.Fatalf("the canonical form is refused: %s", rule)
	}
	if !bytes.Equal(again.Encode(), v.Encode()) || !again.Equal(v) {
		t.Fatal("the canonical form has another canonical form")
	}
}

func TestDecodeReadsWhatEncodeWrote(t *testing.T) {
	forEachType(t, func(t *rapid.T, _ *schema.Field, v schema.Value) { wantRoundTrip(t, v) })
}

func wantRoundTrip(t rapid.TB, v schema.Value) {
	t.Helper()
	back, err := schema.Decode(v.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if back.Type() != v.Type() || back.Key() != v.Key() || !back.Wire().Equal(v.Wire()) || !bytes.Equal(back.Encode(), v.Encode()) {
		t.Fatal("decoded to another value")
	}
}

// Two values that differ have different bytes, and they are equal exactly when their keys are.
func TestEqualIsSameKey(t *testing.T) {
	for name, generator := range inputs {
		t.Run(name, func(t *testing.T) {
			f := field(t, name)
			rapid.Check(t, func(t *rapid.T) {
				v, rule := f.Normalise(generator.Draw(t, "one"))
				w, rule2 := f.Normalise(generator.Draw(t, "other"))
				if rule+rule2 != "" {
					t.Skip(rule, rule2)
				}
				if v.Equal(w) != (v.Key() == w.Key()) || v.Equal(w) != w.Equal(v) {
					t.Fatal("Equal and Key disagree")
				}
				if bytes.Equal(v.Encode(), w.Encode()) != v.Wire().Equal(w.Wire()) {
					t.Fatal("Encode is not injective")
				}
				if v.Wire().Equal(w.Wire()) && !v.Equal(w) {
					t.Fatal("one value has two keys")
				}
			})
		})
	}
}

// Another spelling of a value is the same value.
func TestSpellingsAreOneValue(t *testing.T) {
	respellings := map[string][]func(string) string{
		"family_name":       {strings.ToUpper, strings.ToLower, norm.NFD.String, func(s string) string { return " " + s + "\u00a0" }, func(s string) string { return strings.ReplaceAll(s, "'", "’") }},
		"residency_country": {strings.ToLower},
		"postal_index":      {strings.ToLower, func(s string) string { return s[:2] + " " + s[2:] }, func(s string) string { return strings.ReplaceAll(s, "A", "А") }},
		"residence_address": {strings.ToUpper, norm.NFD.String, func(s string) string { return strings.ReplaceAll(s, " ", "\n ") }},
		"phone":             {func(s string) string { return "8" + s[2:] }, func(s string) string { return s[1:] }, func(s string) string { return s[:2] + " (" + s[2:5] + ") " + s[5:] }},
		"email":             {strings.ToUpper, strings.ToLower},
		"document_number":   {strings.ToLower, func(s string) string { return strings.ReplaceAll(s, "A", "а") }, func(s string) string { return strings.Join(strings.Split(s, ""), " ") }},
		"text":              {norm.NFD.String, func(s string) string { return "\n" + strings.ReplaceAll(s, "\n", "\r\n") + " " }},
	}
	for name, respell := range respellings {
		t.Run(name, func(t *testing.T) {
			f := field(t, name)
			rapid.Check(t, func(t *rapid.T) {
				v, rule := f.Normalise(inputs[name].Draw(t, "input"))
				text, ok := v.Wire().Text()
				if rule != "" || !ok {
					t.Skip(rule)
				}
				other := rapid.SampledFrom(respell).Draw(t, "respell")(text)
				w, rule := f.Normalise(api.Text(other))
				if rule != "" || !w.Equal(v) {
					t.Fatalf("%q is not %q: %s", other, text, rule)
				}
			})
		})
	}
}

// A mask is three dots and what its rule shows, which is a part of the value at the right end of it.
func TestMaskShowsNoMore(t *testing.T) {
	forEachType(t, func(t *rapid.T, f *schema.Field, v schema.Value) { wantMasked(t, f, v) })
}

func wantMasked(t rapid.TB, f *schema.Field, v schema.Value) {
	t.Helper()
	masked, ok := f.Mask(v).Text()
	before, after, found := strings.Cut(masked, "•••")
	if !ok || !found {
		t.Fatal("a mask is a text with three dots in it")
	}
	text, _ := v.Wire().Text()
	if !strings.HasPrefix(text, before) || !strings.HasSuffix(text, after) || before+after != "" && len(before+after) >= len(text) {
		t.Fatal("the mask shows what is not the value's, or all of it")
	}
	shownBefore, shownAfter := utf8.RuneCountInString(before), utf8.RuneCountInString(after)
	switch f.MaskRule {
	case schema.MaskLast2:
		ok = shownBefore == 0 && shownAfter <= 2
	case schema.MaskInitial:
		ok = shownBefore <= 1 && shownAfter == 0
	case schema.MaskEmail:
		ok = shownBefore <= 1 && after == text[strings.Index(text, "@"):]
	default:
		ok = before+after == ""
	}
	if !ok {
		t.Fatalf("the mask shows %d characters before the dots and %d after", shownBefore, shownAfter)
	}
}
