package crowd

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/sandyq/sandyq/deploy/sample/person"
)

// city is a real city in the two languages an address may be written in. Its codes have the form of the published ones and are no reference.
type city struct {
	kk, ru, regionKK, regionRU string
	kato                       string // empty abroad
	index                      string // first four of the six digits of its postal index
	letter                     byte   // first character of its new postal index, 0 abroad
	share                      int    // how often it is drawn
}

var cities = []city{
	{"Алматы", "Алматы", "Алматы қаласы", "город Алматы", "750000000", "0500", 'A', 20},
	{"Астана", "Астана", "Астана қаласы", "город Астана", "710000000", "0100", 'Z', 14},
	{"Шымкент", "Шымкент", "Шымкент қаласы", "город Шымкент", "790000000", "1600", 'X', 10},
	{"Қарағанды", "Караганда", "Қарағанды облысы", "Карагандинская область", "351010000", "1000", 'M', 6},
	{"Ақтөбе", "Актобе", "Ақтөбе облысы", "Актюбинская область", "151010000", "0300", 'D', 5},
	{"Тараз", "Тараз", "Жамбыл облысы", "Жамбылская область", "311010000", "0800", 'H', 4},
	{"Павлодар", "Павлодар", "Павлодар облысы", "Павлодарская область", "551010000", "1400", 'S', 4},
	{"Өскемен", "Усть-Каменогорск", "Шығыс Қазақстан облысы", "Восточно-Казахстанская область", "631010000", "0700", 'F', 4},
	{"Семей", "Семей", "Абай облысы", "область Абай", "101010000", "0714", 'F', 4},
	{"Атырау", "Атырау", "Атырау облысы", "Атырауская область", "231010000", "0600", 'E', 4},
	{"Қостанай", "Костанай", "Қостанай облысы", "Костанайская область", "391010000", "1100", 'P', 3},
	{"Қызылорда", "Кызылорда", "Қызылорда облысы", "Кызылординская область", "431010000", "1200", 'N', 3},
	{"Орал", "Уральск", "Батыс Қазақстан облысы", "Западно-Казахстанская область", "271010000", "0900", 'L', 3},
	{"Петропавл", "Петропавловск", "Солтүстік Қазақстан облысы", "Северо-Казахстанская область", "591010000", "1500", 'T', 3},
	{"Ақтау", "Актау", "Маңғыстау облысы", "Мангистауская область", "471010000", "1300", 'R', 3},
	{"Көкшетау", "Кокшетау", "Ақмола облысы", "Акмолинская область", "111010000", "0200", 'C', 3},
	{"Талдықорған", "Талдыкорган", "Жетісу облысы", "область Жетісу", "331010000", "0400", 'B', 3},
}

// abroad is where the few live who do not live in Kazakhstan.
var abroad = map[string]city{
	"RU": {"Омбы", "Омск", "Омбы облысы", "Омская область", "", "6440", 0, 1},
	"KG": {"Бішкек", "Бишкек", "Бішкек қаласы", "город Бишкек", "", "7200", 0, 1},
	"UZ": {"Ташкент", "Ташкент", "Ташкент қаласы", "город Ташкент", "", "1000", 0, 1},
}

// Streets are invented from an attribute and a thing.
var (
	streetKK = [2][]string{
		strings.Fields("Күміс Алтын Көгілдір Ақшыл Нұрлы Жасыл Мөлдір Алыс Тыныш Самалды"),
		strings.Fields("Бұлақ Қайың Терек Жусан Көпір Қырат Үңгір Шаңырақ Құрақ Өткел Ізгілік Һикая"),
	}
	streetRU = [2][]string{
		strings.Fields("Лунного Тихого Дальнего Утреннего Степного Янтарного Весёлого Северного"),
		strings.Fields("Ковыля Родника Ветра Саксаула Жаворонка Фонаря Тополя Перевала"),
	}
)

// drawCity draws a city of Kazakhstan by the shares.
func drawCity(random *rand.Rand) city {
	all := 0
	for _, c := range cities {
		all += c.share
	}
	n := random.IntN(all)
	for _, c := range cities {
		if n -= c.share; n < 0 {
			return c
		}
	}
	panic("unreachable: n is below the sum of the shares")
}

// address draws an address in the city, in Kazakh or in Russian.
func (c city) address(random *rand.Rand, country string, kazakh bool) person.Address {
	house, flat := 1+random.IntN(180), 1+random.IntN(120)
	block := ""
	if random.IntN(8) == 0 {
		block = string([]rune("АБВ")[random.IntN(3)])
	}
	if kazakh {
		line := fmt.Sprintf("%s %s көшесі, %d%s-үй", pick(random, streetKK[0]), pick(random, streetKK[1]), house, block)
		if random.IntN(5) > 0 {
			line += fmt.Sprintf(", %d-пәтер", flat)
		}
		return person.Address{Country: country, Region: c.regionKK, City: c.kk, Line: line, KATO: c.kato}
	}
	line := fmt.Sprintf("ул. %s %s, д. %d%s", pick(random, streetRU[0]), pick(random, streetRU[1]), house, block)
	if random.IntN(5) > 0 {
		line += fmt.Sprintf(", кв. %d", flat)
	}
	return person.Address{Country: country, Region: c.regionRU, City: c.ru, Line: line, KATO: c.kato}
}

// postalIndex draws an index: mostly six digits, else the new form, now and then with the Cyrillic look-alikes people type.
func (c city) postalIndex(random *rand.Rand) string {
	if c.letter == 0 || random.IntN(10) < 7 {
		return fmt.Sprintf("%s%02d", c.index, random.IntN(64))
	}
	const letters = "ABCEHKMPTX"
	index := fmt.Sprintf("%c%02d%c%d%c%d", c.letter, 1+random.IntN(35), letters[random.IntN(len(letters))], random.IntN(10),
		letters[random.IntN(len(letters))], random.IntN(10))
	if random.IntN(8) == 0 {
		index = strings.NewReplacer("A", "А", "B", "В", "C", "С", "E", "Е", "H", "Н", "K", "К", "M", "М", "P", "Р", "T", "Т", "X", "Х").Replace(index)
	}
	return index
}
