package vault

import (
	"context"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/store"
)

// claimed is a drill that could begin.
func (s *Service) claimed(ctx context.Context) (*drill, error) {
	d := &drill{Service: s}
	return d, s.Store.Update(ctx, d.claim)
}

// DrillTakes has a drill register an IIN.
func (s *Service) DrillTakes(ctx context.Context, iin string) error {
	d, err := s.claimed(ctx)
	if err != nil {
		return err
	}
	defer func() {
		_ = s.Store.Update(ctx, func(w store.Writer) error { return w.Delete(s.rows.meta(metaDrill)) })
	}()
	s.drilling.Store(d)
	defer s.drilling.Store(nil)
	result, err := underRules(ctx, s, d.call(), func(call Call) (*api.TokenizeResult, error) {
		p, of := s.drillPurpose(call.rules)
		who := invented(d.made[0], p.Name, of)
		who.values["iin"] = api.Text(iin)
		return d.tokenizeAs(ctx, call, p, &who)
	})
	if err == nil && result.Error != nil {
		err = result.Error.Err()
	}
	return err
}

// DrillErases has a drill erase somebody.
func (s *Service) DrillErases(ctx context.Context, subject string) error {
	d, err := s.claimed(ctx)
	if err != nil {
		return err
	}
	who, err := parseID(subjectPrefix, subject)
	if err != nil {
		return err
	}
	_, err = d.erase(ctx, who)
	return err
}
