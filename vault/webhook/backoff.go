package webhook

import "time"

const (
	firstWait = time.Second
	lastWait  = 10 * time.Minute
)

// Backoff is how long to wait after a failed attempt (1 for the first): 1 to 2 seconds after the first, about twice as long
// after each further one, 5 to 10 minutes in the end. Where in that it lies random says, a source of numbers from 0 to below
// 1, so that senders that failed together do not come back together.
func Backoff(attempt int, random func() float64) time.Duration {
	most := 2 * firstWait
	for range attempt - 1 {
		if most *= 2; most >= lastWait {
			most = lastWait
			break
		}
	}
	return most/2 + time.Duration(random()*float64(most/2))
}
