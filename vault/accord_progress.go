package vault

import "sync"

// progress is how far this process knows the erasure ledger to be carried out. An entry that it knows nothing of, such as another
// process's or one whose append was not acknowledged, is not: so no mark can go beyond it.
type progress struct {
	mu      sync.Mutex
	through uint64          // every entry up to here
	beyond  map[uint64]bool // and these
}

// from takes as carried out what the store's mark says; again, nothing else.
func (p *progress) from(mark uint64, again bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if again || p.through < mark {
		p.through, p.beyond = mark, nil
	}
}

// add notes entries as carried out.
func (p *progress) add(numbers ...uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.beyond == nil {
		p.beyond = map[uint64]bool{}
	}
	for _, n := range numbers {
		if n > p.through {
			p.beyond[n] = true
		}
		for p.beyond[p.through+1] {
			p.through++
			delete(p.beyond, p.through)
		}
	}
}

// to is the entry up to which everything is carried out.
func (p *progress) to() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.through
}
