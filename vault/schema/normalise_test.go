package schema_test

import (
	"strings"
	"testing"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/token"
)

// field returns a field of the built-in schema, or one of the type alone.
func field(t testing.TB, name string) *schema.Field {
	t.Helper()
	if f, ok := schema.Default().Field(name); ok {
		return f
	}
	s, err := schema.Parse(strings.NewReader("fields: [{name: one, type: " + name + "}]"))
	if err != nil {
		t.Fatal(err)
	}
	f, _ := s.Field("one")
	return f
}

func TestNormaliseAccepts(t *testing.T) {
	tests := []struct{ field, input, want, key string }{ // an empty want: as the input; an empty key: as the want
		{"iin", "850312113646", "", ""},
		{"iin", "911231013646", "", ""},

		{"family_name", "Сәрсенова", "", "сәрсенова"},
		{"family_name", " Бен\u00a0 Али ", "Бен Али", "бен али"},
		{"family_name", "Иванов-Петров", "", "иванов-петров"},
		{"family_name", "Иванов\u2010Петров", "", "иванов-петров"},
		{"family_name", "O’Brien", "", "o'brien"},
		{"family_name", "'т Хоофт", "", "'т хоофт"},
		{"family_name", "Стра\u02bcс", "", "стра'с"},
		{"given_name", "И\u0306ода", "Йода", "йода"},
		{"given_name", "ӘҒҚҢӨҰҮҺІ", "", "әғқңөұүһі"},
		{"given_name", "Weiß", "", "weiss"},
		{"given_name", "Ли", "", "ли"},
		{"patronymic", strings.Repeat("ы", 100), "", ""},

		{"residency_country", "kz", "KZ", ""},
		{"residency_country", "DE", "", ""},

		{"postal_index", "050000", "", ""},
		{"postal_index", "050 000", "050000", ""},
		{"postal_index", "A15C7D9", "", ""},
		{"postal_index", "а15с7d9", "A15C7D9", ""}, // а and с Cyrillic
		{"postal_index", "А15С7D9", "A15C7D9", ""},

		{"registration_date", "2024-02-29", "", ""},
		{"registration_date", "1800-01-01", "", ""},
		{"registration_date", "2200-12-31", "", ""},

		{"phone", "+77011234567", "", ""},
		{"phone", "87017654321", "+77017654321", ""},
		{"phone", "8 (701) 765-43-21", "+77017654321", ""},
		{"phone", "+7\u00a0701\u00a0765.43.21", "+77017654321", ""},
		{"phone", "77017654321", "+77017654321", ""},
		{"phone", "7017654321", "+77017654321", ""},
		{"phone", "+77031234567", "", ""}, // a range nobody has been given
		{"phone", "87272123456", "+77272123456", ""},
		{"phone", "+79161234567", "", ""},
		{"phone", "+12025550123", "", ""},

		{"email", "Aigul.Sarsenova+1@Example.KZ", "Aigul.Sarsenova+1@example.kz", "aigul.sarsenova+1@example.kz"},
		{"email", "a@почта.қаз", "a@xn--80a1acny.xn--80ao21a", ""},
		{"email", "a@xn--80a1acny.xn--80ao21a", "", ""},
		{"email", "o'brien!#$%&*/=?^_`{|}~@example.com", "", ""},

		{"residence_address", " Алматы,\r\n\tпр. Абая  10 ", "Алматы, пр. Абая 10", "алматы, пр. абая 10"},
		{"postal_address", strings.Repeat("ж", 1000), "", ""},

		{"document_number", "012345678", "", ""},
		{"document_number", "n 1234 5678", "N12345678", ""},
		{"document_number", "АВ1234567", "AB1234567", ""}, // А and В Cyrillic
		{"document_number", "45 04 123456", "4504123456", ""},

		{"text", "  одна\r\nдве\tтри  ", "одна\nдве\tтри", ""},
		{"text", "cafe\u0301", "café", ""},
		{"text", "İıI", "", ""},
		{"text", strings.Repeat("가", 4000), "", ""},
	}
	for _, test := range tests {
		if test.want == "" {
			test.want = test.input
		}
		if test.key == "" {
			test.key = test.want
		}
		t.Run(test.field+" "+test.want[:min(len(test.want), 20)], func(t *testing.T) {
			v, rule := field(t, test.field).Normalise(api.Text(test.input))
			if rule != "" {
				t.Fatalf("refused: %s", rule)
			}
			if got, ok := v.Wire().Text(); !ok || got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if v.Key() != test.key {
				t.Errorf("key %q, want %q", v.Key(), test.key)
			}
		})
	}
}

func TestNormaliseRefuses(t *testing.T) {
	long := func(s string, n int) string { return strings.Repeat(s, n) }
	tests := []struct{ name, field, input, rule string }{
		{"thirteen digits", "iin", "8503121136461", "length"},
		{"full-width digits", "iin", "８５０３１２１１３６４６", "ascii_digits"},
		{"wrong check digit", "iin", "850312113645", "check_digit"},
		{"30 February", "iin", "850230113640", "date"},
		{"29 February, not a leap year", "iin", "830229113641", "date"},
		{"century digit 7", "iin", "850312713644", "century"},
		{"zeros", "iin", "000000000000", "date"},
		{"number of a firm", "iin", "991340000017", "bin"},
		{"spaces", "iin", " 850312113646 ", "ascii_digits"},
		{"letter O", "iin", "85O312113646", "ascii_digits"},

		{"digit", "family_name", "Иванов2", "letters"},
		{"full-width digit", "family_name", "Иванов２", "letters"},
		{"Roman numeral", "family_name", "Иван Ⅳ", "letters"},
		{"newline", "family_name", "Иван\nов", "controls"},
		{"NUL", "family_name", "Иван\x00ов", "controls"},
		{"right-to-left override", "family_name", "Иван\u202eов", "controls"},
		{"isolate", "family_name", "Иван\u2066ов", "controls"},
		{"zero-width space", "family_name", "Иван\u200bов", "controls"},
		{"zero-width joiner", "family_name", "Иван\u200dов", "controls"},
		{"byte order mark", "family_name", "\ufeffИванов", "controls"},
		{"soft hyphen", "family_name", "Ива\u00adнов", "controls"},
		{"Hangul filler", "family_name", "\u3164", "controls"},
		{"variation selector", "family_name", "А\ufe0f", "controls"},
		{"mark without a letter", "family_name", "\u0301Иванов", "letters"},
		{"mark on a hyphen", "family_name", "Иванов-\u0301Петров", "letters"},
		{"hyphen first", "family_name", "-Иванов", "letters"},
		{"hyphen last", "family_name", "Иванов-", "letters"},
		{"two hyphens", "family_name", "Иванов--Петров", "letters"},
		{"apostrophe alone", "family_name", "'", "letters"},
		{"letter apostrophe alone", "family_name", "\u02bc", "letters"},
		{"initials", "given_name", "А.", "letters"},
		{"markup", "given_name", "<b>Айгүл</b>", "letters"},
		{"101 characters", "given_name", long("ы", 101), "length"},

		{"lower half of a surrogate pair", "given_name", "\xed\xb0\x80", "utf8"},
		{"three letters", "residency_country", "KAZ", "form"},
		{"Cyrillic", "residency_country", "КZ", "form"},
		{"long s", "residency_country", "ſ", "form"},
		{"dotless i", "residency_country", "ı", "form"},
		{"nobody's code", "residency_country", "ZZ", "unassigned"},
		{"withdrawn code", "residency_country", "SU", "unassigned"},
		{"straddling two codes", "residency_country", "D ", "form"},

		{"five digits", "postal_index", "05000", "length"},
		{"eight", "postal_index", "A15C7D99", "length"},
		{"letter among six", "postal_index", "05000A", "ascii_digits"},
		{"Cyrillic O among six", "postal_index", "05000О", "ascii_digits"},
		{"order", "postal_index", "1A5C7D9", "form"},
		{"full-width", "postal_index", "０５００００", "characters"},
		{"Cyrillic with no look-alike", "postal_index", "Ж15C7D9", "characters"},

		{"30 February", "registration_date", "2024-02-30", "date"},
		{"too early", "registration_date", "1799-12-31", "date"},
		{"too late", "registration_date", "2201-01-01", "date"},
		{"month 13", "registration_date", "2024-13-01", "date"},
		{"other order", "registration_date", "29.02.2024", "form"},
		{"short month", "registration_date", "2024-2-29", "form"},
		{"time", "registration_date", "2024-02-29T00:00:00Z", "form"},
		{"full-width", "registration_date", "２０24-02-2", "form"},
		{"sign", "registration_date", "+024-02-29", "form"},

		{"letters", "phone", "+7701CALLNOW", "characters"},
		{"full-width", "phone", "＋７７０１１２３４５６７", "characters"},
		{"Arabic-Indic", "phone", "+7701123456٧", "characters"},
		{"extension", "phone", "+77011234567;ext=1", "characters"},
		{"plus inside", "phone", "7+7011234567", "characters"},
		{"two", "phone", "+77011234567, +77011234568", "characters"},
		{"short", "phone", "+770112345", "plan"},
		{"long", "phone", "+770112345678", "plan"},
		{"local", "phone", "2123456", "plan"},
		{"emergency", "phone", "112", "plan"},
		{"eight after a plus", "phone", "+87017654321", "plan"},
		{"+7 1", "phone", "+71234567890", "plan"},
		{"no such country code", "phone", "+99912345678", "plan"},
		{"plus alone", "phone", "+", "plan"},
		{"a line of digits", "phone", long("7", 41), "length"},

		{"display name", "email", "Aigul <a@example.kz>", "local_part"},
		{"angle brackets", "email", "<a@example.kz>", "local_part"},
		{"comment", "email", "a(x)@example.kz", "local_part"},
		{"quoted", "email", `"a b"@example.kz`, "local_part"},
		{"space", "email", " a@example.kz", "local_part"},
		{"Cyrillic local part", "email", "айгүл@example.kz", "local_part"},
		{"two dots", "email", "a..b@example.kz", "local_part"},
		{"dot first", "email", ".a@example.kz", "local_part"},
		{"dot last", "email", "a.@example.kz", "local_part"},
		{"empty local part", "email", "@example.kz", "local_part"},
		{"65 before the @", "email", long("a", 65) + "@example.kz", "local_part"},
		{"no @", "email", "example.kz", "form"},
		{"two @", "email", "a@b@example.kz", "domain"},
		{"one label", "email", "a@localhost", "domain"},
		{"dot at the end", "email", "a@example.kz.", "domain"},
		{"address literal", "email", "a@[127.0.0.1]", "domain"},
		{"IP address", "email", "a@127.0.0.1", "domain"},
		{"underscore", "email", "a@ex_ample.kz", "domain"},
		{"hyphen first", "email", "a@-example.kz", "domain"},
		{"broken A-label", "email", "a@xn--a.kz", "domain"},
		{"newline", "email", "a@example.kz\nBcc: b@example.kz", "domain"},
		{"label of 64", "email", "a@" + long("b", 64) + ".kz", "domain"},
		{"255 bytes", "email", "a@" + long("b.", 126) + "k", "length"},

		{"1,001 characters", "postal_address", long("ж", 1001), "length"},
		{"override", "postal_address", "Алматы\u202e01", "controls"},
		{"escape", "postal_address", "Алматы\x1b[31m", "controls"},
		{"zero-width space", "postal_address", "Алма\u200bты", "controls"},

		{"three", "document_number", "N12", "length"},
		{"twenty-one", "document_number", long("1", 21), "length"},
		{"hyphen", "document_number", "12-345678", "characters"},
		{"full-width", "document_number", "０１２３４５６７８", "characters"},
		{"dotless i", "document_number", "ı12345678", "characters"},
		{"Cyrillic with no look-alike", "document_number", "ЖД123456", "characters"},
		{"tab", "document_number", "1234\t5678", "characters"},

		{"NUL", "text", "a\x00b", "controls"},
		{"carriage return", "text", "a\rb", "controls"},
		{"escape", "text", "a\x1bb", "controls"},
		{"override", "text", "a\u202eb", "controls"},
		{"noncharacter", "text", "a\ufffeb", "controls"},
		{"4,001 characters", "text", long("a", 4001), "length"},
		{"a megabyte", "text", long("a", 1<<20), "length"},
	}
	for _, test := range tests {
		t.Run(test.field+" "+test.name, func(t *testing.T) {
			v, rule := field(t, test.field).Normalise(api.Text(test.input))
			if rule != test.rule {
				t.Errorf("rule %q, want %q", rule, test.rule)
			}
			if v.Type() != "" {
				t.Error("a refused value came back")
			}
		})
	}
}

// What holds for every type.
func TestNormaliseRefusesForEveryType(t *testing.T) {
	tests := []struct {
		name, rule string
		input      api.Value
	}{
		{"nothing", "empty", api.Text("")},
		{"spaces", "empty", api.Text(" \t\n\u00a0")},
		{"broken UTF-8", "utf8", api.Text("abc\xff")},
		{"overlong UTF-8", "utf8", api.Text("\xc0\xb1")},
		{"unknown part", "parts", api.Parts(map[string]string{"street": "x"})},
		{"no parts", "empty", api.Parts(nil)},
	}
	for _, f := range schema.Default().Fields() {
		for _, test := range tests {
			want := test.rule
			if _, parts := test.input.Parts(); parts && f.Type != schema.TypeAddress {
				want = "text"
			}
			if _, rule := f.Normalise(test.input); rule != want {
				t.Errorf("%s, %s: rule %q, want %q", f.Name, test.name, rule, want)
			}
		}
	}
}

// TestTokensAreNoValues: an application that sends a token back as a value must be told.
func TestTokensAreNoValues(t *testing.T) {
	s, err := schema.Parse(strings.NewReader("fields: [{name: iin, type: iin, lenient: true}, {name: email, type: email}, {name: remark, type: text}]"))
	if err != nil {
		t.Fatal(err)
	}
	for name, format := range map[string]token.Format{"iin": token.IIN, "email": token.Email, "remark": token.Opaque} {
		f, _ := s.Field(name)
		tok, err := token.New(format, 'p')
		if err != nil {
			t.Fatal(err)
		}
		if _, rule := f.Normalise(api.Text(string(tok))); rule != schema.RuleToken {
			t.Errorf("%s: rule %q", name, rule)
		}
	}
}

func TestLenient(t *testing.T) {
	s, err := schema.Parse(strings.NewReader("fields: [{name: iin, type: iin, lenient: true}]"))
	if err != nil {
		t.Fatal(err)
	}
	f, _ := s.Field("iin")
	for input, want := range map[string]string{"850230113640": "", "850312713644": "", "850312113645": "check_digit", "991340000017": "bin"} {
		if _, rule := f.Normalise(api.Text(input)); rule != want {
			t.Errorf("%s: rule %q, want %q", input, rule, want)
		}
	}
}
