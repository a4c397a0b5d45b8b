package vault

import (
	"context"
	"fmt"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/store"
)

// keptKeys is the look at everything sealed that the target has, before the old keys are destroyed. The new provider may have been rolled back, have
// lost keys, or have made others in their place, before or after the comparison: what is sealed under the ones opens with the old keys only,
// though whatever was carried last opens under the others.
type keptKeys struct {
	rows     layout
	old, new *openKeys
}

// kept sees that nothing is lost with the old keys: every sealed row of the target opens under the new provider's key, and where it does
// not the old one is gone, too. Of living people every key must be there. It fails with ErrMissingKeys.
func (m *Rekeying) kept(ctx context.Context, mark *rekeyRow) error {
	k := &keptKeys{layout{m.Tenant}, newOpenKeys(m.Old, mark.Old, m.Clock), newOpenKeys(m.New, mark.New, m.Clock)}
	defer k.old.forget()
	defer k.new.forget()
	for _, prefix := range k.rows.sealedUnder() {
		var read []sealedRow
		err := pagesUnder(ctx, m.To.Store, prefix, func(r store.Reader, pairs []store.Pair) (err error) {
			read, err = k.rows.sealedInAll(r, pairs)
			return err
		}, func() error { return k.check(ctx, read) })
		if err != nil {
			return err
		}
	}
	return nil
}

// check sees that some rows open, or that the old keys do not help.
func (k *keptKeys) check(ctx context.Context, read []sealedRow) error {
	keys, err := k.new.open(ctx, keysOf(read))
	if err != nil {
		return err
	}
	var lost []kms.ID // of what the old keys may be the last for
	for _, one := range read {
		for _, s := range one.seals {
			missing := keys[s.key].Missing()
			if missing && one.person != nil {
				return fmt.Errorf("at the new provider: %w", ErrMissingKeys)
			}
			if missing || !s.carriedOver(keys[s.key]) {
				lost = append(lost, s.key)
			}
		}
	}
	was, err := k.old.open(ctx, lost)
	if err != nil {
		return err
	}
	if len(present(was, lost)) > 0 {
		return fmt.Errorf("at the new provider, or others are in their place: %w", ErrMissingKeys)
	}
	return nil
}

// carriedOver reports whether it is sealed under a key of the target, and keeps what of the old key it is to keep. Whatever was first sealed
// at the target keeps nothing of an old key, and there is none.
func (s *seal) carriedOver(key kms.Key) bool {
	if s.sealed == nil && s.keeps == keepsNothing {
		return true // there is nothing to be opened
	}
	plain, err := s.open(key.Secret, true)
	clear(plain)
	return err == nil
}
