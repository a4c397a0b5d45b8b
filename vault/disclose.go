package vault

import (
	"context"
	"errors"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/keyring"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/schema"
)

// wanted is one sealed thing that a caller is to be shown: whose it is, the key it needs, and the grant for it.
type wanted struct {
	grant   access.Grant
	subject SubjectID
	key     kms.ID
}

// disclosed are keys that grants have opened.
type disclosed struct {
	*keyring.Opened
	service *Service
	places  map[kms.ID]int
}

// disclose opens the keys of what grants permit to be shown, and is the only way to a key for showing what it seals. The
// permit was taken before the Update that made the grants durable.
func (s *Service) disclose(ctx context.Context, p permit, a access.Action, things []wanted) (*disclosed, error) {
	d := &disclosed{service: s, places: make(map[kms.ID]int, len(things))}
	ids := make([]kms.ID, 0, len(things))
	for _, t := range things {
		if _, ok := d.places[t.key]; ok || !t.grant.Permits(a, t.subject.String()) {
			continue
		}
		d.places[t.key] = len(ids)
		ids = append(ids, t.key)
	}
	var err error
	d.Opened, err = s.keyring.Open(ctx, p, ids...)
	return d, err
}

// of returns a key that disclose has opened.
func (d *disclosed) of(id kms.ID) (secret.Bytes, error) {
	at, ok := d.places[id]
	if !ok {
		return secret.Bytes{}, fault.New(fault.Denied, "this is not permitted")
	}
	key, err := d.Key(at)
	return key, d.service.keyTrouble(err)
}

// keyTrouble reports a living person's key that is not where it should be, or is not opened. It never makes anybody erased.
func (s *Service) keyTrouble(err error) error {
	switch {
	case errors.Is(err, keyring.ErrMissing):
		s.missed()
		s.Log.Error("the key of a living person is missing at the provider: see the runbook before anything is changed there")
	case errors.Is(err, kms.ErrWithheld):
		s.lost.withheld.Store(true)
		s.Log.Error("the provider is set not to open the key of a living person: see the runbook", "error", err)
	}
	return err
}

// reading is one value on its way out.
type reading struct {
	subject SubjectID
	field   *schema.Field
	record  record
	form    api.Form
}

// show opens a value and gives it in the form that was permitted.
func (s *Service) show(d *disclosed, r reading) (api.Value, error) {
	key, err := d.of(r.record.Key)
	if err != nil {
		return api.Value{}, err
	}
	v, err := s.openValue(key, r.subject, r.field.Name, r.record)
	if err != nil {
		return api.Value{}, err
	}
	if r.form == api.Masked {
		return r.field.Mask(v), nil
	}
	return v.Wire(), nil
}
