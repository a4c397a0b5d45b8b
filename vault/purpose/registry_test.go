package purpose_test

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sandyq/sandyq/vault/purpose"
	"github.com/sandyq/sandyq/vault/schema"
)

const (
	names     = "family_name given_name patronymic"
	addresses = "postal_index residence_address registration_address stay_address"
)

// The built-in purposes are part of the API: what each reaches, and on what ground.
func TestDefault(t *testing.T) {
	var every []string
	for _, f := range schema.Default().Fields() {
		every = append(every, f.Name)
	}
	all := strings.Join(every, " ")
	tests := []struct {
		name, fields        string
		documents           bool
		basis               string
		ownConsent, foreign bool
		retention           purpose.Retention
	}{
		{"registration", all, true, "consent", false, false, purpose.Retention{After: purpose.RelationshipEnd}},
		{"service", all, true, "consent", false, false, purpose.Retention{After: purpose.RelationshipEnd}},
		{"contract", all, true, "consent", false, false, purpose.Retention{After: purpose.RelationshipEnd}},
		{"legal_duty", all, true, "law", false, false, purpose.Retention{After: purpose.RelationshipEnd, Years: 5}},
		{"notices", names + " phone email", false, "consent", false, false, purpose.Retention{After: purpose.RelationshipEnd}},
		{"marketing", names + " email", false, "consent", true, false, purpose.Retention{After: purpose.ConsentEnd}},
		{"quality", "residency_country postal_index", false, "consent", false, false, purpose.Retention{After: purpose.RelationshipEnd}},
		{"premises", names + " document_number", true, "consent", false, false, purpose.Retention{After: purpose.RelationshipEnd}},
		{"domain_registration", names + " " + addresses + " phone email postal_address", false, "consent", false, true, purpose.Retention{After: purpose.RelationshipEnd}},
		{"ssl_certificate", names + " " + addresses + " phone email postal_address", false, "consent", false, true, purpose.Retention{After: purpose.RelationshipEnd}},
	}
	r := purpose.Default()
	if got := len(r.All()); got != len(tests) {
		t.Errorf("%d purposes, want %d", got, len(tests))
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, ok := r.Get(test.name)
			if !ok || r.All()[i] != p {
				t.Fatal("not there, or not in its place")
			}
			if got := strings.Join(p.Fields(schema.Default()), " "); got != test.fields {
				t.Errorf("fields %s, want %s", got, test.fields)
			}
			if p.AllowsDocuments() != test.documents || p.OwnConsent != test.ownConsent || p.CrossBorder != test.foreign || p.Discloses != test.foreign {
				t.Errorf("documents %t, own consent %t, cross-border %t, discloses %t", p.AllowsDocuments(), p.OwnConsent, p.CrossBorder, p.Discloses)
			}
			if p.Basis.Name != test.basis || p.Basis.Consent != (test.basis == "consent") || p.Retention != test.retention {
				t.Errorf("basis %+v, retention %+v", p.Basis, p.Retention)
			}
		})
	}
}

func TestAllows(t *testing.T) {
	marketing, _ := purpose.Default().Get("marketing")
	if !marketing.Allows("email") || marketing.Allows("phone") || marketing.Allows("") || marketing.Allows("all") {
		t.Error("marketing reaches email and not phone")
	}
	var zero purpose.Purpose
	if zero.Allows("email") || zero.Allows("") || zero.AllowsDocuments() || zero.Fields(schema.Default()) != nil {
		t.Error("the zero purpose allows something")
	}
	if p, ok := purpose.Default().Get("anything"); ok || p != nil {
		t.Error("there is a purpose nobody named")
	}
}

// An operator's own field is reached by the purposes that reach all, and by no list.
func TestAllTakesInTheOperatorsFields(t *testing.T) {
	own, err := schema.Parse(strings.NewReader("fields: [{name: email, type: email}, {name: plate, type: document_number}]"))
	if err != nil {
		t.Fatal(err)
	}
	registration, _ := purpose.Default().Get("registration")
	if got := registration.Fields(own); !slices.Equal(got, []string{"email", "plate"}) {
		t.Errorf("registration reaches %v", got)
	}
	marketing, _ := purpose.Default().Get("marketing")
	if got := marketing.Fields(own); !slices.Equal(got, []string{"email"}) {
		t.Errorf("marketing reaches %v", got)
	}
	if err := purpose.Default().Check(own); err == nil || !strings.Contains(err.Error(), `"notices": the schema has no field "family_name"`) {
		t.Errorf("the built-in purposes pass with a schema that lacks their fields: %v", err)
	}
	if err := purpose.Default().Check(schema.Default()); err != nil {
		t.Error(err)
	}
}

// file is a registry with one good basis of each sort and the purposes given.
func file(purposes string) string {
	const titles = "title: {kk: а, ru: б, en: c}"
	return strings.ReplaceAll("bases: [{name: consent, consent: true, TITLES}, {name: law, TITLES}]\npurposes: "+purposes, "TITLES", titles)
}

func TestParseRefuses(t *testing.T) {
	const kept = "retention: {after: relationship_end}"
	good := "[{name: a, TITLES, basis: consent, fields: [email], " + kept + "}]"
	if _, err := purpose.Parse(strings.NewReader(file(good)), schema.Default()); err != nil {
		t.Fatal(err)
	}
	changed := func(from, to string) string { return file(strings.Replace(good, from, to, 1)) }
	tests := []struct{ name, file, err string }{
		{"nothing", "", "read"},
		{"no purposes", "purposes: []", "no purposes"},
		{"unknown key of the file", file(good) + "\nrecipients: []", "recipients"},
		{"unknown key of a purpose", changed("fields", "feilds"), "feilds"},
		{"unknown key of a title", changed("TITLES", "title: {kk: а, ru: б, en: c, de: d}"), "de"},
		{"key twice", changed("basis: consent", "basis: consent, basis: law"), "basis"},
		{"two documents", file(good) + "\n---\npurposes: []", "read"},
		{"more than a megabyte", "#" + strings.Repeat(" ", 1<<20), "more than"},
		{"twice", changed("}]", "}, {name: a, TITLES, basis: consent, fields: all, "+kept+"}]"), `"a": named twice`},
		{"name", changed("name: a", "name: A"), `"A": a name is`},
		{"no Kazakh title", changed("TITLES", "title: {ru: б, en: c}"), `"a": a title in kk, ru and en`},
		{"no title", changed("TITLES, ", ""), "a title in kk, ru and en"},
		{"no basis", changed("basis: consent", "basis: ''"), `"a": no basis ""`},
		{"unknown basis", changed("basis: consent", "basis: interest"), `"a": no basis "interest"`},
		{"law without a citation", changed("basis: consent", "basis: law"), `"a": a basis other than consent needs a citation`},
		{"own consent under law", changed("basis: consent", "basis: law, citation: x, own_consent: true"), "own_consent needs"},
		{"unknown field", changed("[email]", "[email, e_mail]"), `"a": the schema has no field "e_mail"`},
		{"all in a list", changed("[email]", "[all]"), `the schema has no field "all"`},
		{"field twice", changed("[email]", "[email, phone, email]"), `"a": a field is listed twice`},
		{"a word", changed("[email]", "every"), "fields is a list of names, or all"},
		{"nothing to reach", changed("[email]", "[]"), `"a": neither fields nor documents`},
		{"no retention", changed(kept, "documents: true"), "retention.after is one of"},
		{"unknown event", changed("relationship_end", "doomsday"), "retention.after is one of"},
		{"consent_end under law", file("[{name: a, TITLES, basis: law, citation: x, fields: all, retention: {after: consent_end}}]"), "needs a basis that is consent"},
		{"recipients without discloses", changed("basis: consent", "basis: consent, recipients: [courier]"), "recipients need discloses"},
		{"recipient twice", changed("basis: consent", "basis: consent, discloses: true, recipients: [courier, courier]"), "each listed once"},
		{"name of a recipient", changed("basis: consent", "basis: consent, discloses: true, recipients: [Courier]"), "recipients are names"},
		{"incompatible with itself", changed("basis: consent", "basis: consent, incompatible_with: [a]"), "names of other purposes"},
		{"incompatible with nothing", changed("basis: consent", "basis: consent, incompatible_with: [b]"), `there is no purpose "b"`},
		{"obligation under law", changed("basis: consent", "basis: law, citation: x, obligation: x"), "an obligation needs a basis that is consent"},
		{"long citation", changed("basis: consent", "basis: consent, citation: "+strings.Repeat("x", 501)), "a citation is at most 500 bytes"},
		{"long title", changed("TITLES", "title: {kk: а, ru: б, en: "+strings.Repeat("x", 401)+"}"), "a title in kk, ru and en"},
		{"a number in a name", changed("name: a", "name: a850312113"), "no run of 9 digits"},
		{"negative period", changed("relationship_end", "relationship_end, days: -1"), "0 to 100 years"},
		{"101 years", changed("relationship_end", "relationship_end, years: 101"), "0 to 100 years"},
		{"101 years of months", changed("relationship_end", "relationship_end, months: 1212"), "0 to 100 years"},
		{"basis twice", "bases: [{name: a, title: {kk: а, ru: б, en: c}}, {name: a, title: {kk: а, ru: б, en: c}}]\npurposes: [{name: a}]", `basis "a": named twice`},
		{"name of a basis", "bases: [{name: 1a, title: {kk: а, ru: б, en: c}}]\npurposes: [{name: a}]", `basis "1a": a name is`},
		{"title of a basis", "bases: [{name: a, title: {kk: а, ru: б}}]\npurposes: [{name: a}]", `basis "a": a title`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, err := purpose.Parse(strings.NewReader(test.file), schema.Default())
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("error %v, want %q", err, test.err)
			}
			if r != nil {
				t.Error("a refused registry came back")
			}
		})
	}
}

// The examples an operator starts from are the built-in configuration and a little more.
func TestExamples(t *testing.T) {
	fields := open(t, "fields")
	own, err := schema.Parse(fields)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range schema.Default().Fields() {
		if got := own.Fields()[i]; *got != *f {
			t.Errorf("the example has %+v for %+v", *got, *f)
		}
	}
	if got := own.Slices(); !slices.Equal(got, []string{"identity", "loyalty", "documents"}) {
		t.Errorf("slices %v", got)
	}
	registry, err := purpose.Parse(open(t, "purposes"), own)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range purpose.Default().All() {
		if got := registry.All()[i]; fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", p) {
			t.Errorf("the example has %+v for %+v", got, p)
		}
	}
	loyalty, _ := registry.Get("loyalty")
	if got, want := loyalty.Fields(own), []string{"given_name", "email", "loyalty_card", "preferences"}; !slices.Equal(got, want) {
		t.Errorf("loyalty reaches %v", got)
	}
}

func open(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Open("../../deploy/" + name + ".example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// The folder of samples stands alone as the configuration's purposes, and joins the built-in ones over the API.
func TestAFolderOfPurposes(t *testing.T) {
	folder := os.DirFS("../../deploy/purposes")
	r, err := purpose.ParseDir(folder, schema.Default())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range r.All() {
		names = append(names, p.Name)
	}
	if !slices.Equal(names, []string{"delivery", "research", "credit_scoring"}) {
		t.Errorf("the folder holds %v", names)
	}
	delivery, _ := r.Get("delivery")
	if !delivery.Discloses || !slices.Equal(delivery.Recipients, []string{"courier"}) || delivery.Obligation == "" {
		t.Errorf("%+v", delivery)
	}
	for _, broken := range []map[string]string{
		{},
		{"a.yml": file("[]")},
		{"a.yaml": "purposes: [{name: a}]"},
		{"a.yaml": good("a"), "b.yaml": good("a")},
	} {
		if r, err := purpose.ParseDir(files(broken), schema.Default()); err == nil || r != nil {
			t.Errorf("%v is taken", broken)
		}
	}
	both, err := purpose.ParseDir(files{"a.yaml": good("a"), "b.yaml": good("b"), "c.txt": "no YAML"}, schema.Default())
	if err != nil || len(both.All()) != 2 {
		t.Error(both, err)
	}
}

// good is a file of one purpose on the built-in bases.
func good(name string) string {
	return "purposes: [{name: " + name + ", title: {kk: а, ru: б, en: c}, basis: consent, fields: [email], retention: {after: collection}}]"
}

// files is a folder.
type files map[string]string

func (f files) Open(name string) (fs.File, error) {
	all := fstest.MapFS{}
	for name, text := range f {
		all[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return all.Open(name)
}

func TestPurposesThatExcludeEachOther(t *testing.T) {
	builtIn := purpose.Default()
	scoring, err := builtIn.Make(purpose.Settings{
		Name: "scoring", Title: purpose.Title{Kazakh: "а", Russian: "б", English: "c"}, Basis: "consent",
		IncompatibleWith: []string{"marketing"}, Fields: purpose.FieldList{Names: []string{"iin"}},
		Retention: purpose.Retention{After: purpose.ConsentEnd},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := builtIn.With(scoring)
	for _, test := range []struct {
		a, b string
		want bool
	}{{"scoring", "marketing", true}, {"marketing", "scoring", true}, {"scoring", "service", false}, {"scoring", "scoring", false}, {"scoring", "nothing", false}} {
		if r.Incompatible(test.a, test.b) != test.want {
			t.Errorf("%s and %s: %t", test.a, test.b, !test.want)
		}
	}
	if !r.Exclusive("scoring") || !r.Exclusive("marketing") || r.Exclusive("service") || builtIn.Exclusive("marketing") {
		t.Error("scoring and marketing exclude each other, in the joined registry only")
	}
	if len(builtIn.All()) != 10 || len(r.All()) != 11 {
		t.Errorf("%d built in, %d joined", len(builtIn.All()), len(r.All()))
	}
	covering, _ := purpose.Default().Get("service")
	if got, _ := r.With(covering).Get("service"); got == covering {
		t.Error("one that is joined covers one of the same name")
	}
}

// Whatever the file: no panic, and a registry that is accepted reaches fields of its schema only.
func FuzzParse(f *testing.F) {
	f.Add(file("[{name: a, TITLES, basis: consent, fields: [email], retention: {after: consent_end, days: 3}}]"))
	f.Add(file("[{name: a, TITLES, basis: law, citation: x, fields: all, documents: true, retention: {after: collection}}]"))
	f.Add("bases: &a [*a]\npurposes: [{fields: *a}]")
	s := schema.Default()
	f.Fuzz(func(t *testing.T, text string) {
		r, err := purpose.Parse(strings.NewReader(text), s)
		if err != nil {
			if r != nil {
				t.Fatal("a refused registry came back")
			}
			return
		}
		for _, p := range r.All() {
			if found, ok := r.Get(p.Name); !ok || found != p {
				t.Fatalf("purpose %q is not found by its name", p.Name)
			}
			if len(p.Fields(s)) == 0 && !p.AllowsDocuments() {
				t.Fatalf("purpose %q reaches nothing", p.Name)
			}
			if !p.Basis.Consent && p.Citation == "" {
				t.Fatalf("purpose %q rests on nothing", p.Name)
			}
		}
	})
}
