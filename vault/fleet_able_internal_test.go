package vault

import (
	"testing"
	"time"
)

// TestABlipOfTheKeysIsNoAbilityToList: a leader that can never write to the ledger, and for which the keys are away for a moment now and then, still cannot write.
func TestABlipOfTheKeysIsNoAbilityToList(t *testing.T) {
	const term = 6 * time.Second
	a := abilities{term: term}
	at := time.Unix(0, 0)
	for i := range 720 { // an hour of sweeps
		at = at.Add(5 * time.Second)
		a.note(reaching, i%10 != 0, at) // away for one sweep in fifty seconds
		if i%10 != 0 {
			a.note(listing, false, at)
		}
		if what, long, lacks := a.lacks(at); lacks && what == listing && long >= 10*term {
			return
		}
	}
	t.Error("after an hour without one entry written it does not give up the lead")
}
