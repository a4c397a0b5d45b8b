package crowd

import "strings"

// Common names, to be combined at random. A combination may well be somebody's: no name is unique enough to be avoided.

// Family names in the masculine; feminine adds а after ов, ев and ин.
var kazakhFamilies = strings.Fields(`
	Ахметов Әбдіров Әлімжанов Әшімов Байжанов Бекмұханбетов Бөкеев Ғабдуллин Ғалымов Досжанов Ережепов Есенов Есқалиев Жақсыбеков
	Жанәбілов Жұмабаев Жүнісов Ибрагимов Исабеков Кенжебаев Көшербаев Қалиев Қасымов Қожахметов Құдайбергенов Құрманов Мақсұтов
	Мұқанов Мүсірепов Мырзахметов Нұрғалиев Нұрланов Омаров Оспанов Оңғарбаев Өмірзақов Өтегенов Рахымов Сағындықов Садықов
	Сәрсенов Сейітқалиев Смағұлов Сүлейменов Тәжібаев Тілеубаев Тоқтаров Төлегенов Үмбетов Ұлықпанов Хасенов Шаймерденов Шәріпов
	Ыбыраев Ысқақов Қабдолла Тілеухан Жәнібек Оңғар Бөкейхан Ерубай Сәтбай Мұңайтпас Һашимов`)

var kazakhMen = strings.Fields(`
	Айбек Айдос Алмас Асқар Арман Әділет Әлихан Бауыржан Бақытжан Бейбіт Болат Ғалымжан Ғани Данияр Дәурен Думан Ерлан Ермек Ержан
	Жандос Жаңабай Жарас Жомарт Кенжебек Қайрат Қанат Қуаныш Мақсат Марат Медет Мұхтар Мөлдірбек Нұрболат Нұржан Нұрлан Оңдасын Өмірбек
	Рүстем Саят Сұңқар Серік Тимур Төлеген Ұлан Үсен Шыңғыс Ықылас Жаһан`)

var kazakhWomen = strings.Fields(`
	Айгерім Айгүл Айжан Айнұр Ақбота Ақмарал Алтынай Аружан Ару Әйгерім Әлия Әсел Балжан Баян Гауһар Гүлмира Гүлнәр Ғалия Дана Динара
	Жанар Жаңыл Жұлдыз Зере Іңкәр Кәмила Күлаш Қарлығаш Құралай Ләззат Маржан Мөлдір Назгүл Нұргүл Ойжан Өрзия Перизат Раушан Сәуле
	Сымбат Тоғжан Толқын Ұлжан Үміт Шолпан Шынар`)

var russianFamilies = strings.Fields(`
	Иванов Кузнецов Попов Соколов Лебедев Новиков Морозов Волков Соловьёв Васильев Зайцев Павлов Семёнов Голубев Виноградов Богданов
	Воробьёв Фёдоров Михайлов Беляев Тарасов Белов Комаров Орлов Киселёв Макаров Андреев Ковалёв Ильин Гусев Титов Кузьмин Кудрявцев
	Баранов Куликов Алексеев Степанов Яковлев Сорокин Сергеев Романов Захаров Борисов Королёв Герасимов Пономарёв Щукин Бондаренко
	Шевченко Ким Цой Пак Ли Шмидт Гофман`)

var russianMen = strings.Fields(`
	Александр Алексей Анатолий Андрей Антон Артём Борис Вадим Валерий Виктор Виталий Владимир Вячеслав Геннадий Григорий Денис Дмитрий
	Евгений Егор Иван Игорь Кирилл Константин Максим Михаил Николай Олег Павел Роман Сергей Станислав Фёдор Юрий`)

var russianWomen = strings.Fields(`
	Алёна Александра Алина Анастасия Анна Валентина Варвара Вера Виктория Галина Дарья Евгения Екатерина Елена Елизавета Инна Ирина
	Ксения Лариса Любовь Людмила Марина Мария Наталья Нина Ольга Полина Светлана София Татьяна Ульяна Юлия`)

// foreign is a stock of names of a country; families do not change with the sex.
type foreign struct {
	country              string
	families, men, women []string
}

var foreigners = []foreign{
	{"UZ", strings.Fields("Каримов Юсупов Рахимов Тошматов Эргашев"), strings.Fields("Шерзод Бахром Отабек Жамшид"), nil},
	{"KG", strings.Fields("Асанов Токтогулов Сыдыков Бейшеналиев"), strings.Fields("Бакыт Эркин Нурбек Чынгыз"), nil},
	{"TR", strings.Fields("Йылмаз Демир Шахин Челик Йылдыз"), strings.Fields("Мехмет Мустафа Ахмет Эмре"), strings.Fields("Айше Фатма Зейнеп Элиф")},
	{"CN", strings.Fields("Ван Чжан Лю Чэнь Хуан"), strings.Fields("Вэй Цзюнь Минь Хаожань"), strings.Fields("Фан Ли Сюэ Мэйлинь")},
	{"DE", strings.Fields("Мюллер Шнайдер Вебер Хоффманн"), strings.Fields("Ханс Юрген Штефан Лукас"), strings.Fields("Анке Катрин Хайке Лена")},
	{"IN", strings.Fields("Шарма Патель Сингх Гупта"), strings.Fields("Раджеш Санджай Арджун"), strings.Fields("Прия Анджали Дипика")},
	{"KR", strings.Fields("Ким Пак Чхве Чон"), strings.Fields("Мин-джун Со-джун Хён-у"), strings.Fields("Со-ён Джи-у Хе-джин")},
	{"GB", strings.Fields("Смит О’Брайен Тейлор Уилсон-Джонс"), strings.Fields("Джеймс Оливер Эндрю"), strings.Fields("Эмили Шарлотта Грейс")},
}

// feminine returns a family name as a woman bears it.
func feminine(family string) string {
	for _, ending := range []string{"ов", "ев", "ёв", "ин"} {
		if strings.HasSuffix(family, ending) {
			return family + "а"
		}
	}
	return family
}

// kazakhPatronymic makes the Kazakh form: the father's name with ұлы, "son of", or қызы, "daughter of".
func kazakhPatronymic(father string, woman bool) string {
	if woman {
		return father + "қызы"
	}
	return father + "ұлы"
}

// russianPatronymic makes the Russian form: the stem of the father's name with вич, "son of", or вна, "daughter of".
func russianPatronymic(father string, woman bool) string {
	if woman {
		return patronymicStem(father) + "вна"
	}
	return patronymicStem(father) + "вич"
}

// Stems that follow no rule.
var patronymicStems = map[string]string{"Павел": "Павло", "Михаил": "Михайло", "Дмитрий": "Дмитрие"}

// patronymicStem returns the stem with its linking vowel: Ивано, Алексее, Юрье, Игоре, Ғание.
func patronymicStem(father string) string {
	if stem, ok := patronymicStems[father]; ok {
		return stem
	}
	for _, ending := range []struct{ cut, put string }{{"ий", "ье"}, {"й", "е"}, {"ь", "е"}, {"и", "ие"}} {
		if stem, ok := strings.CutSuffix(father, ending.cut); ok {
			return stem + ending.put
		}
	}
	return father + "о"
}
