package vault

import (
	"cmp"
	"context"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
)

// looked notes when this try began to have the move to itself, unless Begin has: the target has its title then, and no try asks for keys any more.
func (m *Rekeying) looked() {
	if m.since.IsZero() {
		m.since = m.Clock()
	}
}

// Settles is for how long Retire will wait before it looks whether the new keys are there: 0 when nothing that was asked of their provider
// may come late. Of two tries at work at once the earlier asks for nothing once the later has begun; one that was cut off says nothing
// of what it asked for last, so it is not told apart from one that asked for nothing.
func (m *Rekeying) Settles(ctx context.Context) (time.Duration, error) {
	mark, err := m.mark(ctx, m.To.Store)
	if err != nil || mark == nil || !mark.Again {
		return 0, err
	}
	return m.settles(), nil
}

func (m *Rekeying) settles() time.Duration {
	if _, prompt := m.New.(kms.Settler); prompt {
		return 0
	}
	m.looked()
	asked := m.since
	if m.recast != nil && m.recast.new.unanswered.After(asked) {
		asked = m.recast.new.unanswered
	}
	return max(asked.Add(cmp.Or(m.Settle, kms.Settle)).Sub(m.Clock()), 0)
}

// settle waits until nothing can come to pass any more that the new provider was asked by an earlier try, or by this one without an answer.
// What is seen there afterwards stays.
func (m *Rekeying) settle(ctx context.Context) error {
	if prompt, ok := m.New.(kms.Settler); ok {
		return prompt.Settle(ctx)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(m.settles()):
		return nil
	}
}
