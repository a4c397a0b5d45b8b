package crowd

import "testing"

func TestPatronymics(t *testing.T) {
	tests := []struct{ father, son, daughter string }{
		{"Иван", "Иванович", "Ивановна"},
		{"Алексей", "Алексеевич", "Алексеевна"},
		{"Юрий", "Юрьевич", "Юрьевна"},
		{"Дмитрий", "Дмитриевич", "Дмитриевна"},
		{"Игорь", "Игоревич", "Игоревна"},
		{"Павел", "Павлович", "Павловна"},
		{"Михаил", "Михайлович", "Михайловна"},
		{"Серік", "Серікович", "Серіковна"},
		{"Жаңабай", "Жаңабаевич", "Жаңабаевна"},
		{"Ғани", "Ғаниевич", "Ғаниевна"},
	}
	for _, test := range tests {
		if got := russianPatronymic(test.father, false); got != test.son {
			t.Errorf("%s: %s, want %s", test.father, got, test.son)
		}
		if got := russianPatronymic(test.father, true); got != test.daughter {
			t.Errorf("%s: %s, want %s", test.father, got, test.daughter)
		}
	}
	if got := kazakhPatronymic("Нұрлан", false) + " " + kazakhPatronymic("Нұрлан", true); got != "Нұрланұлы Нұрланқызы" {
		t.Errorf("got %s", got)
	}
}

func TestFeminine(t *testing.T) {
	for family, want := range map[string]string{"Сәрсенов": "Сәрсенова", "Киселёв": "Киселёва", "Ильин": "Ильина", "Бөкейхан": "Бөкейхан", "Ким": "Ким"} {
		if got := feminine(family); got != want {
			t.Errorf("%s: %s, want %s", family, got, want)
		}
	}
}
