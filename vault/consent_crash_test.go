package vault_test

import (
	"errors"
	"fmt"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
)

// consentAndWithdraw has somebody consent, withdraw and consent again: each is retried until it is acknowledged, and what was
// acknowledged holds from then on. It returns the receipts, of which the first is of the consent that was withdrawn.
func (s *site) consentAndWithdraw(shop vault.Call, h holding) (receipts []string, err error) {
	holds := func(then holding) error { return s.retried("check", func() error { return s.check(shop, then) }) }
	first, err := s.consent(shop, "life-consent", h)
	if err := errors.Join(err, holds(h)); err != nil {
		return nil, fmt.Errorf("after a consent: %w", err)
	}
	shop.Key = "life-withdraw"
	err = s.retried("withdraw", func() error {
		got, err := s.WithdrawConsent(ctx, shop, h.subject, first.Consent, &api.WithdrawRequest{Reason: "asked"})
		if err == nil && (got.Version != 2 || len(got.Stopped) != 1) {
			err = fmt.Errorf("withdrawn as %+v", got)
		}
		return err
	})
	withdrawn := h
	withdrawn.refused = fault.Denied
	if err := errors.Join(err, holds(withdrawn)); err != nil {
		return nil, fmt.Errorf("after the withdrawal: %w", err)
	}
	second, err := s.consent(shop, "life-consent-again", h)
	if err := errors.Join(err, holds(h)); err != nil {
		return nil, fmt.Errorf("after another consent: %w", err)
	}
	receipts = []string{first.Receipt, second.Receipt}
	return receipts, s.prove(receipts)
}

// consent has somebody consent to service.
func (s *site) consent(shop vault.Call, key string, h holding) (c *api.Consent, err error) {
	shop.Key = key
	req := &api.ConsentRequest{Text: textBuiltIn, Purposes: []string{"service"}, Channel: "paper", GivenAt: s.clock.Now(), Evidence: "form 4711"}
	err = s.retried("consent", func() error {
		c, err = s.RecordConsent(ctx, shop, h.subject, req)
		if err == nil && c.Receipt == "" {
			err = errors.New("a consent without a receipt")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, s.retried("list the consents", func() error {
		all, err := s.ListConsents(ctx, shop, h.subject)
		if err != nil {
			return err
		}
		for _, one := range all.Items {
			if one.Consent == c.Consent && one.State == api.ConsentGiven && (one.Unavailable || one.Evidence == req.Evidence) {
				return nil
			}
		}
		return fmt.Errorf("the consent that was acknowledged is not among %d", len(all.Items))
	})
}

// prove demands that the receipts find their proofs, the first of a consent that was withdrawn.
func (s *site) prove(receipts []string) error {
	officer := person("officer", "2", access.PrivacyOfficer)
	for i, receipt := range receipts {
		err := s.retried("prove", func() error {
			p, err := s.ConsentProof(ctx, officer, &api.ProofRequest{Receipt: receipt})
			if err == nil && p.WithdrawnAt.IsZero() != (i > 0) {
				err = fmt.Errorf("proof %d was withdrawn at %s", i, p.WithdrawnAt)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
