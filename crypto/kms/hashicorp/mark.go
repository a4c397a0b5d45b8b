package hashicorp

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"

	"github.com/sandyq/sandyq/crypto/kms"
)

// markEntry is what lies at mark, in KV version 2 beside the generation.
type markEntry struct {
	Version int    `json:"v"`
	Entries uint64 `json:"entries,string"`
	Head    string `json:"head"` // 64 lower-case hexadecimal digits
}

func (e markEntry) parse() (kms.Mark, error) {
	head, err := hex.DecodeString(e.Head)
	if err != nil || len(head) != len(kms.Mark{}.Head) || hex.EncodeToString(head) != e.Head || e.Version != entryVersion {
		return kms.Mark{}, fmt.Errorf("%w: the mark is malformed", kms.ErrCorrupt)
	}
	return kms.Mark{Entries: e.Entries, Head: [32]byte(head)}, nil
}

// Mark implements [kms.Anchor].
func (v *Vault) Mark(ctx context.Context) (m kms.Mark, err error) {
	err = v.ask(ctx, v.serve, func(ctx context.Context) error {
		m, _, err = v.serve.mark(ctx, v.names)
		return err
	})
	if err != nil {
		return kms.Mark{}, fmt.Errorf("hashicorp: read mark: %w", err)
	}
	return m, nil
}

// SetMark implements [kms.Anchor]. It takes the identity that destroys: it is who carries the ledger out.
func (v *Vault) SetMark(ctx context.Context, from, next kms.Mark) error {
	err := v.ask(ctx, v.erase, func(ctx context.Context) error { return v.erase.setMark(ctx, v.names, from, next) })
	if err != nil {
		return fmt.Errorf("hashicorp: set mark: %w", err)
	}
	return nil
}

// mark reads the mark, and the version of its entry: 0 before the first.
func (c *conn) mark(ctx context.Context, n names) (m kms.Mark, version uint64, err error) {
	var answer struct {
		Data struct {
			Data     markEntry `json:"data"`
			Metadata struct {
				Version uint64 `json:"version"`
			} `json:"metadata"`
		} `json:"data"`
	}
	err = c.do(ctx, request{method: http.MethodGet, path: n.mark()}, &answer)
	switch {
	case errors.Is(err, errAbsent):
		return kms.Mark{}, 0, nil
	case errors.Is(err, errNoRoute): // no such mount, or an administrator deleted the version
		return kms.Mark{}, 0, fmt.Errorf("%w: mark: %w", kms.ErrClaim, err)
	case err != nil:
		return kms.Mark{}, 0, notSetUp(err)
	}
	m, err = answer.Data.Data.parse()
	return m, answer.Data.Metadata.Version, err
}

// setMark writes with check-and-set on the version that was read: Vault takes one of two that race. When the answer is lost
// the caller repeats the call, which finds next.
func (c *conn) setMark(ctx context.Context, n names, from, next kms.Mark) error {
	now, version, err := c.mark(ctx, n)
	if err != nil {
		return err
	}
	if done, err := now.Check(from, next); done || err != nil {
		return err
	}
	body := map[string]any{
		"options": map[string]uint64{"cas": version},
		"data":    markEntry{entryVersion, next.Entries, hex.EncodeToString(next.Head[:])},
	}
	err = c.do(ctx, request{method: http.MethodPut, path: n.mark(), body: body, once: true}, nil)
	if errors.Is(err, errRefused) {
		return fmt.Errorf("%w: another set the mark: %w", kms.ErrClaim, err)
	}
	return notSetUp(err)
}
