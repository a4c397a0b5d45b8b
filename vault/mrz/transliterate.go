package mrz

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// latin gives the letters of the Kazakh and Russian alphabets in Latin, as passports of Kazakhstan usually print them. The letters of
// Kazakh lose what sets them apart from their neighbours; the hard and the soft sign vanish. Three letters depend on what stands beside
// them and are in [latinWord].
var latin = map[rune]string{
	'А': "A", 'Ә': "A", 'Б': "B", 'В': "V", 'Г': "G", 'Ғ': "G", 'Д': "D", 'Ё': "YO", 'Ж': "ZH", 'З': "Z", 'И': "I", 'К': "K", 'Қ': "K",
	'Л': "L", 'М': "M", 'Н': "N", 'Ң': "N", 'О': "O", 'Ө': "O", 'П': "P", 'Р': "R", 'С': "S", 'Т': "T", 'У': "U", 'Ұ': "U", 'Ү': "U",
	'Ф': "F", 'Х': "KH", 'Һ': "H", 'Ц': "TS", 'Ч': "CH", 'Ш': "SH", 'Щ': "SHCH", 'Ъ': "", 'Ы': "Y", 'І': "I", 'Ь': "", 'Э': "E", 'Ю': "YU", 'Я': "YA",
}

const cyrillicVowels = "АӘЕЁИОӨУҰҮЫІЭЮЯ"

// Transliterate brings a name in Kazakh or Russian Cyrillic, or in plain Latin, to A–Z and single spaces, which hyphens become too; apostrophes
// vanish. It gives the likely spelling and no more: the one that counts is printed on the person's document. A letter outside the tables is an
// error, which does not tell which.
func Transliterate(name string) (string, error) {
	name = strings.ToUpper(norm.NFC.String(name))
	words := strings.FieldsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || r == '-' })
	for i, word := range words {
		text, err := latinWord([]rune(word))
		if err != nil {
			return "", err
		}
		words[i] = text
	}
	return strings.Join(words, " "), nil
}

// latinWord applies the table and the rules of position: Е is YE at the beginning and after a vowel or a sign (YERLAN, SERGEYEV), Й is I before a
// consonant (AIGUL) and Y elsewhere (ANDREY).
func latinWord(word []rune) (string, error) {
	var b strings.Builder
	for i, r := range word {
		text, known := latin[r]
		switch {
		case known:
			b.WriteString(text)
		case r == 'Е':
			if i == 0 || strings.ContainsRune(cyrillicVowels+"ЙЪЬ", word[i-1]) {
				b.WriteByte('Y')
			}
			b.WriteByte('E')
		case r == 'Й':
			if i > 0 && i+1 < len(word) && !strings.ContainsRune(cyrillicVowels, word[i+1]) {
				b.WriteByte('I')
			} else {
				b.WriteByte('Y')
			}
		case 'A' <= r && r <= 'Z':
			b.WriteRune(r)
		case r != '\'' && r != '’':
			return "", &Error{Field: "names", Rule: RuleCharacters}
		}
	}
	return b.String(), nil
}
