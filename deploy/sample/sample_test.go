package sample_test

import (
	"bytes"
	"image"
	_ "image/jpeg"
	_ "image/png"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nyaruka/phonenumbers"

	"github.com/sandyq/sandyq/deploy/sample"
	"github.com/sandyq/sandyq/vault/iin"
)

// everybody returns the people and the holders, who must not repeat one another.
func everybody(t *testing.T) []sample.Person {
	t.Helper()
	people, err := sample.People()
	if err != nil {
		t.Fatal(err)
	}
	holders, err := sample.Holders()
	if err != nil {
		t.Fatal(err)
	}
	if len(people) != 1000 || len(holders) != 4 {
		t.Fatalf("%d people and %d holders", len(people), len(holders))
	}
	return slices.Concat(people, holders)
}

func TestWhatIdentifiesAPersonIsUnique(t *testing.T) {
	taken := make(map[string]bool)
	unique := func(kind, value string) {
		if key := kind + value; value == "" || taken[key] {
			t.Errorf("%s is empty or occurs twice", kind)
		} else {
			taken[key] = true
		}
	}
	for _, p := range everybody(t) {
		unique("external_ref ", p.ExternalRef)
		unique("iin ", p.IIN)
		unique("document_number ", p.DocumentNumber)
		for _, phone := range p.Phones {
			unique("phone ", canonical(t, phone))
		}
		for _, email := range p.Emails {
			unique("email ", email)
		}
	}
}

// canonical parses a phone number in whatever writing and checks that it is a mobile of Kazakhstan in the block that is not for dialling.
func canonical(t *testing.T, phone string) string {
	t.Helper()
	number, err := phonenumbers.Parse(phone, "KZ")
	if err != nil {
		t.Fatalf("phone: %v", err)
	}
	if !phonenumbers.IsValidNumberForRegion(number, "KZ") || phonenumbers.GetNumberType(number) != phonenumbers.MOBILE {
		t.Errorf("%s is no mobile number of Kazakhstan", phone)
	}
	e164 := phonenumbers.Format(number, phonenumbers.E164)
	if !strings.HasPrefix(e164[len("+7701"):], "000") {
		t.Errorf("%s is not in the block 000", phone)
	}
	return e164
}

func TestIINsAreValidAndOfEveryCentury(t *testing.T) {
	count := make(map[byte]int)
	for _, p := range everybody(t) {
		if err := iin.Check(p.IIN, iin.Strict); err != nil {
			t.Errorf("%s: %v", p.ExternalRef, err)
			continue
		}
		count[p.IIN[6]]++
	}
	for century, least := range map[byte]int{'0': 50, '1': 1, '2': 1, '3': 200, '4': 200, '5': 50, '6': 50} {
		if count[century] < least {
			t.Errorf("century digit %c occurs %d times", century, count[century])
		}
	}
}

func TestFieldsAreWellFormed(t *testing.T) {
	index := regexp.MustCompile(`^([0-9]{6}|[A-ZАВЕКМНРСТХ][0-9]{2}[A-ZАВЕКМНРСТХ][0-9][A-ZАВЕКМНРСТХ][0-9])$`)
	email := regexp.MustCompile(`^[a-z.]+[0-9]+@(example\.(com|org|net)|[a-z]+\.example)$`)
	for _, p := range everybody(t) {
		if p.FamilyName == "" || p.GivenName == "" || p.ResidencyCountry == "" || len(p.Phones) == 0 {
			t.Errorf("%s: a required field is empty", p.ExternalRef)
		}
		if !index.MatchString(p.PostalIndex) {
			t.Errorf("%s: postal index %s", p.ExternalRef, p.PostalIndex)
		}
		for _, e := range p.Emails {
			if !email.MatchString(e) {
				t.Errorf("%s: %s is not at a reserved domain", p.ExternalRef, e)
			}
		}
		if _, err := time.Parse(time.DateOnly, p.RegistrationDate); err != nil {
			t.Errorf("%s: %v", p.ExternalRef, err)
		}
		if (p.Stay.City == "") != (p.StayRegistrationDate == "") {
			t.Errorf("%s: a stay without its date, or a date without its stay", p.ExternalRef)
		}
		if kato := p.Residence.KATO; (p.Residence.Country == "KZ") != (len(kato) == 9) {
			t.Errorf("%s: KATO %q in %s", p.ExternalRef, kato, p.Residence.Country)
		}
	}
}

// The sample is of use only while it holds the cases that go wrong.
func TestSampleIsVaried(t *testing.T) {
	cases := map[string]func(sample.Person) bool{
		"no patronymic":        func(p sample.Person) bool { return p.Patronymic == "" },
		"Kazakh patronymic":    func(p sample.Person) bool { return strings.HasSuffix(p.Patronymic, "ұлы") },
		"Kazakh patronymic, f": func(p sample.Person) bool { return strings.HasSuffix(p.Patronymic, "қызы") },
		"Russian patronymic":   func(p sample.Person) bool { return strings.HasSuffix(p.Patronymic, "ович") },
		"Russian, soft, f":     func(p sample.Person) bool { return strings.HasSuffix(p.Patronymic, "евна") },
		"hyphen in a name":     func(p sample.Person) bool { return strings.Contains(p.FamilyName+p.GivenName, "-") },
		"apostrophe":           func(p sample.Person) bool { return strings.Contains(p.FamilyName, "’") },
		"new postal index":     func(p sample.Person) bool { return len(p.PostalIndex) == 7 },
		"Cyrillic look-alike":  func(p sample.Person) bool { return len(p.PostalIndex) > 7 },
		"phone beginning in 8": func(p sample.Person) bool { return p.Phones[0][0] == '8' },
		"two phones":           func(p sample.Person) bool { return len(p.Phones) == 2 },
		"no e-mail":            func(p sample.Person) bool { return len(p.Emails) == 0 },
		"two e-mails":          func(p sample.Person) bool { return len(p.Emails) == 2 },
		"abroad":               func(p sample.Person) bool { return p.ResidencyCountry != "KZ" },
		"registered elsewhere": func(p sample.Person) bool { return p.Registration != p.Residence },
		"a stay":               func(p sample.Person) bool { return p.Stay.City != "" },
		"no postal address":    func(p sample.Person) bool { return p.PostalAddress == "" },
		"passport":             func(p sample.Person) bool { return p.DocumentNumber[0] == 'N' },
	}
	people := everybody(t)
	for name, is := range cases {
		if !slices.ContainsFunc(people, is) {
			t.Errorf("nobody: %s", name)
		}
	}
	text := string(sample.PeopleCSV())
	for _, letter := range "әғқңөұүһіӘҒҚӨҰҮҺІ" { // Ң begins no word
		if !strings.ContainsRune(text, letter) {
			t.Errorf("the letter %c does not occur", letter)
		}
	}
}

func TestSpecimens(t *testing.T) {
	specimens, err := sample.Specimens()
	if err != nil {
		t.Fatal(err)
	}
	holders, err := sample.Holders()
	if err != nil {
		t.Fatal(err)
	}
	kinds := strings.Fields("identity_card passport residence_permit foreign_passport consent_form other")
	seen, size := make(map[string]bool), 0
	for _, s := range specimens {
		size += len(s.Bytes)
		seen[s.Kind], seen[s.Side], seen[s.MediaType] = true, true, true
		if !slices.Contains(kinds, s.Kind) || !slices.Contains([]string{"front", "back", "page"}, s.Side) {
			t.Errorf("%s: kind %q, side %q", s.Name, s.Kind, s.Side)
		}
		if sniffed := http.DetectContentType(s.Bytes); sniffed != s.MediaType {
			t.Errorf("%s: said to be %q, looks like %s", s.Name, s.MediaType, sniffed)
		}
		if !slices.ContainsFunc(holders, func(p sample.Person) bool { return p.ExternalRef == s.Holder }) {
			t.Errorf("%s: nobody is %s", s.Name, s.Holder)
		}
		if strings.HasPrefix(s.MediaType, "image/") {
			if _, _, err := image.Decode(bytes.NewReader(s.Bytes)); err != nil {
				t.Errorf("%s: %v", s.Name, err)
			}
		}
	}
	for _, what := range append(kinds, "front", "back", "page", "image/jpeg", "image/png", "application/pdf") {
		if !seen[what] {
			t.Errorf("no specimen is %s", what)
		}
	}
	if size > 3<<20 { // they are linked into the product
		t.Errorf("the specimens have %d bytes together", size)
	}
}
