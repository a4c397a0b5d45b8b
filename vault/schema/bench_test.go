package schema_test

import (
	"testing"

	"github.com/sandyq/sandyq/vault/api"
)

// What a value costs on its way in: normalised, keyed, encoded.
func BenchmarkNormalise(b *testing.B) {
	values := map[string]api.Value{
		"iin": api.Text("850312113646"), "family_name": api.Text("Сәрсенова"), "phone": api.Text("87017654321"), "email": api.Text("aigul@example.kz"),
		"residence_address": api.Parts(map[string]string{"country": "KZ", "city": "Алматы", "line": "Абай даңғылы, 10", "kato": "750000000"}),
		"document_number":   api.Text("n12345678"),
	}
	for name, value := range values {
		f := field(b, name)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				v, rule := f.Normalise(value)
				if rule != "" {
					b.Fatal(rule)
				}
				_, _ = v.Key(), v.Encode()
			}
		})
	}
}
