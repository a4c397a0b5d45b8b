package certificate

import (
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sandyq/sandyq/vault/id"
)

// Limits of what a certificate holds. They are far above what an erasure comes to.
const (
	maxText   = 400 // bytes of a text that people write
	maxList   = 100
	maxNumber = 1 << 52 // JSON's numbers are exact so far
)

// The grounds of an erasure.
var grounds = []string{"request", "withdrawal", "purpose_reached", "unlawful", "court", "other"}

var (
	tenantPattern  = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)
	codePattern    = regexp.MustCompile(`^[a-z0-9_]{1,40}$`)
	namePattern    = regexp.MustCompile(`^[a-z0-9_-]{1,40}$`)
	articlePattern = regexp.MustCompile(`^[0-9][0-9()-]{0,19}$`)
)

// check is the first rule that something breaks.
type check struct{ broken string }

func (c *check) that(holds bool, rule string) {
	if !holds && c.broken == "" {
		c.broken = rule
	}
}

func (c *check) err() error {
	if c.broken == "" {
		return nil
	}
	return malformed(c.broken)
}

// valid tells what a parser refuses of a content.
func (c *Content) valid() error {
	var is check
	is.that(isID("era_", c.Erasure), "erasure is an id")
	is.that(isID("sub_", c.Subject), "subject is an id")
	is.that(tenantPattern.MatchString(c.Tenant), "tenant is a name")
	is.that(c.Operator == "" || isText(c.Operator), "operator is a line of text")
	is.that(isText(c.Origin) && !strings.ContainsAny(c.Origin, " +"), "origin has no spaces and plus signs")
	if r := c.Requester; r != nil {
		is.that(isText(r.System), "the requesting system has a name")
		is.that(r.Subject == "" || isID("sub_", r.Subject), "what the system called the person is an id")
	}
	is.that(codePattern.MatchString(c.Reason), "reason is a code")
	c.Ground.check(&is)
	c.Scope.check(&is)
	c.checkTimes(&is)
	c.Destroyed.check(&is, c.Scope)
	is.that(c.Kept != nil && len(c.Kept) <= maxList, "kept is a list")
	for _, k := range c.Kept {
		is.that(isText(k.Citation) && isCount(k.Count) && isTime(k.Until, true), "what is kept has a citation")
	}
	if l := c.Ledger; l != nil {
		is.that(l.Entry > 0 && l.Entry < maxNumber && isHex(l.Head, 32), "a place in the ledger is a number from 1 and a hash")
	}
	c.Residue.check(&is, c.KeyDestroyedAt)
	return is.err()
}

func (c *Content) checkTimes(is *check) {
	last := time.Time{}
	for _, t := range []time.Time{c.RequestedAt, c.ErasingAt, c.KeyDestroyedAt, c.ErasedAt} {
		is.that(isTime(t, false), "times are in UTC and to the millisecond")
		is.that(!t.Before(last), "the times of an erasure are in order")
		last = t
	}
}

func (g Ground) check(is *check) {
	is.that(slices.Contains(grounds, g.Code), "ground is one of the grounds of an erasure")
	byLaw := g.Citation == "" && isText(g.Law) && len(g.Articles) > 0 && len(g.Articles) <= maxList
	inWords := isText(g.Citation) && g.Law == "" && len(g.Articles) == 0
	is.that(byLaw || inWords, "a ground has the articles of a law, or else a citation")
	for _, a := range g.Articles {
		is.that(articlePattern.MatchString(a), "an article has a number")
	}
}

func (s Scope) check(is *check) {
	is.that(s.Person != (len(s.Slices) > 0), "scope is the whole person or else slices")
	is.that(len(s.Slices) <= maxList && ascend(s.Slices), "slices ascend")
	for _, n := range s.Slices {
		is.that(namePattern.MatchString(n), "a slice has a name")
	}
}

func (d Destroyed) check(is *check, scope Scope) {
	is.that(d.Slices != nil && len(d.Slices) <= maxList, "destroyed slices are a list")
	is.that(isCount(d.Tokens) && isCount(d.IndexEntries), "counts are from 0")
	names, keys := []string{}, []string{}
	for _, s := range d.Slices {
		names, keys = append(names, s.Slice), append(keys, s.Key)
		is.that(namePattern.MatchString(s.Slice), "a slice has a name")
		is.that(scope.Person || slices.Contains(scope.Slices, s.Slice), "what was destroyed is of the scope")
		is.that(isHex(s.Key, 16), "a key's id is 32 hexadecimal digits")
		v := s.Values
		for _, n := range []int{v.Identity, v.Contact, v.Address, v.Document, v.Other, s.Parts} {
			is.that(isCount(n), "counts are from 0")
		}
	}
	slices.Sort(keys)
	is.that(ascend(names) && ascend(keys), "destroyed slices ascend, and each had a key of its own")
}

func (r Residue) check(is *check, destroyed time.Time) {
	is.that(r.Physical == PhysicalPending, "physical removal is pending in a certificate")
	k := r.Keys
	switch k.Provider {
	case ProviderVault:
		is.that(k.SnapshotDays > 0 && k.SnapshotDays <= 36500 && isTime(k.Until, false) && k.Until.After(destroyed),
			"snapshots of HashiCorp Vault are kept for so many days")
	case ProviderLocal:
		is.that(k == KeyResidue{Provider: ProviderLocal}, "a local keyring has no snapshots")
	default:
		is.that(false, "the provider of the keys is vault or local")
	}
	if i := r.Index; i != nil {
		is.that(i.Epoch < maxNumber && isTime(i.DestroyedBy, true), "an epoch has a number")
	}
}

// ascend reports that every text is greater than the one before.
func ascend(all []string) bool {
	for i := 1; i < len(all); i++ {
		if all[i] <= all[i-1] {
			return false
		}
	}
	return true
}

func isID(prefix, s string) bool {
	_, err := id.Decode(prefix, s)
	return err == nil
}

// isText reports a line that shows as it is written: no control or formatting characters, nor such as reverse what follows.
func isText(s string) bool {
	odd := func(r rune) bool { return !unicode.IsPrint(r) }
	return s != "" && len(s) <= maxText && utf8.ValidString(s) && strings.IndexFunc(s, odd) < 0
}

func isCount(n int) bool { return n >= 0 && n < maxNumber }

// isTime reports a time as rows have it: milliseconds, UTC.
func isTime(t time.Time, orNone bool) bool {
	if t.IsZero() {
		return orNone
	}
	_, offset := t.Zone()
	return offset == 0 && t.Year() >= 1970 && t.Year() <= 9999 && t.Equal(t.Truncate(time.Millisecond))
}

func isHex(s string, size int) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == size && hex.EncodeToString(b) == s
}
