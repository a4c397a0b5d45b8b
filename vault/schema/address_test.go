package schema_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/vault/api"
)

type parts = map[string]string

func TestAddressByParts(t *testing.T) {
	tests := []struct {
		name     string
		in, want parts // want nil: as in
		rule     string
	}{
		{"all", parts{"country": "KZ", "region": "Алматы қаласы", "city": "Алматы", "line": "Абай даңғылы, 10", "kato": "750000000"}, nil, ""},
		{"one", parts{"city": "Астана"}, nil, ""},
		{"spelling", parts{"country": "kz", "line": " Абай\n 10 "}, parts{"country": "KZ", "line": "Абай 10"}, ""},
		{"longest", parts{"region": strings.Repeat("я", 200), "city": strings.Repeat("я", 200), "line": strings.Repeat("я", 500)}, nil, ""},

		{"country", parts{"country": "ZZ", "city": "Алматы"}, nil, "country.unassigned"},
		{"empty part", parts{"country": "KZ", "city": " "}, nil, "city.empty"},
		{"long region", parts{"region": strings.Repeat("я", 201)}, nil, "region.length"},
		{"long city", parts{"city": strings.Repeat("я", 201)}, nil, "city.length"},
		{"long line", parts{"line": strings.Repeat("я", 501)}, nil, "line.length"},
		{"control", parts{"line": "Абай\x00"}, nil, "line.controls"},
		{"broken UTF-8", parts{"line": "Абай\xff"}, nil, "line.utf8"},
		{"kato of eight", parts{"kato": "75000000"}, nil, "kato.length"},
		{"kato full-width", parts{"kato": "７５００００００００"}, nil, "kato.ascii_digits"},
		{"unknown part", parts{"city": "Алматы", "850312113646": "x"}, nil, "parts"},
		{"wrong case", parts{"City": "Алматы"}, nil, "parts"},
	}
	f := field(t, "residence_address")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			v, rule := f.Normalise(api.Parts(test.in))
			if rule != test.rule {
				t.Fatalf("rule %q, want %q", rule, test.rule)
			}
			if rule != "" {
				return
			}
			if test.want == nil {
				test.want = test.in
			}
			if got, ok := v.Wire().Parts(); !ok || !maps.Equal(got, test.want) {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestAddressKeys(t *testing.T) {
	f := field(t, "residence_address")
	normalised := func(v api.Value) string {
		n, rule := f.Normalise(v)
		if rule != "" {
			t.Fatal(rule)
		}
		return n.Key()
	}
	if normalised(api.Parts(parts{"city": "АЛМАТЫ"})) != normalised(api.Parts(parts{"city": "Алматы"})) {
		t.Error("case makes two addresses")
	}
	different := []api.Value{
		api.Text("Алматы"), api.Parts(parts{"city": "Алматы"}), api.Parts(parts{"region": "Алматы"}),
		api.Parts(parts{"region": "Алматы", "city": "Алматы"}), api.Parts(parts{"line": "Алматы Алматы"}),
	}
	seen := map[string]bool{}
	for _, v := range different {
		seen[normalised(v)] = true
	}
	if len(seen) != len(different) {
		t.Errorf("%d keys of %d addresses", len(seen), len(different))
	}
}
