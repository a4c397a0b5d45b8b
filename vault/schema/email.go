package schema

import (
	"strings"

	"golang.org/x/net/idna"
)

// The limits of RFC 5321, section 4.5.3.1, in bytes; 254 is what its 256 for a path leave without the angle brackets.
const (
	maxEmail     = 254
	maxLocalPart = 64
)

// domains turns a name as a person writes it into the A-labels of DNS, IDNA 2008 as for a lookup.
var domains = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(), idna.StrictDomainName(true), idna.VerifyDNSLength(true))

// normaliseEmail takes a bare address: no display name, no comment, no quoted local part, no address literal. The local part is kept as it is,
// since its case is the receiving host's business, and has to be ASCII; the domain is lower-cased and put into A-labels. The key is lower-cased
// throughout: no host in use tells users apart by case, and people do not spell their own address one way.
func normaliseEmail(_ *Field, s string) (string, string) {
	if len(s) > maxEmail {
		return "", RuleLength
	}
	local, domain, ok := strings.Cut(s, "@")
	if !ok {
		return "", RuleForm
	}
	if !dotAtom(local) || len(local) > maxLocalPart {
		return "", RuleLocalPart
	}
	domain, ok = asciiDomain(domain)
	if !ok {
		return "", RuleDomain
	}
	if len(local)+1+len(domain) > maxEmail {
		return "", RuleLength
	}
	return local + "@" + domain, ""
}

// asciiDomain wants two labels or more and a top label that is no number, so that neither local names nor IP addresses pass.
func asciiDomain(s string) (string, bool) {
	a, err := domains.ToASCII(s)
	if err != nil {
		return "", false
	}
	dot := strings.LastIndexByte(a, '.')
	return a, dot > 0 && dot < len(a)-1 && !asciiDigits(a[dot+1:])
}

// dotAtom is RFC 5322's: runs of atext with single dots between them.
func dotAtom(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" {
			return false
		}
		for i := range len(atom) {
			if !asciiLetter(atom[i]) && !asciiDigits(atom[i:i+1]) && strings.IndexByte("!#$%&'*+-/=?^_`{|}~", atom[i]) < 0 {
				return false
			}
		}
	}
	return true
}
