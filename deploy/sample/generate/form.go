package main

import (
	"fmt"
	"image/color"
	"strings"
)

// The size of a sheet: A4, in millimetres, and where its text stands.
const (
	sheetWidth, sheetHeight = 210.0, 297.0
	textLeft, textRight     = 24.0, 186.0
)

// form sets paragraphs on a sheet from the top down.
type form struct {
	studio
	*canvas
	y float64 // the next baseline
}

// sheet begins a form on a blank sheet.
func (s studio) sheet(c *canvas, page, pages int) *form {
	c.fill(rectangle(0, 0, sheetWidth, sheetHeight), color.NRGBA{252, 252, 249, 255})
	c.ram(textLeft, 14, textRight-textLeft, 4, color.NRGBA{120, 140, 160, 255})
	c.write(s.faces.condensed, 3, point{textRight - 6, 286}, faint, fmt.Sprintf("%d / %d", page, pages))
	s.imprint(c, 2.4, point{textLeft, 286})
	return &form{studio: s, canvas: c, y: 32}
}

func (f *form) title(text string) {
	f.writeCentred(f.faces.bold, 4.6, point{sheetWidth / 2, f.y}, ink, text)
	f.y += 6.6
}

// paragraph sets text in lines as long as the sheet allows.
func (f *form) paragraph(text string) {
	const size, leading = 3.9, 6.3
	var words []string
	flush := func() {
		f.write(f.faces.regular, size, point{textLeft, f.y}, ink, strings.Join(words, " "))
		words, f.y = nil, f.y+leading
	}
	for word := range strings.FieldsSeq(text) {
		if _, width := f.faces.regular.outline(strings.Join(append(words, word), " "), 0); width*size > textRight-textLeft {
			flush()
		}
		words = append(words, word)
	}
	flush()
	f.y += 2.5
}

// entry sets a label and what was written on the rule beside it, smaller where it would run over.
func (f *form) entry(label, text string) {
	const ruleLeft = 84.0
	_, width := f.faces.bold.outline(text, 0)
	size := min(3.7, (textRight-ruleLeft-2)/width)
	f.write(f.faces.condensed, 3.2, point{textLeft, f.y}, faint, label)
	f.write(f.faces.bold, size, point{ruleLeft + 1, f.y}, pen, text)
	f.fill(rectangle(ruleLeft, f.y+1.2, textRight-ruleLeft, 0.22), faint)
	f.y += 8.2
}

// box sets a square, ticked or not, with its text.
func (f *form) box(ticked bool, text string) {
	f.fill(stroke(0.35, line{{textLeft, f.y - 3}, {textLeft + 3.4, f.y - 3}, {textLeft + 3.4, f.y + 0.4}, {textLeft, f.y + 0.4}, {textLeft, f.y - 3}}), ink)
	if ticked {
		f.fill(stroke(0.6, spline(point{textLeft + 0.5, f.y - 1.6}, point{textLeft + 1.5, f.y - 0.2}, point{textLeft + 4, f.y - 4})), pen)
	}
	f.write(f.faces.regular, 3.9, point{textLeft + 6, f.y}, ink, text)
	f.y += 7.6
}

// sign ends a form.
func (f *form) sign(h *holder, date string) {
	f.y += 12
	f.write(f.faces.condensed, 3.2, point{textLeft, f.y}, faint, "Күні / Дата")
	f.write(f.faces.bold, 3.7, point{textLeft + 24, f.y}, pen, date)
	f.write(f.faces.condensed, 3.2, point{104, f.y}, faint, "Қолы / Подпись")
	f.fill(rectangle(130, f.y+1.2, textRight-130, 0.22), faint)
	f.signature(136, f.y-1, 40, h.signatureTurn)
}

// consentTerms draws the first sheet of a consent: who gives it, and to what.
func (s studio) consentTerms(c *canvas, h *holder) {
	f := s.sheet(c, 1, 2)
	f.title("ДЕРБЕС ДЕРЕКТЕРДІ ЖИНАУҒА ЖӘНЕ ӨҢДЕУГЕ КЕЛІСІМ")
	f.title("СОГЛАСИЕ НА СБОР И ОБРАБОТКУ ПЕРСОНАЛЬНЫХ ДАННЫХ")
	f.y += 5
	f.entry("Тегі / Фамилия", h.FamilyName)
	f.entry("Аты / Имя", h.GivenName)
	f.entry("Әкесінің аты / Отчество", orDash(h.Patronymic))
	f.entry("ЖСН / ИИН", h.IIN)
	f.entry("Құжат нөмірі / Номер документа", h.DocumentNumber)
	f.entry("Тұрғылықты жері / Место жительства", h.Residence.City+", "+h.Residence.Line)
	f.entry("Телефон", h.Phones[0])
	f.y += 3
	f.paragraph("1. Мен «Үлгі» ЖШС-не (бұдан әрі – оператор) өзімнің дербес деректерімді төменде көрсетілген мақсаттар үшін жинауға, жинақтауға, сақтауға, өзгертуге, пайдалануға және жоюға келісім беремін.")
	f.paragraph("1. Я даю товариществу «Үлгі» (далее – оператор) согласие на сбор, накопление, хранение, изменение, использование и уничтожение моих персональных данных для целей, названных ниже.")
	f.paragraph("2. Келісім мақсатқа жеткенге дейін немесе мен оны қайтарып алғанға дейін жарамды. Қайтарып алу туралы өтінішті оператор он бес жұмыс күні ішінде орындайды.")
	f.paragraph("2. Согласие действует до достижения цели или до его отзыва. Заявление об отзыве оператор исполняет в течение пятнадцати рабочих дней.")
	f.paragraph("3. Деректер үшінші тұлғаларға және шет мемлекеттерге менің жеке келісімімсіз берілмейді. / Данные не передаются третьим лицам и за границу без моего отдельного согласия.")
	c.overprint(s.faces, sheetWidth, sheetHeight)
}

// consentList draws the second sheet: purposes, data, signature.
func (s studio) consentList(c *canvas, h *holder) {
	f := s.sheet(c, 2, 2)
	f.title("МАҚСАТТАР / ЦЕЛИ")
	f.y += 3
	f.box(true, "тіркеу және есепке алу / регистрация и учёт")
	f.box(true, "қызмет көрсету, шарт / оказание услуг, договор")
	f.box(true, "хабарландыру / уведомления")
	f.box(false, "жарнамалық хабарлама / рекламная рассылка")
	f.y += 6
	f.title("ДЕРЕКТЕР / ДАННЫЕ")
	f.y += 3
	f.box(true, "тегі, аты, әкесінің аты / фамилия, имя, отчество")
	f.box(true, "ЖСН / ИИН")
	f.box(true, "телефон, электрондық пошта / телефон, электронная почта")
	f.box(true, "мекенжай, пошта индексі / адрес, почтовый индекс")
	f.box(true, "жеке куәліктің көшірмесі / копия документа")
	f.y += 4
	f.paragraph("Құқықтарым түсіндірілді: деректерім туралы білу, түзетуді, бұғаттауды және жоюды талап ету, келісімді қайтарып алу.")
	f.paragraph("Мне разъяснены права: знать о своих данных, требовать исправления, блокирования и уничтожения, отозвать согласие.")
	f.sign(h, dotted(h.issued.AddDate(0, 4, 11)))
	c.overprint(s.faces, sheetWidth, sheetHeight)
}

// rectification draws an application to correct data.
func (s studio) rectification(c *canvas, h *holder) {
	f := s.sheet(c, 1, 1)
	f.title("ӨТІНІШ / ЗАЯВЛЕНИЕ")
	f.y += 5
	f.entry("Кімнен / От кого", h.FamilyName+" "+h.GivenName)
	f.entry("ЖСН / ИИН", h.IIN)
	f.entry("Телефон", h.Phones[0])
	f.y += 4
	f.paragraph("Тұрғылықты мекенжайымның өзгеруіне байланысты сақталған деректерді түзетуді сұраймын. Растайтын құжаттың көшірмесі қоса беріледі.")
	f.paragraph("Прошу исправить сохранённые данные в связи с изменением адреса места жительства. Копия подтверждающего документа прилагается.")
	f.y += 2
	f.entry("Жаңа мекенжай / Новый адрес", h.Registration.City+", "+h.Registration.Line)
	f.entry("Индекс", h.PostalIndex)
	f.sign(h, dotted(h.issued.AddDate(0, 7, 3)))
	c.overprint(s.faces, sheetWidth, sheetHeight)
}
