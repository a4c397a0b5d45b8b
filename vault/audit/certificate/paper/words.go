package paper

// words are what a page says, in one language.
type words struct {
	title string

	about, operator, tenant, erasure, subject, requester, ground, reason, scope string
	person, slices                                                              string
	law, otherLaw                                                               string
	grounds                                                                     map[string]string

	dates, requested, unreadable, keyDestroyed, erased string

	destroyed, counts, byCategory, key, more string

	kept, nothing, consent, until, noEnd string

	residue, copies, local, snapshots, index, noIndex, epoch, epochOpen, physical, pending, removed string

	log, origin, entries, ofEntries, hash, ledger string

	check, howToCheck string
}

var languages = map[Language]*words{Kazakh: &kazakh, Russian: &russian, English: &english}

var kazakh = words{
	title: "Дербес деректердің жойылғаны туралы сертификат",
	about: "Не жойылды", operator: "Оператор", tenant: "Қойма", erasure: "Жою нөмірі", subject: "Субъект (кездейсоқ нөмір)",
	requester: "Жоюды сұраған жүйе", ground: "Негіз", reason: "Себеп коды", scope: "Көлемі",
	person: "субъектінің барлық деректері", slices: "деректер бөліктері: %s",
	law:      "Қазақстан Республикасының 2013 жылғы 21 мамырдағы № 94-V «Дербес деректер және оларды қорғау туралы» Заңы, баптары: %s",
	otherLaw: "№ %s Заң, баптары: %s",
	grounds: map[string]string{
		"request": "Субъектінің талабы", "withdrawal": "Келісімнің кері қайтарылуы", "purpose_reached": "Өңдеу мақсатына қол жеткізілуі",
		"unlawful": "Заңсыз өңдеудің анықталуы", "court": "Сот шешімі", "other": "Өзге негіз",
	},
	dates: "Қашан", requested: "Жою сұралды", unreadable: "Осы сәттен оқылмайды", keyDestroyed: "Кілттер жойылды", erased: "Жою аяқталды",
	destroyed: "Не құртылды", counts: "Мәндер саны",
	byCategory: "жеке басы: %d, байланыс: %d, мекенжай: %d, құжат: %d (файлдар: %d), өзге: %d; токендер: %d, іздеу индексінің жазбалары: %d",
	key:        "«%s» кілті (мәндер: %d)", more: "тағы %d: JSON құжатын қараңыз",
	kept: "Заң бойынша не сақталады", nothing: "ештеңе", consent: "Келісім дәлелі", until: "%s дейін", noEnd: "мерзімі көрсетілмеген",
	residue: "Не қалуы мүмкін және қашанға дейін", copies: "Кілттердің көшірмелері",
	local:     "кілт файлдарының үстінен жазылып, өшірілді; флеш және copy-on-write дискілер бұрынғы, түбірлік кілтпен шифрланған күйін сақтап қалуы мүмкін",
	snapshots: "HashiCorp Vault суреттері %d күннен артық сақталмайды: %s бастап кілттер ешбір суретте жоқ",
	index:     "Іздеу индексі", noIndex: "субъект индексте болған жоқ",
	epoch:     "%d-дәуірдің кілті %s күнінен кешіктірілмей жойылады; оған дейін ескі резервтік көшірмедегі жазбаларды екі индекс кілтін де пайдалана алатын адам ғана салыстыра алады",
	epochOpen: "%d-дәуірдің кілтін жою күні белгіленбеген; ескі резервтік көшірмедегі жазбаларды екі индекс кілтін де пайдалана алатын адам ғана салыстыра алады",
	physical:  "Файлдардан өшірілуі", pending: "күтілуде: ешбір кілт ашпайтын шифрмәтін файлдарда әлі жатуы мүмкін", removed: "%s өлшенді: ештеңе қалмады",
	log: "Журнал", origin: "Журналдың атауы", entries: "Жазбалар", ofEntries: "№ %d (кілттер жойылды) және № %d (жою аяқталды), барлығы %d", hash: "Сертификат хэші (SHA-256)",
	ledger:     "Жоюлар тізіліміндегі орны",
	check:      "Қалай тексеруге болады",
	howToCheck: "Бұл бет өздігінен ештеңені дәлелдемейді. Дәлел — осы файлға қоса тіркелген certificate.json құжаты. Оны интернетсіз, тек журналдың ашық кілтімен тексеруге болады; кілтті оператордан басқа жолмен алып, төмендегімен салыстырыңыз. QR-кодта сертификат хэші, жою нөмірі және журнал атауы бар; дербес деректер жоқ.",
}

var russian = words{
	title: "Сертификат об уничтожении персональных данных",
	about: "Что уничтожено", operator: "Оператор", tenant: "Хранилище", erasure: "Номер уничтожения", subject: "Субъект (случайный номер)",
	requester: "Запросившая система", ground: "Основание", reason: "Код причины", scope: "Объём",
	person: "все данные субъекта", slices: "части данных: %s",
	law:      "Закон Республики Казахстан от 21 мая 2013 года № 94-V «О персональных данных и их защите», статьи: %s",
	otherLaw: "Закон № %s, статьи: %s",
	grounds: map[string]string{
		"request": "Требование субъекта", "withdrawal": "Отзыв согласия", "purpose_reached": "Достижение цели обработки",
		"unlawful": "Выявление неправомерной обработки", "court": "Решение суда", "other": "Иное основание",
	},
	dates: "Когда", requested: "Запрошено", unreadable: "Недоступно для чтения с", keyDestroyed: "Ключи уничтожены", erased: "Уничтожение завершено",
	destroyed: "Что разрушено", counts: "Число значений",
	byCategory: "личность: %d, контакты: %d, адреса: %d, документы: %d (файлов: %d), прочее: %d; токенов: %d, записей поискового индекса: %d",
	key:        "Ключ «%s» (значений: %d)", more: "ещё %d: см. документ JSON",
	kept: "Что сохраняется по закону", nothing: "ничего", consent: "Доказательство согласия", until: "до %s", noEnd: "срок не указан",
	residue: "Что может оставаться и до какого времени", copies: "Копии ключей",
	local:     "файлы ключей перезаписаны и удалены; диски flash и copy-on-write могут хранить прежнее содержимое, зашифрованное корневым ключом",
	snapshots: "снимки HashiCorp Vault хранятся не дольше %d дней: с %s ключей нет ни в одном снимке",
	index:     "Поисковый индекс", noIndex: "субъекта не было в индексе",
	epoch:     "ключ эпохи %d уничтожается не позднее %s; до того записи в старой резервной копии может сопоставить лишь тот, кому доступны оба ключа индекса",
	epochOpen: "дата уничтожения ключа эпохи %d не назначена; записи в старой резервной копии может сопоставить лишь тот, кому доступны оба ключа индекса",
	physical:  "Удаление из файлов", pending: "ожидается: шифртекст, который не открывает ни один ключ, ещё может лежать в файлах", removed: "измерено %s: не осталось ничего",
	log: "Журнал", origin: "Имя журнала", entries: "Записи", ofEntries: "№ %d (ключи уничтожены) и № %d (уничтожение завершено) из %d", hash: "Хэш сертификата (SHA-256)",
	ledger:     "Место в реестре уничтожений",
	check:      "Как проверить",
	howToCheck: "Сама эта страница ничего не доказывает. Доказательство — приложенный к этому файлу документ certificate.json. Он проверяется без сети, одним открытым ключом журнала; получите ключ у оператора другим путём и сравните с приведённым ниже. QR-код содержит хэш сертификата, номер уничтожения и имя журнала; персональных данных в нём нет.",
}

var english = words{
	title: "Certificate of the erasure of personal data",
	about: "What was erased", operator: "Operator", tenant: "Vault", erasure: "Erasure", subject: "Person (random number)",
	requester: "Asked for by the system", ground: "Ground", reason: "Reason", scope: "Scope",
	person: "everything about the person", slices: "parts of the data: %s",
	law:      "Law of the Republic of Kazakhstan No. 94-V of 21 May 2013 “On Personal Data and their Protection”, articles: %s",
	otherLaw: "Law No. %s, articles: %s",
	grounds: map[string]string{
		"request": "The person's request", "withdrawal": "Withdrawal of consent", "purpose_reached": "The purpose of processing was reached",
		"unlawful": "Unlawful processing was found", "court": "Decision of a court", "other": "Another ground",
	},
	dates: "When", requested: "Asked for", unreadable: "Unreadable since", keyDestroyed: "Keys destroyed", erased: "Erasure ended",
	destroyed: "What was destroyed", counts: "Values",
	byCategory: "identity: %d, contact: %d, address: %d, documents: %d (files: %d), other: %d; tokens: %d, entries of the search index: %d",
	key:        "Key “%s” (values: %d)", more: "%d more: see the document in JSON",
	kept: "What law keeps", nothing: "nothing", consent: "Proof of consent", until: "until %s", noEnd: "no term is given",
	residue: "What may still lie somewhere, and until when", copies: "Copies of the keys",
	local:     "the files of the keys were overwritten and deleted; flash and copy-on-write disks may keep what they held, sealed under the root key",
	snapshots: "no snapshot of HashiCorp Vault is kept for longer than %d days: from %s on none has the keys",
	index:     "Search index", noIndex: "the person was in no index",
	epoch:     "the key of epoch %d is destroyed by %s; until then only who has the use of both index keys can match entries in an old backup",
	epochOpen: "no date is set for the end of the key of epoch %d; only who has the use of both index keys can match entries in an old backup",
	physical:  "Removal from files", pending: "pending: ciphertext that no key opens may still lie in files", removed: "measured %s: nothing is left",
	log: "Log", origin: "Name of the log", entries: "Entries", ofEntries: "No. %d (keys destroyed) and No. %d (erasure ended), of %d", hash: "Hash of the certificate (SHA-256)",
	ledger:     "Place in the ledger of erasures",
	check:      "How to check this",
	howToCheck: "This page proves nothing by itself. The proof is the document certificate.json, which is attached to this file. It is checked without a network, with the public key of the log alone; obtain the key from the operator by another way and compare it with the one below. The QR code holds the hash of the certificate, the erasure and the name of the log; it holds no personal data.",
}
