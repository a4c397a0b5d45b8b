package budget

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/sandyq/sandyq/access"
)

const (
	maxLimits = 100
	maxUnits  = 1_000_000_000_000 // so that sums of them never overflow
)

// Limit is a budget for everybody whom it matches, to each their own. What is left empty matches all.
type Limit struct {
	Name     string        `yaml:"name"` // [a-z0-9_]{1,40}, its own
	System   string        `yaml:"system,omitempty"`
	Roles    []access.Role `yaml:"roles,omitempty,flow"` // one of them is enough
	Purpose  string        `yaml:"purpose,omitempty"`
	Category string        `yaml:"category,omitempty"`
	Kind     Kind          `yaml:"kind,omitempty"`

	// Units a window holds; 0 is no bound, and the window is not counted.
	Minute int64 `yaml:"minute,omitempty"`
	Hour   int64 `yaml:"hour,omitempty"`
	Day    int64 `yaml:"day,omitempty"`
}

// of is where the limit keeps its units of a window.
func (l *Limit) of(w Window) *int64 {
	switch w {
	case Minute:
		return &l.Minute
	case Hour:
		return &l.Hour
	default:
		return &l.Day
	}
}

// admits reports whether the limit is about a principal with any of these roles.
func (l *Limit) admits(roles []access.Role) bool {
	if len(l.Roles) == 0 {
		return true
	}
	return slices.ContainsFunc(roles, func(r access.Role) bool { return slices.Contains(l.Roles, r) })
}

// matches reports whether the limit applies to a charge of a principal with these roles.
func (l *Limit) matches(roles []access.Role, c *Charge) bool {
	return (l.Kind == "" || l.Kind == c.Kind) &&
		(l.System == "" || l.System == c.System) &&
		(l.Purpose == "" || l.Purpose == c.Purpose) &&
		(l.Category == "" || l.Category == c.Category) &&
		l.admits(roles)
}

var namePattern = regexp.MustCompile(`^[a-z0-9_]{1,40}$`)

// check refuses limits that break a rule.
func check(limits []Limit) error {
	if len(limits) > maxLimits {
		return fmt.Errorf("budget: more than %d limits", maxLimits)
	}
	names := make(map[string]bool, len(limits))
	for _, l := range limits {
		if broken := l.broken(); broken != "" {
			return fmt.Errorf("budget: limit %q: %s", l.Name, broken)
		}
		if names[l.Name] {
			return fmt.Errorf("budget: limit %q: named twice", l.Name)
		}
		names[l.Name] = true
	}
	return nil
}

// broken names the rule that the limit breaks, or nothing.
func (l *Limit) broken() string {
	if !namePattern.MatchString(l.Name) {
		return "a name is 1 to 40 small letters, digits and underscores"
	}
	for _, r := range l.Roles {
		if _, err := access.ParseRole(string(r)); err != nil {
			return fmt.Sprintf("there is no role %q", r)
		}
	}
	if !slices.Contains([]Kind{"", Read, Search}, l.Kind) {
		return fmt.Sprintf("a kind is %s or %s", Read, Search)
	}
	shorter := int64(0)
	for _, w := range Windows() {
		switch n := *l.of(w); {
		case n < 0 || n > maxUnits:
			return fmt.Sprintf("%s is 0 to %d units", w, int64(maxUnits))
		case n == 0:
		case n < shorter:
			return fmt.Sprintf("%s holds less than a shorter window", w)
		default:
			shorter = n
		}
	}
	if shorter == 0 {
		return "one of minute, hour and day is needed"
	}
	return ""
}
