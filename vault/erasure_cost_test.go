package vault_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// A person of notes×each values: in many fields of few values, because whoever brings a value has it compared with all of its field.
const notes, each = 500, 20

// manyFields is a schema in which a person may have 10,000 values.
func manyFields(t testing.TB) *schema.Schema {
	t.Helper()
	var file strings.Builder
	file.WriteString("fields:\n  - {name: given_name, type: person_name}\n")
	for n := range notes {
		fmt.Fprintf(&file, "  - {name: note_%d, type: text, many: true, max_values: %d}\n", n, each)
	}
	return must[*schema.Schema](t)(schema.Parse(strings.NewReader(file.String())))
}

// heavy registers a person with 10,000 values and 50 documents.
func heavy(b *testing.B, v *vaulttest.Vault, shop vault.Call) string {
	b.Helper()
	who := register(b, v, shop, fields{"given_name": text("Айгүл")}).Subject
	const atOnce = 50 // fields, of which a value is three rows and more
	for from := 0; from < notes; from += atOnce {
		part := fields{}
		for n := range atOnce {
			values := make([]string, each)
			for i := range values {
				values[i] = fmt.Sprintf("note %d", i)
			}
			part[fmt.Sprintf("note_%d", from+n)] = texts(values...)
		}
		wantItem(b, tokenize1(b, v, shop, api.TokenizeItem{Subject: who, Fields: part}).Error, "")
	}
	for range 50 {
		must[*api.Document](b)(v.PutDocument(ctx, shop, upload(who, jpeg(20_000))))
	}
	return who
}

// BenchmarkErasure measures how long it takes until a person is unreadable and until their keys are gone, for one with a single
// value, for one with a value and a document, who has as many keys as the last, and for one with 10,000 values and 50 documents; by
// turns in one run. The ratios are of the medians, to the one with a single value and to the one of as many keys; the goal is 1.2.
func BenchmarkErasure(b *testing.B) {
	v := vaulttest.New(b, vaulttest.With(func(o *vault.Options) { o.Schema = manyFields(b); o.SweepEvery = time.Minute }))
	shop := app(v)
	const light, paired, full = 0, 1, 2
	var unreadable, gone [3][]time.Duration
	for n := range b.N {
		b.StopTimer()
		one := func() string { return register(b, v, shop, fields{"given_name": text("Айгүл")}).Subject }
		people := [3]string{light: one(), paired: one(), full: heavy(b, v, shop)}
		must[*api.Document](b)(v.PutDocument(ctx, shop, upload(people[paired], jpeg(20_000))))
		b.StartTimer()
		for turn := range people { // what comes next has the removal of the one before to wait for
			which := (n + turn) % len(people)
			began := time.Now()
			e := erase(b, v, shop, people[which])
			unreadable[which] = append(unreadable[which], time.Since(began))
			for must[*api.Erasure](b)(v.Erasure(ctx, shop, e.Erasure)).KeyDestroyedAt.IsZero() {
				time.Sleep(time.Millisecond)
			}
			gone[which] = append(gone[which], time.Since(began))
			erased(b, v, shop, e.Erasure)
		}
	}
	median := func(all []time.Duration) float64 {
		slices.Sort(all)
		return float64(all[len(all)/2])
	}
	b.ReportMetric(median(unreadable[full])/median(unreadable[light]), "ratio-unreadable")
	b.ReportMetric(median(gone[full])/median(gone[light]), "ratio-keys-gone")
	b.ReportMetric(median(gone[full])/median(gone[paired]), "ratio-as-many-keys-gone")
	b.ReportMetric(median(unreadable[full])/1e6, "ms-unreadable")
	b.ReportMetric(median(gone[full])/1e6, "ms-keys-gone")
}
