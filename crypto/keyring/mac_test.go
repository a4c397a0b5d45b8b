package keyring

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
)

func TestMACsOfManyCallersShareFewCalls(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *rig) {
		hold := make(chan struct{})
		b.provider.set(func() { b.provider.hold = hold })
		var callers sync.WaitGroup
		for i := range 64 {
			callers.Go(func() {
				inputs := make([][]byte, 1+i%5)
				for j := range inputs {
					inputs[j] = fmt.Appendf(nil, "%d %d", i, j)
				}
				sums, err := b.MAC(t.Context(), inputs...)
				if err != nil || len(sums) != len(inputs) {
					t.Errorf("MAC = %d sums, %v", len(sums), err)
					return
				}
				for j := range inputs {
					if !bytes.Equal(sums[j], mac(inputs[j])) {
						t.Errorf("MAC %d of caller %d is not that of its input", j, i)
					}
				}
			})
		}
		synctest.Wait()
		close(hold)
		callers.Wait()
		if n := b.provider.called(OpMAC); n > callsOut+1 {
			t.Errorf("%d calls for 64 callers, want at most %d", n, callsOut+1)
		}
	})
}

func TestALargeMACIsCutIntoBatches(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *rig) {
		inputs := make([][]byte, 3*macBatch+1)
		for i := range inputs {
			inputs[i] = fmt.Append(nil, i)
		}
		sums, err := b.MAC(t.Context(), inputs...)
		if err != nil {
			t.Fatal(err)
		}
		for i := range inputs {
			if !bytes.Equal(sums[i], mac(inputs[i])) {
				t.Fatalf("MAC %d is not that of its input", i)
			}
		}
		if n := b.provider.called(OpMAC); n != 4 {
			t.Errorf("%d calls, want 4", n)
		}
		if sums, err := b.MAC(t.Context()); sums != nil || err != nil {
			t.Errorf("MAC of nothing = %v, %v", sums, err)
		}
	})
}
