package purpose_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

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
			if p.AllowsDocuments() != test.documents || p.OwnConsent != test.ownConsent || p.CrossBorder != test.foreign {
				t.Errorf("documents %t, own consent %t, cross-border %t", p.AllowsDocuments(), p.OwnConsent, p.CrossBorder)
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
