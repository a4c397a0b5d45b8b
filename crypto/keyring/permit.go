package keyring

import "time"

// Permit is the moment from which a caller may claim that the store allowed it to use a key. The zero Permit opens
// nothing.
type Permit struct {
	at     time.Time
	purges uint64 // how many purges had begun
}

// Permit is taken before the Update that decides begins, not after it: a block that commits behind that Update purges
// later than the permit, and so is sure to refuse it.
func (k *Keyring) Permit() Permit {
	at := k.now() // before the count, so that a permit which a purge refuses is never younger than the purge
	return Permit{at: at, purges: k.cache.purges.Load() + 1}
}

// later returns the younger of two permits: each opened the key, and the lease runs from the last.
func later(a, b Permit) Permit {
	if b.at.After(a.at) {
		return b
	}
	return a
}
