package paper_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/vault/audit/certificate"
	"github.com/sandyq/sandyq/vault/audit/certificate/paper"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
)

// published is a published certificate, verified.
func published(t *testing.T, name string) (*certificate.Verified, []byte) {
	t.Helper()
	b, err := os.ReadFile("../testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../testdata/key")
	if err != nil {
		t.Fatal(err)
	}
	key, err := checkpoint.ParseKey(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	d, err := certificate.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	v, err := certificate.Verify(d, key)
	if err != nil {
		t.Fatal(err)
	}
	return v, b
}

var pages = regexp.MustCompile(`/Type\s*/Page\b`)

// TestPages: in each language the page is one, small, and says what the certificate says, in letters
// that the fonts have.
func TestPages(t *testing.T) {
	for language, says := range map[paper.Language][]string{
		paper.Kazakh:  {"Дербес деректердің жойылғаны туралы сертификат", "Субъектінің талабы", "мәндер: 10", "ә", "ғ", "қ", "ң", "ө", "ұ", "ү", "һ", "і"},
		paper.Russian: {"Сертификат об уничтожении персональных данных", "Требование субъекта", "статьи: 18, 24", "Доказательство согласия (1)", "до 01.12.2031"},
		paper.English: {"Certificate of the erasure of personal data", "identity: 4, contact: 3, address: 2, documents: 3 (files: 3)", "than 30 days"},
	} {
		for _, name := range []string{"erasure.json", "removal.json"} {
			v, document := published(t, name)
			b, err := paper.Set(v, document, language)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(pages.FindAll(b, -1)); n != 1 || len(b) > 150<<10 {
				t.Errorf("%s: %d pages, %d bytes", language, n, len(b))
			}
			text := textOf(t, b)
			for _, want := range append(says, v.Content.Erasure, v.Hash, "22.11.2026 10:30:03 UTC+05:00", "ЖШС «Гауһар»", v.Content.Destroyed.Slices[0].Key, v.Content.Requester.Subject) {
				if !strings.Contains(text, want) {
					t.Errorf("%s, %s: %q is not on the page:\n%s", language, name, want, text)
				}
			}
			if removed := strings.Contains(text, "22.11.2026 11:30:03"); removed != (name == "removal.json") {
				t.Errorf("%s, %s: removal on the page: %t", language, name, removed)
			}
		}
	}
}

// TestThePageCarriesTheDocument: what is attached to a page is the document, byte for byte.
func TestThePageCarriesTheDocument(t *testing.T) {
	v, document := published(t, "succession.json")
	b, err := paper.Set(v, document, paper.Russian)
	if err != nil {
		t.Fatal(err)
	}
	attached := filepath.Join(t.TempDir(), "certificate.json")
	poppler(t, "pdfdetach", b, "-save", "1", "-o", attached)
	got, err := os.ReadFile(attached)
	if err != nil || !bytes.Equal(got, document) {
		t.Errorf("%d bytes are attached, not the document: %v", len(got), err)
	}
	if want := "sandyq-erasure-certificate:1 " + v.Hash + " " + v.Content.Erasure + " vault.example.kz/main"; paper.Code(v) != want {
		t.Errorf("the code holds %q", paper.Code(v))
	}
}

// TestMuchToSay: the longest names and lists stay on one page, and characters that no font has do no harm.
func TestMuchToSay(t *testing.T) {
	v, document := published(t, "removal.json")
	c := &v.Content
	c.Operator = strings.Repeat("Қазына ", 28) + "\U0001f512"
	c.Origin = strings.Repeat("o", 255)
	c.Ground = certificate.Ground{Code: "court", Citation: strings.Repeat("шешім ", 33)}
	c.Scope = certificate.Scope{}
	for i := range 40 {
		name := strings.Repeat("s", 38) + string([]byte{'a' + byte(i/26), 'a' + byte(i%26)})
		c.Scope.Slices = append(c.Scope.Slices, name)
		c.Destroyed.Slices = append(c.Destroyed.Slices, certificate.Slice{Slice: name, Key: strings.Repeat("0", 32)})
		c.Kept = append(c.Kept, certificate.Kept{Citation: strings.Repeat("негіз ", 33)})
	}
	for _, language := range paper.Languages {
		b, err := paper.Set(v, document, language)
		if err != nil {
			t.Fatalf("%s: %v", language, err)
		}
		if n := len(pages.FindAll(b, -1)); n != 1 || !strings.Contains(textOf(t, b), "42") && !strings.Contains(textOf(t, b), "36") {
			t.Errorf("%s: %d pages", language, n)
		}
	}
	if _, err := paper.Set(v, document, "de"); err == nil {
		t.Error("there is a page in German")
	}
}

// textOf is what a reader of PDF finds on a page.
func textOf(t *testing.T, pdf []byte) string {
	t.Helper()
	return strings.Join(strings.Fields(string(poppler(t, "pdftotext", pdf, "-raw", "-enc", "UTF-8", "-"))), " ")
}

// poppler runs one of Poppler's programs on a page.
func poppler(t *testing.T, program string, pdf []byte, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("SANDYQ_REQUIRE_SERVERS") != "" {
			t.Fatal(err)
		}
		t.Skip("Poppler is not installed")
	}
	path := filepath.Join(t.TempDir(), "certificate.pdf")
	if err := os.WriteFile(path, pdf, 0o600); err != nil {
		t.Fatal(err)
	}
	if program == "pdftotext" { // it takes what it reads before where it writes
		args = slices.Insert(args, len(args)-1, path)
	} else {
		args = append(args, path)
	}
	out, err := exec.Command(program, args...).Output()
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	return out
}
