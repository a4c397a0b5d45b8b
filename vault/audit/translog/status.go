package translog

import (
	"context"
	"time"

	"github.com/sandyq/sandyq/vault/store"
)

// status reads how the log stands.
func (l *Log) status(ctx context.Context) (s Status, err error) {
	err = l.Store.View(ctx, func(r store.Reader) error {
		state, _, err := l.state(r)
		if err != nil || state == nil {
			return err
		}
		head, err := l.head(r)
		if err != nil {
			return err
		}
		s = Status{Size: state.Size}
		if head != nil {
			s.Signed = time.UnixMilli(head.At).UTC()
		}
		first, waits, err := l.firstStaged(r)
		if err != nil {
			return err
		}
		if signed := head != nil && head.Size == state.Size; !waits && !signed && state.Size > 0 {
			first, err = l.idAt(r, sizeOf(head))
			waits = err == nil
		}
		if waits {
			s.Waiting = max(l.Clock().Sub(first.Time()), 0)
		}
		return err
	})
	return s, err
}

func sizeOf(head *headRow) int64 {
	if head == nil {
		return 0
	}
	return head.Size
}
