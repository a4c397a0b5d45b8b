package vault

import (
	"context"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/store"
)

// holder is who was shown the text of a service token: they can show it as well as whoever they gave it to.
type holder struct {
	Credential string `cbor:"1,keyasint,omitempty"`
	System     string `cbor:"2,keyasint"`
}

func holderOf(p access.Principal) *holder { return &holder{p.Credential, p.System} }

// lineage is everything that whoever shows a credential can have had in hand: the credential, the tokens that it or they came
// from, however far back, whoever was shown the text of one of these, and the names that all of them have in the log.
type lineage struct {
	credentials, systems map[string]bool
}

// lineageOf follows a credential back. rowOf is its row; nil for what is no service token: nobody made that here. A token is
// made after what it comes from, so every line ends.
func lineageOf(credential, system string, rowOf func(credential string) (*credentialRow, error)) (lineage, error) {
	l := lineage{map[string]bool{}, map[string]bool{system: true}}
	for open := []string{credential}; len(open) > 0; {
		at := open[0]
		open = open[1:]
		if at == "" || l.credentials[at] {
			continue
		}
		l.credentials[at] = true
		row, err := rowOf(at)
		if err != nil {
			return l, err
		}
		if row == nil {
			continue
		}
		l.systems[row.System] = true
		open = append(open, row.Maker)
		if row.Shown != nil {
			l.systems[row.Shown.System] = true
			open = append(open, row.Shown.Credential)
		}
	}
	return l, nil
}

// has reports whether the lineage reaches back to a credential, or to one of its name.
func (l lineage) has(credential, system string) bool {
	return l.credentials[credential] || l.systems[system]
}

// oneHand reports whether two who gave their word may be one person: one of them has, had or made what the other shows.
func (s *Service) oneHand(ctx context.Context, a, b vote) (same bool, err error) {
	err = s.Store.View(ctx, func(r store.Reader) error {
		rowOf := func(credential string) (*credentialRow, error) {
			raw, err := parseID(credentialPrefix, credential)
			if err != nil {
				return nil, nil //nolint:nilerr // a principal that is not known by a service token
			}
			return getRow[credentialRow](r, s.rows.credential(raw))
		}
		of, err := lineageOf(a.By, a.System, rowOf)
		if err != nil {
			return err
		}
		other, err := lineageOf(b.By, b.System, rowOf)
		same = of.has(b.By, b.System) || other.has(a.By, a.System)
		return err
	})
	return same, err
}
