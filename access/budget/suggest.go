package budget

import (
	"math"
	"slices"
	"time"
)

// Usage is what was leased of one account, as the ledger kept it: at most half as much again as was spent.
type Usage struct {
	Limit  string
	System string
	Window Window
	Start  time.Time
	Units  int64
}

// floors are the least that is suggested for a window.
var floors = map[Window]int64{Minute: 10, Hour: 50, Day: 100}

// usual is the part of a system's windows that a suggested limit leaves room for.
const usual = 0.99

// Suggest returns the limits with the windows that they should have, judging by what was used: for each window the 99th
// percentile of the system that uses most, times headroom (at least 1), rounded up to 1, 2 or 5 times a power of ten. A
// window that nobody used stays as it is.
func Suggest(limits []Limit, usage []Usage, headroom float64) []Limit {
	if !(headroom >= 1) { // not a number is neither
		headroom = 1
	}
	type series struct {
		limit  string
		window Window
		system string
	}
	units := map[series][]int64{}
	for _, u := range usage {
		s := series{u.Limit, u.Window, u.System}
		units[s] = append(units[s], u.Units)
	}
	most := map[series]int64{} // of all systems
	for s, each := range units {
		s.system = ""
		most[s] = max(most[s], percentile(each))
	}
	suggested := slices.Clone(limits)
	for i := range suggested {
		l := &suggested[i]
		shorter := int64(0)
		for _, w := range Windows() {
			n := l.of(w)
			if seen := most[series{limit: l.Name, window: w}]; seen > 0 {
				*n = max(roundUp(float64(seen)*headroom), floors[w])
			}
			if *n > 0 {
				*n = max(*n, shorter)
				shorter = *n
			}
		}
	}
	return suggested
}

// percentile is the nearest-rank percentile that a limit leaves room for.
func percentile(units []int64) int64 {
	sorted := slices.Sorted(slices.Values(units))
	return sorted[int(math.Ceil(usual*float64(len(sorted))))-1]
}

// roundUp rounds up to 1, 2 or 5 times a power of ten, at most maxUnits.
func roundUp(units float64) int64 {
	for power := int64(1); power < maxUnits; power *= 10 {
		for _, step := range []int64{1, 2, 5} {
			if float64(step*power) >= units {
				return step * power
			}
		}
	}
	return maxUnits
}
