package mrz_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sandyq/sandyq/vault/mrz"
)

// ICAO's own specimens, from Doc 9303 part 5 (TD1) and part 4 (TD3).
var (
	specimenTD1 = []string{
		"I<UTOD231458907<<<<<<<<<<<<<<<",
		"7408122F1204159UTO<<<<<<<<<<<6",
		"ERIKSSON<<ANNA<MARIA<<<<<<<<<<",
	}
	specimenTD3 = []string{
		"P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<",
		"L898902C36UTO7408122F1204159ZE184226B<<<<<10",
	}
	annaTD1 = mrz.Document{
		Code: "I", Issuer: "UTO", Surname: "ERIKSSON", Given: "ANNA MARIA", Number: "D23145890", Nationality: "UTO",
		Birth: "740812", Sex: "F", Expiry: "120415",
	}
	annaTD3 = mrz.Document{
		Code: "P", Issuer: "UTO", Surname: "ERIKSSON", Given: "ANNA MARIA", Number: "L898902C3", Nationality: "UTO",
		Birth: "740812", Sex: "F", Expiry: "120415", Optional: "ZE184226B",
	}
)

func TestSpecimens(t *testing.T) {
	tests := []struct {
		name     string
		format   mrz.Format
		lines    []string
		document mrz.Document
	}{
		{"TD1", mrz.TD1, specimenTD1, annaTD1},
		{"TD3", mrz.TD3, specimenTD3, annaTD3},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			lines, err := test.document.Lines(test.format)
			if err != nil || !slices.Equal(lines, test.lines) {
				t.Errorf("Lines = %q, %v", lines, err)
			}
			document, format, err := mrz.Read(test.lines)
			if err != nil || format != test.format || document != test.document {
				t.Errorf("Read = %+v, %d, %v", document, format, err)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	tests := []struct {
		name  string
		lines []string
		field string
		rule  mrz.Rule
	}{
		{"no lines", nil, "zone", mrz.RuleFormat},
		{"a line short", specimenTD1[:2], "zone", mrz.RuleFormat},
		{"a character short", changed(specimenTD3, 1, "10", "1"), "zone", mrz.RuleFormat},
		{"lower case", changed(specimenTD3, 0, "ANNA", "anna"), "zone", mrz.RuleCharacters},
		{"number", changed(specimenTD3, 1, "L898902C3", "L898902C4"), "number", mrz.RuleCheckDigit},
		{"birth", changed(specimenTD3, 1, "740812", "740813"), "birth", mrz.RuleCheckDigit},
		{"expiry", changed(specimenTD1, 1, "120415", "120416"), "expiry", mrz.RuleCheckDigit},
		{"optional", changed(specimenTD3, 1, "ZE184226B", "ZE184226A"), "optional", mrz.RuleCheckDigit},
		{"optional of a card", changed(specimenTD1, 0, "7<", "71"), "composite", mrz.RuleCheckDigit},
		{"composite", changed(specimenTD3, 1, "<10", "<11"), "composite", mrz.RuleCheckDigit},
		{"a letter in a date", changed(specimenTD1, 1, "7408122", "74O8122"), "birth", mrz.RuleCharacters},
		{"a sex unknown to the standard", changed(specimenTD1, 1, "F", "X"), "sex", mrz.RuleCharacters},
		{"no surname", changed(specimenTD1, 2, "ERIKSSON", "<<<<<<<<"), "names", mrz.RuleSize},
		{"a digit in a name", changed(specimenTD1, 2, "MARIA", "MAR1A"), "names", mrz.RuleCharacters},
		{"a gap in a name", changed(specimenTD1, 2, "ANNA<MARIA<", "ANNA<<MARIA"), "names", mrz.RuleCharacters},
		{"no issuer", changed(specimenTD1, 0, "UTO", "<<<"), "issuer", mrz.RuleSize},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := mrz.Read(test.lines)
			wantError(t, err, test.field, test.rule)
		})
	}
}

// changed returns the lines with a piece of one replaced; a piece that is not there is a mistake of the test.
func changed(lines []string, line int, from, to string) []string {
	if !strings.Contains(lines[line], from) {
		panic("nothing to change")
	}
	lines = slices.Clone(lines)
	lines[line] = strings.Replace(lines[line], from, to, 1)
	return lines
}

func wantError(t *testing.T, err error, field string, rule mrz.Rule) {
	t.Helper()
	broken, ok := errors.AsType[*mrz.Error](err)
	if !ok || broken.Field != field || broken.Rule != rule {
		t.Errorf("error %v, want %s: %s", err, field, rule)
	}
}

func TestLinesRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*mrz.Document)
		field  string
		rule   mrz.Rule
	}{
		{"number of ten", func(d *mrz.Document) { d.Number = "0123456789" }, "number", mrz.RuleSize},
		{"no number", func(d *mrz.Document) { d.Number = "" }, "number", mrz.RuleSize},
		{"Cyrillic number", func(d *mrz.Document) { d.Number = "Н123" }, "number", mrz.RuleCharacters},
		{"trailing filler", func(d *mrz.Document) { d.Optional = "1<" }, "optional", mrz.RuleCharacters},
		{"hyphen in a name", func(d *mrz.Document) { d.Given = "ANNA-MARIA" }, "names", mrz.RuleCharacters},
		{"no surname", func(d *mrz.Document) { d.Surname = " " }, "names", mrz.RuleSize},
		{"more words than room", func(d *mrz.Document) { d.Given = strings.Repeat("A ", 20) }, "names", mrz.RuleSize},
		{"second optional data of a passport", func(d *mrz.Document) { d.Optional2 = "1" }, "optional2", mrz.RuleSize},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			document := annaTD3
			test.change(&document)
			_, err := document.Lines(mrz.TD3)
			wantError(t, err, test.field, test.rule)
		})
	}
	_, err := annaTD3.Lines(0)
	wantError(t, err, "zone", mrz.RuleFormat)
}

func TestLongNamesAreShortened(t *testing.T) {
	document := annaTD1
	document.Surname, document.Given = "NIKOLAYEVA ABDRAKHMANOVA", "ALEKSANDRA"
	lines, err := document.Lines(mrz.TD1)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := lines[2], "NIKOLAYEV<ABDRAKHMA<<ALEKSANDR"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestEmptyOptionalMayHaveAFillerForItsDigit(t *testing.T) {
	document := annaTD3
	document.Optional = ""
	lines, err := document.Lines(mrz.TD3)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(lines[1][:43], "<0") {
		t.Errorf("the digit is not 0: %s", lines[1])
	}
	lines[1] = lines[1][:42] + "<" + lines[1][43:] // 0 and < count the same, so the composite digit stays
	if got, _, err := mrz.Read(lines); err != nil || got != document {
		t.Errorf("Read = %+v, %v", got, err)
	}
}

func TestTransliterate(t *testing.T) {
	for name, want := range map[string]string{
		"Сәрсенова":         "SARSENOVA",
		"Айгүл":             "AIGUL",
		"Әбілқайыр":         "ABILKAYYR",
		"Ғалымжан":          "GALYMZHAN",
		"Қайрат":            "KAIRAT",
		"Мөлдір":            "MOLDIR",
		"Нұрсұлтан":         "NURSULTAN",
		"Жаңыл":             "ZHANYL",
		"Жаһан":             "ZHAHAN",
		"Ерлан":             "YERLAN",
		"Сергеевич":         "SERGEYEVICH",
		"Андреи\u0306":      "ANDREY",
		"Щукина-Хрулёва":    "SHCHUKINA KHRULYOVA",
		"Юлия Цой":          "YULIYA TSOY",
		"Григорьев":         "GRIGORYEV",
		"  O'Brien   Mary ": "OBRIEN MARY",
	} {
		if got, err := mrz.Transliterate(name); err != nil || got != want {
			t.Errorf("Transliterate(%q) = %q, %v, want %q", name, got, err, want)
		}
	}
	_, err := mrz.Transliterate("王")
	wantError(t, err, "names", mrz.RuleCharacters)
}

// Every letter of the Kazakh and Russian alphabets, in either case, has a place in the tables.
func TestTransliterateCoversTheAlphabets(t *testing.T) {
	const alphabet = "АӘБВГҒДЕЁЖЗИЙКҚЛМНҢОӨПРСТУҰҮФХҺЦЧШЩЪЫІЬЭЮЯ"
	for _, letter := range alphabet + strings.ToLower(alphabet) {
		got, err := mrz.Transliterate("А" + string(letter))
		if err != nil || strings.Trim(got, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			t.Errorf("%c: %q, %v", letter, got, err)
		}
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	text := func(pattern string) *rapid.Generator[string] { return rapid.StringMatching(pattern) }
	rapid.Check(t, func(t *rapid.T) {
		document := mrz.Document{
			Code: text(`[ACIP][A-Z]?`).Draw(t, "code"), Issuer: text(`[A-Z]{3}`).Draw(t, "issuer"), Nationality: text(`[A-Z]{3}`).Draw(t, "nationality"),
			Surname: text(`[A-Z]{1,8}( [A-Z]{1,4})?`).Draw(t, "surname"), Given: text(`([A-Z]{1,8}( [A-Z]{1,5})?)?`).Draw(t, "given"),
			Number: text(`[A-Z0-9]{1,9}`).Draw(t, "number"), Birth: text(`[0-9]{6}`).Draw(t, "birth"), Expiry: text(`[0-9]{6}`).Draw(t, "expiry"),
			Sex: text(`[MF]?`).Draw(t, "sex"), Optional: text(`[A-Z0-9]{0,14}`).Draw(t, "optional"),
		}
		for _, format := range []mrz.Format{mrz.TD1, mrz.TD3} {
			lines, err := document.Lines(format)
			if err != nil {
				t.Fatal(err)
			}
			if got, gotFormat, err := mrz.Read(lines); err != nil || gotFormat != format || got != document {
				t.Fatalf("Read(%q) = %+v, %d, %v", lines, got, gotFormat, err)
			}
		}
	})
}

// What Read takes, Lines writes, but for the one freedom the package comment names.
func FuzzRead(f *testing.F) {
	f.Add(strings.Join(specimenTD1, "\n"))
	f.Add(strings.Join(specimenTD3, "\n"))
	f.Add("")
	f.Fuzz(func(t *testing.T, zone string) {
		lines := strings.Split(zone, "\n")
		document, format, err := mrz.Read(lines)
		if err != nil {
			return
		}
		again, err := document.Lines(format)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if format == mrz.TD3 && document.Optional == "" {
			again[1] = again[1][:42] + lines[1][42:43] + again[1][43:]
		}
		if !slices.Equal(again, lines) {
			t.Fatalf("read %q, wrote %q", lines, again)
		}
	})
}
