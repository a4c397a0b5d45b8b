package keyring

import (
	"context"
	"fmt"

	"github.com/sandyq/sandyq/crypto/kms"
)

// macItem is one input of a call. The goroutine that settles it owns sum and err until then, the caller after.
type macItem struct {
	call  *call
	input []byte
	sum   []byte
	err   error
}

func (m *macItem) settle(sum []byte, err error) {
	m.sum, m.err = sum, err
	m.call.settle()
}

// MAC returns kms.MACSize bytes for each input, in order, under the tenant's index key. Calls that are made meanwhile go
// to the provider together. The inputs must not be changed afterwards, not even when MAC has failed: a call that carries
// them may still be out.
func (k *Keyring) MAC(ctx context.Context, inputs ...[]byte) ([][]byte, error) {
	if len(inputs) == 0 {
		return nil, nil
	}
	if err := k.refusal(); err != nil {
		return nil, err
	}
	call := newCall(len(inputs))
	items, queued := make([]macItem, len(inputs)), make([]*macItem, len(inputs))
	for i, input := range inputs {
		items[i] = macItem{call: call, input: input}
		queued[i] = &items[i]
	}
	if err := k.macs.add(queued...); err != nil {
		return nil, err
	}
	if err := call.wait(ctx, k.timeout); err != nil {
		return nil, fmt.Errorf("keyring: mac: %w", err)
	}
	sums := make([][]byte, len(items))
	for i := range items {
		if items[i].err != nil {
			return nil, items[i].err
		}
		sums[i] = items[i].sum
	}
	if err := k.refusal(); err != nil { // it began meanwhile
		return nil, err
	}
	return sums, nil
}

// sum is one call to the provider for the MACs that somebody still waits for.
func (k *Keyring) sum(ctx context.Context, items []*macItem) {
	inputs, wanted := make([][]byte, 0, len(items)), make([]*macItem, 0, len(items))
	for _, m := range items {
		if m.call.gone.Load() {
			m.settle(nil, context.Canceled)
			continue
		}
		inputs, wanted = append(inputs, m.input), append(wanted, m)
	}
	if len(wanted) == 0 {
		return
	}
	began := k.now()
	sums, err := k.mac.MAC(ctx, inputs...)
	if err == nil && len(sums) != len(inputs) {
		err = fmt.Errorf("%w: %d MACs answered for %d inputs", kms.ErrCorrupt, len(sums), len(inputs))
	}
	k.observer.Called(OpMAC, len(inputs), k.now().Sub(began), err)
	if err != nil {
		err = k.failure("mac", err)
		sums = make([][]byte, len(inputs))
	}
	for i, m := range wanted {
		m.settle(sums[i], err)
	}
}
