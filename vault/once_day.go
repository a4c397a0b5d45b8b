package vault

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/sandyq/sandyq/crypto/keyring"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/vault/store"
)

// errNoDayKey is that the key of a day cannot be had, or made: a copy of the store, which can be asked what it would do, makes none. That a
// node has just forgotten the keys it knew is no reason: in a moment it has this one again, and meanwhile nothing is done.
var errNoDayKey = errors.New("the key of idempotency rows is out of reach")

// onceMACs are the key of a call's row and its body's digest, under the key of a day.
type onceMACs struct{ prefix, digest []byte }

func (s *Service) onceMACs(ctx context.Context, day uint32, scope, body []byte) (m onceMACs, err error) {
	err = s.names.use(ctx, onceKeyName(day), func(key secret.Bytes) error {
		sum := func(what string, b []byte) []byte {
			h := hmac.New(sha256.New, key.Expose())
			h.Write(lengthPrefixed(what))
			h.Write(b)
			return h.Sum(nil)
		}
		m.prefix = s.rows.key(kindOnce, binary.BigEndian.AppendUint32(nil, day), sum("key", scope))
		m.digest = sum("body", body)
		return nil
	})
	if !errors.Is(err, keyring.ErrPurged) && (keysAway(err) || errors.Is(err, kms.ErrClaim) || errors.Is(err, keyring.ErrCopy)) {
		err = fmt.Errorf("%w: %w", errNoDayKey, err)
	}
	return m, err
}

const onceKeyPrefix = "once-"

func onceKeyName(day uint32) string { return onceKeyPrefix + strconv.FormatUint(uint64(day), 10) }

// dayOf counts days since 1970 in UTC.
func dayOf(t time.Time) uint32 { return uint32(t.Unix() / 86400) }

// expireOnce removes the rows of the days before yesterday, destroys their keys, and then forgets the days: a day whose key
// could not be destroyed is found again the next time.
func (s *Service) expireOnce(ctx context.Context) error {
	today := dayOf(s.Clock())
	if today < 2 {
		return nil
	}
	days, err := s.onceDays(ctx)
	if err != nil {
		return err
	}
	for _, day := range days {
		if day >= today-1 {
			continue
		}
		prefix := s.rows.key(kindOnce, binary.BigEndian.AppendUint32(nil, day))
		if err := s.removeKind(ctx, prefix, func(*draft, store.Pair) error { return nil }); err != nil {
			return err
		}
		if err := s.names.forget(ctx, onceKeyName(day)); err != nil {
			return err
		}
	}
	return nil
}

// onceDays lists the days that have a key.
func (s *Service) onceDays(ctx context.Context) (days []uint32, err error) {
	all := s.rows.key(kindMeta)
	prefix := append(bytes.Clone(all), onceKeyPrefix...)
	err = s.Store.View(ctx, func(r store.Reader) error {
		days = nil
		return scanAll(r, prefix, func(p store.Pair) error {
			day, err := strconv.ParseUint(string(p.Key[len(prefix):len(p.Key)-1]), 10, 32)
			days = append(days, uint32(day))
			return err
		})
	})
	return days, err
}
