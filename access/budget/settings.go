package budget

import (
	"slices"

	"github.com/sandyq/sandyq/access"
)

// Config is the section of a configuration file. [New] checks it.
type Config struct {
	Mode   Mode    `yaml:"mode"`
	Limits []Limit `yaml:"limits"`
}

// Default is what applies without a configuration. It only observes: what is usual differs from operator to operator.
//
// A system that keeps tokens reads in batches of a thousand: a hundred such calls an hour leave room for a nightly job, and
// six hours of that are a day's. It looks up customers one by one. A person reads a few values of a customer a minute,
// and opens fewer documents.
func Default() Config {
	application := []access.Role{access.Application}
	staff := slices.DeleteFunc(access.Roles(), func(r access.Role) bool { return r == access.Application })
	return Config{Mode: Observe, Limits: []Limit{
		{Name: "application_reads", Roles: application, Kind: Read, Minute: 20_000, Hour: 100_000, Day: 600_000},
		{Name: "application_searches", Roles: application, Kind: Search, Minute: 60, Hour: 600, Day: 5_000},
		{Name: "staff_reads", Roles: staff, Kind: Read, Minute: 60, Hour: 300, Day: 2_000},
		{Name: "staff_searches", Roles: staff, Kind: Search, Minute: 20, Hour: 120, Day: 500},
		{Name: "staff_documents", Roles: staff, Category: "document", Kind: Read, Hour: 200, Day: 1_000},
	}}
}
