package hashicorp

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"

	"github.com/sandyq/sandyq/crypto/kms"
)

// sentinelEntry is what lies at sentinel.
type sentinelEntry struct {
	Version  int    `json:"v"`
	Sentinel string `json:"sentinel"` // 64 lower-case hexadecimal digits
}

func (e sentinelEntry) parse() (kms.Sentinel, error) {
	s, err := ParseSentinel(e.Sentinel)
	if err != nil || e.Version != entryVersion {
		return kms.Sentinel{}, fmt.Errorf("%w: the sentinel is malformed", kms.ErrClaim)
	}
	return s, nil
}

// ParseSentinel reads a sentinel as it lies in KV: 64 lower-case hexadecimal digits.
func ParseSentinel(text string) (kms.Sentinel, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(kms.Sentinel{}) || hex.EncodeToString(b) != text {
		return kms.Sentinel{}, errors.New("a sentinel is 64 lower-case hexadecimal digits")
	}
	return kms.Sentinel(b), nil
}

// Sentinel implements [kms.Anchor].
func (v *Vault) Sentinel(ctx context.Context) (s kms.Sentinel, err error) {
	err = v.ask(ctx, v.serve, func(ctx context.Context) error {
		s, err = v.serve.sentinel(ctx, v.names)
		return err
	})
	if err != nil {
		return kms.Sentinel{}, fmt.Errorf("hashicorp: read sentinel: %w", err)
	}
	return s, nil
}

// Generation implements [kms.Anchor].
func (v *Vault) Generation(ctx context.Context) (g kms.Generation, err error) {
	err = v.ask(ctx, v.serve, func(ctx context.Context) error {
		g, err = v.serve.generation(ctx, v.names)
		return err
	})
	if err != nil {
		return kms.Generation{}, fmt.Errorf("hashicorp: read generation: %w", err)
	}
	return g, nil
}

// Advance implements [kms.Anchor]. It takes the identity that destroys: title to the keys is title to destroy them.
func (v *Vault) Advance(ctx context.Context, from, next kms.Generation) error {
	err := v.ask(ctx, v.erase, func(ctx context.Context) error { return v.erase.advance(ctx, v.names, from, next) })
	if err != nil {
		return fmt.Errorf("hashicorp: advance generation: %w", err)
	}
	return nil
}

// ask runs f as one operation of c.
func (v *Vault) ask(ctx context.Context, c *conn, f func(context.Context) error) error {
	ctx, end, err := v.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	return c.operate(ctx, f)
}

// check compares the claim with what Vault holds now.
func (c *conn) check(ctx context.Context, n names, claim kms.Claim) error {
	return c.operate(ctx, func(ctx context.Context) error {
		sentinel, err := c.sentinel(ctx, n)
		if err != nil {
			return fmt.Errorf("read sentinel: %w", err)
		}
		generation, err := c.generation(ctx, n)
		if err != nil {
			return fmt.Errorf("read generation: %w", err)
		}
		return claim.Check(sentinel, generation)
	})
}

func (c *conn) sentinel(ctx context.Context, n names) (kms.Sentinel, error) {
	var answer struct {
		Data sentinelEntry `json:"data"`
	}
	err := c.do(ctx, request{method: http.MethodGet, path: n.sentinel()}, &answer)
	if errors.Is(err, errAbsent) || errors.Is(err, errNoRoute) {
		return kms.Sentinel{}, fmt.Errorf("%w: sentinel: %w", kms.ErrClaim, err)
	}
	if err != nil {
		return kms.Sentinel{}, err
	}
	return answer.Data.parse()
}

// generationEntry is what lies at generation.
type generationEntry struct {
	Instance string `json:"instance"` // a kms.ID
}

func (c *conn) generation(ctx context.Context, n names) (kms.Generation, error) {
	var answer struct {
		Data struct {
			Data     generationEntry `json:"data"`
			Metadata struct {
				Version uint64 `json:"version"`
			} `json:"metadata"`
		} `json:"data"`
	}
	err := c.do(ctx, request{method: http.MethodGet, path: n.generation()}, &answer)
	switch {
	case errors.Is(err, errAbsent):
		return kms.Generation{}, nil
	case errors.Is(err, errNoRoute): // no such mount, or an administrator deleted the version
		return kms.Generation{}, fmt.Errorf("%w: generation: %w", kms.ErrClaim, err)
	case err != nil:
		return kms.Generation{}, err
	}
	instance, err := kms.ParseID(answer.Data.Data.Instance)
	if err != nil || answer.Data.Metadata.Version == 0 {
		return kms.Generation{}, fmt.Errorf("%w: the generation is malformed", kms.ErrClaim)
	}
	return kms.Generation{Number: answer.Data.Metadata.Version, Instance: instance}, nil
}

// advance writes version next.Number with check-and-set on from.Number: Vault takes one of two that race. When the answer
// is lost the caller repeats the call, which finds next.
func (c *conn) advance(ctx context.Context, n names, from, next kms.Generation) error {
	now, err := c.generation(ctx, n)
	if err != nil {
		return err
	}
	if done, err := now.Check(from, next); done || err != nil {
		return err
	}
	body := map[string]any{
		"options": map[string]uint64{"cas": from.Number},
		"data":    generationEntry{next.Instance.String()},
	}
	err = c.do(ctx, request{method: http.MethodPut, path: n.generation(), body: body, once: true}, nil)
	if errors.Is(err, errRefused) {
		return fmt.Errorf("%w: another became generation %d: %w", kms.ErrClaim, next.Number, err)
	}
	return err
}
