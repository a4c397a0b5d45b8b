package budget

import "time"

// Window is how long a budget lasts.
type Window string

// The windows.
const (
	Minute Window = "minute"
	Hour   Window = "hour"
	Day    Window = "day"
)

// Windows lists every window, the shortest first.
func Windows() []Window { return []Window{Minute, Hour, Day} }

// Length is how long the window lasts; 0 for what is no window.
func (w Window) Length() time.Duration {
	switch w {
	case Minute:
		return time.Minute
	case Hour:
		return time.Hour
	case Day:
		return 24 * time.Hour
	}
	return 0
}

// started is when the window that holds a time began; both in Unix seconds.
func started(at, length int64) int64 { return at - at%length }
