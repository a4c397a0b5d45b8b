// Package crowd draws synthetic people, any number of them: the thousand of the sample data, and the million of a load test.
//
// Everything follows from a seed and from the code: two crowds of one seed draw the same people in the same order, whose first thousand, of the
// sample's seed, are those of people.csv. What a crowd remembers is about 60 MB for a million people.
package crowd

import (
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/sandyq/sandyq/deploy/sample/person"
	"github.com/sandyq/sandyq/vault/iin"
	"github.com/sandyq/sandyq/vault/mrz"
)

// sampleDay is the day on which all of it is: registrations lie before it.
var sampleDay = time.Date(2026, time.June, 1, 0, 0, 0, 0, time.UTC)

// Crowd draws people one after another. What identifies one, a number of theirs, is never drawn twice; a telephone number or an address may be,
// as households share them, once there are so many people that few are left. It is for one goroutine.
type Crowd struct {
	random *rand.Rand
	drawn  int
	taken  map[uint64]struct{} // hashes: a collision costs another draw, and the texts of a million would be five times as large
}

// New returns a crowd that follows from the seed.
func New(seed uint64) *Crowd {
	return &Crowd{random: rand.New(rand.NewPCG(seed, 0x5A4D504C45)), taken: make(map[uint64]struct{})}
}

// Next draws the next person. Every hundredth has a number of somebody born in the 19th century, so that all century digits in use
// occur; one in ten is a foreigner.
func (c *Crowd) Next() (person.Person, error) {
	var d Draft
	switch n := c.random.IntN(100); {
	case n < 63:
		d = c.kazakh()
	case n < 90:
		d = c.russian()
	default:
		d = c.foreigner()
	}
	if c.drawn%100 == 50 {
		d.Birth = d.Birth.AddDate(1890-d.Birth.Year(), 0, 0)
	}
	c.drawn++
	p, err := c.Person(d)
	if err != nil {
		return person.Person{}, fmt.Errorf("draw person %d: %w", c.drawn, err)
	}
	p.ExternalRef = fmt.Sprintf("client/%d", 1000+c.drawn)
	return p, nil
}

// Draft is who a person is, before the rest follows from it.
type Draft struct {
	Family, Given, Patronymic string
	Woman                     bool
	Kazakh                    bool      // writes the address in Kazakh
	Country                   string    // of the passport: ISO 3166-1 alpha-2, or that of a specimen
	Birth                     time.Time // the date in the IIN; the vault never takes it for the birth date
}

func (c *Crowd) kazakh() Draft {
	d := Draft{Woman: c.random.IntN(2) == 0, Kazakh: c.random.IntN(4) > 0, Country: "KZ", Birth: c.birth()}
	d.Family, d.Given = pick(c.random, kazakhFamilies), pick(c.random, kazakhMen)
	if d.Woman {
		d.Family, d.Given = feminine(d.Family), pick(c.random, kazakhWomen)
	}
	father := pick(c.random, kazakhMen)
	switch n := c.random.IntN(100); {
	case n < 48:
		d.Patronymic = kazakhPatronymic(father, d.Woman)
	case n < 86:
		d.Patronymic = russianPatronymic(father, d.Woman)
	}
	return d
}

func (c *Crowd) russian() Draft {
	d := Draft{Woman: c.random.IntN(2) == 0, Kazakh: c.random.IntN(12) == 0, Country: "KZ", Birth: c.birth()}
	d.Family, d.Given = pick(c.random, russianFamilies), pick(c.random, russianMen)
	if d.Woman {
		d.Family, d.Given = feminine(d.Family), pick(c.random, russianWomen)
		if c.random.IntN(15) == 0 {
			d.Family += "-" + feminine(pick(c.random, kazakhFamilies))
		}
	}
	if c.random.IntN(25) > 0 {
		d.Patronymic = russianPatronymic(pick(c.random, russianMen), d.Woman)
	}
	return d
}

func (c *Crowd) foreigner() Draft {
	stock := pick(c.random, foreigners)
	d := Draft{Woman: stock.women != nil && c.random.IntN(2) == 0, Country: stock.country, Birth: c.birth()}
	d.Family, d.Given = pick(c.random, stock.families), pick(c.random, stock.men)
	if d.Woman {
		d.Given = pick(c.random, stock.women)
	}
	return d
}

// Person fills in what a draft leaves open, but for the external reference.
func (c *Crowd) Person(d Draft) (person.Person, error) {
	home, country := drawCity(c.random), "KZ"
	if far, ok := abroad[d.Country]; ok && c.random.IntN(3) == 0 {
		home, country = far, d.Country
	} else if d.Country == "KZ" && c.random.IntN(60) == 0 {
		home, country = abroad["RU"], "RU"
	}
	residence := home.address(c.random, country, d.Kazakh)
	p := person.Person{
		IIN:              c.iin(d),
		FamilyName:       d.Family,
		GivenName:        d.Given,
		Patronymic:       d.Patronymic,
		ResidencyCountry: country,
		PostalIndex:      home.postalIndex(c.random),
		Residence:        residence,
		Registration:     residence,
		RegistrationDate: c.dayBefore(sampleDay, 17*365), // everybody was born by then
		Phones:           c.phones(),
		DocumentNumber:   c.documentNumber(d.Country),
	}
	if country != "KZ" || c.random.IntN(4) == 0 {
		p.Registration = drawCity(c.random).address(c.random, "KZ", d.Kazakh)
	}
	if c.random.IntN(12) == 0 {
		p.Stay, p.StayRegistrationDate = drawCity(c.random).address(c.random, "KZ", d.Kazakh), c.dayBefore(sampleDay, 300)
	}
	switch n := c.random.IntN(10); {
	case n < 6:
		p.PostalAddress = strings.Join([]string{p.PostalIndex, residence.City, residence.Line}, ", ")
	case n < 8 && d.Kazakh:
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
func (c *Crowd) birth() time.Time {
	if c.random.IntN(5) == 0 {
		return time.Date(2000, time.January, 1+c.random.IntN(8*365), 0, 0, 0, 0, time.UTC)
	}
	return time.Date(1938, time.January, 1+c.random.IntN(62*365), 0, 0, 0, 0, time.UTC)
}

// iin draws a valid number. Foreigners have the century digit 0.
func (c *Crowd) iin(d Draft) string {
	century := '0'
	if d.Country == "KZ" {
		century = rune('1' + 2*(d.Birth.Year()/100-18))
		if d.Woman {
			century++
		}
	}
	return c.unused(func() string {
		for {
			first11 := fmt.Sprintf("%s%c%04d", d.Birth.Format("060102"), century, c.random.IntN(10_000))
			if digit, ok := iin.CheckDigit(first11); ok {
				return first11 + string(digit)
			}
		}
	})
}

// mobile are codes of mobile networks.
var mobile = strings.Fields("700 701 702 705 706 707 708 747 771 775 776 777 778")

// phones draws one number or two, written as people write them. All lie in the block 000 of their code: invented, and not to be dialled.
func (c *Crowd) phones() []string {
	phones := make([]string, 1+c.random.IntN(6)/5)
	for i := range phones {
		number := c.rare(func() string { return pick(c.random, mobile) + fmt.Sprintf("000%04d", c.random.IntN(10_000)) })
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
func (c *Crowd) emails(d Draft) ([]string, error) {
	latin, err := mrz.Transliterate(d.Given + " " + d.Family)
	if err != nil {
		return nil, fmt.Errorf("transliterate the name of a draft: %w", err)
	}
	name := strings.ReplaceAll(strings.ToLower(latin), " ", ".")
	var emails []string
	for range []int{0, 1, 1, 1, 1, 1, 1, 2}[c.random.IntN(8)] {
		emails = append(emails, c.rare(func() string {
			return fmt.Sprintf("%s%d@%s", name, 1+c.random.IntN(99), pick(c.random, domains))
		}))
	}
	return emails, nil
}

// documentNumber draws the number of an identity card or, for one in ten, of a passport; foreigners show a passport of theirs.
func (c *Crowd) documentNumber(country string) string {
	return c.unused(func() string {
		switch {
		case country != "KZ":
			return fmt.Sprintf("%c%c%07d", 'A'+c.random.IntN(26), 'A'+c.random.IntN(26), c.random.IntN(10_000_000))
		case c.random.IntN(10) == 0:
			return c.passport()
		}
		return c.card()
	})
}

// CardNumber draws the number of an identity card that nobody has yet, PassportNumber that of a passport.
func (c *Crowd) CardNumber() string     { return c.unused(c.card) }
func (c *Crowd) PassportNumber() string { return c.unused(c.passport) }

func (c *Crowd) card() string     { return fmt.Sprintf("0%08d", c.random.IntN(100_000_000)) }
func (c *Crowd) passport() string { return fmt.Sprintf("N%08d", c.random.IntN(100_000_000)) }

// dayBefore draws one of the days before the day given.
func (c *Crowd) dayBefore(day time.Time, days int) string {
	return day.AddDate(0, 0, -1-c.random.IntN(days)).Format(time.DateOnly)
}

// unused draws until it meets something that was not drawn before.
func (c *Crowd) unused(draw func() string) string {
	for {
		if s := draw(); c.take(s) {
			return s
		}
	}
}

// rare is unused for what people may share: after some tries it takes what comes.
func (c *Crowd) rare(draw func() string) string {
	const tries = 32
	for range tries {
		if s := draw(); c.take(s) {
			return s
		}
	}
	return draw()
}

// take notes that something was drawn, and reports whether it was not before.
func (c *Crowd) take(s string) bool {
	h := fnv.New64a()
	_, _ = io.WriteString(h, s) // a hash takes anything
	before := len(c.taken)
	c.taken[h.Sum64()] = struct{}{}
	return len(c.taken) > before
}

func pick[T any](random *rand.Rand, from []T) T { return from[random.IntN(len(from))] }
