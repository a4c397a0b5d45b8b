package main

import (
	"fmt"
	"time"

	"github.com/sandyq/sandyq/deploy/sample/crowd"
	"github.com/sandyq/sandyq/deploy/sample/person"
	"github.com/sandyq/sandyq/vault/mrz"
)

// holder is somebody a specimen document is made out to: a synthetic person, and what only documents tell.
type holder struct {
	person.Person
	woman                 bool
	writesKazakh          bool // the address, otherwise in Russian
	birth, issued, expiry time.Time
	place                 [2]string // of birth, in Kazakh and in Russian
	nationality           [2]string
	code                  string  // nationality in the machine-readable zone
	passport              string  // number of the passport; the identity card or permit has the person's document_number
	signatureTurn         float64 // −1…1: how the hand leans
}

// drawHolders draws the four, after the people of the file so that no number of theirs occurs there. The first, second and fourth have names that
// say what they are; the third is a citizen of Utopia, ICAO's country of specimens.
func drawHolders(from *crowd.Crowd) ([]holder, error) {
	holders := []holder{
		{
			Person: person.Person{FamilyName: "Үлгібаева", GivenName: "Айсұлу", Patronymic: "Әбдіғаниқызы"}, woman: true, writesKazakh: true,
			birth: day(1990, 4, 17), issued: day(2024, 3, 12), place: [2]string{"ҚЫЗЫЛОРДА", "КЫЗЫЛОРДА"}, signatureTurn: 0.3,
		},
		{
			Person: person.Person{FamilyName: "Образцов", GivenName: "Пётр", Patronymic: "Сергеевич"},
			birth:  day(1985, 11, 2), issued: day(2021, 7, 5), place: [2]string{"ПАВЛОДАР", "ПАВЛОДАР"}, signatureTurn: -0.4,
		},
		{
			Person: person.Person{FamilyName: "Сандберг", GivenName: "Эмиль Аксель"}, code: "UTO",
			birth: day(1979, 1, 30), issued: day(2025, 2, 18), place: [2]string{"УТОПИЯ", "УТОПИЯ"}, signatureTurn: 0.7,
		},
		{
			Person: person.Person{FamilyName: "Үлгілі", GivenName: "Өркен", Patronymic: "Һамитұлы"}, writesKazakh: true,
			birth: day(2001, 9, 23), issued: day(2023, 10, 9), place: [2]string{"ТҮРКІСТАН", "ТУРКЕСТАН"}, signatureTurn: -0.2,
		},
	}
	for i := range holders {
		if err := holders[i].complete(from); err != nil {
			return nil, fmt.Errorf("draw holder %d: %w", i+1, err)
		}
		holders[i].ExternalRef = fmt.Sprintf("specimen/%d", i+1)
	}
	return holders, nil
}

// complete draws numbers and addresses of a holder whose name is set.
func (h *holder) complete(from *crowd.Crowd) error {
	country := "KZ"
	h.nationality = [2]string{"ҚАЗАҚСТАН", "КАЗАХСТАН"}
	if h.code == "UTO" {
		country = "UTO"
		h.nationality = h.place
	} else {
		h.code = "KAZ"
	}
	p, err := from.Person(crowd.Draft{
		Family: h.FamilyName, Given: h.GivenName, Patronymic: h.Patronymic, Woman: h.woman, Country: country, Birth: h.birth,
		Kazakh: h.writesKazakh,
	})
	if err != nil {
		return err
	}
	p.DocumentNumber = from.CardNumber()
	h.passport = from.PassportNumber()
	h.expiry = h.issued.AddDate(10, 0, -1)
	h.Person = p
	return nil
}

// zone composes the machine-readable zone of a document of the holder's.
func (h *holder) zone(format mrz.Format, code, issuer, number string) ([]string, error) {
	surname, err := mrz.Transliterate(h.FamilyName)
	if err != nil {
		return nil, fmt.Errorf("transliterate the family name: %w", err)
	}
	given, err := mrz.Transliterate(h.GivenName)
	if err != nil {
		return nil, fmt.Errorf("transliterate the given name: %w", err)
	}
	document := mrz.Document{
		Code: code, Issuer: issuer, Surname: surname, Given: given, Number: number, Nationality: h.code,
		Birth: h.birth.Format("060102"), Sex: h.sex(), Expiry: h.expiry.Format("060102"),
	}
	if issuer == "KAZ" {
		document.Optional = h.IIN
	}
	return document.Lines(format)
}

func (h *holder) sex() string {
	if h.woman {
		return "F"
	}
	return "M"
}

// sexLabel is the sex as the face of a document prints it, in Kazakh and Russian.
func (h *holder) sexLabel() string {
	if h.woman {
		return "ӘЙЕЛ / ЖЕН"
	}
	return "ЕР / МУЖ"
}

func day(year int, month time.Month, dayOfMonth int) time.Time {
	return time.Date(year, month, dayOfMonth, 0, 0, 0, 0, time.UTC)
}

func dotted(t time.Time) string { return t.Format("02.01.2006") }
