package budget_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sandyq/sandyq/access/budget"
)

// used is what a system used of a limit in windows that follow one another.
func used(limit, system string, w budget.Window, units ...int64) []budget.Usage {
	all := make([]budget.Usage, len(units))
	for i, n := range units {
		all[i] = budget.Usage{Limit: limit, System: system, Window: w, Start: noon.Add(time.Duration(i) * w.Length()), Units: n}
	}
	return all
}

func TestSuggest(t *testing.T) {
	hundred := make([]int64, 200) // the usual, and two that stand out
	for i := range hundred {
		hundred[i] = 100
	}
	hundred[17], hundred[120] = 50_000, 60_000
	a := budget.Limit{Name: "a", System: "crm", Kind: budget.Read, Minute: 7, Hour: 8, Day: 9}
	for name, c := range map[string]struct {
		usage             []budget.Usage
		headroom          float64
		minute, hour, day int64
	}{
		"nothing used":              {nil, 2, 7, 8, 9},
		"another limit":             {used("b", "crm", budget.Hour, 5000), 2, 7, 8, 9},
		"rounded up":                {used("a", "crm", budget.Hour, 100, 110), 1, 7, 200, 200},
		"exact":                     {used("a", "crm", budget.Hour, 200), 1, 7, 200, 200},
		"headroom":                  {used("a", "crm", budget.Hour, 200), 1.5, 7, 500, 500},
		"no headroom":               {used("a", "crm", budget.Hour, 200), 0, 7, 200, 200},
		"no number":                 {used("a", "crm", budget.Hour, 200), math.NaN(), 7, 200, 200},
		"endless":                   {used("a", "crm", budget.Hour, 200), math.Inf(1), 7, 1e12, 1e12},
		"floors":                    {append(used("a", "crm", budget.Minute, 1), used("a", "crm", budget.Day, 1)...), 2, 10, 10, 100},
		"what stands out":           {used("a", "crm", budget.Hour, hundred...), 1, 7, 100, 100},
		"the one that uses most":    {append(used("a", "crm", budget.Hour, hundred...), used("a", "erp", budget.Hour, 900)...), 1, 7, 1000, 1000},
		"a day less than its hours": {append(used("a", "crm", budget.Hour, 900), used("a", "erp", budget.Day, 150)...), 1, 7, 1000, 1000},
	} {
		want := a
		want.Minute, want.Hour, want.Day = c.minute, c.hour, c.day
		got := budget.Suggest([]budget.Limit{a}, c.usage, c.headroom)
		if !reflect.DeepEqual(got, []budget.Limit{want}) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if a.Hour != 8 {
		t.Error("the limits given were changed")
	}
}

// What is suggested can be used, leaves room for what is usual, and does not depend on the order of what was used.
func TestSuggestionsHold(t *testing.T) {
	limits := []budget.Limit{{Name: "a", Minute: 1, Hour: 1}, {Name: "b", Day: 5}}
	rapid.Check(t, func(t *rapid.T) {
		var usage []budget.Usage
		for i := range rapid.IntRange(0, 50).Draw(t, "accounts") {
			limit := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "limit")
			w := rapid.SampledFrom(budget.Windows()).Draw(t, "window")
			usage = append(usage, used(limit, fmt.Sprint(i%3), w, rapid.Int64Range(1, 1e12).Draw(t, "units"))...)
		}
		got := budget.Suggest(limits, usage, rapid.Float64Range(1, 10).Draw(t, "headroom"))
		for _, u := range usage { // fewer than 100 a system, so that none stands out
			l := got[0]
			if u.Limit == "b" {
				l = got[1]
			}
			if most := map[budget.Window]int64{budget.Minute: l.Minute, budget.Hour: l.Hour, budget.Day: l.Day}[u.Window]; most < u.Units {
				t.Fatalf("%+v does not fit %+v", u, l)
			}
		}
		if _, err := budget.New(budget.Options{Limits: got, Ledger: newLedger(), Now: time.Now}); err != nil {
			t.Fatal(err)
		}
		one := budget.Suggest(limits, usage, 2)
		rand.Shuffle(len(usage), func(i, j int) { usage[i], usage[j] = usage[j], usage[i] })
		if again := budget.Suggest(limits, usage, 2); !reflect.DeepEqual(one, again) {
			t.Fatalf("%+v, then %+v", one, again)
		}
	})
}
