package audit

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Sum is how often one principal did one thing, of the entries that were counted.
type Sum struct {
	System, Role, Operation, Purpose string
	Fields                           []string // sorted
	Permitted, Refused               int      // entries
	Items                            int      // of the permitted ones
	People                           int      // different ones, among the permitted
	LastAt                           time.Time
}

// Tally counts entries together. To tell people apart it must remember them, so it stops when it has no more room: it is for
// logs of any size. It is not safe for concurrent use. Make it with NewTally.
type Tally struct {
	of   map[kind]*counted
	room int
}

// kind is what entries are counted together by.
type kind struct{ system, role, operation, purpose, fields string }

type counted struct {
	Sum
	people map[person]struct{}
}

// person is the text of a person's id, which is of 30 bytes: an array takes a third of what a string would.
type person [32]byte

// What is remembered, in units of room.
const (
	roomOfSum    = 8
	roomOfPerson = 1
)

// NewTally makes a tally with room for so many people, each counted once for every sum they are in; a sum takes the room of
// eight. One in a million takes about 50 MB.
func NewTally(room int) *Tally { return &Tally{map[kind]*counted{}, room} }

// Add counts an entry. It reports false, and has counted nothing, when there is no room for it.
func (t *Tally) Add(e *Entry) bool {
	fields := slices.Sorted(slices.Values(e.Fields))
	of := kind{e.System, e.Role, e.Operation, e.Purpose, strings.Join(fields, " ")}
	one, needs := t.of[of], 0
	if one == nil {
		one = &counted{
			Sum{System: e.System, Role: e.Role, Operation: e.Operation, Purpose: e.Purpose, Fields: fields}, map[person]struct{}{},
		}
		needs = roomOfSum
	}
	var who person
	copy(who[:], e.Subject)
	_, known := one.people[who]
	isNew := e.Decision == Allow && e.Subject != "" && !known
	if isNew {
		needs += roomOfPerson
	}
	if needs > t.room {
		return false
	}
	t.room -= needs
	t.of[of] = one
	if one.LastAt.Before(e.At) {
		one.LastAt = e.At
	}
	if e.Decision != Allow {
		one.Refused++
		return true
	}
	one.Permitted++
	one.Items += e.Items
	if isNew {
		one.people[who] = struct{}{}
		one.People++
	}
	return true
}

// Sums is what was counted, by system, operation, purpose, fields and role.
func (t *Tally) Sums() []Sum {
	all := make([]Sum, 0, len(t.of))
	for _, one := range t.of {
		all = append(all, one.Sum)
	}
	slices.SortFunc(all, func(a, b Sum) int {
		return cmp.Or(cmp.Compare(a.System, b.System), cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Purpose, b.Purpose),
			slices.Compare(a.Fields, b.Fields), cmp.Compare(a.Role, b.Role))
	})
	return all
}
