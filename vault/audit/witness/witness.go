// Package witness asks witnesses to cosign the checkpoints of a transparency log (c2sp.org/tlog-witness): servers of other houses, each of
// which remembers the largest tree of the log that it cosigned and cosigns only one that this is the beginning of. Who demands
// cosignatures of a checkpoint cannot be shown another log than the witnesses are.
//
// # Model
//
// A [Circle] has one goroutine a witness, so that one that hangs holds up no other. Each works on the newest checkpoint that was submitted
// until its witness has cosigned it, with growing pauses after failures. What tree the witness knows is learned from its answers and kept
// in memory: it is asked from size 0 first, and says otherwise.
//
// # Trust
//
// A witness is believed nothing but a cosignature by the key that the operator named, of the very checkpoint, made about now. What it
// says of sizes is nobody's word: it can keep the log from being signed ([translog.ErrWitness]), and no more. It is sent a checkpoint and
// hashes, never an entry. Its answers are bounded in time and size; no redirect is followed and no
// proxy used.
package witness

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/webhook"
)

// Witness is one that is asked.
type Witness struct {
	URL string // the submission prefix: https, or http to this machine's loopback
	Key checkpoint.Cosigner
}

// MaxWitnesses is how many a log may have: more would leave a checkpoint no room for its own signatures.
const MaxWitnesses = 32

// Check fails when the witnesses cannot be asked: an address that is none, too many of them, or two that are one.
func Check(all []Witness) error {
	if len(all) > MaxWitnesses {
		return fmt.Errorf("witness: more than %d", MaxWitnesses)
	}
	keys := make([]checkpoint.Cosigner, len(all))
	for i, w := range all {
		if _, err := w.address(); err != nil {
			return fmt.Errorf("witness %d: %w", i+1, err)
		}
		keys[i] = w.Key
	}
	if err := checkpoint.DistinctCosigners(keys...); err != nil {
		return fmt.Errorf("witness: %w", err)
	}
	return nil
}

// address is where checkpoints are submitted.
func (w Witness) address() (string, error) {
	u, err := webhook.ParseAddress(w.URL)
	if err != nil {
		return "", err
	}
	if u.RawQuery != "" || u.ForceQuery {
		return "", fmt.Errorf("the address has a query")
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimSuffix(u.Path, "/") + "/add-checkpoint"}).String(), nil
}

// Outcome is what came of asking a witness once, for metrics.
type Outcome string

// The outcomes.
const (
	Cosigned    Outcome = "cosigned"
	Contradicts Outcome = "contradicts" // it says that it cosigned what is not in the log
	Refused     Outcome = "refused"     // it answered with another status: it does not know the log or its key, or is in trouble
	Invalid     Outcome = "invalid"     // its answer is not what the protocol has, or not verified
	Unreachable Outcome = "unreachable" // no answer in time
)

// Skew is how far the time of a cosignature may be from ours.
const Skew = 5 * time.Minute
