package vault

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/consent"
	"github.com/sandyq/sandyq/vault/fault"
)

// classText is the class of consent texts among the rules.
const classText ruleClass = 't'

// textObjects are the consent texts that are put over the API. They come beside those of files.
func textObjects() *objectKind {
	return &objectKind{
		class: classText, kind: "consent_text", action: access.ChangeConfig, approval: ApproveConfig,
		check: (*Service).checkText, read: (*Service).readText, show: (*Service).showText,
	}
}

// consentText is a text among the rules.
type consentText struct {
	*consent.Text
	managedBy string
}

// consentTexts are the texts that come from files, before those in the store are added.
func (s *Service) consentTexts() map[string]consentText {
	all := map[string]consentText{}
	for _, t := range s.Texts.All() {
		all[t.Version] = consentText{t, api.ManagedByFile}
	}
	return all
}

// textOf is the text that a body in the store is.
func textOf(version string, body []byte) (*consent.Text, error) {
	b, err := objectOf[api.ConsentTextRequest](body)
	if err != nil {
		return nil, err
	}
	return &consent.Text{
		Version: version, Body: consent.Body(b.Text), Effective: b.EffectiveFrom.UTC(), Purposes: b.Purposes,
	}, nil
}

// readText takes a text in the store into the rules being made. One that a file has, too, must say the same: of two texts
// of one version nobody could tell which was consented to.
func (s *Service) readText(made *rules, version string, row *ruleRow) error {
	t, err := textOf(version, row.Body)
	if err != nil {
		return err
	}
	if of, ok := made.texts[version]; ok {
		if !of.Same(t) {
			return fmt.Errorf("the consent text %s of a file is not the one in the store: give it another version", version)
		}
		return nil
	}
	made.texts[version] = consentText{t, api.ManagedByAPI}
	return nil
}

func (s *Service) showText(version string, row *ruleRow) (*api.Object, error) {
	t, err := textOf(version, row.Body)
	if err != nil {
		return nil, err
	}
	return &api.Object{ConsentText: s.textWire(consentText{t, api.ManagedByAPI})}, nil
}

// checkText refuses what is no text, and what would change one that people may have been shown.
func (s *Service) checkText(_ context.Context, call Call, version string, body []byte) *fault.Error {
	t, err := textOf(version, body)
	if err != nil {
		return fault.From(err)
	}
	if member, rule := t.Broken(); rule != "" {
		return fault.Bad(member, rule)
	}
	if len(body) > maxTextBody {
		return fault.Bad("text", fmt.Sprintf("at most %d bytes of JSON", maxTextBody))
	}
	if rule := call.rules.unconsentable(t.Purposes); rule != "" {
		return fault.Bad("purposes", rule)
	}
	switch before, exists := call.rules.texts[version]; {
	case !exists, before.Same(t) && before.managedBy == api.ManagedByAPI:
		return nil
	case before.managedBy == api.ManagedByFile:
		return errOfFile()
	case s.final(before):
		return conflict("version", "people may have been shown this text: give another one a version of its own")
	default:
		return nil
	}
}

// maxTextBody bounds a text as it lies in the store, in bytes: a row and a change that waits must hold it.
const maxTextBody = 240 << 10

// clockSkew is how far the clock of a system may be ahead of the vault's.
const clockSkew = 5 * time.Minute

// final reports whether a text does not change any more: it may have been shown, and consented to.
func (s *Service) final(t consentText) bool {
	return t.managedBy == api.ManagedByFile || !t.Effective.After(s.Clock().Add(clockSkew))
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
func (s *Service) PutConsentText(ctx context.Context, call Call, version string, in *api.ConsentTextRequest) (*api.Change, error) {
	body := *in
	body.EffectiveFrom = in.EffectiveFrom.UTC().Truncate(time.Millisecond)
	return s.propose(ctx, call, textObjects(), version, 0, &body)
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
	return &api.ConsentText{
		Version: t.Version, Text: &body, SHA256: digestsOf(t.Text).wire(), EffectiveFrom: t.Effective, Purposes: t.Purposes,
		Final: s.final(t), ManagedBy: t.managedBy,
	}
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
