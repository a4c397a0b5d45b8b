package vault

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/consent"
	"github.com/sandyq/sandyq/vault/fault"
)

// classText is the class of consent texts among the rules.
const classText ruleClass = 't'

// textRow is a consent text that was put over the API.
type textRow struct {
	Kazakh    string   `cbor:"1,keyasint"`
	Russian   string   `cbor:"2,keyasint"`
	English   string   `cbor:"3,keyasint"`
	Effective stamp    `cbor:"4,keyasint"`
	Purposes  []string `cbor:"5,keyasint"`
}

// consentText is a text among the rules.
type consentText struct {
	*consent.Text
	row uint32 // the version of its rule; 0: it comes from a file
}

// consentTexts are the texts that come from files, before those in the store are added.
func (s *Service) consentTexts() map[string]consentText {
	all := map[string]consentText{}
	for _, t := range s.Texts.All() {
		all[t.Version] = consentText{Text: t}
	}
	return all
}

// readText takes a text in the store into the rules being made. One that a file has, too, must say the same: of two texts
// of one version nobody could tell which was consented to.
func readText(made *rules, version string, row *ruleRow) error {
	r, err := decodeRow[textRow](row.Body)
	if err != nil {
		return err
	}
	t := &consent.Text{
		Version: version, Body: consent.Body{Kazakh: r.Kazakh, Russian: r.Russian, English: r.English},
		Effective: r.Effective.time(), Purposes: r.Purposes,
	}
	if of, ok := made.texts[version]; ok {
		if !of.Same(t) {
			return fmt.Errorf("the consent text %s of a file is not the one in the store: give it another version", version)
		}
		return nil
	}
	made.texts[version] = consentText{t, row.Version}
	return nil
}

// clockSkew is how far the clock of a system may be ahead of the vault's.
const clockSkew = 5 * time.Minute

// final reports whether a text does not change any more: it may have been shown, and consented to.
func (s *Service) final(t consentText) bool {
	return t.row == 0 || !t.Effective.After(s.Clock().Add(clockSkew))
}

// ConsentTexts lists the consent texts in the order of their versions, without what they say.
func (s *Service) ConsentTexts(ctx context.Context, call Call) (*api.Page[api.ConsentText], error) {
	return configured(ctx, s, call, func(call Call) (*api.Page[api.ConsentText], error) {
		page := &api.Page[api.ConsentText]{Items: []api.ConsentText{}}
		for _, version := range sortedKeys(call.rules.texts) {
			t := s.textWire(call.rules.texts[version])
			t.Text = nil
			page.Items = append(page.Items, *t)
		}
		return page, nil
	})
}

// ConsentText shows a consent text.
func (s *Service) ConsentText(ctx context.Context, call Call, version string) (*api.ConsentText, error) {
	return configured(ctx, s, call, func(call Call) (*api.ConsentText, error) {
		t, ok := call.rules.texts[version]
		if !ok {
			return nil, fault.New(fault.NotFound, "there is no such consent text")
		}
		return s.textWire(t), nil
	})
}

// PutConsentText makes a consent text, or changes one that nobody can have been shown yet. Putting what is there already
// changes nothing.
func (s *Service) PutConsentText(ctx context.Context, call Call, version string, req *api.ConsentTextRequest) (*api.ConsentText, error) {
	return underRules(ctx, s, call, func(call Call) (*api.ConsentText, error) { return s.putConsentText(ctx, call, version, req) })
}

func (s *Service) putConsentText(ctx context.Context, call Call, version string, req *api.ConsentTextRequest) (*api.ConsentText, error) {
	t := &consent.Text{
		Version: version, Body: consent.Body(req.Text), Effective: stampOf(req.EffectiveFrom).time(), Purposes: slices.Clone(req.Purposes),
	}
	if req.EffectiveFrom.IsZero() {
		return nil, fault.Bad("effective_from", ruleRequired)
	}
	if member, rule := t.Broken(); rule != "" {
		return nil, fault.Bad(member, rule)
	}
	if rule := call.rules.unconsentable(t.Purposes); rule != "" {
		return nil, fault.Bad("purposes", rule)
	}
	r := access.Request{Action: access.ChangeConfig}
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	before, exists := call.rules.texts[version]
	after := before
	_, err := s.act(ctx, call, func() (deed, error) {
		d := deed{request: r}
		d.entry.Kind = version
		switch {
		case exists && before.Same(t):
		case exists && s.final(before):
			d.request.Refusal = conflict("version", "people may have been shown this text: give another one a version of its own")
		default:
			after = consentText{t, before.row + 1}
			d.effect = &draft{}
			s.changeRule(d.effect, call.rules, classText, version, &ruleRow{
				Version: after.row, At: stampOf(s.Clock()), By: call.Principal.System, Body: encodeRow(textRow{
					t.Body.Kazakh, t.Body.Russian, t.Body.English, stampOf(t.Effective), t.Purposes,
				}),
			})
		}
		return d, nil
	})
	if err != nil {
		return nil, err
	}
	return s.textWire(after), s.rulebook.load(ctx)
}

// unconsentable is the rule that purposes break which no consent can be for, or empty.
func (r *rules) unconsentable(purposes []string) (rule string) {
	for _, name := range purposes {
		p, ok := r.purposes.Get(name)
		switch {
		case !ok:
			return ruleUnknown
		case !p.Basis.Consent:
			return "purposes that rest on consent"
		case p.OwnConsent && len(purposes) > 1:
			return "a purpose that needs a consent of its own stands alone"
		}
	}
	return ""
}

func (s *Service) textWire(t consentText) *api.ConsentText {
	body := api.Languages(t.Body)
	out := &api.ConsentText{
		Version: t.Version, Text: &body, SHA256: digestsOf(t.Text).wire(), EffectiveFrom: t.Effective, Purposes: t.Purposes,
		Final: s.final(t), ManagedBy: "api",
	}
	if t.row == 0 {
		out.ManagedBy = "file"
	}
	return out
}

// digests are the SHA-256 of a text in Kazakh, Russian and English, as rows and proofs have them.
type digests [3][]byte

func digestsOf(t *consent.Text) digests {
	d := t.Body.Digests()
	return digests{d.Kazakh[:], d.Russian[:], d.English[:]}
}

func (d digests) wire() api.Languages {
	return api.Languages{Kazakh: hex.EncodeToString(d[0]), Russian: hex.EncodeToString(d[1]), English: hex.EncodeToString(d[2])}
}
