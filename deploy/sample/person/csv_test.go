package person_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/deploy/sample/person"
)

func TestWhatIsWrittenIsRead(t *testing.T) {
	people := []person.Person{
		{
			ExternalRef: "client/1", IIN: "850312113646", FamilyName: "Сәрсенова", GivenName: "Айгүл", Patronymic: "Нұрланқызы",
			ResidencyCountry: "KZ", PostalIndex: "A05B1C2",
			Residence:        person.Address{Country: "KZ", Region: "Алматы қаласы", City: "Алматы", Line: "Күміс Қайың көшесі, 12-үй", KATO: "750000000"},
			Registration:     person.Address{Country: "KZ", City: "Тараз"},
			RegistrationDate: "2020-02-29", Stay: person.Address{Line: "\"кавычки\", запятая"}, StayRegistrationDate: "2026-01-01",
			Phones: []string{"+77010001234", "8 (702) 000-12-34"}, Emails: []string{"a@example.com"},
			PostalAddress: "050000, Алматы, а/ж 5", DocumentNumber: "012345678",
		},
		{ExternalRef: "client/2"},
	}
	var b bytes.Buffer
	if err := person.WriteCSV(&b, people); err != nil {
		t.Fatal(err)
	}
	got, err := person.ReadCSV(&b)
	if err != nil || !reflect.DeepEqual(got, people) {
		t.Errorf("read %+v, %v", got, err)
	}
}

func TestReadCSVWantsItsHeader(t *testing.T) {
	header := strings.Join(person.Header(), ",")
	for name, text := range map[string]string{
		"empty":          "",
		"another header": strings.Replace(header, "iin", "inn", 1) + "\n",
		"columns fewer":  "external_ref,iin\n",
		"a short row":    header + "\nclient/1,850312113646\n",
	} {
		if _, err := person.ReadCSV(strings.NewReader(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
