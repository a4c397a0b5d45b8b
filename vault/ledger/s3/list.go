package s3

import (
	"context"
	"fmt"
	"iter"

	"github.com/minio/minio-go/v7"
)

// list goes through the lines from a number on, in order. Of each object it yields the oldest version, which a listing has last.
func (m *medium) list(ctx context.Context, from uint64) iter.Seq2[object, error] {
	return func(yield func(object, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // ends the listing
		o := minio.ListObjectsOptions{Prefix: m.folder, Recursive: true, WithVersions: true}
		if from > 0 {
			o.StartAfter = m.key(from - 1)
		}
		current, any := object{}, false
		for info := range m.client.ListObjectsIter(ctx, m.bucket, o) {
			if info.Err != nil {
				yield(object{}, fmt.Errorf("list lines: %w", info.Err))
				return
			}
			number, ok := m.number(info.Key)
			if !ok || number < from || info.IsDeleteMarker {
				continue
			}
			if any && number != current.number && !yield(current, nil) {
				return
			}
			current, any = object{number: number, version: info.VersionID}, true
		}
		if err := ctx.Err(); err != nil {
			yield(object{}, fmt.Errorf("list lines: %w", err))
			return
		}
		if any {
			yield(current, nil)
		}
	}
}
