package vault

import (
	"context"
	"fmt"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/ledger"
)

// copySeen is what a copy looked through, and what the keys said then: with another mark they may be back.
type copySeen struct {
	head   ledger.Head
	theirs kms.Mark
}

// compareCopy sees that nothing which the ledger lists can be read through a copy: it changes neither it nor the keys.
func (a *accord) compareCopy(ctx context.Context, now copySeen, mine kms.Mark) error {
	if a.seen == now {
		return nil
	}
	if err := a.leave(now.head.Entries - mine.Entries); err != nil {
		return err
	}
	if a.service.Replay {
		return a.replay(ctx, now.head, mine)
	}
	err := a.ledger.Scan(ctx, mine.Entries, func(e ledger.Entry) error { return a.service.seeGone(ctx, e.Destroys()) })
	if err != nil {
		return fmt.Errorf("this store is a copy, and of those whom the ledger lists: %w", err)
	}
	a.seen = now
	return nil
}
