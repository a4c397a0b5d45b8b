package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// difference is a member that two versions of an object differ in; one that is not there is empty.
type difference struct {
	Member string         `json:"member"`
	From   jsontext.Value `json:"from,omitzero"`
	To     jsontext.Value `json:"to,omitzero"`
}

// text tells a difference on one line, without the text of files.
func (d difference) text() string {
	if strings.HasPrefix(d.Member, filesMember+".") {
		switch {
		case len(d.From) == 0:
			return "added"
		case len(d.To) == 0:
			return "removed"
		}
		return "changed"
	}
	none := func(v jsontext.Value) string {
		if len(v) == 0 {
			return "(none)"
		}
		return string(v)
	}
	return none(d.From) + " → " + none(d.To)
}

// filesMember is the member of a set of policies that is told file by file.
const filesMember = "files"

// told lists the members that the vault tells of an object and nobody wishes.
var told = []string{"name", "managed_by", "version", "changed_at", "changed_by", "change", "sha256", "final"}

// differences lists what two objects of the API differ in, member by member.
func differences(from, to any) []difference {
	a, b := membersOf(from), membersOf(to)
	all := maps.Clone(a)
	maps.Copy(all, b)
	var found []difference
	for _, member := range slices.Sorted(maps.Keys(all)) {
		if string(a[member]) != string(b[member]) {
			found = append(found, difference{member, a[member], b[member]})
		}
	}
	return found
}

// encoded writes an object of the API, which always encodes.
func encoded(object any) jsontext.Value {
	b, err := json.Marshal(object, json.Deterministic(true))
	if err != nil {
		panic(fmt.Sprintf("encode a %T: %v", object, err))
	}
	return b
}

// membersOf takes an object apart.
func membersOf(object any) map[string]jsontext.Value {
	members := map[string]jsontext.Value{}
	b := encoded(object)
	if string(b) == "null" {
		return members
	}
	if err := json.Unmarshal(b, &members); err != nil {
		panic(fmt.Sprintf("take a %T apart: %v", object, err))
	}
	for _, member := range told {
		delete(members, member)
	}
	if string(members["all_fields"]) == "true" {
		delete(members, "fields") // only told
	}
	for member, value := range members {
		var names []string
		if value.Kind() == '[' && json.Unmarshal(value, &names) == nil {
			members[member] = encoded(slices.Sorted(slices.Values(names))) // lists of names have no order
		}
	}
	for _, nested := range []string{filesMember, "purpose", "recipient", "system", "policies", "consent_text"} {
		if members[nested].Kind() == '{' {
			for member, value := range membersOf(members[nested]) {
				members[nested+"."+member] = value
			}
			delete(members, nested)
		}
	}
	return members
}
