package bucket

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/minio/minio-go/v7"
)

// Locked says that versions of an object stay although it was removed. It is an ErrLocked.
type Locked struct {
	Versions int       // that stay
	Until    time.Time // when the last of them can be removed; zero when nobody knows, as with a legal hold
}

func (l *Locked) Error() string {
	return fmt.Sprintf("%d versions stay in the bucket: %v", l.Versions, ErrLocked)
}

// Is implements errors.Is.
func (l *Locked) Is(target error) bool { return target == ErrLocked }

// Remove removes an object with every version of it. What object lock keeps stays, under a delete marker, and is told by a
// *Locked; everything else is gone then. An absent object is no error.
func (b *Bucket) Remove(ctx context.Context, key string) error {
	all, err := b.versions(ctx, key)
	if errors.Is(err, errUnsupported) {
		return removing(b.remove(ctx, key, ""))
	}
	if err != nil {
		return removing(err)
	}
	kept, err := b.removeVersions(ctx, key, all)
	switch {
	case err != nil:
		return removing(err)
	case kept == nil:
		return removing(b.removeMarkers(ctx, key, all))
	case !all[0].Marker:
		if err := b.remove(ctx, key, ""); err != nil {
			return removing(err)
		}
	}
	return removing(kept)
}

func removing(err error) error {
	if err == nil || errors.Is(err, ErrNotFound) {
		return nil
	}
	return fmt.Errorf("remove an object: %w", err)
}

// removeVersions removes versions, and tells of those that are locked; kept is nil when there are none.
func (b *Bucket) removeVersions(ctx context.Context, key string, all []Object) (kept error, err error) {
	locked := &Locked{}
	unknown := false
	for _, v := range all {
		if v.Marker {
			continue
		}
		err := b.remove(ctx, key, v.Version)
		if err == nil || errors.Is(err, ErrNotFound) {
			continue
		}
		if !errors.Is(err, ErrDenied) && !errors.Is(err, ErrLocked) {
			return nil, err
		}
		until, known, why := b.keptUntil(ctx, key, v.Version)
		if why != nil || known && until.IsZero() && !errors.Is(err, ErrLocked) { // nothing locks it
			return nil, errors.Join(err, why)
		}
		locked.Versions, unknown = locked.Versions+1, unknown || !known || until.IsZero()
		if until.After(locked.Until) {
			locked.Until = until
		}
	}
	if locked.Versions == 0 {
		return nil, nil
	}
	if unknown {
		locked.Until = time.Time{}
	}
	return locked, nil
}

func (b *Bucket) removeMarkers(ctx context.Context, key string, all []Object) error {
	for _, v := range all {
		if !v.Marker {
			continue
		}
		if err := b.remove(ctx, key, v.Version); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}

// versions lists all there is of one object, the newest first.
func (b *Bucket) versions(ctx context.Context, key string) (all []Object, err error) {
	for v, err := range b.List(ctx, Listing{Under: key, Versions: true}) {
		if err != nil {
			return nil, err
		}
		if v.Key == key {
			all = append(all, v)
		}
	}
	return all, nil
}

func (b *Bucket) remove(ctx context.Context, key, version string) error {
	return b.do(ctx, 0, func(ctx context.Context) error {
		return b.client.RemoveObject(ctx, b.name, b.prefix+key, minio.RemoveObjectOptions{VersionID: version})
	})
}

// keptUntil tells until when object lock keeps a version: the zero time when nothing does. It is not known of a legal hold.
func (b *Bucket) keptUntil(ctx context.Context, key, version string) (until time.Time, known bool, err error) {
	var info minio.ObjectInfo
	err = b.do(ctx, 0, func(ctx context.Context) (err error) {
		info, err = b.client.StatObject(ctx, b.name, b.prefix+key, minio.StatObjectOptions{VersionID: version})
		return err
	})
	if err != nil {
		return time.Time{}, false, fmt.Errorf("ask for its lock: %w", err)
	}
	if info.Metadata.Get("X-Amz-Object-Lock-Legal-Hold") == "ON" {
		return time.Time{}, false, nil
	}
	if date := info.Metadata.Get("X-Amz-Object-Lock-Retain-Until-Date"); date != "" {
		if until, err = time.Parse(time.RFC3339, date); err != nil {
			return time.Time{}, false, fmt.Errorf("the end of its lock: %w", err)
		}
	}
	return until, true, nil
}
