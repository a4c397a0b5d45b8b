package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/sandyq/sandyq/deploy/sample/person"
	"github.com/sandyq/sandyq/vault/iin"
	"github.com/sandyq/sandyq/vault/mrz"
)

// How many people there are, and the day on which all of it is: registrations lie before it.
const peopleCount = 1000

var sampleDay = time.Date(2026, time.June, 1, 0, 0, 0, 0, time.UTC)

// crowd draws people and sees to it that what identifies one is never drawn twice.
type crowd struct {
	random *rand.Rand
	taken  map[string]bool
}

func newCrowd(seed uint64) *crowd {
	return &crowd{random: rand.New(rand.NewPCG(seed, 0x5A4D504C45)), taken: make(map[string]bool)}
}

// people draws the whole file. Every hundredth person has a number of somebody born in the 19th century, so that all century digits
// in use occur; one in ten is a foreigner.
func (c *crowd) people() ([]person.Person, error) {
	people := make([]person.Person, peopleCount)
	for i := range people {
		var draft draft
		switch n := c.random.IntN(100); {
		case n < 63:
			draft = c.kazakh()
		case n < 90:
			draft = c.russian()
		default:
			draft = c.foreigner()
		}
		if i%100 == 50 {
			draft.birth = draft.birth.AddDate(1890-draft.birth.Year(), 0, 0)
		}
		p, err := c.person(draft)
		if err != nil {
			return nil, fmt.Errorf("draw person %d: %w", i+1, err)
		}
		p.ExternalRef = fmt.Sprintf("client/%d", 1001+i)
		people[i] = p
	}
	return people, nil
}

// draft is who a person is, before the rest follows from it.
type draft struct {
	family, given, patronymic string
	woman, kazakh             bool // kazakh: writes the address in Kazakh
	country                   string
	birth                     time.Time // the date in the IIN; the vault never takes it for the birth date
}

func (c *crowd) kazakh() draft {
	d := draft{woman: c.random.IntN(2) == 0, kazakh: c.random.IntN(4) > 0, country: "KZ", birth: c.birth()}
	d.family, d.given = pick(c.random, kazakhFamilies), pick(c.random, kazakhMen)
	if d.woman {
		d.family, d.given = feminine(d.family), pick(c.random, kazakhWomen)
	}
	father := pick(c.random, kazakhMen)
	switch n := c.random.IntN(100); {
	case n < 48:
		d.patronymic = kazakhPatronymic(father, d.woman)
	case n < 86:
		d.patronymic = russianPatronymic(father, d.woman)
	}
	return d
}

func (c *crowd) russian() draft {
	d := draft{woman: c.random.IntN(2) == 0, kazakh: c.random.IntN(12) == 0, country: "KZ", birth: c.birth()}
	d.family, d.given = pick(c.random, russianFamilies), pick(c.random, russianMen)
	if d.woman {
		d.family, d.given = feminine(d.family), pick(c.random, russianWomen)
		if c.random.IntN(15) == 0 {
			d.family += "-" + feminine(pick(c.random, kazakhFamilies))
		}
	}
	if c.random.IntN(25) > 0 {
		d.patronymic = russianPatronymic(pick(c.random, russianMen), d.woman)
	}
	return d
}

func (c *crowd) foreigner() draft {
	stock := pick(c.random, foreigners)
	d := draft{woman: stock.women != nil && c.random.IntN(2) == 0, country: stock.country, birth: c.birth()}
	d.family, d.given = pick(c.random, stock.families), pick(c.random, stock.men)
	if d.woman {
		d.given = pick(c.random, stock.women)
	}
	return d
}

// person fills in what a draft leaves open.
func (c *crowd) person(d draft) (person.Person, error) {
	home, country := drawCity(c.random), "KZ"
	if far, ok := abroad[d.country]; ok && c.random.IntN(3) == 0 {
		home, country = far, d.country
	} else if d.country == "KZ" && c.random.IntN(60) == 0 {
		home, country = abroad["RU"], "RU"
	}
	residence := home.address(c.random, country, d.kazakh)
	p := person.Person{
		IIN:              c.iin(d),
		FamilyName:       d.family,
		GivenName:        d.given,
		Patronymic:       d.patronymic,
		ResidencyCountry: country,
		PostalIndex:      home.postalIndex(c.random),
		Residence:        residence,
		Registration:     residence,
		RegistrationDate: c.dayBefore(sampleDay, 17*365), // everybody was born by then
		Phones:           c.phones(),
		DocumentNumber:   c.documentNumber(d.country),
	}
	if country != "KZ" || c.random.IntN(4) == 0 {
		p.Registration = drawCity(c.random).address(c.random, "KZ", d.kazakh)
	}
	if c.random.IntN(12) == 0 {
		p.Stay, p.StayRegistrationDate = drawCity(c.random).address(c.random, "KZ", d.kazakh), c.dayBefore(sampleDay, 300)
	}
	switch n := c.random.IntN(10); {
	case n < 6:
		p.PostalAddress = strings.Join([]string{p.PostalIndex, residence.City, residence.Line}, ", ")
	case n < 8 && d.kazakh:
		p.PostalAddress = fmt.Sprintf("%s, %s, а/ж %d", p.PostalIndex, residence.City, 1+c.random.IntN(400))
	case n < 8:
		p.PostalAddress = fmt.Sprintf("%s, %s, а/я %d", p.PostalIndex, residence.City, 1+c.random.IntN(400))
	}
	emails, err := c.emails(d)
	if err != nil {
		return person.Person{}, err
	}
	p.Emails = emails
	return p, nil
}

// birth draws the date of an adult; one in five was born in this century.
func (c *crowd) birth() time.Time {
	if c.random.IntN(5) == 0 {
		return time.Date(2000, time.January, 1+c.random.IntN(8*365), 0, 0, 0, 0, time.UTC)
	}
	return time.Date(1938, time.January, 1+c.random.IntN(62*365), 0, 0, 0, 0, time.UTC)
}

// iin draws a valid number. Foreigners have the century digit 0.
func (c *crowd) iin(d draft) string {
	century := '0'
	if d.country == "KZ" {
		century = rune('1' + 2*(d.birth.Year()/100-18))
		if d.woman {
			century++
		}
	}
	return c.unused(func() string {
		for {
			first11 := fmt.Sprintf("%s%c%04d", d.birth.Format("060102"), century, c.random.IntN(10_000))
			if digit, ok := iin.CheckDigit(first11); ok {
				return first11 + string(digit)
			}
		}
	})
}

// mobile are codes of mobile networks.
var mobile = strings.Fields("700 701 702 705 706 707 708 747 771 775 776 777 778")

// phones draws one number or two, written as people write them. All lie in the block 000 of their code: invented, and not to be dialled.
func (c *crowd) phones() []string {
	phones := make([]string, 1+c.random.IntN(6)/5)
	for i := range phones {
		number := c.unused(func() string { return pick(c.random, mobile) + fmt.Sprintf("000%04d", c.random.IntN(10_000)) })
		code, a, b, e := number[:3], number[3:6], number[6:8], number[8:]
		phones[i] = pick(c.random, []string{
			"+7" + number, "+7" + number, "8" + number, "8" + number,
			"+7 " + code + " " + a + " " + b + " " + e,
			"+7 (" + code + ") " + a + "-" + b + "-" + e,
			"8 (" + code + ") " + a + " " + b + e,
			"8-" + code + "-" + a + "-" + b + "-" + e,
		})
	}
	return phones
}

// Domains that RFC 2606 and RFC 6761 keep for examples: nobody receives what is sent there.
var domains = strings.Fields("example.com example.org example.net mail.example poshta.example")

// emails draws none, one or two addresses from the name in Latin.
func (c *crowd) emails(d draft) ([]string, error) {
	latin, err := mrz.Transliterate(d.given + " " + d.family)
	if err != nil {
		return nil, fmt.Errorf("transliterate the name of a draft: %w", err)
	}
	name := strings.ReplaceAll(strings.ToLower(latin), " ", ".")
	var emails []string
	for range []int{0, 1, 1, 1, 1, 1, 1, 2}[c.random.IntN(8)] {
		emails = append(emails, c.unused(func() string {
			return fmt.Sprintf("%s%d@%s", name, 1+c.random.IntN(99), pick(c.random, domains))
		}))
	}
	return emails, nil
}

// documentNumber draws the number of an identity card or, for one in ten, of a passport; foreigners show a passport of theirs.
func (c *crowd) documentNumber(country string) string {
	return c.unused(func() string {
		switch {
		case country != "KZ":
			return fmt.Sprintf("%c%c%07d", 'A'+c.random.IntN(26), 'A'+c.random.IntN(26), c.random.IntN(10_000_000))
		case c.random.IntN(10) == 0:
			return fmt.Sprintf("N%08d", c.random.IntN(100_000_000))
		}
		return fmt.Sprintf("0%08d", c.random.IntN(100_000_000))
	})
}

// dayBefore draws one of the days before the day given.
func (c *crowd) dayBefore(day time.Time, days int) string {
	return day.AddDate(0, 0, -1-c.random.IntN(days)).Format(time.DateOnly)
}

// unused draws until it meets something that was not drawn before.
func (c *crowd) unused(draw func() string) string {
	for {
		if s := draw(); !c.taken[s] {
			c.taken[s] = true
			return s
		}
	}
}

func pick[T any](random *rand.Rand, from []T) T { return from[random.IntN(len(from))] }
