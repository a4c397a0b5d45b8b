package vault

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/store"
)

// Shortage is something that service tokens alone could never get agreed to: too few of them are different people's.
type Shortage struct {
	Approval   string // by name
	Needed     int    // words of others
	Identities int    // that tokens which still work show: tokens of one system, and those that made one another, are one
}

// whoApproves are the roles that count where an approval names none.
var whoApproves = []access.Role{access.Staff, access.PrivacyOfficer}

// Shortages tells which approvals could never come: those that somebody of their roles could ask for, with fewer others than
// needed. Where nobody has the role yet, nobody could be waiting. It needs no keys, and knows only service tokens.
func Shortages(ctx context.Context, tenant string, s store.Store, approvals map[string]Approval, now time.Time) ([]Shortage, error) {
	service := &Service{rows: layout{tenant}}
	all := map[string]*credentialRow{}
	prefix := service.rows.key(kindCredential)
	err := s.View(ctx, func(r store.Reader) error {
		clear(all)
		return scanAll(r, prefix, func(p store.Pair) error {
			row, err := decodeRow[credentialRow](p.Value)
			all[CredentialID(p.Key[len(prefix):]).String()] = row
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	var short []Shortage
	for name, a := range approvals {
		roles := a.Roles
		if len(roles) == 0 {
			roles = whoApproves
		}
		if n := identities(all, roles, now); a.Needed > 0 && n > 0 && n <= a.Needed {
			short = append(short, Shortage{name, a.Needed, n})
		}
	}
	slices.SortFunc(short, func(a, b Shortage) int { return strings.Compare(a.Approval, b.Approval) })
	return short, nil
}

// identities counts the different people whom tokens with one of the roles can be: two are one person's when the lineage of one
// reaches back to the other, or to its system.
func identities(all map[string]*credentialRow, roles []access.Role, now time.Time) (n int) {
	one := map[string]string{} // what is the same person's as something else → that; following it ends with one of all
	root := func(of string) string {
		for one[of] != "" {
			of = one[of]
		}
		return of
	}
	join := func(a, b string) {
		if a, b = root(a), root(b); a != b {
			one[a] = b
		}
	}
	counted, systems := map[string]bool{}, map[string]bool{}
	for id, row := range all {
		if !row.ended(now) && slices.Contains(roles, row.Role) {
			counted[id], systems[row.System] = true, true
		}
	}
	rowOf := func(credential string) (*credentialRow, error) { return all[credential], nil }
	for id := range counted {
		line, _ := lineageOf(id, all[id].System, rowOf) // rowOf never fails
		for other := range line.credentials {
			if counted[other] {
				join(id, other)
			}
		}
		for system := range line.systems {
			if systems[system] {
				join(id, "system "+system)
			}
		}
	}
	people := map[string]bool{}
	for id := range counted {
		people[root(id)] = true
	}
	return len(people)
}
