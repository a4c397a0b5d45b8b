package webhook

import (
	"math/rand/v2"
	"time"
)

// Receivers is how many targets the sender has.
func (s *Sender) Receivers() int { return len(s.receivers) }

// Backoff is how long to wait after that many tries that failed.
func (s *Sender) Backoff(tries int) time.Duration { return Backoff(tries, rand.Float64) }
