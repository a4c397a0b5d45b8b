package s3

import (
	"context"
	"fmt"
	"iter"

	"github.com/sandyq/sandyq/vault/bucket"
)

// list goes through the lines from a number on, in order. Of each object it yields the oldest version, which a listing has last.
func (m *medium) list(ctx context.Context, from uint64) iter.Seq2[object, error] {
	return func(yield func(object, error) bool) {
		what := bucket.Listing{Under: m.folder, Versions: true}
		if from > 0 {
			what.After = m.key(from - 1)
		}
		current, any := object{}, false
		for o, err := range m.bucket.List(ctx, what) {
			if err != nil {
				yield(object{}, fmt.Errorf("list lines: %w", told(err)))
				return
			}
			number, ok := m.number(o.Key)
			if !ok || number < from || o.Marker {
				continue
			}
			if any && number != current.number && !yield(current, nil) {
				return
			}
			current, any = object{number: number, version: o.Version}, true
		}
		if any {
			yield(current, nil)
		}
	}
}
